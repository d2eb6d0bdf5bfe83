"""Helpers that make facts, commands and tables."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from attrs import evolve

from jobengine.core.batches import BATCH, batch_of
from jobengine.core.commands import (
    Added,
    AddJobs,
    ChangeQueue,
    Changes,
    Claim,
    CreateQueue,
    DeleteJob,
    DeleteQueue,
    ListJobs,
    NewJob,
    Peek,
    ReadJob,
    UpdateJob,
)
from jobengine.core.commands.firing import fire
from jobengine.core.dead_letters import DUE
from jobengine.core.dependants import awaited_by, follow_up
from jobengine.core.dependencies import Awaited
from jobengine.core.expiring import expire
from jobengine.core.fact_codec import encode
from jobengine.core.facts import Fact, QueueCreated
from jobengine.core.model import DAY, FINISHED, UNFINISHED, Defaults, Job, Position, Queue, Rank, Spec, State
from jobengine.core.places import Place
from jobengine.core.retention import retention
from jobengine.core.schedules import SCHEDULE, Edge, ScheduleCounts, schedule_of
from jobengine.core.sorting import position
from jobengine.core.unique_rule import Until
from jobengine.engine.tables.group import Group, GroupExtras
from jobengine.engine.tables.queue_table import QueueTable, WallClock
from jobengine.engine.tables.sort_index import SortIndex
from jobengine.engine.tables.state import Tables
from jobengine.engine.tables.turns import Turns
from jobengine.timetable import TIMETABLE
from tests.doubles import START, CountedIds, NoActivity

KEY = b"key"
NOW = START * 1000
MINUTE = 60_000
EDGE = Edge(Defaults(), TIMETABLE)


def spec_of(uid: str = "u", **more: Any) -> Spec:
    """The spec of a plain job."""
    plain: dict[str, Any] = {
        "priority": 0,
        "arrival": 0,
        "keep": retention(60, 60),
        "timeout_seconds": 600,
        "timeout_time": 0,
        "content": b"{}",
        "created": 0,
    }
    return Spec(uid=uid, **{**plain, **more})


class World:
    """Tables and a time, to which commands can be given."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.now = NOW
        self.new_id = CountedIds()
        self.edge = EDGE

    def ask(self, command: Any) -> Any:
        """Carry out a command as an engine does: expire, renew the key, decide, apply."""
        self.expire()
        self.apply(command.renew_key(self.tables))
        decided, answer = command.decide(self.tables, self.now, self.new_id, NoActivity())
        self.apply(decided)
        return answer

    def apply(self, some: Iterable[Fact]) -> None:
        """Apply facts, and the facts that follow from ended dependencies."""
        self.tables.apply(some)
        while facts := follow_up(self.tables, self.now, 2):
            self.tables.apply(facts)

    def expire(self) -> list[Fact]:
        """Apply all facts that are due by time alone, and return them."""
        happened: list[Fact] = []
        self.tables.open_gates(self.now)
        while due := expire(self.tables, self.now, 2):
            self.apply(due)
            happened += due
        while due := fire(self.tables, self.now, self.edge):
            self.apply(due)
            happened += due
        return happened

    def create(self, queue: str = "q", key: bytes = KEY) -> None:
        self.ask(CreateQueue(queue=queue, access_key=key))

    def delete_queue(self, queue: str = "q") -> None:
        self.ask(DeleteQueue(queue=queue, access_key=KEY))

    def add(self, queue: str = "q", **more: Any) -> Job:
        (added,) = self.add_all(NewJob(**{"content": b"{}", **more}), queue=queue, many=False)
        return added.job

    def add_all(self, *jobs: NewJob, queue: str = "q", many: bool = True, **more: Any) -> list[Added]:
        added: list[Added] = self.ask(
            AddJobs(**{"queue": queue, "access_key": KEY, "jobs": jobs, "defaults": Defaults(), "many": many, **more})
        )
        return added

    def read(self, uid: str, queue: str = "q") -> Job:
        job: Job = self.ask(ReadJob(queue=queue, access_key=KEY, uid=uid))
        return job

    def peek(self, queue: str = "q") -> Job | None:
        job: Job | None = self.ask(Peek(queue=queue, access_key=KEY))
        return job

    def claim(self, queue: str = "q", **more: Any) -> Job | None:
        jobs: list[Job] = self.ask(Claim(queue=queue, access_key=KEY, **more))
        return jobs[0] if jobs else None

    def hold(self, **more: Any) -> Job:
        """Claim a job, which must be ready, and return it."""
        job = self.claim(**more)
        assert job is not None
        return job

    def update(
        self, uid: str, state: State | None = None, queue: str = "q", lease: str | None = None, **more: Any
    ) -> Job:
        changes = Changes(state=state, **more)
        job: Job = self.ask(UpdateJob(queue=queue, access_key=KEY, uid=uid, changes=changes, lease=lease))
        return job

    def set_up(self, queue: str = "q", **more: Any) -> Queue:
        changed: Queue = self.ask(ChangeQueue(queue=queue, access_key=KEY, **more))
        return changed

    def delete(self, uid: str, queue: str = "q") -> None:
        self.ask(DeleteJob(queue=queue, access_key=KEY, uid=uid))

    def list(self, queue: str = "q") -> list[Job]:
        jobs: list[Job] = self.ask(ListJobs(queue=queue, access_key=KEY, limit=10_000)).jobs
        return jobs


