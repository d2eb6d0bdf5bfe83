"""Compares the index of groups with a plain model that searches all jobs, over random changes."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from jobengine.core import commands as c
from jobengine.core.flow import GATE, GROUP, UNLIMITED, Flow, GroupOrder, Limits, OnFailure, Rate, gate_of, settings_of
from jobengine.core.model import Job, State
from jobengine.engine.tables.group import FairGroup
from jobengine.engine.tables.queue_table import QueueTable
from tests.core.worlds import KEY, World, check_groups

GROUPS = (None, "a", "b", "c")
TAGS = ((), ("x",), ("x", "y"))
_rates = st.none() | st.builds(Rate, st.integers(1, 3), st.integers(1, 20))
_limits = st.builds(Limits, in_progress=st.none() | st.integers(1, 3), rate=_rates)
_jobs = st.tuples(st.sampled_from(GROUPS), st.integers(0, 1), st.sampled_from(TAGS), st.sampled_from([0, 0, 2]))
_OF_JOBS = st.one_of(
    st.tuples(st.just("add"), st.lists(_jobs, min_size=1, max_size=6)),
    st.tuples(st.just("add"), st.lists(_jobs, min_size=1, max_size=6)),
    st.tuples(st.just("claim"), st.integers(1, 5), st.sampled_from(TAGS)),
    st.tuples(st.just("claim"), st.integers(1, 3), st.just(())),
    st.tuples(st.just("end"), st.sampled_from(["complete", "failed", "retry", "release", "delete", "hold", "return"])),
    st.tuples(st.just("revive"), st.booleans()),
    st.tuples(st.just("wait"), st.integers(1, 30_000)),
)
_OF_ALL = st.one_of(
    _OF_JOBS,
    st.tuples(st.just("limit"), _limits, _limits),
    st.tuples(st.just("order"), st.sampled_from(GroupOrder), st.sampled_from(OnFailure)),
    st.tuples(st.just("prepare"), st.sampled_from(GroupOrder), st.sampled_from(OnFailure), st.integers(1, 5)),
    st.tuples(
        st.just("own"), st.sampled_from("abc"), st.none() | st.integers(1, 3), _rates, st.integers(1, 3), st.booleans()
    ),
    st.tuples(st.just("move"), st.sampled_from(["", "a", "b"])),
    st.tuples(st.just("undo"), st.integers(1, 3)),
)


class Model:
    """What can be claimed, computed from all jobs."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.table: QueueTable = world.tables.queues["q"]
        self.flow = self.table.queue.flow or Flow()

    def jobs(self, name: str | None, state: State | None = None) -> list[Job]:
        found = [job for job in self.table.jobs.values() if job.spec.rare.group == name]
        return sorted((job for job in found if state in (None, job.state)), key=lambda job: job.spec.rank)

    def room_of_queue(self) -> int:
        limits, gate = self.flow.limits, gate_of(self.table.item(GATE, ""))
        running = sum(job.state is State.INPROGRESS for job in self.table.jobs.values())
        room = UNLIMITED if limits.in_progress is None else limits.in_progress - running
        return max(0, min(room, gate.left(limits.rate, self.world.now)))

    def room(self, name: str | None) -> int:
        """How many jobs of a group its limits allow to claim, if they are ready."""
        if name is None:
            return UNLIMITED
        own, gate = settings_of(self.table.item(GROUP, name)), gate_of(self.table.item(GATE, name))
        limits, running = own.limits(self.flow), len(self.jobs(name, State.INPROGRESS))
        if own.paused:
            return 0
        room = UNLIMITED if limits.in_progress is None else limits.in_progress - running
        if self.flow.group_order is GroupOrder.STRICT:
            failed = [job for job in self.jobs(name, State.FAILED) if not job.cancelled]
            if running or (failed and self.flow.group_on_failure is OnFailure.HOLD):
                return 0
            room = min(room, 1)
        return max(0, min(room, gate.left(limits.rate, self.world.now)))

    def first(self, name: str | None, tags: Sequence[str]) -> Job | None:
        """The first job of a group that a claim with these tags may get."""
        queued = self.jobs(name, State.QUEUED)
        if self.flow.group_order is GroupOrder.STRICT and name is not None:
            queued = queued[:1]
        return next((job for job in queued if job.ready and set(tags) <= set(job.spec.tags)), None)

    def key(self, job: Job) -> tuple[Any, ...]:
        if self.flow.group_order is not GroupOrder.FAIR:
            return job.spec.rank
        name = job.spec.rare.group
        own = settings_of(None if name is None else self.table.item(GROUP, name))
        load = len(self.jobs(name, State.INPROGRESS)) / own.weight
        assert self.table.turns is not None
        group = self.table.turns.groups[name]
        assert isinstance(group, FairGroup)
        return (-job.spec.priority, load, group.served, job.spec.arrival)

    def next(self, tags: Sequence[str]) -> Job | None:
        """The job that a claim of one gets."""
        if not self.room_of_queue():
            return None
        firsts = [job for name in GROUPS if self.room(name) and (job := self.first(name, tags)) is not None]
        return min(firsts, key=self.key, default=None)

    def ready(self) -> int:
        """How many jobs could be claimed now."""
        strict = self.flow.group_order is GroupOrder.STRICT
        total = 0
        for name in GROUPS:
            ready = sum(job.ready for job in self.jobs(name))
            if strict and name is not None:
                ready = int(self.first(name, ()) is not None)
            total += min(ready, self.room(name))
        return min(total, self.room_of_queue())


