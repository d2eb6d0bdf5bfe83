"""Schedules of an engine on a file: crashes at every step, many at once, an idle server, a full disk."""

from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from jobengine.core import commands as c
from jobengine.core.model import Job
from jobengine.core.schedules import IfRunning, Missed, Schedule, ScheduledJob, Settings
from tests.core.worlds import EDGE
from tests.doubles import START, CountedIds, make_engine, new_clock, start
from tests.engine.engines import KEY, Desk
from tests.engine.test_durability import with_room, without_room
from tests.pending import Pending
from tests.storage.simulated_files import SimulatedFiles

WHO: dict[str, Any] = {"queue": "q", "access_key": KEY}
#: Seconds between two times.
EVERY = 60


def setting(name: str = "s", queue: str = "q", **settings: Any) -> c.SetSchedule:
    whole = Settings(**{"every_seconds": EVERY, "job": ScheduledJob(content="{}"), **settings})
    return c.SetSchedule(queue=queue, access_key=KEY, name=name, settings=whole, edge=EDGE)


def read(desk: Desk, name: str = "s") -> Schedule:
    schedule: Schedule = desk.told(desk.engine.ask(c.ReadSchedule(**WHO, name=name))).schedule
    return schedule


def of_schedule(desk: Desk) -> list[Job]:
    return [job for job in desk.jobs() if job.spec.rare.context.meta is not None]


class _Life:
    """An engine on simulated files."""

    def __init__(self, files: SimulatedFiles, clock: Clock) -> None:
        self.files, self.clock = files, clock
        self.engine = make_engine(Path("db"), clock, files=files, new_id=CountedIds())
        start(self.engine, lambda: clock.advance(0))

    def ask(self, command: c.Command[Any]) -> Any:
        pending = Pending(self.engine.ask(command))
        self.clock.advance(0)
        return pending.answer


def _found(disk: Any, seconds: float) -> tuple[set[str], Schedule]:
    """The jobs and the schedule after a crash, once the engine has caught up; checks that each time has one job."""
    clock = Clock()
    clock.rightNow = seconds
    life = _Life(SimulatedFiles(disk), clock)
    jobs = life.ask(c.ListJobs(**WHO, limit=100)).jobs
    schedule = life.ask(c.ReadSchedule(**WHO, name="s")).schedule
    assert len(jobs) == schedule.fired == len({job.spec.rare.context.meta for job in jobs})
    assert {job.spec.uid for job in jobs} == {one.uid for one in schedule.firings}
    return {job.spec.uid for job in jobs}, schedule


def test_after_a_crash_in_a_firing_either_both_job_and_next_time_are_stored_or_neither() -> None:
    """The server then catches up, so that each time has exactly one job."""
    files, clock = SimulatedFiles(), new_clock()
    life = _Life(files, clock)
    life.ask(c.CreateQueue(queue="q", access_key=KEY))
    life.ask(setting(missed=Missed.ALL, if_running=IfRunning.ADD))
    crashes = 0

    def crash() -> None:
        nonlocal crashes
        due = int(clock.seconds() - START) // EVERY
        for disk in list(files.after_a_crash()):
            jobs, schedule = _found(disk, clock.seconds())
            assert (len(jobs), schedule.next) == (due, (START + (due + 1) * EVERY) * 1_000)
            crashes += 1

    files.moment = crash
    for _ in range(4):
        clock.advance(EVERY)
        clock.advance(0)
    files.moment = lambda: None
    assert crashes > 100
    assert len(_found(files.now(), clock.seconds())[0]) == 4


def test_an_idle_server_with_many_schedules_wakes_only_for_the_next_firing(desk: Desk) -> None:
    for number in range(1_000):
        Pending(desk.engine.ask(setting(f"s{number}", every_seconds=86_400 + number)))
    desk.settle()
    desk.clock.advance(10)
    desk.settle()
    (timer,) = desk.clock.getDelayedCalls()
    assert timer.getTime() == START + 86_400
    desk.clock.advance(86_400 - 10 - 0.5)
    assert desk.clock.getDelayedCalls() == [timer]


def test_many_due_schedules_fire_in_turns_between_other_requests(desk: Desk) -> None:
    for number in range(1_000):
        Pending(desk.engine.ask(setting(f"s{number}")))
    desk.settle()
    desk.clock.rightNow += EVERY
    requests, answered, fired = 0, 0, 0
    while fired < 1_000:
        pending = Pending(desk.engine.ask(c.ReadStats(**WHO)))
        requests += 1
        for _ in range(2):
            desk.one_turn()
            while desk.thread.waiting:
                desk.thread.step()
            now = desk.engine.executor.tables.queues["q"].size()
            assert now - fired <= 50
            fired = now
        answered += pending.answered
    assert desk.clock.seconds() == START + EVERY
    assert requests == 10
    assert answered >= 9
    desk.settle()
    assert len(desk.jobs()) == 1_000


def test_a_request_is_answered_before_all_due_schedules_have_fired(desk: Desk) -> None:
    for number in range(200):
        Pending(desk.engine.ask(setting(f"s{number}")))
    desk.settle()
    desk.clock.rightNow += EVERY
    pending = Pending(desk.engine.ask(c.ReadStats(**WHO)))
    while desk.thread.waiting or not pending.answered:
        desk.one_turn()
        desk.thread.step()
    assert desk.engine.executor.tables.queues["q"].size() < 200


def test_on_a_full_disk_no_schedule_fires_and_missed_times_follow_later(desk: Desk) -> None:
    desk.told(desk.engine.ask(setting(if_running=IfRunning.ADD, missed=Missed.ALL)))
    without_room(desk)
    refused = desk.ask(desk.adding())
    desk.settle()
    assert refused.answered
    for _ in range(3):
        desk.clock.advance(EVERY)
        desk.settle()
    assert desk.engine.executor.tables.queues["q"].size() == 0
    assert len(desk.clock.getDelayedCalls()) <= 2, "the timer of schedules does not spin"
    with_room(desk)
    for _ in range(5):
        desk.clock.advance(0.5)
        desk.settle()
    assert (len(of_schedule(desk)), read(desk).fired) == (3, 3)
    desk.restart_after_kill()
    assert (len(of_schedule(desk)), read(desk).fired) == (3, 3)
