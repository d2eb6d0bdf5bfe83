"""What each command does, and what expires."""

from contextlib import suppress
from typing import Any

import pytest

from jobengine.core.access import ALLOWED
from jobengine.core.commands import (
    AddJobs,
    AddKey,
    ChangeQueue,
    Changes,
    CheckKey,
    Claim,
    CreateQueue,
    DeleteJob,
    DeleteMatching,
    DeleteQueue,
    ExplainJob,
    Filter,
    JobUpdate,
    ListJobs,
    ListKeys,
    NewJob,
    Peek,
    QueueCommand,
    ReadJob,
    ReadStats,
    ReturnClaims,
    RevokeKey,
    Subscribe,
    UpdateJob,
    UpdateJobs,
    UpdateMatching,
)
from jobengine.core.errors import AccessDenied, JobNotFound, KeyNotFound, QueueExists, QueueNotFound
from jobengine.core.facts import JobChanged, JobRemoved
from jobengine.core.model import Defaults, Job, Role, State
from jobengine.core.rules import decide, expire
from tests.core.worlds import KEY, MINUTE, NOW, World, picture

FAR = 1 << 40


def every_command(queue: str = "q", key: bytes = KEY, uid: str = "none") -> list[QueueCommand[object]]:
    common: dict[str, Any] = {"queue": queue, "access_key": key}
    done = Changes(state=State.COMPLETE)
    return [
        DeleteQueue(**common),
        ChangeQueue(**common, paused=True),
        AddKey(**common, role=Role.VIEWER, new_access_key=b"new"),
        RevokeKey(**common, key_id="none"),
        ListKeys(**common),
        CheckKey(**common),
        ReadStats(**common),
        Subscribe(**common),
        ListJobs(**common, limit=10),
        AddJobs(**common, jobs=(NewJob(content=b"{}"),), defaults=Defaults()),
        ReadJob(**common, uid=uid),
        ExplainJob(**common, uid=uid),
        Peek(**common),
        Claim(**common),
        ReturnClaims(**common, claims=((uid, "none"),)),
        UpdateJob(**common, uid=uid, changes=done),
        UpdateJobs(**common, updates=(JobUpdate(uid=uid, changes=done),)),
        DeleteJob(**common, uid=uid),
        UpdateMatching(**common, filter=Filter(), changes=done),
        DeleteMatching(**common, filter=Filter()),
    ]


def test_every_command_on_a_queue_is_among_them() -> None:
    assert {type(command) for command in every_command()} == set(ALLOWED)


@pytest.mark.parametrize("command", every_command(queue="other", key=b"wrong"), ids=lambda c: type(c).__name__)
def test_the_queue_is_checked_before_the_key(world: World, command: QueueCommand[object]) -> None:
    with pytest.raises(QueueNotFound, match="'other'"):
        world.ask(command)


@pytest.mark.parametrize("command", every_command(key=b"wrong"), ids=lambda c: type(c).__name__)
def test_the_key_is_checked_before_the_job(world: World, command: QueueCommand[object]) -> None:
    before = picture(world.tables)
    with pytest.raises(AccessDenied):
        world.ask(command)
    assert picture(world.tables) == before


@pytest.mark.parametrize("command", [c for c in every_command() if hasattr(c, "uid")], ids=lambda c: type(c).__name__)
def test_a_job_that_is_not_there_is_not_found(world: World, command: QueueCommand[object]) -> None:
    with pytest.raises(JobNotFound, match="'none'"):
        world.ask(command)


@pytest.mark.parametrize("key", [KEY, b"another"])
def test_a_name_is_taken_with_any_key(world: World, key: bytes) -> None:
    with pytest.raises(QueueExists):
        world.create(key=key)


def test_the_key_is_kept_as_a_digest_of_the_queues_own(world: World) -> None:
    world.create("other")
    one, other = (world.tables.queues[name].queue for name in ("q", "other"))
    assert one.digest != other.digest
    assert one.salt != other.salt
    assert one.digest not in repr(one)


@pytest.mark.parametrize(
    "command", every_command(uid="00000000-0000-0000-0000-000000000002"), ids=lambda c: type(c).__name__
)
def test_deciding_changes_nothing(world: World, command: QueueCommand[object]) -> None:
    world.add()
    before = picture(world.tables)
    with suppress(KeyNotFound):
        decide(world.tables, command, NOW, world.new_id)
    decide(world.tables, CreateQueue(queue="new", access_key=KEY), NOW, world.new_id)
    expire(world.tables, FAR * 1000, 100)
    assert picture(world.tables) == before


@pytest.mark.parametrize("after", list(State))
@pytest.mark.parametrize("before", list(State))
def test_any_state_may_follow_any(world: World, before: State, after: State) -> None:
    uid = world.add().spec.uid
    world.update(uid, before)
    world.now += 1
    told = world.update(uid, after)
    assert (told.state, told.updated) == (after, NOW + 1)
    assert world.read(uid) == told
    assert picture(world.tables)


def test_a_new_job_is_queued_with_the_requested_fields(world: World) -> None:
    job = world.add(priority=-3, keep_minutes=1, timeout_seconds=2, timeout_time=FAR, content=b'{"a": 1}')
    spec = job.spec
    assert (job.state, job.updated, spec.created) == (State.QUEUED, NOW, NOW)
    assert (spec.priority, spec.keep_minutes, spec.timeout_seconds, spec.timeout_time) == (-3, 1, 2, FAR)
    assert spec.content == b'{"a": 1}'


def test_higher_priority_goes_first_and_equal_ones_by_arrival(world: World) -> None:
    jobs = [world.add(priority=priority) for priority in (0, 5, -1, 5, 0)]
    order = [jobs[at] for at in (1, 3, 0, 4, 2)]
    assert world.list() == order
    claimed = [world.claim() for _ in range(5)]
    assert [job.spec for job in claimed if job] == [job.spec for job in order]
    assert world.claim() is None


