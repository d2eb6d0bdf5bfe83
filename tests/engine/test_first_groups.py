"""When a long queue gets its first group, its jobs are indexed by group, one slice in each reactor turn."""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

import pytest

from jobengine.core import commands as c
from jobengine.core.model import Defaults, Job, State
from jobengine.engine.tables.turns import Turns
from tests.engine.engines import KEY, Desk

_JOBS: Final = 1_700
_AT_ONCE: Final = 500
_Coming = Coroutine[Any, Any, Any]
_WHO: Final[dict[str, Any]] = {"queue": "q", "access_key": KEY}


def _add(desk: Desk, number: int = 1, queue: str = "q", **job: Any) -> _Coming:
    jobs = (c.NewJob(content=b"{}", **job),) * number
    return desk.engine.ask(c.AddJobs(queue=queue, access_key=KEY, jobs=jobs, defaults=Defaults()))


def _held(job: Job) -> c.JobUpdate:
    """An update that releases a claimed job, with a hold of the whole queue."""
    changes = c.Changes(state=State.QUEUED, hold_seconds=60)
    return c.JobUpdate(uid=job.spec.uid, lease=job.standing.lease, changes=changes)


def _add_one(desk: Desk, job: Job) -> _Coming:
    return _add(desk, group="a")


def _move(desk: Desk, job: Job) -> _Coming:
    return desk.engine.move_matching(c.MoveMatching(queue="other", to="q", access_key=KEY, filter=c.Filter()))


def _update(desk: Desk, job: Job) -> _Coming:
    return desk.engine.ask(c.UpdateJob(**_WHO, uid=job.spec.uid, changes=_held(job).changes, lease=job.standing.lease))


def _updates(desk: Desk, job: Job) -> _Coming:
    return desk.engine.ask(c.UpdateJobs(**_WHO, updates=(_held(job),)))


def _update_matching(desk: Desk, job: Job) -> _Coming:
    return desk.engine.update_matching(c.UpdateMatching(**_WHO, filter=c.Filter(), changes=c.Changes(group="a")))


def _claim(desk: Desk, job: Job) -> _Coming:
    return desk.engine.claim(c.Claims(queues=("q",), access_key=KEY, updates=(c.QueueUpdate("q", _held(job)),)))


@pytest.mark.parametrize("begin", [_add_one, _move, _update, _updates, _update_matching, _claim])
def test_a_new_group_index_is_filled_with_one_slice_of_jobs_in_each_reactor_turn(
    desk: Desk, begin: Callable[[Desk, Job], _Coming], monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed = [0]
    fill = Turns.fill

    def counted(self: Turns, jobs: Iterable[Job]) -> None:
        some = list(jobs)
        indexed[-1] += len(some)
        fill(self, some)

    desk.told(_add(desk, _JOBS))
    desk.told(desk.engine.ask(c.CreateQueue(queue="other", access_key=KEY)))
    desk.told(_add(desk, queue="other", group="a"))
    held = desk.told(desk.engine.claim(c.Claims(queues=("q",), access_key=KEY))).jobs[0].job
    monkeypatch.setattr(Turns, "fill", counted)
    asked = desk.ask(begin(desk, held))
    while not asked.answered:
        indexed.append(0)
        desk.one_turn()
        if desk.thread.waiting:
            desk.thread.step()
    assert max(indexed) == _AT_ONCE
    assert sum(indexed) >= _JOBS
