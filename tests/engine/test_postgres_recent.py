"""Recent activity on PostgreSQL, where other servers make and delete queues, too."""

import pytest

from jobengine.core.model import Queue
from jobengine.core.state import JobSwap
from jobengine.engine.postgres import recent
from jobengine.engine.postgres.batch import Result
from jobengine.engine.postgres.beginning import Now
from jobengine.engine.postgres.recent import RecentActivity
from jobengine.engine.postgres.rows import Known
from tests.core.worlds import World


@pytest.fixture
def activity() -> RecentActivity:
    return RecentActivity(lambda: 0)


def _note(activity: RecentActivity, name: str, number: int) -> None:
    """Note that a job was added to the queue with this number."""
    world = World()
    world.create()
    known = Known(id=number, rev=0, queue=Queue(name=name, salt="", digest="", created=0), watched=False, due=False)
    swaps = [JobSwap(name, "uid", None, world.add())]
    activity.note(Result(now=Now(0, 0, {name: known}), outcomes=(), swaps=swaps, soonest=None))


def test_a_queue_that_was_made_again_through_another_server_has_no_counts_of_the_old_one(
    activity: RecentActivity,
) -> None:
    for number in (1, 1, 2):
        _note(activity, "q", number)
    assert activity.since_start("q")["added"] == 1


def test_counts_are_kept_of_so_many_queues_at_most(activity: RecentActivity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MOST_QUEUES", 2)
    for number, name in enumerate("abc"):
        _note(activity, name, number)
    assert [activity.since_start(name)["added"] for name in "abc"] == [0, 0, 1]
