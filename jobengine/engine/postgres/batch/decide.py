"""
Carries out loaded tasks in one transaction: expire, decide, write.

The rules are those of jobengine.core; none is repeated in SQL.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, Final, TypeVar

from attrs import define, evolve, field, frozen
from msgspec import Struct
from msgspec.json import Decoder, Encoder
from psycopg import Connection

from ....core import commands as c
from ....core.access import is_of_go_version
from ....core.dependants import follow_up
from ....core.effects import Effect, JobEffect, QueueEffect
from ....core.errors import DomainError
from ....core.expiring import expire
from ....core.facts import Fact, ItemSet, JobAdded, JobChanged, JobRemoved, QueueChanged, QueueCreated, QueueDeleted
from ....core.flow import GATE
from ....core.model import Job, State
from ....core.schedules import SCHEDULE, schedule_totals
from ....core.tables import NewId, RecentActivity
from ...waiting_line import Done, Outcome, Refused
from ..database.dependency_rows import Parent
from ..database.group_rows import GroupChanges
from ..database.item_rows import items_written
from ..database.pipeline import Row, Statement
from ..database.rows import Known, Rows
from ..sql import named
from .begin import Now
from .claim_start import set_back
from .flow_changes import all_placed, check_flow, check_groups, group_changes, reordered
from .links import BatchLinks, links_of_batch
from .loaded import LoadedTables
from .plan import PlannedCommand, PlannedPart, Task
from .tables import LoadedTable
from .write import Change, Writing, changes_of, with_rare_fields, write_queues

A = TypeVar("A")
#: The types of facts about queues.
_OF_QUEUES: Final = frozenset({QueueCreated, QueueChanged, QueueDeleted})
#: The types of facts about jobs; nearly all facts are of these types.
_OF_JOBS: Final = frozenset({JobAdded, JobChanged, JobRemoved})
#: The commands that may delete a damaged job or queue, which no rule can read.
_DELETING: Final = (c.DeleteJob, c.DeleteQueue)
#: The `limit` for `expire` and `follow_up`: too high to be reached, so they handle all that was loaded.
_ALL: Final = 1 << 30
_NUMBER_EVENTS: Final = named("number_events")
_INSERT_EVENTS: Final = named("insert_events")
_DISCARD_JOB: Final = named("discard_job")


class EventRecord(Struct, frozen=True, array_like=True, gc=False):
    """An event in a row of events; see JobEvent. Rows of earlier versions lack the last fields."""

    uid: str
    before: State | None
    state: State | None
    group: str | None = None
    not_moved: str | None = None


_encode: Final = Encoder().encode
read_events: Final = Decoder(list[EventRecord]).decode
_queue_of: Final = attrgetter("queue")
_first: Final = itemgetter(0)


@frozen(kw_only=True)
class Result:
    """The result of a batch."""

    now: Now
    #: The outcomes of the tasks, in order; if there are fewer outcomes than tasks, the last tasks were not carried out.
    outcomes: Sequence[Outcome[Any]]
    #: The written effects, in order.
    effects: Sequence[Effect]
    #: The earliest deadline of the changed jobs, in elapsed milliseconds; None if they have none.
    soonest: int | None
    #: Queue and name of schedules whose time has come; only after a sweep.
    firings: Sequence[tuple[str, str]] = ()
    #: When more can be claimed from a queue with flow, because a gate changes, in elapsed milliseconds.
    opens: Mapping[str, int] = field(factory=dict)
    #: The ends to follow up before the callers are answered.
    ended: Sequence[Parent] = ()
    #: Whether more ends were left for later.
    has_left: bool = False


def merged(first: Result, second: Result) -> Result:
    """The result of two transactions, of which the second followed up the first."""
    soonest = min((one for one in (first.soonest, second.soonest) if one is not None), default=None)
    return evolve(
        first,
        now=evolve(second.now, known={**first.now.known, **second.now.known}),
        effects=[*first.effects, *second.effects],
        soonest=soonest,
        opens={**first.opens, **second.opens},
        has_left=first.has_left or second.has_left,
    )


@define(kw_only=True)
class Batch:
    """Tasks that are carried out in one transaction."""

    rows: Rows
    new_id: NewId
    activity: RecentActivity
    tables: LoadedTables
    #: The slot of the table `tally` in which the counts of jobs are changed; see session._SLOTS.
    slot: int
    #: Whether the claim starts of the queues were read after the transaction got its number; see `set_back`.
    knows_claim_starts: bool
    #: See check_flow.
    given_flow: Collection[str] = ()
    #: The statements that remove the rows of followed-up ends; see follow.py.
    followed_up: Sequence[Statement] = ()
    _outcomes: list[Outcome[Any]] = field(factory=list, init=False)
    _facts: list[Fact] = field(factory=list, init=False)
    _effects: list[Effect] = field(factory=list, init=False)
    #: The facts about queues; a change is left out if a later fact about the same queue replaces it.
    _of_queues: list[Fact] = field(factory=list, init=False)
    #: The facts about named things.
    _of_items: list[ItemSet] = field(factory=list, init=False)
    #: The statements that delete damaged jobs.
    _discarded: list[Statement] = field(factory=list, init=False)
    #: The statements that write named things.
    _items: list[Statement] = field(factory=list, init=False)
    #: The changes of the groups of queues with flow, each with its statements.
    _of_groups: list[tuple[GroupChanges, Iterable[Statement]]] = field(factory=list, init=False)
    #: The statements that place all groups of a queue in another order.
    _reordered: list[Statement] = field(factory=list, init=False)
    #: The changes of dependencies and batches to write; None if there are none.
    links: BatchLinks | None = field(default=None, init=False)
    #: The changes of jobs, and the statements that lock rows of queues.
    _writing: Writing = field(init=False)
    _last: list[Statement] = field(factory=list, init=False)

    @property
    def _now(self) -> Now:
        return self.tables.now

    def decide(self) -> None:
        """
        Expire due jobs, then decide the tasks in order; each task sees the changes of earlier tasks. If a claim needs
        jobs that were not loaded, or a task might remove a job whose end is still to be followed up, that task and the
        later ones are left for the next batch.
        """
        self._expire()
        self._follow_up()
        is_cut = any(table.cut for table in self.tables.queues.values())
        for one in self.tables.planned:
            lacks_jobs = bool(self._outcomes) and is_cut and any(map(self.tables.lacks_jobs, one.parts))
            if lacks_jobs or (one.task.removes and self._is_too_early()):
                # This task and those after it are left for the next batch.
                break
            self._outcomes.append(self._outcome(one))
        self._end_gates()
        others = [fact for fact in self._facts if type(fact) not in _OF_JOBS]
        self._of_queues = _last_of_each_queue([fact for fact in others if type(fact) in _OF_QUEUES])
        self._of_items = [fact for fact in others if type(fact) is ItemSet]
        self._items = self._written_items()
        changes = changes_of(self._jobs(), self._now.known)
        rare = with_rare_fields(changes)
        check_groups(rare)
        self.links = links_of_batch(self.rows, self.tables, changes, rare, self._effects, self._of_queues)
        self._writing = Writing(self.rows, changes, None if self.links is None else self.links.linked)
        self._write_groups()
        self._last = self._made_last()

    @property
    def changes(self) -> bool:
        """Whether anything was changed."""
        return bool(
            self._writing.changes
            or self._last
            or self._of_queues
            or self._discarded
            or self._items
            or any(delta.is_touched for groups, _ in self._of_groups for delta in groups.deltas.values())
            or self._reordered
            or self.followed_up
        )

    @property
    def job_changes(self) -> Sequence[Change]:
        """The changes of jobs, once they are decided."""
        return self._writing.changes

    def statements(self) -> Iterator[Statement]:
        """
        The statements that write jobs, events and claim starts. Those of groups are built while the database writes the
        jobs.
        """
        yield from self._discarded
        yield from self._items
        yield from self._writing.statements()
        yield from () if self.links is None else self.links.before_counts()
        for _, statements in self._of_groups:
            yield from statements
        yield from self._reordered
        yield from () if self.links is None else self.links.counts(self.slot)
        yield from self._writing.tally(self.slot, self._grouped())
        yield from self._last
        yield from self.followed_up
        yield from () if self.links is None else self.links.last(self._now.elapsed)

    def take(self, answers: Sequence[list[Row]]) -> None:
        """Take the answers to the statements, of which a COMMIT was the last."""
        if self.links is not None:
            self.links.take_unfinished(answers[-2] if len(answers) > 1 else ())

    def result(self) -> Result:
        """The result; call this once all statements are built."""
        soonest = min(filter(None, (self._writing.soonest(self._now.ahead), self._next_firing())), default=None)
        turns = {name: table.turns for name, table in self.tables.queues.items() if table.turns is not None}
        opens = {name: its.opens for name, its in turns.items() if its.opens is not None}
        links = self.links
        return Result(
            now=self._now,
            outcomes=self._outcomes,
            effects=self._effects,
            soonest=soonest,
            opens=opens,
            ended=() if links is None else [*links.eager],
            has_left=links is not None and bool(links.lazy),
        )

    def _next_firing(self) -> int | None:
        """When the first of the changed schedules fires, in elapsed milliseconds; None if there is none."""
        times = [schedule_totals(fact.value).next for fact in self._of_items if fact.kind == SCHEDULE]
        return min((time - self._now.ahead for time in times if time is not None), default=None)

    def write_queues(self, connection: "Connection[Row]") -> None:
        """Write the changes of queues; raises Redo if another connection has changed one."""
        write_queues(connection, self.rows, self._of_queues, self._now)

    def _expire(self) -> None:
        """
        Expire due jobs. For jobs that are not locked, the expiry only affects these decisions;
        another batch writes it.
        """
        if not self._now.is_any_due:
            return
        while due := expire(self.tables, self._now.elapsed, _ALL):
            effects = self.tables.apply(due)
            if self.tables.locked:
                self._effects += effects
                # Jobs are written from effects, but named things and queues are written from facts.
                self._facts += [fact for fact in due if type(fact) in (ItemSet, QueueChanged)]

    def _is_too_early(self) -> bool:
        """
        Whether this batch has completed a job on which others depend: then a task that removes jobs must wait, since it
        might remove that job before its end is followed up.
        """
        awaited = {(name, uid) for name, table in self.tables.queues.items() for uid in table.awaited}
        for one in self._jobs():
            dependencies = None if one.new is None else one.new.spec.rare.dependencies
            awaited.update(() if dependencies is None else dependencies.on)
        return bool(awaited) and any(
            one.new is not None and one.new.state is State.COMPLETE and (one.queue, one.uid) in awaited
            for one in self._jobs()
        )

    def _follow_up(self) -> None:
        """Decide what follows from ended dependencies."""
        for now in sorted(self.tables.followed):
            self.tables.followed_at = now
            self._apply(follow_up(self.tables, now, _ALL))

    # Deciding

    def _outcome(self, one: PlannedCommand) -> Outcome[Any]:
        if one.refused is not None:
            return Refused(one.refused)
        before = len(self._facts) + len(self._discarded)
        try:
            answer = self._answer(one)
        except DomainError as error:
            return Refused(error)
        changed = len(self._facts) + len(self._discarded) > before
        is_empty = isinstance(answer, c.ClaimResult) and not answer.jobs and not answer.results
        return Done(answer, changed=changed, passed_over=is_empty and self._has_passed_over(one.task))

    def _has_passed_over(self, task: Task) -> bool:
        queues = self.tables.queues
        return any(name in queues and _passed_over(queues[name]) for name in task.queue_names)

    def _answer(self, one: PlannedCommand) -> object:
        if isinstance(one.task, c.Claims):
            return self._claim(one.task, one.parts)
        if isinstance(one.task, _DELETING) and self._has_deleted_damaged(one.task):
            return None
        if len(one.parts) == 1:
            return self._decide(one.parts[0], one.parts[0].command)
        for part in one.parts:
            self._apply(part.command.renew_key(self.tables))
            self.tables.queues[part.command.queue].restrict_to(part)
        facts, answer = one.task.decide(self.tables, self._now.elapsed, self.new_id, self.activity)
        self._apply(facts)
        return answer

    def _has_deleted_damaged(self, command: c.DeleteJob | c.DeleteQueue) -> bool:
        """Delete the job or queue of a command if it is damaged; returns whether it is."""
        name = command.queue
        if isinstance(command, c.DeleteQueue):
            if name in self._now.known or not self._now.damaged_among([name], self.rows):
                return False
            self._facts.append(QueueDeleted(name))
            self._effects.append(QueueEffect(name, None))
            return True
        if command.uid not in self.tables.queues[name].damaged:
            return False
        self.tables.queues[name].damaged.remove(command.uid)
        self._discarded.append(_DISCARD_JOB(queue_id=self._now.known[name].id, uid=command.uid))
        return True

    def _claim(self, claims: c.Claims, parts: Sequence[PlannedPart]) -> c.ClaimResult:
        rest = iter(parts)

        def decide(command: c.QueueCommand[A]) -> A:
            # The rule decides each part once, in order.
            return self._decide(next(rest), command)

        return claims.carry_out(self.tables, self._now.elapsed, decide)

    def _decide(self, part: PlannedPart, command: c.QueueCommand[A]) -> A:
        table = self.tables.queues[command.queue]
        if is_of_go_version(table.queue):
            self._apply(command.renew_key(self.tables))
        table.restrict_to(part)
        # The caller's key was checked when the batch was loaded, and stays valid: commands that change keys share no
        # batch.
        facts, answer = command.decide_in(table, part.grant, self._now.elapsed, self.new_id, self.activity)
        self._apply(facts)
        return answer

    def _apply(self, facts: Sequence[Fact]) -> None:
        """Apply facts; raises FlowWanted, see check_flow."""
        if facts:
            if type(facts[0]) is QueueChanged and facts[0].queue.flow is not None:
                check_flow(self.tables.queues[facts[0].queue.name], facts[0].queue, self.given_flow)
            self._facts += facts
            self._effects += self.tables.apply(facts)

    def _end_gates(self) -> None:
        """If the batch changes anything, remove the loaded gates that have no more effect."""
        for name, table in self.tables.queues.items():
            if table.groups_loaded is not None and self.tables.locked and self._facts:
                over = table.groups_loaded.gates_over(self._now.elapsed)
                self._apply([ItemSet(name, GATE, gate, None) for gate in over])

    # What has changed

    def _jobs(self) -> Iterator[JobEffect]:
        return (one for one in self._effects if isinstance(one, JobEffect))

    def _written_items(self) -> list[Statement]:
        if not self._of_items:
            return []
        queues = {fact.queue: self._now.known[fact.queue] for fact in self._of_items}
        return items_written(self.rows, self._of_items, {name: (one.id, one.queue) for name, one in queues.items()})

    def _write_groups(self) -> None:
        """Prepare the statements that write groups."""
        known, tables = self._now.known, self.tables.queues
        if not self.tables.locked or all(one.queue.flow is None for one in known.values()):
            return
        self._of_groups = group_changes(self._of_items, known, tables)
        for name, flow in reordered(self._effects, tables).items():
            self._reordered += all_placed(tables[name], known[name].id, flow)

    def _grouped(self) -> dict[tuple[int, int], int]:
        """By queue number and place in the tally: how the number of jobs in all groups together changes."""
        return {place: by for groups, _ in self._of_groups for place, by in groups.grouped().items()}

    def _made_last(self) -> list[Statement]:
        """The statements that store events and set claim starts back, sorted by queue number, the order of locks."""
        made = self._made_events()
        for queue_id, statement in set_back(self._writing.changes, is_known=self.knows_claim_starts).items():
            made.setdefault(queue_id, []).append(statement)
        return [statement for _, its in sorted(made.items(), key=_first) for statement in its]

    def _made_events(self) -> dict[int, list[Statement]]:
        """The statements that store the events of watched queues, by queue number."""
        made = {}
        watched = {name: known for name, known in self._now.known.items() if known.watched}
        effects = [one for one in self._jobs() if one.queue in watched] if watched else []
        for name, its_effects in groupby(sorted(effects, key=_queue_of), _queue_of):
            known, records = watched[name], _records(its_effects)
            if records:
                made[known.id] = self._event(known, records)
        return made

    def _event(self, known: Known, records: list[EventRecord]) -> list[Statement]:
        count, sealed = len(records), self.rows.seal.seal(_encode(records))
        return [
            _NUMBER_EVENTS(count=count, queue_id=known.id),
            _INSERT_EVENTS(count=count, wall=self._now.wall, sealed=sealed, queue_id=known.id),
        ]


def _passed_over(table: LoadedTable) -> bool:
    return table.passed_over or (table.turns is not None and table.turns.passed_over)


def _last_of_each_queue(facts: Sequence[Fact]) -> list[Fact]:
    """Leave out changes of a queue that a later fact replaces, so that the queue's row is written only once."""
    changed, kept = set[str](), list[Fact]()
    for fact in reversed(facts):
        match fact:
            case QueueChanged(queue) if queue.name in changed:
                continue
            case QueueChanged(queue):
                changed.add(queue.name)
            case QueueDeleted(name):
                changed.add(name)
        kept.append(fact)
    return kept[::-1]


def _records(effects: Iterator[JobEffect]) -> list[EventRecord]:
    """The events; see JobEvent."""
    changes = (
        EventRecord(one.uid, _state(one.old), _state(one.new), one.job.spec.rare.group, one.not_moved)
        for one in effects
    )
    return [record for record in changes if record.before is not record.state or record.not_moved]


def _state(job: Job | None) -> State | None:
    return None if job is None else job.state
