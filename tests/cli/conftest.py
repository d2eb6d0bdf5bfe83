import pytest

from .fakes import Shell


@pytest.fixture
def shell() -> Shell:
    return Shell()
