"""Rules that all commands share."""

from contextlib import suppress
from typing import Any

import pytest

from jobengine.core.ageing import Order
from jobengine.core.commands import (
    AddJobs,
    AddKey,
    Backfill,
    ChangeGroup,
    ChangeQueue,
    Changes,
    ChangeSchedule,
    CheckKey,
    Claim,
    CloseBatch,
    CountFailures,
    CreateQueue,
    DeleteJob,
    DeleteMatching,
    DeleteQueue,
    DeleteSchedule,
    ExplainJob,
    Filter,
    FireSchedule,
    JobUpdate,
    ListBatches,
    ListClaimers,
    ListFailures,
    ListGroups,
    ListJobs,
    ListKeys,
    ListSchedules,
    MoveInLine,
    NewJob,
    Peek,
    QueueCommand,
    ReadBatch,
    ReadDeadLetter,
    ReadGroup,
    ReadHistory,
    ReadJob,
    ReadLinks,
    ReadSchedule,
    ReadStats,
    ResetGroup,
    ReturnClaims,
    RevokeKey,
    RunSchedule,
    SetBatch,
    SetSchedule,
    SettleOrder,
    Subscribe,
    UpdateJob,
    UpdateJobs,
    UpdateMatching,
    UseQueue,
    WaitFor,
)
from jobengine.core.errors import JobNotFound, KeyNotFound, NotInProgress, QueueNotFound
from jobengine.core.expiring import expire
from jobengine.core.model import Defaults, Role, State
from jobengine.core.schedules import Edge, ScheduledJob, Settings
from jobengine.timetable import TIMETABLE
from tests.core.worlds import KEY, NOW, World, picture
from tests.doubles import NoActivity

FAR = 1 << 40


_PLAIN = ScheduledJob(content="{}")


def schedule_commands(name: str = "s", job: ScheduledJob = _PLAIN, **common: Any) -> list[QueueCommand[object]]:
    """Every command about a schedule; the first makes it."""
    edge, one = Edge(Defaults(), TIMETABLE), {**common, "name": name}
    settings = Settings(every_seconds=60, job=job)
    return [
        SetSchedule(**one, settings=settings, edge=edge),
        ChangeSchedule(**one, paused=True, edge=edge),
        DeleteSchedule(**one),
        ReadSchedule(**one),
        ListSchedules(**common, limit=10),
        RunSchedule(**one, edge=edge),
        Backfill(**one, first=0, last=0, edge=edge),
        FireSchedule(**one, edge=edge),
    ]


def batch_commands(name: str = "b", **common: Any) -> list[QueueCommand[object]]:
    """Every command about a batch; the first makes it."""
    one = {**common, "name": name}
    return [
        SetBatch(**one, then=NewJob(content=b"{}"), defaults=Defaults()),
        CloseBatch(**one),
        ReadBatch(**one),
        ListBatches(**common, limit=10),
    ]


def every_command(queue: str = "q", key: bytes = KEY, uid: str = "none") -> list[QueueCommand[object]]:
    common: dict[str, Any] = {"queue": queue, "access_key": key}
    done = Changes(state=State.COMPLETE)
    return [
        DeleteQueue(**common),
        ChangeQueue(**common, paused=True),
        MoveInLine(**common, state=State.QUEUED),
        SettleOrder(**common, order=Order(changed=1)),
        AddKey(**common, role=Role.VIEWER, new_access_key=b"new"),
        RevokeKey(**common, key_id="none"),
        ListKeys(**common),
        CheckKey(**common),
        ReadStats(**common),
        ReadHistory(**common),
        ListFailures(**common, limit=10),
        CountFailures(**common),
        ReadGroup(**common, group="g"),
        ListGroups(**common, limit=10),
        ChangeGroup(**common, group="g", paused=True),
        ResetGroup(**common, group="g"),
        *schedule_commands(**common),
        *batch_commands(**common),
        Subscribe(**common),
        ListJobs(**common, limit=10),
        ListClaimers(**common),
        AddJobs(**common, jobs=(NewJob(content=b"{}"),), defaults=Defaults()),
        WaitFor(**common, uid=uid, jobs=(NewJob(content=b"{}"),), defaults=Defaults()),
        ReadLinks(**common, uids=(uid,), most=1),
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
        UseQueue(**common, uids=(uid,)),
        ReadDeadLetter(**common),
    ]


def kinds(base: type[QueueCommand[Any]] = QueueCommand) -> set[type[QueueCommand[Any]]]:
    """All classes of commands about a queue, without base classes."""
    ours = [kind for kind in base.__subclasses__() if kind.__module__.startswith("jobengine.")]
    return {kind for one in ours for kind in kinds(one)} or {base}


def test_every_command_on_a_queue_is_listed() -> None:
    assert {type(command) for command in every_command()} == kinds()


def test_a_reading_command_returns_no_facts(world: World) -> None:
    job = world.add(group="g")
    world.ask(schedule_commands(queue="q", access_key=KEY)[0])
    world.ask(batch_commands(queue="q", access_key=KEY)[0])
    reading = [command for command in every_command(uid=job.spec.uid) if command.reads]
    facts = [command.decide(world.tables, NOW, world.new_id, NoActivity())[0] for command in reading]
    assert not any(facts)
    assert len(facts) > 5


def test_the_queue_is_checked_before_the_key(world: World) -> None:
    for command in every_command(queue="other", key=b"wrong"):
        with pytest.raises(QueueNotFound, match="'other'"):
            world.ask(command)


def test_a_missing_job_is_not_found(world: World) -> None:
    for command in every_command():
        if hasattr(command, "uid"):
            with pytest.raises(JobNotFound, match="'none'"):
                world.ask(command)


def test_deciding_a_command_changes_no_state(world: World) -> None:
    world.add(group="g")
    world.ask(schedule_commands(queue="q", access_key=KEY)[0])
    world.ask(batch_commands(queue="q", access_key=KEY)[0])
    before = picture(world.tables)
    for command in every_command(uid="00000000-0000-0000-0000-000000000002"):
        with suppress(KeyNotFound, NotInProgress):
            command.decide(world.tables, NOW, world.new_id, NoActivity())
        assert picture(world.tables) == before, command
    CreateQueue(queue="new", access_key=KEY).decide(world.tables, NOW, world.new_id, NoActivity())
    expire(world.tables, FAR * 1000, 100)
    assert picture(world.tables) == before


def test_a_new_job_is_queued_with_the_requested_fields(world: World) -> None:
    job = world.add(priority=-3, keep_minutes=1, timeout_seconds=2, timeout_time=FAR, content=b'{"a": 1}')
    spec = job.spec
    assert (job.state, job.updated, spec.created) == (State.QUEUED, NOW, NOW)
    assert (spec.priority, spec.keep.minutes, spec.timeout_seconds, spec.timeout_time) == (-3, 1, 2, FAR)
    assert spec.content == b'{"a": 1}'


def test_deleting_a_job_or_its_queue_removes_the_job(world: World) -> None:
    uid, other = world.add().spec.uid, world.add().spec.uid
    world.delete(uid)
    with pytest.raises(JobNotFound):
        world.read(uid)
    world.delete_queue()
    world.create()
    with pytest.raises(JobNotFound):
        world.read(other)
    assert world.list() == []
