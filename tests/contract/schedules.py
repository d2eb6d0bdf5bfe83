"""Schedules: each time adds one job, also after a restart, after the clock was set, and for waiting claims."""

from typing import Any

import pytest
from msgspec.structs import replace

from jobengine.core import commands as c
from jobengine.core.model import Job, State
from jobengine.core.schedules import IfRunning, Missed, Schedule, ScheduledJob, ScheduleReport, Settings
from tests.contract.asking import KEY, Asker, Contract
from tests.contract.dead_letters import OTHER, with_dead_letters
from tests.contract.world import World
from tests.core.worlds import EDGE

JOB = ScheduledJob(content="{}")
#: The seconds between two times of the schedule.
EVERY = 100


def put(ask: Asker, queue: str = "q", name: str = "s", **settings: Any) -> Schedule:
    whole = Settings(**{"every_seconds": EVERY, "job": JOB, **settings})
    report: ScheduleReport = ask.ask(c.SetSchedule, queue, name=name, settings=whole, edge=EDGE)
    return report.schedule


def read(ask: Asker, queue: str = "q", name: str = "s") -> Schedule:
    return ask.ask(c.ReadSchedule, queue, name=name).schedule


def _outcomes(ask: Asker) -> str:
    """The firings as text: a plus for each job that was added, a minus for each skip."""
    return "".join("+" if one.uid else "-" for one in read(ask).firings)


def _metas(jobs: list[Job]) -> list[str | None]:
    return [job.spec.rare.context.meta for job in jobs]


class ScheduleContract(Contract):
    """A queue adds jobs at its times."""

    def test_each_time_of_a_schedule_adds_one_job(self, world: World, ask: Asker) -> None:
        put(ask, if_running=IfRunning.ADD)
        world.advance(EVERY - 1)
        assert ask.jobs() == []
        for number in range(1, 4):
            world.advance(1)
            assert len(ask.jobs()) == number
            world.advance(EVERY - 1)
        assert len(set(_metas(ask.jobs()))) == 3
        assert read(ask).fired == 3

    def test_a_firing_replaces_the_unfinished_job(self, world: World, ask: Asker) -> None:
        put(ask, if_running=IfRunning.REPLACE)
        world.advance(EVERY)
        world.advance(EVERY)
        assert [(job.state, job.cancelled) for job in ask.jobs()] == [(State.FAILED, True), (State.QUEUED, False)]

    def test_a_firing_is_skipped_if_its_queue_is_full_or_draining_or_its_unique_key_taken(
        self, world: World, ask: Asker
    ) -> None:
        put(ask, if_running=IfRunning.ADD, job=replace(JOB, unique_key="u"))
        put(ask, name="other", if_running=IfRunning.ADD)
        ask.reconfigure(max_jobs=2)
        ask.add(unique_key="u")
        world.advance(EVERY)
        ask.reconfigure(draining=True)
        world.advance(EVERY)
        ask.reconfigure(draining=False)
        world.advance(EVERY)
        assert [one.skipped is None for one in read(ask, name="other").firings] == [True, False, False]
        assert ["unique_key" in str(one.skipped) for one in read(ask).firings] == [True, True, True]
        assert len(ask.jobs()) == 2

    def test_scheduled_jobs_of_a_group_respect_its_limits(self, world: World, ask: Asker) -> None:
        put(ask, if_running=IfRunning.ADD, job=replace(JOB, group="g"))
        ask.ask(c.ChangeGroup, group="g", in_progress=1)
        world.advance(EVERY)
        world.advance(EVERY)
        ask.hold()
        assert ask.claim() is None
        assert len(ask.jobs()) == 2

    @pytest.mark.parametrize(("missed", "fired", "skipped"), [("once", 1, 9), ("none", 0, 10), ("all", 10, 0)])
    def test_a_restart_fires_missed_times_as_the_setting_says(
        self, world: World, ask: Asker, missed: str, fired: int, skipped: int
    ) -> None:
        put(ask, missed=Missed(missed), if_running=IfRunning.ADD)
        world.pass_stopped(EVERY * 10 + 80)
        world.advance(1)
        assert (read(ask).fired, read(ask).skipped, len(ask.jobs())) == (fired, skipped, fired)

    @pytest.mark.parametrize(
        ("step", "jobs"), [(-31_536_000, 3), (-EVERY * 3, 4), (-1, 6), (1, 7), (EVERY * 3, 8), (31_536_000, 8)]
    )
    def test_no_scheduled_time_fires_twice_although_the_clock_is_set(
        self, world: World, ask: Asker, step: int, jobs: int
    ) -> None:
        put(ask, if_running=IfRunning.ADD)
        for _ in range(3):
            world.advance(EVERY)
        world.set_wall_clock(step)
        for _ in range(4):
            world.advance(EVERY)
        metas = _metas(ask.jobs())
        assert len(set(metas)) == len(metas) == jobs

    def test_failed_jobs_in_the_dead_letter_queue_pause_a_schedule(self, world: World, ask: Asker) -> None:
        with_dead_letters(ask)
        put(ask, pause_after_failures=2)
        for _ in range(2):
            world.advance(EVERY)
            ask.update(ask.hold(), State.FAILED)
        report = ask.ask(c.ReadSchedule, name="s")
        assert ([*report.states.values()], ask.jobs()) == ([State.FAILED] * 2, [])
        world.advance(EVERY)
        assert (read(ask).failing, _outcomes(ask)) == (True, "++-")

    def test_a_job_that_is_moved_back_and_completed_does_not_count_as_a_failed_firing(
        self, world: World, ask: Asker
    ) -> None:
        with_dead_letters(ask)
        put(ask, pause_after_failures=1, job=replace(JOB, keep_minutes=0))
        put(ask, name="other")
        world.advance(EVERY)
        for _ in range(2):
            ask.update(ask.hold(), State.FAILED)
        states = [ask.ask(c.ReadSchedule, name=name).states for name in ("s", "other")]
        assert [[*one.values()] for one in states] == [[State.FAILED]] * 2
        move = c.MoveJobs(queue=OTHER, to="q", access_key=KEY, filter=c.Filter(), uids=(*states[0], *states[1]))
        assert ask.get(world.engine.ask(move)).moved.moved == 2
        for _ in range(2):
            ask.update(ask.hold(), State.COMPLETE)
        world.advance(EVERY)
        assert (read(ask).failing, _outcomes(ask)) == (False, "++")
        assert [*ask.ask(c.ReadSchedule, name="s").states.values()] == [State.QUEUED]

    def test_a_deleted_schedule_does_not_fire_again(self, world: World, ask: Asker) -> None:
        put(ask)
        ask.ask(c.DeleteSchedule, name="s")
        world.advance(EVERY)
        assert ask.jobs() == []

    def test_a_hundred_schedules_of_two_queues_fire_at_the_same_time(self, world: World, ask: Asker) -> None:
        ask.create("other")
        for number in range(100):
            put(ask, "other" if number % 2 else "q", name=f"s{number}")
        world.advance(EVERY)
        world.advance(1)
        assert len(ask.jobs()) == 50
        assert ask.counts("other") == {State.QUEUED: 50}
        (totals,) = [one for one in ask.get(world.engine.ask(c.CountQueues())) if one.name == "q"]
        assert (totals.totals["schedule_fired"], totals.schedule_late, totals.has_schedules) == (50, 0, True)
