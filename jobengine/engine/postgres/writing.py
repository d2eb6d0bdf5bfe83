"""Writes the changes of a batch."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, LiteralString

from attrs import define, field, frozen
from psycopg import Connection

from ...core.facts import Fact, QueueChanged, QueueCreated, QueueDeleted
from ...core.model import Job
from ...core.state import JobSwap
from .arrays import Array, bigints, byteas, texts
from .beginning import Now
from .connection import Row, Statement, together
from .loading import Redo
from .rows import Known, Rows, place_of

__all__ = ["Change", "changes_of", "statements_of", "write_queues"]

_INSERT: Final[LiteralString] = (
    "INSERT INTO job (queue_id, uid, place, due, due_wall, updated, unique_key, bytes, inv_prio, arrival, created, "
    "sealed) SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], "
    "%s::bytea[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bytea[])"
)
#: For jobs whose fixed half has changed: a client has edited them, or a new job has the uid of a removed one.
_RENEW: Final[LiteralString] = (
    "UPDATE job j SET place = n.place, due = n.due, due_wall = n.due_wall, updated = n.updated, unique_key = "
    "n.unique_key, bytes = n.bytes, inv_prio = n.inv_prio, arrival = n.arrival, created = n.created, "
    "sealed = n.sealed, said = NULL FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], "
    "%s::bigint[], %s::bytea[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bytea[]) AS n (queue_id, "
    "uid, place, due, due_wall, updated, unique_key, bytes, inv_prio, arrival, created, sealed) "
    "WHERE j.queue_id = n.queue_id AND j.uid = n.uid"
)
#: For jobs of which only the standing has changed, which are most.
_MOVE: Final[LiteralString] = (
    "UPDATE job j SET place = n.place, due = n.due, due_wall = n.due_wall, updated = n.updated, unique_key = "
    "n.unique_key, bytes = n.bytes, said = n.said FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bigint[], "
    "%s::bigint[], %s::bigint[], %s::bytea[], %s::bigint[], %s::bytea[]) AS n (queue_id, uid, place, due, due_wall, "
    "updated, unique_key, bytes, said) WHERE j.queue_id = n.queue_id AND j.uid = n.uid"
)
_DELETE: Final[LiteralString] = (
    "DELETE FROM job j USING unnest(%s::bigint[], %s::text[]) AS n (queue_id, uid) "
    "WHERE j.queue_id = n.queue_id AND j.uid = n.uid"
)
_TAG: Final[LiteralString] = (
    "INSERT INTO tag SELECT * FROM unnest(%s::bigint[], %s::bytea[], %s::bigint[], %s::bigint[], %s::text[])"
)
_UNTAG: Final[LiteralString] = (
    "DELETE FROM tag t USING unnest(%s::bigint[], %s::bytea[], %s::bigint[], %s::bigint[], %s::text[]) "
    "AS n (queue_id, tag, inv_prio, arrival, uid) WHERE t.queue_id = n.queue_id AND t.tag = n.tag "
    "AND t.inv_prio = n.inv_prio AND t.arrival = n.arrival AND t.uid = n.uid"
)
_TALLY: Final[LiteralString] = (
    "INSERT INTO tally AS t SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) "
    "ORDER BY 1, 2, 3 ON CONFLICT (queue_id, slot, place) DO UPDATE SET jobs = t.jobs + excluded.jobs"
)
_GONE: Final[LiteralString] = "DELETE FROM queue WHERE id = %s AND rev = %s RETURNING id"
_RECONFIGURED: Final[LiteralString] = (
    "UPDATE queue SET sealed = %s, rev = rev + 1 WHERE id = %s AND rev = %s RETURNING id"
)
#: How the columns of statements are sent.
_Kinds = Sequence[Callable[[Any], Array]]
_UIDS: Final[_Kinds] = (bigints, texts)
_TAGS: Final[_Kinds] = (bigints, byteas, bigints, bigints, texts)
_NUMBERS: Final[_Kinds] = (bigints,) * 4
_STANDINGS: Final[_Kinds] = (bigints, texts, *(bigints,) * 4, byteas, bigints, byteas)
_JOBS: Final[_Kinds] = (*_STANDINGS[:-1], *(bigints,) * 3, byteas)

#: A row of the table tag.
_TagRow = tuple[int, bytes, int, int, str]


@frozen
class Change:
    """A job before a batch and after it."""

    queue: Known
    uid: str
    old: Job | None
    new: Job | None


def changes_of(swaps: Iterable[JobSwap], known: Mapping[str, Known]) -> list[Change]:
    """The change of each job, from before its first swap to after its last; jobs that came and went are left out."""
    made: dict[tuple[str, str], Change] = {}
    for swap in swaps:
        before = made.get((swap.queue, swap.uid))
        old = swap.old if before is None else before.old
        made[swap.queue, swap.uid] = Change(known[swap.queue], swap.uid, old, swap.new)
    return [one for one in made.values() if one.old is not None or one.new is not None]


def write_queues(connection: "Connection[Row]", rows: Rows, facts: Iterable[Fact], now: Now) -> None:
    """Write the changes of queues; raises Redo if another connection has changed one meanwhile."""
    statements = [one for fact in facts for one in _of_queue(rows, fact, now)]
    if statements and not all(together(connection, *statements)):
        raise Redo


def _of_queue(rows: Rows, fact: Fact, now: Now) -> list[Statement]:
    """The statements for a fact about a queue; each returns a row if it changed something."""
    match fact:
        case QueueCreated(queue):
            values = [rows.name(queue.name), rows.sealed_queue(queue)]
            return [Statement("INSERT INTO queue (name_digest, sealed) VALUES (%s, %s) RETURNING id", values)]
        case QueueChanged(queue):
            its = now.known[queue.name]
            return [Statement(_RECONFIGURED, [rows.sealed_queue(queue), its.id, its.rev])]
        case QueueDeleted(name):
            its = now.known[name]
            gone = Statement("INSERT INTO gone VALUES (%s, %s) RETURNING queue_id", [its.id, now.wall])
            return [Statement(_GONE, [its.id, its.rev]), gone]
    return []


def statements_of(rows: Rows, changes: Sequence[Change], slot: int) -> list[Statement]:
    """The statements for changes of jobs; the tally is kept in this slot."""
    return _Writing(rows, changes).statements(slot)


@define
class _Writing:
    """The statements that write changes of jobs."""

    rows: Rows
    changes: Sequence[Change]
    _tagged: list[_TagRow] = field(factory=list, init=False)
    _untagged: list[_TagRow] = field(factory=list, init=False)
    _counted: Counter[tuple[int, int]] = field(factory=Counter, init=False)

    def statements(self, slot: int) -> list[Statement]:
        """In the order of locks. New rows are sorted: another connection may insert the same keys."""
        for change in self.changes:
            self._note(change.queue.id, change.old, -1, self._untagged)
            self._note(change.queue.id, change.new, 1, self._tagged)
        removed = [(one.queue.id, one.uid) for one in self.changes if one.new is None]
        moved: list[tuple[Any, ...]] = []
        renewed: list[tuple[Any, ...]] = []
        new: list[tuple[Any, ...]] = []
        for change in self.changes:
            if change.new is not None and change.old is not None and change.old.spec is change.new.spec:
                moved.append(self._moved(change.queue, change.new))
            elif change.new is not None:
                (new if change.old is None else renewed).append(self._whole(change.queue, change.new))
        stays = set(self._tagged) & set(self._untagged)
        return [
            *_statement(_DELETE, _UIDS, removed),
            *_statement(_MOVE, _STANDINGS, moved),
            *_statement(_RENEW, _JOBS, renewed),
            *_statement(_INSERT, _JOBS, sorted(new, key=_uid_of)),
            *_statement(_UNTAG, _TAGS, sorted(set(self._untagged) - stays)),
            *_statement(_TAG, _TAGS, sorted(set(self._tagged) - stays)),
            *_statement(_TALLY, _NUMBERS, self._tally(slot)),
        ]

    def _tally(self, slot: int) -> list[tuple[int, int, int, int]]:
        return sorted((queue_id, slot, place, by) for (queue_id, place), by in self._counted.items() if by)

    def _note(self, queue_id: int, job: Job | None, by: int, tags: list[_TagRow]) -> None:
        """Count a job where it was or is, and its tags if it can be claimed there."""
        if job is None:
            return
        self._counted[queue_id, place_of(job)] += by
        if job.ready and job.spec.tags:
            spec = job.spec
            digests = self.rows.tags(spec.tags)
            tags += [(queue_id, digest, ~spec.priority, spec.arrival, spec.uid) for digest in digests]

    def _moved(self, queue: Known, job: Job) -> tuple[Any, ...]:
        return (queue.id, *self.rows.standing(job), self.rows.sealed_standing(queue.queue, job))

    def _whole(self, queue: Known, job: Job) -> tuple[Any, ...]:
        return (queue.id, *self.rows.columns(job), self.rows.sealed_job(queue.queue, job))


def _statement(text: LiteralString, kinds: _Kinds, rows: Sequence[tuple[Any, ...]]) -> list[Statement]:
    """The statement that sends these rows, as one array for each column; no statement if there are no rows."""
    columns = zip(*rows, strict=True)
    return [Statement(text, [kind(column) for kind, column in zip(kinds, columns, strict=True)])] if rows else []


def _uid_of(row: tuple[Any, ...]) -> tuple[int, str]:
    return row[0], row[1]
