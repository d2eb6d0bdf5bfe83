import pytest

from .fakes import Shell


@pytest.fixture
def shell() -> Shell:
    """Runs command lines with a fake client."""
    return Shell()