def picture(tables: Tables) -> dict[str, Any]:
    """All readable contents of tables; also checks every index against the jobs."""
    seen = {}
    for name, table in tables.queues.items():
        jobs, _ = table.page(None, 10_000)
        assert {job.spec.uid: job for job in jobs} == table.jobs
        assert [job.spec.rank for job in jobs] == sorted(job.spec.rank for job in jobs)
        assert {place: list(ranks) for place, ranks in table.places.items()} == _places(jobs)
        by_wall = sorted((job.wall_deadline, job.spec.rank) for job in jobs if job.wall_deadline is not None)
        assert list(table.wall_deadlines) == by_wall
        first = [when for when, _ in [*[*table.deadlines][:1], *[*table.batches.deadlines][:1]]]
        first += [when - tables.ahead for when, _ in by_wall[:1]]
        gates = None if table.turns is None else table.turns.gates.next_change
        assert table.next_deadline == min([*first, *([] if gates is None else [gates])], default=None)
        check_groups(table)
        assert {tag: list(ranks) for tag, ranks in table.names.ready_by_tag.items()} == _ready_by_tag(jobs)
        assert {tags: list(ranks) for tags, ranks in table.names.ready_by_tags.items()} == _ready_by_tags(jobs)
        assert table.names.unique.keys() == {job.spec.rare.unique_key for job in jobs if _holds_a_key(job)}
        held = [(key, table.jobs[uid]) for key, uids in table.names.unique.items() for uid in uids]
        assert all(job.spec.rare.unique_key == key and _holds_a_key(job) for key, job in held)
        assert len(held) == len([job for job in jobs if _holds_a_key(job)])
        deadlines = sorted((due, job.spec.rank) for job in jobs if (due := _deadline(table, job)) is not None)
        assert list(table.deadlines) == deadlines
        check_batches(table)
        assert table.counts().states == _counts(jobs)
        assert table.counts().retrying == sum(job.retrying for job in jobs)
        assert table.counts().cancelled == sum(job.cancelled for job in jobs)
        for index in table.sort_indexes.values():
            assert {state: list(part) for state, part in index.states.items()} == _sorted(jobs, index)
        assert all(job.spec.arrival < table.next_arrival for job in jobs)
        of_jobs = sum(map(table.weight, jobs))
        of_items = sum(table.item_weight(*key, value) for key, value in table.named.items())
        check_schedules(table)
        assert table.live_bytes == len(encode(QueueCreated(table.queue))) + of_jobs + of_items + table.history.size
        seen[name] = (table.queue, jobs, dict(table.named))
    check_dependants(tables)
    assert tables.live_bytes == sum(table.live_bytes for table in tables.queues.values())
    nexts = [(table.next_deadline, name) for name, table in tables.queues.items() if table.next_deadline is not None]
    assert list(tables.deadlines) == sorted(nexts)
    firings = [(one.next, name) for name, table in tables.queues.items() if (one := table.schedules()).next is not None]
    assert list(tables.firings) == sorted(firings)
    whens = [*(when for when, _ in nexts), *(time - tables.ahead for time, _ in firings)]
    assert tables.next_deadline == min(whens, default=None)
    return {"": tables.ahead, **seen}


def check_schedules(table: QueueTable) -> None:
    """Check that the index of schedules equals one that is made from the named things."""
    schedules = {name: schedule_of(text) for name, text in table.items(SCHEDULE)}
    times = sorted((one.next, name) for name, one in schedules.items() if one.next is not None)
    assert table.firings.first == (times[0] if times else None)
    failing = sum(one.failing for one in schedules.values())
    assert table.schedules() == ScheduleCounts(len(schedules), failing, times[0][0] if times else None)


def _deadline(table: QueueTable, job: Job) -> int | None:
    """The deadline of a job, unless it is kept because others depend on it or it belongs to a batch."""
    is_kept = _is_done(job) and (_is_kept_by_batch(job) or job.spec.uid in table.batches.needed)
    return None if is_kept else job.deadline


def _is_done(job: Job) -> bool:
    """Whether the job is finished and stays in its queue."""
    return job.state in FINISHED and not (job.state is State.FAILED and job.standing.notes.dead_letter == DUE)


def _is_kept_by_batch(job: Job) -> bool:
    return job.spec.rare.batch is not None and not job.standing.shift


