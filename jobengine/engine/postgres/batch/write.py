"""Writes the changes of a batch column by column, which takes less time than row by row."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import define, field
from psycopg import Connection

from ....core.effects import JobEffect
from ....core.facts import Fact, QueueChanged, QueueCreated, QueueDeleted
from ....core.model import FAILED, NO_NOTES, NO_RARE, Job, Queue
from ....core.places import mark_of, place_of
from ....core.values import Value
from ..database.arrays import Array, bigints, byteas, texts
from ..database.connection import together
from ..database.dependency_rows import batch_of_job, kept_for
from ..database.group_rows import key_of
from ..database.pipeline import Row, Statement
from ..database.rows import Known, Rows, moving_of, rank_of
from ..sql import NamedStatement, named
from .begin import Now
from .failures import failure_row, may_be_failure
from .load import Redo

_INSERT_JOBS: Final = named("insert_jobs")
_RENEW_JOBS: Final = named("renew_jobs")
_MOVE_JOBS: Final = named("move_jobs")
_INSERT_JOBS_OF_GROUPS: Final = named("insert_jobs_of_groups")
_RENEW_JOBS_OF_GROUPS: Final = named("renew_jobs_of_groups")
_MOVE_JOBS_OF_GROUPS: Final = named("move_jobs_of_groups")
_DELETE_JOBS: Final = named("delete_jobs")
_INSERT_LINKED_JOBS: Final = named("insert_linked_jobs")
_RENEW_LINKED_JOBS: Final = named("renew_linked_jobs")
_MOVE_LINKED_JOBS: Final = named("move_linked_jobs")
_INSERT_TAGS: Final = named("insert_tags")
_DELETE_TAGS: Final = named("delete_tags")
_SET_FAILURES: Final = named("set_failures")
_DELETE_FAILURES: Final = named("delete_failures")
_ADD_TO_TALLY: Final = named("add_to_tally")
_INSERT_QUEUE: Final = named("insert_queue")
_RECONFIGURE_QUEUE: Final = named("reconfigure_queue")
_LOCK_UNCHANGED_QUEUES: Final = named("lock_unchanged_queues")
_DELETE_QUEUE: Final = named("delete_queue")
_INSERT_GONE: Final = named("insert_gone")
#: The columns of some rows: a list of values for each column.
_Columns = Sequence[Sequence[Any]]
#: The index of the column with the deadlines by elapsed time, in the columns of a statement.
_DUE: Final = 3
#: The most rows in a statement. While the database executes one statement, the next is built.
_SLICE: Final = 250
#: How the columns of a statement are packed.
_Kinds = Sequence[Callable[[Any], Array]]
_UIDS: Final[_Kinds] = (bigints, texts)
_TAGS: Final[_Kinds] = (bigints, byteas, bigints, bigints, texts)
_FAILURES: Final[_Kinds] = (bigints, texts, byteas, bigints)
_NUMBERS: Final[_Kinds] = (bigints,) * 4
_STANDINGS: Final[_Kinds] = (bigints, texts, *(bigints,) * 4, byteas, bigints, byteas)
_JOBS: Final[_Kinds] = (*_STANDINGS[:-1], *(bigints,) * 3, byteas)
_STANDINGS_OF_GROUPS: Final[_Kinds] = (*_STANDINGS, byteas)
_JOBS_OF_GROUPS: Final[_Kinds] = (*_JOBS, byteas)
_LINKS: Final[_Kinds] = (byteas, bigints, byteas, bigints)
_LINKED_STANDINGS: Final[_Kinds] = (*_STANDINGS, *_LINKS)
_LINKED_JOBS: Final[_Kinds] = (*_JOBS, *_LINKS)

#: A row of the table `tag`: the queue's number, the digest of a tag, and the job's rank and uid.
_TagRow = tuple[int, bytes, int, int, str]


class Change(Value, frozen=True):
    """A job before a batch and after it."""

    queue: Known
    uid: str
    old: Job | None
    new: Job | None


#: A statement, how its columns are packed, the changes, and the function that makes the columns of some changes.
_Sort = tuple[NamedStatement, _Kinds, Sequence[Change], Callable[[Sequence[Change]], _Columns]]


def _sorted_out(changes: Sequence[Change]) -> tuple[list[Change], list[Change], list[Change], list[Change]]:
    """Sort changes into four lists: removed jobs, jobs with only a new standing, other changed jobs, new jobs."""
    return (
        [one for one in changes if one.new is None],
        [one for one in changes if _keeps_spec(one)],
        [one for one in changes if one.old is not None and one.new is not None and not _keeps_spec(one)],
        sorted((one for one in changes if one.old is None), key=_key_of),
    )


def changes_of(effects: Iterable[JobEffect], known: Mapping[str, Known]) -> list[Change]:
    """
    The change of each job: its state before the first effect, and after the last. Jobs that were both added and removed
    are left out.
    """
    made: dict[tuple[str, str], Change] = {}
    for effect in effects:
        key = (effect.queue, effect.uid)
        before = made.get(key)
        old = effect.old if before is None else before.old
        made[key] = Change(known[effect.queue], effect.uid, old, effect.new)
    return [one for one in made.values() if one.old is not None or one.new is not None]


# The next three functions leave out nearly all jobs. They would take three times as long with a function call for each.


def with_rare_fields(changes: Iterable[Change]) -> list[Change]:
    """The changes of jobs that have, or had, fields that only few jobs have: a batch, dependencies, a group."""
    return [
        one
        for one in changes
        if ((new := one.new) is not None and new.spec.rare is not NO_RARE)
        or ((old := one.old) is not None and old.spec.rare is not NO_RARE)
    ]


def _with_tags(changes: Iterable[Change]) -> list[Change]:
    """The changes of jobs that have, or had, tags."""
    return [
        one
        for one in changes
        if ((new := one.new) is not None and new.spec.tags) or ((old := one.old) is not None and old.spec.tags)
    ]


def _with_notes(changes: Iterable[Change]) -> list[Change]:
    """The changes of jobs that have failed or have notes, or did so before."""
    return [
        one
        for one in changes
        if ((new := one.new) is not None and (new.standing.notes is not NO_NOTES or new.standing.state is FAILED))
        or ((old := one.old) is not None and (old.standing.notes is not NO_NOTES or old.standing.state is FAILED))
    ]


def write_queues(connection: "Connection[Row]", rows: Rows, facts: Sequence[Fact], now: Now) -> None:
    """
    Write changed queues. Raises Redo if another connection has meanwhile changed one of them, or a queue that becomes
    the dead-letter queue of one.
    """
    if not facts:
        return
    statements = [one for fact in facts for one in _of_queue(rows, fact, now)]
    if pairs := _with_new_dead_letters(facts, now.known):
        ids, revs = bigints([*pairs]), bigints([*pairs.values()])
        statements.insert(0, _LOCK_UNCHANGED_QUEUES(queue_ids=ids, revs=revs))
    if not all(together(connection, *statements)):
        raise Redo


def _with_new_dead_letters(facts: Iterable[Fact], known: Mapping[str, Known]) -> dict[int, int]:
    """The revisions, by queue number, of queues that get another dead-letter queue, and of these dead-letter queues."""
    found: dict[int, int] = {}
    for fact in facts:
        if isinstance(fact, QueueChanged) and (new := fact.queue.dead_letter) is not None:
            its, target = known[fact.queue.name], known.get(new.queue)
            if target is not None and new != its.queue.dead_letter:
                found |= {its.id: its.rev, target.id: target.rev}
    return dict(sorted(found.items()))


def _of_queue(rows: Rows, fact: Fact, now: Now) -> list[Statement]:
    """The statements for a fact about a queue; each returns a row if it has changed a row."""
    match fact:
        case QueueCreated(queue):
            digest, sealed = rows.name(queue.name), rows.sealed_queue(queue)
            return [_INSERT_QUEUE(digest=digest, sealed=sealed, moving=moving_of(queue))]
        case QueueChanged(queue):
            its, sealed = now.known[queue.name], rows.sealed_queue(queue)
            return [_RECONFIGURE_QUEUE(sealed=sealed, moving=moving_of(queue), queue_id=its.id, rev=its.rev)]
        case QueueDeleted(name):
            its_known = now.known.get(name)
            number, rev = (its_known.id, its_known.rev) if its_known else now.damaged[rows.name(name)]
            return [_DELETE_QUEUE(queue_id=number, rev=rev), _INSERT_GONE(queue_id=number, wall=now.wall)]
    return []


@define
class Linked:
    """The jobs whose rows have values in the columns for dependencies, by queue number and uid."""

    #: Jobs on which others depend.
    awaited: set[tuple[int, str]] = field(factory=set)
    #: Jobs on which no job depends any more.
    freed: set[tuple[int, str]] = field(factory=set)

    def has(self, change: Change) -> bool:
        """Whether the row of a job has values in the columns for dependencies or batches, or had some."""
        return batch_of_job(change.new) is not None or self.awaits(change) or self.frees(change)

    def awaits(self, change: Change) -> bool:
        """Whether others depend on a job."""
        return bool(self.awaited) and (change.queue.id, change.uid) in self.awaited

    def frees(self, change: Change) -> bool:
        """Whether nobody depends on a job any more."""
        return bool(self.freed) and (change.queue.id, change.uid) in self.freed


@define
class Writing:
    """The statements that write changes of jobs."""

    rows: Rows
    changes: Sequence[Change]
    #: None if no row of these jobs has values in the columns for dependencies and batches.
    linked: Linked | None = None
    #: The deadlines of the written jobs, by elapsed time and by the wall clock, in milliseconds.
    _dues: list[int | None] = field(factory=list, init=False)
    _walls: list[int | None] = field(factory=list, init=False)
    #: By queue and place (or mark: retrying, cancelled): how many of the changed jobs are there now, minus how many
    #: were there before.
    _counted: Counter[tuple[int, int]] = field(factory=Counter, init=False)
    #: See _with_notes.
    _annotated: Sequence[Change] = field(init=False)

    @_annotated.default
    def _find_annotated(self) -> Sequence[Change]:
        return _with_notes(self.changes)

    def statements(self) -> Iterator[Statement]:
        """
        The statements that write jobs and tags, in the order of locks.

        New rows are sorted, since other connections may insert the same keys.
        """
        changes, linked = self.changes, list[Change]()
        if self.linked is not None:
            others = list[Change]()
            for one in changes:
                (linked if one.new is not None and self.linked.has(one) else others).append(one)
            changes = others
        of_groups = [one for one in changes if one.queue.queue.flow is not None]
        plain = [one for one in changes if one.queue.queue.flow is None] if of_groups else changes
        sorts = [*self._sorts(plain), *self._sorts_of_groups(of_groups), *self._sorts_of_links(linked)]
        for statement, kinds, changes, columns in sorts:
            for start in range(0, len(changes), _SLICE):
                yield _statement(statement, kinds, columns(changes[start : start + _SLICE]))
        yield from self._retagged()
        yield from self._failures()

    def _sorts(self, changes: Sequence[Change]) -> list[_Sort]:
        removed, moved, renewed, new = _sorted_out(changes)
        return [
            (_DELETE_JOBS, _UIDS, removed, _uids_of),
            (_MOVE_JOBS, _STANDINGS, moved, self._moved),
            (_RENEW_JOBS, _JOBS, renewed, self._whole),
            (_INSERT_JOBS, _JOBS, new, self._whole),
        ]

    def _sorts_of_groups(self, changes: Sequence[Change]) -> list[_Sort]:
        """As `_sorts`, for queues with flow, where the row of a job has the key of its group."""
        if not changes:
            return []
        removed, moved, renewed, new = _sorted_out(changes)
        return [
            (_DELETE_JOBS, _UIDS, removed, _uids_of),
            (_MOVE_JOBS_OF_GROUPS, _STANDINGS_OF_GROUPS, moved, lambda some: [*self._moved(some), self._keys(some)]),
            (_RENEW_JOBS_OF_GROUPS, _JOBS_OF_GROUPS, renewed, lambda some: [*self._whole(some), self._keys(some)]),
            (_INSERT_JOBS_OF_GROUPS, _JOBS_OF_GROUPS, new, lambda some: [*self._whole(some), self._keys(some)]),
        ]

    def _sorts_of_links(self, changes: Sequence[Change]) -> list[_Sort]:
        """As `_sorts`, for jobs of batches, and jobs on which others depend."""
        if not changes:
            return []
        _, moved, renewed, new = _sorted_out(changes)
        return [
            (_MOVE_LINKED_JOBS, _LINKED_STANDINGS, moved, lambda some: self._with_links(some, self._moved(some))),
            (_RENEW_LINKED_JOBS, _LINKED_JOBS, renewed, lambda some: self._with_links(some, self._whole(some))),
            (_INSERT_LINKED_JOBS, _LINKED_JOBS, new, lambda some: self._with_links(some, self._whole(some))),
        ]

    def _with_links(self, changes: Sequence[Change], columns: _Columns) -> _Columns:
        """Add the columns for dependencies and batches. A job whose retention is put off gets no deadline."""
        assert self.linked is not None
        keys = [
            None if one.queue.queue.flow is None else key for one, key in zip(changes, self._keys(changes), strict=True)
        ]
        awaited = [1 if self.linked.awaits(one) else None for one in changes]
        batches = [self.rows.batch_of(one.new) for one in changes]
        kept = [
            kept_for(one.new) if batch is not None or (is_awaited and not self.linked.frees(one)) else None
            for one, is_awaited, batch in zip(changes, awaited, batches, strict=True)
        ]
        dues = [due if one is None else None for due, one in zip(columns[_DUE], kept, strict=True)]
        return [*columns[:_DUE], dues, *columns[_DUE + 1 :], keys, awaited, batches, kept]

    def _keys(self, changes: Sequence[Change]) -> list[bytes | None]:
        return [key_of(self.rows, one.new) for one in changes if one.new is not None]

    def soonest(self, ahead: int) -> int | None:
        """
        The earliest deadline of the written jobs, in elapsed milliseconds. Call this after all
        statements are built.
        """
        walls = [wall - ahead for wall in self._walls if wall is not None]
        return min([*walls, *(due for due in self._dues if due is not None)], default=None)

    def _standings(self, changes: Sequence[Change]) -> _Columns:
        ids, columns = _ids_of(changes), self.rows.standings([one.new for one in changes if one.new is not None])
        self._counted.update(zip(ids, columns[1], strict=True))
        self._dues += columns[2]
        self._walls += columns[3]
        return [ids, *columns]

    def _moved(self, changes: Sequence[Change]) -> _Columns:
        return [*self._standings(changes), self.rows.sealed_standings(_jobs_of(changes))]

    def _whole(self, changes: Sequence[Change]) -> _Columns:
        jobs = _jobs_of(changes)
        specs = [job.spec for _, job in jobs]
        return [
            *self._standings(changes),
            # The column `inv_prio`; see rank_of.
            [spec.rank[0] - 1 for spec in specs],
            [spec.arrival for spec in specs],
            [spec.created for spec in specs],
            self.rows.sealed_jobs(jobs),
        ]

    def _retagged(self) -> list[Statement]:
        changes = _with_tags(self.changes)
        was = self._tags((one.queue.id, one.old) for one in changes)
        now = self._tags((one.queue.id, one.new) for one in changes)
        sorts: list[tuple[NamedStatement, set[_TagRow]]] = [(_DELETE_TAGS, was - now), (_INSERT_TAGS, now - was)]
        return [_statement(statement, _TAGS, _columns(rows)) for statement, rows in sorts if rows]

    def _failures(self) -> Iterator[Statement]:
        """The statements that bring the table `failure` up to date."""
        some = [one for one in self._annotated if may_be_failure(one.old) or may_be_failure(one.new)]
        gone = [(one.queue.id, one.uid) for one in some if failure_row(self.rows, one.new) is None]
        for start in range(0, len(gone), _SLICE):
            yield _statement(_DELETE_FAILURES, _UIDS, _columns(gone[start : start + _SLICE]))
        yield from failures_set(self.rows, some)

    def _tags(self, jobs: Iterable[tuple[int, Job | None]]) -> set[_TagRow]:
        """The rows of these jobs in the table `tag`, one for each tag of a ready job."""
        return {
            (queue_id, digest, *rank_of(job), job.spec.uid)
            for queue_id, job in jobs
            if job is not None and job.ready
            for digest in self.rows.tags(job.spec.tags)
        }

    def tally(self, slot: int, grouped: Mapping[tuple[int, int], int]) -> list[Statement]:
        """
        The statement that adds all changes to the counts of jobs, in this slot of the table `tally`; `grouped` are the
        changes of the counts of jobs in groups. Call this after the other statements are built.
        """
        self._counted.subtract(
            (one.queue.id, place_of(one.old.standing)) for one in self.changes if one.old is not None
        )
        for one in self._annotated:
            for job, by in ((one.old, -1), (one.new, 1)):
                if job is not None and job.standing.notes is not NO_NOTES and (mark := mark_of(job)) is not None:
                    self._counted[one.queue.id, mark] += by
        return tally({**self._counted, **grouped}, slot)


def tally(counted: Mapping[tuple[int, int], int], slot: int) -> list[Statement]:
    """The statement that adds `counted`, by queue number and place, to the rows of this slot in the table `tally`."""
    rows = [(queue_id, slot, place, by) for (queue_id, place), by in counted.items() if by]
    return [_statement(_ADD_TO_TALLY, _NUMBERS, _columns(rows))] if rows else []


def failures_set(rows: Rows, changes: Iterable[Change]) -> Iterator[Statement]:
    """The statements that enter these jobs into the table `failure`, as far as they have failed."""
    return failures_written(
        [(one.queue.id, one.uid, *row) for one in changes if (row := failure_row(rows, one.new)) is not None]
    )


def failures_written(found: Sequence[tuple[int, str, bytes, int]]) -> Iterator[Statement]:
    """The statements that write these rows of the table `failure`."""
    for start in range(0, len(found), _SLICE):
        yield _statement(_SET_FAILURES, _FAILURES, _columns(found[start : start + _SLICE]))


def _keeps_spec(change: Change) -> bool:
    """Whether only the standing of a job has changed."""
    return change.old is not None and change.new is not None and change.old.spec is change.new.spec


def _key_of(change: Change) -> tuple[int, str]:
    return change.queue.id, change.uid


def _ids_of(changes: Sequence[Change]) -> list[int]:
    return [one.queue.id for one in changes]


def _jobs_of(changes: Sequence[Change]) -> list[tuple[Queue, Job]]:
    """The jobs after the batch, each with its queue."""
    return [(one.queue.queue, one.new) for one in changes if one.new is not None]


def _uids_of(changes: Sequence[Change]) -> _Columns:
    return [_ids_of(changes), [one.uid for one in changes]]


def _columns(rows: Iterable[tuple[Any, ...]]) -> _Columns:
    """The columns of sorted rows."""
    return list(zip(*sorted(rows), strict=True))


def _statement(statement: NamedStatement, kinds: _Kinds, columns: _Columns) -> Statement:
    """The statement that sends these columns, each as one array."""
    return Statement(statement.text, [kind(column) for kind, column in zip(kinds, columns, strict=True)])
