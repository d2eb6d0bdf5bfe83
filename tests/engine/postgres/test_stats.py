"""Recent activity on PostgreSQL, where other servers make and delete queues, too."""

from typing import Any

import pytest
from msgspec.structs import replace

from jobengine.core.effects import JobEffect
from jobengine.core.model import Job, Queue, State
from jobengine.engine.postgres import stats as recent
from jobengine.engine.postgres.batch.begin import Now
from jobengine.engine.postgres.batch.decide import Result
from jobengine.engine.postgres.database.rows import Known
from jobengine.engine.postgres.stats import ServerActivity
from tests.core.worlds import World


@pytest.fixture
def activity() -> ServerActivity:
    return ServerActivity()


def _count(activity: ServerActivity, name: str, number: int, *effects: JobEffect, elapsed: int = 0) -> None:
    """Count changes of jobs in the queue with this number; by default, that one job was added."""
    known = Known(id=number, rev=0, queue=Queue(name=name, salt="", digest="", created=0), watched=False, due=False)
    made = effects or [JobEffect(name, "uid", None, _job())]
    activity.count(Result(now=Now(elapsed, elapsed, {name: known}), outcomes=(), effects=made, soonest=None))


def _job(**asked: Any) -> Job:
    world = World()
    world.create()
    return world.add(**asked)


def test_a_queue_recreated_through_another_server_has_no_counts_of_the_deleted_queue(activity: ServerActivity) -> None:
    for number in (1, 1, 2):
        _count(activity, "q", number)
    assert activity.since_start("q")["added"] == 1


def test_counts_are_kept_for_a_limited_number_of_queues(
    activity: ServerActivity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "MOST_QUEUES", 2)
    for number, name in enumerate("abc"):
        _count(activity, name, number)
    assert [activity.since_start(name)["added"] for name in "abc"] == [0, 0, 1]


@pytest.mark.parametrize(("others", "waited"), [(1, 5), (2, 15)])
def test_the_ends_of_delays_are_remembered_for_a_limited_number_of_jobs(
    activity: ServerActivity, monkeypatch: pytest.MonkeyPatch, others: int, waited: int
) -> None:
    monkeypatch.setattr(recent, "_DELAYS", 2)
    delayed = _job(delay_seconds=1)
    ready = replace(delayed.standing, ready_at=0, updated=0)
    for number in range(others + 1):
        _count(activity, "q", 1, JobEffect("q", str(number), delayed, Job(delayed.spec, ready)), elapsed=10)
    claimed = replace(ready, state=State.INPROGRESS, claimed=15)
    effect = JobEffect("q", "0", Job(delayed.spec, ready), Job(delayed.spec, claimed))
    _count(activity, "q", 1, effect, elapsed=15)
    # The job was added at 0, and could be claimed from 10 on.
    assert activity.recent("q", 15, ()).wait.p50 == waited
