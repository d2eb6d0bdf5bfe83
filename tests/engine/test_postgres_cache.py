"""What a server on PostgreSQL keeps of queues is bounded."""

from jobengine.engine.postgres.rows import MOST_QUEUES, keep


def test_a_cache_of_queues_that_is_full_is_emptied() -> None:
    cache: dict[int, str] = {}
    for number in range(MOST_QUEUES):
        keep(cache, number, "kept")
    assert len(cache) == MOST_QUEUES
    keep(cache, -1, "the newest")
    assert cache == {-1: "the newest"}