def check_batches(table: QueueTable) -> None:
    """Check that the index of batches equals one that is made from jobs and named things."""
    of_jobs = (job.spec.rare.batch for job in table.jobs.values())
    names = {*(name for name, _ in table.items(BATCH)), *(name for name in of_jobs if name is not None)}
    assert table.batches.entries.keys() == names
    deadlines = []
    for name in names:
        jobs = [job for job in table.jobs.values() if job.spec.rare.batch == name]
        assert table.batch_counts(name).states == Counter(job.state for job in jobs)
        keep = [
            MINUTE * (job.spec.keep.failed_minutes if job.state is State.FAILED else job.spec.keep.minutes)
            for job in jobs
            if job.state in FINISHED and _is_kept_by_batch(job) and job.spec.uid not in table.batches.needed
        ]
        text = table.item(BATCH, name)
        batch = None if text is None else batch_of(text)
        if batch is not None and batch.ended is not None and (keep or not jobs):
            deadlines.append((batch.ended + min(keep, default=60 * MINUTE if batch.jobs else DAY), name))
    assert list(table.batches.deadlines) == sorted(deadlines)


def check_dependants(tables: Tables) -> None:
    """Check that the index of dependants equals one that is made from the jobs."""
    index = tables.dependants
    changed: defaultdict[Awaited, set[Awaited]] = defaultdict(set)
    unfinished = Counter[Awaited]()
    for name, table in tables.queues.items():
        for job in table.jobs.values():
            for awaited in awaited_by(job):
                changed[awaited].add((name, job.spec.uid))
            if job.spec.rare.dependencies is not None and job.state not in FINISHED:
                unfinished.update(job.spec.rare.dependencies.on)
    assert {awaited: {*followers} for awaited, followers in index._changed_by.items()} == changed
    assert index._unfinished == unfinished
    for name, table in tables.queues.items():
        kept = {uid for queue, uid in [*index._unfinished, *index._to_free] if queue == name}
        assert table.batches.needed <= kept
        assert table.batches.needed & table.jobs.keys() == kept & table.jobs.keys()


def check_groups(table: QueueTable) -> None:
    """Check that the index of groups equals one that is made from the jobs and settings."""
    fresh = QueueTable(evolve(table.queue, flow=None), WallClock(), table._dependants)
    for job in table.jobs.values():
        fresh.put(job.spec.uid, job)
    for (kind, name), text in table.named.items():
        fresh.set_item(kind, name, text)
    fresh.update_indexes()
    fresh.reconfigure(table.queue)
    if table.turns is not None:
        fresh.open_gates(table.turns.now)
    assert group_index(fresh.turns) == group_index(table.turns)


def group_index(turns: Turns | None) -> object:
    """What an index of groups contains, without how long ago each group was served."""
    if turns is None:
        return None
    groups = {
        name: (
            list(group.jobs),
            (group.ready, group.delayed, group.running, group.size, group.held, set(group.holder_uids)),
            _extras(group),
        )
        for name, group in turns.groups.items()
    }
    lists = {tags: Counter((key[-1], key[:2]) for key in keys) for tags, keys in turns.open.items() if not tags or keys}
    return groups, lists, list(turns.gates.times), set(turns.gates.over), turns.held(0)


def _extras(group: Group) -> GroupExtras | None:
    """A group's extras without the positions, which depend on how long ago the group was served."""
    extras = group.extras
    if extras is None:
        return None
    cap, left = (extras.cap, extras.left) if extras.has_limits else (0, 0)
    return evolve(extras, cap=cap, left=left, room=0, tag_positions=None, by_tags=extras.by_tags or None)


def _counts(jobs: list[Job]) -> dict[State, int]:
    return {state: sum(job.state is state for job in jobs) for state in State}


def _sorted(jobs: list[Job], index: SortIndex) -> dict[State, list[Position]]:
    """The positions of the jobs that the index covers."""
    covered = [job for job in jobs if job.spec.rank <= index.covered]
    return {state: sorted(position(job, index.sort) for job in covered if job.state is state) for state in State}


def _place(job: Job) -> Place:
    if job.waits:
        return Place.WAITING
    if job.state is State.QUEUED:
        return Place.DELAYED if (job.standing.ready_at or job.standing.not_before) else Place.READY
    return Place[job.state.name]


def _places(jobs: list[Job]) -> dict[Place, list[Rank]]:
    return {place: [job.spec.rank for job in jobs if _place(job) is place] for place in Place}


def _ready_by_tag(jobs: list[Job]) -> dict[str, list[Rank]]:
    ready = [job for job in jobs if job.ready]
    tags = {tag for job in ready for tag in job.spec.tags}
    return {tag: [job.spec.rank for job in ready if tag in job.spec.tags] for tag in tags}


def _ready_by_tags(jobs: list[Job]) -> dict[tuple[str, ...], list[Rank]]:
    ready = [job for job in jobs if job.ready and len(job.spec.tags) > 1]
    return {one.spec.tags: [job.spec.rank for job in ready if job.spec.tags == one.spec.tags] for one in ready}


def _holds_a_key(job: Job) -> bool:
    """Whether the index has the job: a finished job only if its rule has seconds and no other job took its key."""
    rare = job.spec.rare
    if rare.unique_key is None or rare.unique is None:
        return rare.unique_key is not None and job.state in UNFINISHED
    if job.state in FINISHED:
        return rare.unique.seconds > 0 and not job.standing.notes.key_passed_on
    return job.state is State.QUEUED or rare.unique.until is Until.FINISHED
