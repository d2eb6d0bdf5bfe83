"""One queue and its jobs in memory, with indexes for look-ups in O(log n)."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from heapq import merge
from itertools import chain, islice, takewhile
from typing import Any, Final

from attrs import define, field

from ...core.batches import BATCH, BatchCounts
from ...core.dependencies import Awaited
from ...core.fact_codec import encode
from ...core.facts import QueueCreated, QueueDeleted
from ...core.failures import Alike, FoundPage, GroupPosition
from ...core.history import KeptPeriod, KeptPeriods, Period
from ...core.model import FAILED, NO_NOTES, SECOND, Job, Position, Queue, Rank, State, deadline_of
from ...core.places import PLACES_OF, Place, counts_of, place_of
from ...core.record_length import length_of_more, length_of_reported
from ...core.schedules import SCHEDULE, ScheduleCounts
from ...core.sorting import Sort, position
from ...core.stats import FailureCounts, QueueCounts
from ...core.tables import PAGE_BYTES, Due, GateOver
from .batch_index import FINISHED_PLACES, BatchIndex
from .dependants import Dependants
from .failure_index import FailureIndex
from .flow_index import FlowIndex
from .group_queries import GroupQueries
from .name_index import NameIndex
from .one_of_each import one_of_each
from .schedule_index import ScheduleIndex
from .sort_index import SortIndex
from .sorted_list import SortedList
from .spread_dict import MOST_IN_ONE, Entries, fitting, part_of
from .turns import Turns

#: The bytes of a job's record beside its content and its queue's name; an estimate.
_RECORD_OVERHEAD: Final = 200
#: How many priorities are searched for the oldest ready job.
_PRIORITIES: Final = 100
_READY: Final = Place.READY
_FAILED: Final = Place.FAILED


class WallClock:
    """How far the wall clock is ahead of elapsed time, in milliseconds: one value that all tables share."""

    ahead = 0


@define(eq=False)
class QueueTable(GroupQueries):
    """One queue and its jobs; only Tables may change it."""

    queue: Queue
    _clock: WallClock
    #: The dependencies between the jobs of all queues.
    _dependants: Dependants
    #: See FlowIndex.is_later.
    groups_later: bool = False
    #: Every job, by uid.
    jobs: Entries[str, Job] = field(factory=dict, init=False)
    #: The ranks of the jobs in each place, in execution order.
    places: dict[Place, SortedList[Rank]] = field(factory=lambda: {place: SortedList() for place in Place}, init=False)
    #: The ranks of the ready jobs.
    ready: SortedList[Rank] = field(init=False)
    #: The jobs by tag and unique key.
    names: NameIndex = field(factory=NameIndex, init=False)
    #: (deadline, rank) of every job that changes by itself at an elapsed time. Jobs that one request claimed or
    #: finished are adjacent.
    deadlines: SortedList[tuple[int, Rank]] = field(factory=SortedList, init=False)
    #: (deadline, rank) of every job that changes by itself at a wall-clock time.
    wall_deadlines: SortedList[tuple[int, Rank]] = field(factory=SortedList, init=False)
    #: The earliest deadline, as elapsed time even if it is a wall-clock deadline; None if there is none.
    next_deadline: int | None = field(default=None, init=False)
    #: The indexes in use for lists by time (see sort_some), keyed by `Sort.ascending`: both directions share one.
    sort_indexes: dict[Sort, SortIndex] = field(factory=dict, init=False)
    #: Pending changes of the indexes: values to insert, and values to remove. Insertions come first, since a job may
    #: enter a place and leave it in one batch.
    _entering: defaultdict[SortedList[Any], list[Any]] = field(factory=lambda: defaultdict(list), init=False)
    _leaving: defaultdict[SortedList[Any], list[Any]] = field(factory=lambda: defaultdict(list), init=False)
    #: Whether any pending change is about a deadline.
    _deadlines_changed: bool = field(default=False, init=False)
    #: About how many bytes the records of this queue would take in a fresh snapshot.
    live_bytes: int = field(init=False)
    #: About how many bytes the queue's name takes in each job's record.
    name_bytes: int = field(init=False)
    #: The arrival number of the next job to be added.
    next_arrival: int = field(default=0, init=False)
    #: The values of named things, by kind and name; see ItemSet.
    named: dict[tuple[str, str], str] = field(factory=dict, init=False)
    _kinds: Counter[str] = field(factory=Counter, init=False)
    #: The stored counts by second, minute and hour.
    history: KeptPeriods = field(factory=KeptPeriods, init=False)
    #: The groups, in a queue with flow.
    flow: FlowIndex = field(init=False)
    #: The schedules by their next time.
    firings: ScheduleIndex = field(factory=ScheduleIndex, init=False)
    #: The failures by fingerprint, from their first read on, and the number of jobs with each mark.
    failing: FailureIndex = field(init=False)
    #: The batches.
    batches: BatchIndex = field(factory=BatchIndex, init=False)

    def __attrs_post_init__(self) -> None:
        self.ready = self.places[Place.READY]
        self.live_bytes = len(encode(QueueCreated(self.queue)))
        self.name_bytes = len(encode(QueueDeleted(self.queue.name)))
        self.failing = FailureIndex(self.jobs, self.places)
        self.flow = FlowIndex(self.jobs, self.named, self.places, self.groups_later)
        self.flow.set_flow(self.queue.flow)

    def wall(self, now: int) -> int:
        """The wall clock at an elapsed time."""
        return now + self._clock.ahead

    def job(self, uid: str) -> Job | None:
        return self.jobs.get(uid)

    def holders(self, unique_key: str) -> list[Job]:
        return [self.jobs[uid] for uid in self.names.unique.get(unique_key, ())]

    def size(self) -> int:
        return len(self.jobs)

    def load_jobs(self, uids: Collection[str], unique_key: str | None = None) -> None:
        """Nothing to load: all jobs are in memory."""

    def schedules(self) -> ScheduleCounts:
        return self.firings.counts()

    def batch_counts(self, name: str) -> BatchCounts:
        return self.batches.counts(name)

    def number_of(self, kind: str) -> int:
        return self._kinds[kind]

    def dependants(self, awaited: Awaited, most: int) -> Sequence[tuple[str, str, str | None]]:
        return self._dependants.of(awaited, most)

    def is_awaited(self, uid: str) -> bool:
        return self._dependants.awaits((self.queue.name, uid))

    def item(self, kind: str, name: str) -> str | None:
        return self.named.get((kind, name))

    def items(self, kind: str) -> Iterator[tuple[str, str]]:
        return ((name, value) for (its, name), value in sorted(self.named.items()) if its == kind)

    def set_item(self, kind: str, name: str, value: str | None) -> str | None:
        """Set a named thing of the queue, such as a group's settings; None removes it. Returns the old value."""
        old = self.named.pop((kind, name), None)
        if value is not None:
            self.named[kind, name] = value
        self._kinds[kind] += (value is not None) - (old is not None)
        if kind == SCHEDULE:
            self.firings.set_item(name, value)
        elif kind == BATCH:
            self.batches.set_item(name, value)
        else:
            self.flow.set_item(kind, name, value)
        self.live_bytes += self.item_weight(kind, name, value) - self.item_weight(kind, name, old)
        return old

    def item_weight(self, kind: str, name: str, value: str | None) -> int:
        """The estimated length of a named thing's record."""
        return 0 if value is None else self.name_bytes + len(kind) + len(name) + len(value)

    def running(self) -> int:
        return len(self.places[Place.INPROGRESS])

    def keep_periods(self, periods: Iterable[Period]) -> None:
        """Store periods of the queue's history."""
        size = self.history.size
        self.history.put(periods)
        self.live_bytes += self.history.size - size

    def failures(self, after: GroupPosition | None, limit: int, now: int) -> FoundPage:
        return self.failing.page(after, limit, now)

    def count_failures(self, since: int) -> FailureCounts:
        return self.failing.count(since)

    def alike(self, fingerprint: str) -> Alike:
        return self.failing.alike(fingerprint)

    def kept_periods(self) -> Iterator[KeptPeriod]:
        return (KeptPeriod(0, period) for period in self.history.all())

    def ahead(self, rank: Rank) -> int:
        return self.ready.before(rank)

    def counts(self) -> QueueCounts:
        jobs: dict[int, int] = {**{place: len(ranks) for place, ranks in self.places.items()}, **self.failing.marks}
        return counts_of(jobs, held=0 if self.turns is None else self.turns.held(len(self.ready)))

    def oldest_ready(self) -> int | None:
        """Compares the first ready job of each priority, which is its oldest, for at most _PRIORITIES priorities."""
        if self.turns is not None:
            return self.turns.oldest()
        oldest: int | None = None
        at = self.ready.first()
        for _ in range(_PRIORITIES):
            if at is None:
                break
            created = self.jobs[at[2]].spec.created
            oldest = created if oldest is None else min(oldest, created)
            at = next(self.ready.behind((at[0] + 1, -1, "")), None)
        return oldest

    def claim_order(self, tags: tuple[str, ...], now: int, count: int) -> Iterator[Job]:
        jobs, wall, turns = self.jobs, now + self._clock.ahead, self.flow.turns
        if turns is not None:
            return self._in_turn(turns, tags, wall, min(count, turns.queue_room))
        ranks = self.names.ready_ranks(tags, jobs) if tags else self.ready
        claimable = (
            job for rank in ranks if not (until := (job := jobs[rank[2]]).spec.timeout_time) or until * SECOND > wall
        )
        return islice(claimable, count)

    def _in_turn(self, turns: Turns, tags: tuple[str, ...], wall: int, count: int) -> Iterator[Job]:
        """The first `count` jobs that a claim with these tags gets, in a queue with flow."""
        jobs = None if tags else one_of_each(turns, self.ready, count, wall)
        return islice(turns.order(tags, self._is_over(wall)), count) if jobs is None else iter(jobs)

    def turn_order(self, now: int) -> Iterator[Job]:
        return self._groups.order((), self._is_over(now + self._clock.ahead))

    @staticmethod
    def _is_over(wall: int) -> Callable[[Job], bool]:
        """A function that returns whether the `timeout_time` of a job has come."""
        return lambda job: 0 < job.spec.timeout_time * SECOND <= wall

    def gives_any(self, tags: tuple[str, ...]) -> bool:
        """Whether a job is ready for a claim with these tags; the job may be due for removal."""
        return next(self.claim_order(tags, 0, 1), None) is not None

    def in_progress(self) -> list[Job]:
        """The jobs in progress."""
        return [self.jobs[rank[2]] for rank in self.places[Place.INPROGRESS]]

    def page(
        self,
        after: Position | None,
        limit: int,
        state: State | None = None,
        sort: Sort | None = None,
        group: str | None = None,
    ) -> tuple[list[Job], Position | None]:
        """A page may have fewer than `limit` jobs: it ends once their contents exceed PAGE_BYTES."""
        positions = self._ranks(after, state, group) if sort is None else self._positions(after, state, sort)
        jobs, size, last = [], 0, None
        for last in islice(positions, limit):
            jobs.append(self.jobs[last[2]])
            size += jobs[-1].size
            if size > PAGE_BYTES:
                break
        return jobs, last if next(positions, None) is not None else None

    def _ranks(self, after: Rank | None, state: State | None = None, group: str | None = None) -> Iterator[Rank]:
        places = PLACES_OF[state]
        if group is None or self.turns is None or _READY not in places:
            return merge(*(self.places[place].behind(after) for place in places))
        # Only ready jobs are indexed by group.
        others = [self.places[place].behind(after) for place in places if place is not _READY]
        return merge(self.turns.ready_behind(group, after), *others)

    def _positions(self, after: Position | None, state: State | None, sort: Sort) -> Iterator[Position]:
        """The positions after `after`: from the index if it is complete, otherwise by sorting all jobs."""
        index, descending = self.sort_indexes.get(sort.ascending), sort.is_descending
        if index is not None and index.is_whole:
            return index.behind(after, state, descending=descending)
        positions = (position(self.jobs[rank[2]], sort) for rank in self._ranks(None, state))
        behind = (one for one in positions if after is None or (one < after if descending else one > after))
        return iter(sorted(behind, reverse=descending))

    def sort_some(self, sort: Sort, most: int) -> bool:
        """
        Add at most `most` jobs to the index of a sort order; returns whether the index is complete.

        From then on each change of a job updates this index too: remove an index that is no longer used.
        """
        index = self.sort_indexes.setdefault(sort.ascending, SortIndex(sort.ascending))
        if not index.is_whole:
            ranks = list(islice(self._ranks(index.covered), most))
            index.cover([self.jobs[rank[2]] for rank in ranks], are_last=len(ranks) < most)
        return index.is_whole

    def due(self, now: int) -> Iterator[Due]:
        """
        The jobs whose deadline has come, by deadline; the gates that are over; and what is due of the batches. Any
        change makes the iterator invalid.
        """
        wall = self.wall(now)
        elapsed = takewhile(lambda entry: entry[0] <= now, self.deadlines)
        by_wall = takewhile(lambda entry: entry[0] <= wall, self.wall_deadlines)
        # A job whose two deadlines have both come is given once.
        ranks = dict.fromkeys(rank for _, rank in chain(elapsed, by_wall))
        over = () if self.turns is None else map(GateOver, [*self.turns.gates.over])
        batches = self.batches.due(now, self.jobs) if self.batches.entries else ()
        return chain((self.jobs[rank[2]] for rank in ranks), over, batches)

    def reconfigure(self, queue: Queue) -> None:
        """Replace the queue's configuration; its jobs stay."""
        self.live_bytes += len(encode(QueueCreated(queue))) - len(encode(QueueCreated(self.queue)))
        self.queue = queue
        self.flow.set_flow(queue.flow)
        self.find_deadline()

    def put(self, uid: str, new: Job | None) -> Job | None:
        """
        Replace the job `uid` by `new`, or remove the job if `new` is None; returns the old job.

        Call `update_indexes` next.
        """
        part = part_of(self.jobs, uid)
        old = part.get(uid)
        if new is not None:
            part[uid] = new
        elif old is not None:
            del part[uid]
        if old is not None and new is not None and old.spec is new.spec:
            self.change(old, new)
            return old
        if old is not None:
            self._take_out(old)
        if new is not None:
            self._put_in(new)
        return old

    def change(self, old: Job, new: Job) -> None:
        """Record that `new`, which has the same spec, has replaced `old` in `jobs`. Call `update_indexes` next."""
        spec, before, after = new.spec, old.standing, new.standing
        was, now = place_of(before), place_of(after)
        if was is not now:
            for turns in self.flow.indexes:
                turns.move(spec, old, new, was, now)
            self._leaving[self.places[was]].append(spec.rank)
            self._entering[self.places[now]].append(spec.rank)
        if spec.tags or spec.rare.unique_key is not None or self.sort_indexes:
            self._move_listed(old, new, was, now)
        if self.batches.is_used:
            self._move_kept(old, new, was, now)
        else:
            self._set_deadline(self.deadlines, spec.rank, deadline_of(spec, before), deadline_of(spec, after))
        if spec.timeout_time or before.not_before or after.not_before:
            self._set_deadline(self.wall_deadlines, spec.rank, old.wall_deadline, new.wall_deadline)
        # Most jobs that end are neither retried nor failed.
        if was is _FAILED or now is _FAILED or after.notes.retrying or before.notes.retrying:
            self.failing.change(old, new)
        # Only notes and worker can change the weight here.
        if before.notes is not after.notes or before.worker is not after.worker:
            self.live_bytes += length_of_reported(after) - length_of_reported(before)

    def _move_listed(self, old: Job, new: Job, before: Place, after: Place) -> None:
        """Update the indexes that have few jobs or are rarely in use: for lists by time, by tag, and by unique key."""
        self._sort(old, new)
        if new.spec.tags or new.spec.rare.unique_key is not None:
            self.names.move(before, old, after, new, self._entering, self._leaving)

    def _move_kept(self, old: Job, new: Job, before: Place, after: Place) -> None:
        """Move the deadline of a job, given its old and new place, in a queue where retentions may be put off."""
        batches, spec = self.batches, new.spec
        was, now = old.deadline, new.deadline
        if before in FINISHED_PLACES or after in FINISHED_PLACES:
            was, now = batches.deadline_of(old), batches.deadline_of(new)
            if spec.rare.batch is not None:
                batches.move_kept(old, new, self._entering, self._leaving)
        self._set_deadline(self.deadlines, spec.rank, was, now)
        if spec.rare.batch is not None and before is not after:
            batches.move(spec.rare.batch, before, after)

    def _put_in(self, job: Job) -> None:
        spec = job.spec
        if spec.arrival >= self.next_arrival:
            self.next_arrival = spec.arrival + 1
        place = place_of(job.standing)
        self._enter(place, job)
        if spec.rare.batch is not None:
            self.batches.enter(job, place, self._entering)
        is_kept = self.batches.is_used and place in FINISHED_PLACES
        deadline = self.batches.deadline_of(job) if is_kept else deadline_of(job.spec, job.standing)
        if deadline is not None:
            self._set_deadline(self.deadlines, spec.rank, None, deadline)
        if spec.timeout_time or job.standing.not_before:
            self._set_deadline(self.wall_deadlines, spec.rank, None, job.wall_deadline)
        if self.sort_indexes:
            self._sort(None, job)
        if place is _FAILED or job.standing.notes is not NO_NOTES:
            self.failing.change(None, job)
        self.live_bytes += self.weight(job)

    def enter_ready(self, ranks: list[Rank], length: int) -> None:
        """Index ready jobs by rank alone, given the length of their contents and rare fields; see `filling`."""
        self._entering[self.ready] += ranks
        self.live_bytes += length + len(ranks) * (self.name_bytes + _RECORD_OVERHEAD)
        self.next_arrival = max(self.next_arrival, max((rank[1] for rank in ranks), default=-1) + 1)

    def _take_out(self, job: Job) -> None:
        self._leave(place_of(job.standing), job)
        self._set_deadline(self.deadlines, job.spec.rank, self.batches.deadline_of(job), None)
        if job.spec.rare.batch is not None:
            self.batches.leave(job, self._leaving)
        self._set_deadline(self.wall_deadlines, job.spec.rank, job.wall_deadline, None)
        self._sort(job, None)
        if job.standing.state is FAILED or job.standing.notes is not NO_NOTES:
            self.failing.change(job, None)
        self.live_bytes -= self.weight(job)

    def _sort(self, old: Job | None, new: Job | None) -> None:
        for index in self.sort_indexes.values():
            index.change(old, new, self._entering, self._leaving)

    def _enter(self, place: Place, job: Job) -> None:
        spec = job.spec
        self._entering[self.places[place]].append(spec.rank)
        for turns in self.flow.indexes:
            turns.enter(job, place)
        if spec.tags or spec.rare.unique_key is not None:
            self.names.enter(place, job, self._entering)

    def _leave(self, place: Place, job: Job) -> None:
        spec = job.spec
        self._leaving[self.places[place]].append(spec.rank)
        for turns in self.flow.indexes:
            turns.leave(job, place)
        if spec.tags or spec.rare.unique_key is not None:
            self.names.leave(place, job, self._leaving)

    def _set_deadline(self, index: SortedList[tuple[int, Rank]], rank: Rank, was: int | None, now: int | None) -> None:
        if was == now:
            return
        self._deadlines_changed = True
        if was is not None:
            self._leaving[index].append((was, rank))
        if now is not None:
            self._entering[index].append((now, rank))

    def keep(self, uid: str, *, keeps: bool) -> None:
        """Put off the retention of a finished job, or let it begin. Call `update_indexes` next."""
        if keeps is (uid in self.batches.needed):
            return
        job = self.jobs.get(uid)
        was = None if job is None else self.batches.deadline_of(job)
        self.batches.set_kept(uid, job, self._entering, self._leaving, keeps=keeps)
        if job is not None:
            self._set_deadline(self.deadlines, job.spec.rank, was, self.batches.deadline_of(job))

    def update_indexes(self) -> None:
        """Bring the indexes up to date with the jobs that were put."""
        for index, values in self._entering.items():
            index.add_all(values)
        for index, values in self._leaving.items():
            index.remove_all(values)
        self._entering.clear()
        self._leaving.clear()
        if self.flow.indexes and self.flow.update():
            self._deadlines_changed = True
        if self.batches.is_used and self.batches.update():
            self._deadlines_changed = True
        if self._deadlines_changed:
            self._deadlines_changed = False
            self.find_deadline()
        if self.names.left_tags:
            self.names.forget_tags()
        # While a file is read, a single dict is faster, and no request waits for its growth.
        if (type(self.jobs) is not dict or len(self.jobs) > MOST_IN_ONE) and not self.flow.is_later:
            self._spread()

    def _spread(self) -> None:
        """Keep many jobs, and many unique keys (never more than jobs), in small dicts; see spread_dict.py."""
        if (jobs := fitting(self.jobs)) is not self.jobs:
            self.jobs = self.failing.jobs = jobs
            self.flow.use(jobs)
        self.names.unique = fitting(self.names.unique)

    def find_deadline(self) -> None:
        """Bring `next_deadline` up to date."""
        first, wall = self.deadlines.first(), self.wall_deadlines.first()
        elapsed = None if first is None else first[0]
        if wall is not None:
            by_wall = wall[0] - self._clock.ahead
            elapsed = by_wall if elapsed is None else min(elapsed, by_wall)
        if self.batches.is_used and (batch := self.batches.deadlines.first()) is not None:
            elapsed = batch[0] if elapsed is None else min(elapsed, batch[0])
        if (turns := self.flow.turns) is not None and (gate := turns.gates.next_change) is not None:
            elapsed = gate if elapsed is None else min(elapsed, gate)
        self.next_deadline = elapsed

    def open_gates(self, now: int) -> bool:
        """Open the gates whose time has come by `now`; returns whether any gate has changed."""
        changed = self.turns is not None and self.turns.advance(now)
        if changed:
            self.find_deadline()
        return changed

    def weight(self, job: Job) -> int:
        """The estimated length of the job's record."""
        return len(job.spec.content) + self.name_bytes + _RECORD_OVERHEAD + length_of_more(job)
