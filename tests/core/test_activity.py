"""Counts of changes age by the second and by the minute in which they were made, however often they are read."""

from jobengine.core.activity import Activity
from jobengine.core.state import JobSwap
from tests.core.worlds import World


def _add(activity: Activity, world: World, steady: int) -> None:
    job = world.add()
    activity.note("q", [JobSwap("q", job.spec.uid, None, job)], steady, steady)


def test_a_change_counts_in_its_own_minute_and_for_sixty_seconds(world: World) -> None:
    activity = Activity()
    _add(activity, world, 59_999)
    assert activity.recent("q", 60_000).minutes["added"][-2:] == [1, 0]
    assert activity.recent("q", 118_999).last_minute["added"] == 1
    assert activity.recent("q", 119_000).last_minute["added"] == 0
    assert activity.recent("q", 119_000).last_hour["added"] == 1


def test_reading_in_between_changes_no_count(world: World) -> None:
    activity, read_often = Activity(), Activity()
    for steady in (0, 1, 998, 999, 1_000, 59_000, 60_000):
        for one in (activity, read_often):
            _add(one, world, steady)
        read_often.recent("q", steady)
        read_often.totals("q")
    assert activity.recent("q", 60_001) == read_often.recent("q", 60_001)
    assert activity.totals("q") == read_often.totals("q")
    assert activity.totals("q")["added"] == 7


def test_a_queue_without_changes_counts_nothing() -> None:
    assert set(Activity().totals("q").values()) == {0}
    assert Activity().recent("q", 0).last_minute["added"] == 0
