"""The line of waiters: which waiter is offered which job, and how few other waiters are examined."""

from typing import Any

from jobengine.core import commands as c
from jobengine.core.errors import AccessDenied, QueueNotFound
from jobengine.core.model import Defaults, Role, State
from tests.core.test_tags import Counted
from tests.engine.engines import KEY, Desk
from tests.pending import Pending

#: The number of jobs of each kind, and of waiters.
MANY, WAITERS = 300, 200


def claiming(desk: Desk, *tags: str, **more: Any) -> Pending:
    command = c.Claims(**{"queues": ("q",), "access_key": KEY, "wait": 30, "tags": tags, **more})
    asked = desk.ask(desk.engine.claim(command))
    desk.settle()
    return asked


def peeking(desk: Desk, wait: float = 30, key: bytes = KEY) -> Pending:
    asked = desk.ask(desk.engine.peek(c.Peek(queue="q", access_key=key, wait=wait)))
    desk.settle()
    return asked


def given(asked: Pending) -> list[str]:
    return [one.job.spec.uid for one in asked.answer.jobs]


def add(desk: Desk, *tags: str, **more: Any) -> str:
    uid: str = desk.told(desk.adding(tags=tags, **more)).spec.uid
    return uid


def add_many(desk: Desk, *kinds: tuple[str, ...]) -> list[str]:
    jobs = tuple(c.NewJob(content=b"{}", tags=tags) for tags in kinds)
    command = c.AddJobs(queue="q", access_key=KEY, jobs=jobs, defaults=Defaults())
    return [one.job.spec.uid for one in desk.told(desk.engine.ask(command))]


def counted(desk: Desk) -> Counted:
    table = desk.engine.executor.tables.queues["q"]
    table.jobs = Counted(table.jobs)
    return table.jobs


def set_up(desk: Desk, **more: Any) -> None:
    desk.told(desk.engine.ask(c.ChangeQueue(queue="q", access_key=KEY, **more)))


# How many waiters are examined


def test_a_job_with_only_one_of_the_tags_of_all_waiters_is_examined_a_few_times(desk: Desk) -> None:
    add_many(desk, *[("gpu",), ("eu",)] * MANY)
    waiting = [claiming(desk, "gpu", "eu") for _ in range(WAITERS)]
    jobs = counted(desk)
    for tag in ("gpu", "eu"):
        before = jobs.looks
        add(desk, tag)
        assert jobs.looks - before < 10
    before = jobs.looks
    uid = add(desk, "eu", "gpu")
    assert jobs.looks - before < 20
    assert given(waiting[0]) == [uid]
    assert not waiting[1].answered


def test_reconfiguring_or_resuming_a_queue_does_not_examine_every_waiter(desk: Desk) -> None:
    add_many(desk, *[("gpu", "a"), ("eu", "b")] * MANY)
    for _ in range(WAITERS):
        claiming(desk, "gpu", "eu")
    jobs = counted(desk)
    for changes in ({"max_jobs": 10_000}, {"paused": True}, {"paused": False}):
        set_up(desk, **changes)
    assert jobs.looks < WAITERS


def test_many_jobs_added_in_one_request_are_each_examined_a_few_times(desk: Desk) -> None:
    waiting = [claiming(desk) for _ in range(WAITERS)]
    jobs = counted(desk)
    uids = add_many(desk, *[(f"customer-{number}",) for number in range(MANY)])
    assert [given(one) for one in waiting] == [[uid] for uid in uids[:WAITERS]]
    assert jobs.looks < 10 * MANY


# Which waiter is offered a job


def test_a_claim_of_several_jobs_gets_them_in_execution_order(desk: Desk) -> None:
    waiting = claiming(desk, "a", count=3)
    jobs = tuple(c.NewJob(content=b"{}", tags=("a", f"t{at % 2}"), priority=at) for at in range(5))
    added = desk.told(desk.engine.ask(c.AddJobs(queue="q", access_key=KEY, jobs=jobs, defaults=Defaults())))
    assert given(waiting) == [added[at].job.spec.uid for at in (4, 3, 2)]


def test_a_ready_job_whose_tags_change_goes_to_a_waiter_for_the_new_tags(desk: Desk) -> None:
    uid = add(desk, "cpu")
    waiting = claiming(desk, "gpu")
    desk.told(desk.updating(uid, tags=("gpu",)))
    assert given(waiting) == [uid]


# Peeks that wait


def test_a_peek_that_waits_behind_a_claim_does_not_show_the_job_that_the_claim_gets(desk: Desk) -> None:
    claimer, peeker = claiming(desk), peeking(desk)
    add(desk)
    assert claimer.answered
    assert not peeker.answered
    another = add(desk)
    assert peeker.answer.spec.uid == another


def test_a_waiting_peek_fails_when_its_key_is_revoked_or_its_queue_deleted(desk: Desk) -> None:
    add_key = c.AddKey(queue="q", access_key=KEY, role=Role.VIEWER, new_access_key=b"viewer")
    key = desk.told(desk.engine.ask(add_key))
    viewer, owner = peeking(desk, key=b"viewer"), peeking(desk)
    desk.told(desk.engine.ask(c.RevokeKey(queue="q", access_key=KEY, key_id=key.id)))
    assert (viewer.error, owner.answered) == (AccessDenied, False)
    desk.told(desk.engine.ask(c.DeleteQueue(queue="q", access_key=KEY)))
    assert owner.error is QueueNotFound


def test_a_job_shown_to_a_waiting_peek_is_on_disk(desk: Desk) -> None:
    waiting = peeking(desk)
    desk.ask(desk.adding())
    desk.turn()
    assert not waiting.answered
    desk.settle()
    assert waiting.answered


# Updates that come with a claim


def finish(desk: Desk, uid: str, lease: str | None, queue: str = "q", state: State = State.COMPLETE) -> c.QueueUpdate:
    return c.QueueUpdate(queue, c.JobUpdate(uid=uid, lease=lease, changes=c.Changes(state=state)))


def held(desk: Desk) -> Any:
    (one,) = desk.told(desk.claiming()).jobs
    return one.job


def test_a_finish_and_claim_whose_client_leaves_finishes_its_job_and_releases_the_claimed_job(desk: Desk) -> None:
    first, second = add(desk), add(desk)
    job = held(desk)
    command = c.Claims(queues=("q",), access_key=KEY, updates=(finish(desk, first, job.standing.lease),))
    asked = desk.ask(desk.engine.claim(command))
    desk.turn()
    asked.cancel()
    desk.settle()
    states = {one.spec.uid: (one.state, one.standing.attempts) for one in desk.jobs()}
    assert states == {first: (State.COMPLETE, 1), second: (State.QUEUED, 0)}
