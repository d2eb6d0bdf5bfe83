import pytest

from .fakes import UID, Shell


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell whose commands give the uid UID to each job that they add."""
    monkeypatch.setattr("jobengine.cli.add.uuid4", lambda: UID)
    return Shell()
