from collections.abc import Callable

import pytest

from tests.doubles import MemoryServer
from tests.web.asking import ADMIN


@pytest.fixture
def guarded(start: Callable[..., MemoryServer]) -> MemoryServer:
    """A server with an admin key."""
    return start(admin_key=ADMIN["X-Admin-Key"].encode())
