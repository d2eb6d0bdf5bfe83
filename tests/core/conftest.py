import pytest

from tests.core.worlds import World


@pytest.fixture
def world() -> World:
    """A world with an empty queue `q`."""
    world = World()
    world.create()
    return world