def test_two_claims_never_get_the_same_job(world: World) -> None:
    for _ in range(50):
        world.add()
    claimed = [job.spec.uid for _ in range(60) if (job := world.claim())]
    assert len(claimed) == len(set(claimed)) == 50


def test_a_requeued_job_keeps_its_old_place(world: World) -> None:
    first, second = world.add(), world.add()
    claimed = world.hold()
    assert (claimed.spec, claimed.state, claimed.updated) == (first.spec, State.INPROGRESS, NOW)
    world.update(first.spec.uid, State.QUEUED)
    world.add()
    assert [world.hold().spec, world.hold().spec] == [first.spec, second.spec]


def test_a_peek_changes_nothing(world: World) -> None:
    world.add()
    world.add(priority=1)
    before = picture(world.tables)
    assert world.peek() == world.peek()
    assert picture(world.tables) == before
    peeked, claimed = world.peek(), world.claim()
    assert peeked
    assert claimed
    assert peeked.spec == claimed.spec


def test_pages_give_every_job_once_in_order(world: World) -> None:
    for number in range(25):
        world.add(priority=number % 3)
    whole, after, seen = world.list(), None, list[Job]()
    while True:
        page = world.ask(ListJobs(queue="q", access_key=KEY, after=after, limit=5, scan=7))
        seen += page.jobs
        after = page.following
        if after is None:
            break
    assert seen == whole


def test_a_deleted_job_is_gone_and_so_are_those_of_a_deleted_queue(world: World) -> None:
    uid, other = world.add().spec.uid, world.add().spec.uid
    world.delete(uid)
    with pytest.raises(JobNotFound):
        world.read(uid)
    world.delete_queue()
    world.create()
    with pytest.raises(JobNotFound):
        world.read(other)
    assert world.list() == []


def test_in_progress_without_an_update_fails_at_the_exact_time(world: World) -> None:
    uid = world.add(timeout_seconds=600).spec.uid
    world.claim()
    world.now += 10 * MINUTE - 1
    assert world.read(uid).state is State.INPROGRESS
    world.now += 1
    job = world.read(uid)
    assert (job.state, job.updated) == (State.FAILED, world.now)


def test_an_update_to_in_progress_restarts_the_time(world: World) -> None:
    uid = world.add(timeout_seconds=600).spec.uid
    world.claim()
    world.now += 9 * MINUTE
    world.update(uid, State.INPROGRESS)
    world.now += 9 * MINUTE
    assert world.read(uid).state is State.INPROGRESS


@pytest.mark.parametrize("state", [State.COMPLETE, State.FAILED])
def test_a_finished_job_is_removed_at_the_exact_time(world: World, state: State) -> None:
    uid = world.add(keep_minutes=60).spec.uid
    world.update(uid, state)
    world.now += 60 * MINUTE - 1
    assert world.read(uid).state is state
    world.now += 1
    with pytest.raises(JobNotFound):
        world.read(uid)


def test_a_queued_job_is_removed_at_its_timeout_time(world: World) -> None:
    uid = world.add(timeout_time=NOW // 1000 + 5).spec.uid
    world.now += 4_999
    assert world.read(uid).state is State.QUEUED
    world.now += 1
    assert world.peek() is None
    with pytest.raises(JobNotFound):
        world.read(uid)


def test_the_timeout_time_counts_while_queued_only(world: World) -> None:
    uid = world.add(timeout_time=NOW // 1000 + 5, timeout_seconds=0).spec.uid
    world.claim()
    world.now += 10_000
    assert world.read(uid).state is State.INPROGRESS
    world.update(uid, State.QUEUED)
    with pytest.raises(JobNotFound):
        world.read(uid)


@pytest.mark.parametrize("state", [State.COMPLETE, State.FAILED])
def test_a_job_that_is_kept_for_0_minutes_is_removed_right_after_the_answer(world: World, state: State) -> None:
    uid = world.add(keep_minutes=0).spec.uid
    assert world.update(uid, state).state is state
    with pytest.raises(JobNotFound):
        world.read(uid)


def test_a_timed_out_job_that_is_not_kept_goes_in_one_step(world: World) -> None:
    uid = world.add(keep_minutes=0, timeout_seconds=60).spec.uid
    world.claim()
    world.now += MINUTE
    failed, removed = world.expire()
    assert isinstance(failed, JobChanged)
    assert (failed.uid, failed.standing.state, failed.standing.updated) == (uid, State.FAILED, world.now)
    assert removed == JobRemoved("q", uid)


def test_zero_is_never_for_timeouts(world: World) -> None:
    queued, claimed = world.add(priority=-1, timeout_time=0), world.add(timeout_seconds=0)
    world.claim()
    world.now += FAR
    assert world.read(queued.spec.uid).state is State.QUEUED
    assert world.read(claimed.spec.uid).state is State.INPROGRESS
    assert not world.tables.deadlines


def test_a_clock_that_goes_back_brings_nothing_about(world: World) -> None:
    uid = world.add().spec.uid
    world.claim()
    world.now -= 60 * MINUTE
    assert world.expire() == []
    assert world.update(uid, State.COMPLETE).updated == world.now
    assert picture(world.tables)


def test_time_goes_by_in_slices_over_all_queues(world: World) -> None:
    world.create("other")
    for queue in ("q", "other"):
        for _ in range(5):
            world.add(queue, timeout_time=NOW // 1000 + 1)
    world.now += 1_000
    assert len(expire(world.tables, world.now, 7)) == 7
    assert len(world.expire()) == 10
    assert not world.tables.deadlines
