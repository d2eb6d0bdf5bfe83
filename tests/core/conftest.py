import pytest

from tests.core.worlds import World


@pytest.fixture
def world() -> World:
    """A state with the queue `q`, empty."""
    world = World()
    world.create()
    return world
