"""Making queues and their keys."""

import pytest

from jobengine.core.errors import QueueExists
from tests.core.worlds import KEY, World


@pytest.mark.parametrize("key", [KEY, b"another"])
def test_an_existing_queue_name_is_refused_with_any_key(world: World, key: bytes) -> None:
    with pytest.raises(QueueExists):
        world.create(key=key)


def test_a_key_is_stored_as_a_digest_salted_for_its_queue(world: World) -> None:
    world.create("other")
    one, other = (world.tables.queues[name].queue for name in ("q", "other"))
    assert one.digest != other.digest
    assert one.salt != other.salt
    assert one.digest not in repr(one)
