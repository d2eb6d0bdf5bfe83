"""Random lives of schedules agree with a plain model, and a year in each zone with Debian's cron."""

from datetime import timedelta
from typing import Any

import pytest
from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from jobengine.core import commands as c
from jobengine.core.commands.firing import fire
from jobengine.core.errors import ScheduleNotFound, ScheduleRunning
from jobengine.core.facts import ClockSet, ItemSet, JobAdded, JobRemoved
from jobengine.core.model import State
from jobengine.core.schedules import FIRINGS, IfRunning, Missed, Schedule, ScheduledJob, Settings, schedule_of
from jobengine.engine.tables.snapshot import Snapshot
from jobengine.engine.tables.state import Tables
from tests.core.worlds import EDGE, KEY, World, picture
from tests.debian_cron import fired, year

WHO: dict[str, Any] = {"queue": "q", "access_key": KEY}
JOB = ScheduledJob(content="{}", keep_minutes=1_000_000, timeout_seconds=0)


@define
class Plan:
    """A schedule in the plain model. Times are in milliseconds; a job is identified by its time."""

    every: int
    rules: dict[str, Any]
    created: int
    next: int | None
    done: int = 0
    paused: bool = False
    jobs: dict[str, str] = field(factory=dict)
    followed: list[str] = field(factory=list)
    failures: int = 0
    history: list[tuple[Any, ...]] = field(factory=list)

    def after(self, time: int) -> int:
        number = max(1, (time - self.created) // self.every + 1)
        return self.created + number * self.every

    def tick(self, wall: int) -> None:
        while self.next is not None and self.next <= wall:
            due = [self.next]
            while self.after(due[-1]) <= wall:
                due.append(self.after(due[-1]))
            self.look()
            if self.rules["missed"] is Missed.ALL:
                self.next = self.after(due[0])
                self.try_to_fire(due[0])
                continue
            self.next = self.after(due[-1])
            oldest = {Missed.ONCE: self.rules["missed_seconds"] * 1_000}.get(self.rules["missed"], 0)
            is_late = wall - due[-1] > max(60_000, oldest)
            missed = due if is_late else due[:-1]
            if missed:
                self.note(("missed", missed[0], len(missed)), missed[-1])
            if not is_late:
                self.try_to_fire(due[-1])

    def look(self) -> None:
        """Count the jobs that have ended since the last call."""
        for time in list(self.followed):
            if self.jobs[time] not in ("queued", "inprogress"):
                self.followed.remove(time)
                self.failures = {"complete": 0, "failed": self.failures + 1}.get(self.jobs[time], self.failures)

    def try_to_fire(self, time: int) -> None:
        most = self.rules["pause_after_failures"]
        if most is not None and self.failures >= most:
            self.note(("failing", time, 1), time)
            self.paused, self.next = True, None
        elif self.running() and self.rules["if_running"] is IfRunning.SKIP:
            self.note(("running", time, 1), time)
        elif str(time) in self.jobs:
            self.note(("again", time, 1), time)
        else:
            self.add(str(time))
            self.note(("fired", time, 1), time)

    def running(self) -> list[str]:
        seen = {entry[3] for entry in self.history if len(entry) > 3} | {str(entry[1]) for entry in self.history}
        seen |= {*self.followed}
        return [time for time, state in self.jobs.items() if state in ("queued", "inprogress") and time in seen]

    def add(self, name: str) -> None:
        if self.rules["if_running"] is IfRunning.REPLACE:
            for time in self.running():
                if self.jobs[time] == "queued":
                    self.jobs[time] = "cancelled"
        self.jobs[name] = "queued"
        self.followed = [*self.followed, name][-100:]

    def note(self, entry: tuple[Any, ...], done: int) -> None:
        self.history = [*self.history, entry][-FIRINGS:]
        self.done = max(self.done, done)


class ScheduleMachine(RuleBasedStateMachine):
    """Gives the same commands to a World and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.create()
        self.plan: Plan | None = None
        #: The uids of the jobs by their names in the model.
        self.uids: dict[str, str] = {}
        self.runs = 0

    @property
    def wall(self) -> int:
        return self.world.now + self.world.tables.ahead

    def settle(self) -> None:
        for fact in self.world.expire():
            if isinstance(fact, JobAdded):
                self.learn(fact.job.spec.uid, str(fact.job.spec.rare.context.meta))
        if self.plan is not None:
            self.plan.tick(self.wall)

    def learn(self, uid: str, meta: str) -> None:
        schedule = schedule_of(self.world.tables.queues["q"].named["schedule", "s"])
        # With `missed: all`, older entries may have left the history, so the text names the time.
        found = [str(one.time) for one in schedule.firings if one.uid == uid]
        self.uids[found[0] if found else meta] = uid

    @rule(
        every=st.sampled_from([10_000, 60_000, 3_600_000]),
        if_running=st.sampled_from(IfRunning),
        missed=st.sampled_from(Missed),
        missed_seconds=st.sampled_from([0, 600, 86_400]),
        failures=st.sampled_from([None, None, 1, 2]),
        paused=st.sampled_from([None, None, True, False]),
    )
    def put(
        self, every: int, if_running: Any, missed: Any, missed_seconds: int, failures: int | None, paused: Any
    ) -> None:
        self.settle()
        rules = {
            "if_running": if_running,
            "missed": missed,
            "missed_seconds": missed_seconds,
            "pause_after_failures": failures,
        }
        whole = Settings(every_seconds=every // 1_000, job=JOB, **rules)
        self.world.ask(c.SetSchedule(**WHO, name="s", settings=whole, paused=paused, edge=EDGE))
        plan = self.plan
        if plan is None:
            plan = self.plan = Plan(every, rules, self.wall // 1_000 * 1_000, None, paused=bool(paused))
            plan.next = None if paused else plan.after(self.wall)
            return
        was, plan.rules = plan.paused, rules
        plan.paused = plan.paused if paused is None else paused
        if plan.paused:
            plan.next, plan.every = None, every
        elif was or plan.every != every:
            plan.every = every
            plan.next = plan.after(max(self.wall, plan.done))
            plan.failures = 0 if was else plan.failures

    @rule(ms=st.sampled_from([1_000, 10_000, 61_000, 3_600_000, 9_000_000]))
    def wait(self, ms: int) -> None:
        self.world.now += ms

    @rule(ms=st.sampled_from([-9_000_000, -3_600_000, -1_000, 1_000, 3_600_000]))
    def set_clock(self, ms: int) -> None:
        self.settle()
        self.world.apply([ClockSet(self.world.tables.ahead + ms)])

    @rule(data=st.data(), state=st.sampled_from([State.COMPLETE, State.FAILED, State.INPROGRESS]))
    def update(self, data: st.DataObject, state: State) -> None:
        self.settle()
        plan = self.plan
        open_ = [] if plan is None else [name for name, its in plan.jobs.items() if its in ("queued", "inprogress")]
        if plan is not None and open_:
            name = data.draw(st.sampled_from(open_[-3:]))
            if name in self.uids:
                job = self.world.update(self.uids[name], state=state, retry=False)
                cancelled = "cancelled" if job.cancelled else None
                plan.jobs[name] = cancelled or str(state)

    @rule()
    def delete(self) -> None:
        self.settle()
        if self.plan is None:
            with pytest.raises(ScheduleNotFound):
                self.world.ask(c.DeleteSchedule(**WHO, name="s"))
            return
        self.world.ask(c.DeleteSchedule(**WHO, name="s"))
        for uid in self.uids.values():
            self.world.delete(uid)
        self.plan, self.uids = None, {}

    @rule()
    def run_now(self) -> None:
        self.settle()
        plan = self.plan
        if plan is None:
            return
        plan.look()
        command = c.RunSchedule(**WHO, name="s", edge=EDGE)
        if plan.running() and plan.rules["if_running"] is IfRunning.SKIP:
            with pytest.raises(ScheduleRunning):
                self.world.ask(command)
            return
        firing, _ = self.world.ask(command)
        self.runs += 1
        name = f"run {self.runs}"
        self.uids[name] = firing.uid
        plan.add(name)
        plan.history = [*plan.history, ("fired", firing.time, 1, name)][-FIRINGS:]

    @rule()
    def restart(self) -> None:
        """Make the tables from a snapshot."""
        self.settle()
        before, tables = picture(self.world.tables), Tables()
        snapshot = Snapshot(self.world.tables)
        while (facts := snapshot.take(3)) is not None:
            tables.apply(facts)
        self.world.tables = tables
        assert picture(tables) == before

    @invariant()
    def agree(self) -> None:
        self.settle()
        texts = dict(self.world.tables.queues["q"].items("schedule"))
        if self.plan is None:
            assert texts == {}
            return
        schedule, plan = schedule_of(texts["s"]), self.plan
        assert (schedule.next, schedule.paused) == (plan.next, plan.paused)
        assert [_entry(one) for one in schedule.firings] == [entry[:3] for entry in plan.history]
        assert schedule.next is None or schedule.next > schedule.done
        jobs = self.world.tables.queues["q"].jobs
        assert len(jobs) == len(plan.jobs)
        states = {name: jobs[uid] for name, uid in self.uids.items() if name in plan.jobs}
        for name, job in states.items():
            assert ("cancelled" if job.cancelled else job.state) == plan.jobs[name], name


def _entry(firing: Any) -> tuple[str, int, int]:
    kinds = {"was missed": "missed", "is not finished": "running", "It is paused": "failing", "before": "again"}
    found = [kind for text, kind in kinds.items() if text in str(firing.skipped)]
    return (found[0] if found else "fired", firing.time, firing.times)


@pytest.mark.slow
def test_a_schedule_under_random_changes_behaves_as_in_a_plain_model() -> None:
    run_state_machine_as_test(
        ScheduleMachine, settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
    )


@pytest.mark.slow
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe"])
def test_a_simulated_year_fires_each_time_of_debians_cron_once(zone: str) -> None:
    lines = {"a": "0 * * * *", "b": "30 2 * * *", "c": "0,30 1-3 * * *", "d": "*/30 2 1-7 * 0", "e": "0 0 1,15 * 1"}
    first, last = year(2027)
    world = World()
    world.now = int((first - timedelta(seconds=1)).timestamp()) * 1_000
    world.create()
    for name, line in lines.items():
        whole = Settings(cron=line, timezone=zone, job=JOB, if_running=IfRunning.ADD)
        world.ask(c.SetSchedule(**WHO, name=name, settings=whole, edge=EDGE))
    times: dict[str, list[int]] = {name: [] for name in lines}
    until = int(last.timestamp()) * 1_000
    while (deadline := world.tables.next_deadline) is not None and deadline < until:
        world.now = deadline
        facts = fire(world.tables, world.now, EDGE)
        world.apply(facts)
        (added,) = [fact for fact in facts if isinstance(fact, JobAdded)]
        # Delete the jobs: the year then takes less memory and time.
        world.apply([JobRemoved("q", added.job.spec.uid)])
        (name,) = [fact.name for fact in facts if isinstance(fact, ItemSet)]
        schedule: Schedule = schedule_of(world.tables.queues["q"].named["schedule", name])
        times[name].append(schedule.firings[-1].time // 1_000)
    assert times == {name: fired(line, zone, first, last) for name, line in lines.items()}