class Run:
    """A queue with flow to which random changes are made."""

    def __init__(self, limits: Limits, group_limits: Limits, order: GroupOrder) -> None:
        self.world = World()
        self.world.create()
        self.world.set_up(limits=limits, group_limits=group_limits, group_order=order, target_wait_seconds=1)
        self.add([("a", 0, (), 0), ("b", 0, (), 0), (None, 0, ("x",), 0)])
        self.effects: list[Any] = []

    @property
    def table(self) -> QueueTable:
        return self.world.tables.queues["q"]

    def decide(self, command: Any) -> Any:
        """Decide a command and apply its facts; keep their effects, so that they can be undone."""
        self.world.expire()
        facts, answer = command.decide(self.world.tables, self.world.now, self.world.new_id, None)
        self.effects.append(self.world.tables.apply(facts))
        return answer

    def add(self, jobs: list[tuple[str | None, int, tuple[str, ...], int]]) -> None:
        for group, priority, tags, delay in jobs:
            self.world.add(group=group, priority=priority, tags=tags, delay_seconds=delay, max_attempts=2)

    def claim(self, count: int, tags: tuple[str, ...]) -> None:
        """L2, L3, L6, F1, F4: a bulk claim gives what single claims would give, and these give what the model gives."""
        self.world.expire()
        promised = [job.spec.uid for job in self.table.claim_order(tags, self.world.now, count)]
        for uid in promised:
            expected = Model(self.world).next(tags)
            assert expected is not None
            (job,) = self.decide(c.Claim(queue="q", access_key=KEY, tags=tags))
            assert (job.spec.uid, expected.spec.uid) == (uid, uid)
        if len(promised) < count:
            assert Model(self.world).next(tags) is None

    def end(self, how: str) -> None:
        for job in self.table.in_progress()[:1]:
            uid, lease = job.spec.uid, job.standing.lease
            changes = {
                "complete": c.Changes(state=State.COMPLETE),
                "failed": c.Changes(state=State.FAILED, retry=False),
                "retry": c.Changes(state=State.FAILED, delay_seconds=2),
                "release": c.Changes(state=State.QUEUED),
                "hold": c.Changes(state=State.QUEUED, hold_seconds=5),
            }
            if how == "delete":
                self.decide(c.DeleteJob(queue="q", access_key=KEY, uid=uid))
            elif how == "return":
                self.decide(c.ReturnClaims(queue="q", access_key=KEY, claims=((uid, lease or ""),)))
            else:
                self.decide(c.UpdateJob(queue="q", access_key=KEY, uid=uid, changes=changes[how], lease=lease))

    def revive(self, delete: bool) -> None:
        for job in [job for job in self.table.jobs.values() if job.state is State.FAILED][:1]:
            if delete:
                self.decide(c.DeleteJob(queue="q", access_key=KEY, uid=job.spec.uid))
            else:
                self.world.update(job.spec.uid, State.QUEUED)

    def wait(self, milliseconds: int) -> None:
        self.world.now += milliseconds
        self.world.expire()
        self.effects.clear()

    def limit(self, limits: Limits, group_limits: Limits) -> None:
        self.decide(c.ChangeQueue(queue="q", access_key=KEY, limits=limits, group_limits=group_limits))

    def order(self, order: GroupOrder, on_failure: OnFailure) -> None:
        self.decide(c.ChangeQueue(queue="q", access_key=KEY, group_order=order, group_on_failure=on_failure))

    def prepare(self, order: GroupOrder, on_failure: OnFailure, most: int) -> None:
        """Index some jobs for the next order, as a slice of a change does."""
        flow = Flow(group_order=order, group_on_failure=on_failure)
        if self.table.turns is not None and not self.table.turns.has_shape(flow):
            self.table.flow.prepare(flow, most)

    def own(self, group: str, in_progress: int | None, rate: Rate | None, weight: int, paused: bool) -> None:
        self.decide(
            c.ChangeGroup(
                queue="q",
                access_key=KEY,
                group=group,
                in_progress=in_progress,
                rate=rate,
                group_weight=weight,
                paused=paused,
            )
        )

    def move(self, group: str) -> None:
        for job in [job for job in self.table.jobs.values() if job.state is State.QUEUED][:1]:
            self.decide(
                c.UpdateJob(queue="q", access_key=KEY, uid=job.spec.uid, changes=c.Changes(group=group, priority=1))
            )

    def undo(self, number: int) -> None:
        for effects in reversed(self.effects[-number:]):
            self.world.tables.restore(effects)
        del self.effects[-number:]

    def check(self) -> None:
        """L4, L9: the index follows from the jobs, the counts are the model's, a long claim begins like a short one."""
        self.world.expire()
        table, turns = self.table, self.table.turns
        assert turns is not None
        check_groups(table)
        counts, model = table.counts(), Model(self.world)
        assert counts.ready == model.ready()
        assert counts.ready + counts.held + counts.delayed == counts.states[State.QUEUED]
        *first, _ = orders = [list(table.claim_order((), self.world.now, count)) for count in (1, 2, 3, 9)]
        assert first == [orders[-1][:count] for count in (1, 2, 3)]
        for name, group in turns.groups.items():
            assert group.running == len(model.jobs(name, State.INPROGRESS))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_claims_from_groups_get_the_same_jobs_as_in_a_plain_model(data: st.DataObject) -> None:
    """In half of the runs the settings stay, so that the effects of claims last longer."""
    order, on_failure = data.draw(st.sampled_from(GroupOrder)), data.draw(st.sampled_from(OnFailure))
    run = Run(data.draw(st.just(Limits()) | _limits), data.draw(st.just(Limits()) | _limits), order)
    run.order(order, on_failure)
    changes = _OF_JOBS if data.draw(st.booleans()) else _OF_ALL
    for name, *arguments in data.draw(st.lists(changes, min_size=10, max_size=40)):
        getattr(run, name)(*arguments)
        run.check()


def test_a_job_is_in_progress_in_its_group_again_if_its_failure_is_rolled_back() -> None:
    run = Run(Limits(), Limits(), GroupOrder.STRICT)
    run.order(GroupOrder.STRICT, OnFailure.HOLD)
    run.claim(1, ())
    run.end("failed")
    run.undo(1)
    run.check()


def test_a_group_index_built_in_slices_orders_groups_by_their_most_urgent_job() -> None:
    run = Run(Limits(), Limits(), GroupOrder.ARRIVAL)
    run.add([("a", 2, (), 0), ("b", 3, (), 0), ("a", -1, (), 0)])
    before = [job.spec.uid for job in run.table.claim_order((), run.world.now, 6)]
    run.table.flow.turns = None
    for _ in run.table.flow.build(run.table.queue.flow or Flow(), 2):
        pass
    run.table.flow.set_flow(run.table.queue.flow)
    assert [job.spec.uid for job in run.table.claim_order((), run.world.now, 6)] == before
    run.check()
