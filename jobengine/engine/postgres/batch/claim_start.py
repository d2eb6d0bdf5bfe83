"""
The floor of a queue: no job that can be claimed comes before this place in execution order. Claims begin there.

Until PostgreSQL vacuums, its indexes have entries of all jobs that went through. Without a floor, each claim would walk
past them.

A transaction that makes a job ready whose place is before the floor also lowers the floor. So in any snapshot the floor
is right, and one statement reads the floor and the jobs from there on.

A floor is raised in three steps, each a transaction of its own:

1. A new floor is proposed. Transactions that know of the proposal, and make a job ready whose place is before it, lower
   it.
2. Then a new transaction notes its own number. All transactions with a higher number know of the proposal: those that
   write get their number before they read the queue, or lower both floors without reading it first (see `lowered`).
3. Once all transactions with lower numbers have ended, the proposal becomes the floor; or the first ready job does, if
   that job comes before the proposal.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Final, LiteralString

from attrs import define, evolve, field, frozen
from psycopg import Connection
from psycopg.errors import LockNotAvailable

from ....core.model import Job
from ..database.connection import Row, Statement
from ..database.rows import NO_FLOOR, RowRank, keep
from .write import Change

__all__ = ["Floor", "Floors", "Seen", "lowered", "raise_floor", "raised"]

_LOWERED: Final[LiteralString] = (
    "{which}_prio = CASE WHEN (n.prio, n.arrival) < ({which}_prio, {which}_arrival) THEN n.prio ELSE {which}_prio END, "
    "{which}_arrival = CASE WHEN (n.prio, n.arrival) < ({which}_prio, {which}_arrival) THEN n.arrival "
    "ELSE {which}_arrival END"
)
#: A proposal need not be lowered: to lock the row is enough. But then each later batch with such a job would lock it.
_LOWER_BOTH: Final[LiteralString] = (
    "UPDATE queue SET {floor}, {proposed} FROM (SELECT %s AS prio, %s AS arrival) n WHERE id = %s AND "
    "((n.prio, n.arrival) < (floor_prio, floor_arrival) OR (n.prio, n.arrival) < (proposed_prio, proposed_arrival))"
)
_LOWER: Final = _LOWER_BOTH.format(floor=_LOWERED.format(which="floor"), proposed=_LOWERED.format(which="proposed"))
#: Batches that have locked the row hold it until they are committed. This does not wait for them long: it comes again.
_BEGUN: Final = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '100ms'"
_FLOOR: Final[LiteralString] = (
    "SELECT floor_prio, floor_arrival, proposed_prio, proposed_arrival, proposed_by, known_from FROM queue "
    "WHERE id = %s FOR UPDATE"
)
#: Sent after the queue's row is locked, so its snapshot has all that was committed until then.
_SEEN: Final[LiteralString] = (
    "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, pg_current_xact_id()::text::bigint, "
    "j.inv_prio, j.arrival "
    "FROM (SELECT) one LEFT JOIN LATERAL (SELECT inv_prio, arrival FROM job WHERE queue_id = %s AND place = 0 "
    "AND (inv_prio, arrival) >= (%s, %s) ORDER BY inv_prio, arrival LIMIT 1) j ON true"
)
_RAISE: Final[LiteralString] = (
    "UPDATE queue SET floor_prio = %s, floor_arrival = %s, proposed_prio = %s, proposed_arrival = %s, "
    "proposed_by = %s, known_from = %s WHERE id = %s"
)
#: Asked for alone, in a new transaction: one that waits for the row may have got its number before the proposal.
_NUMBER: Final[LiteralString] = "SELECT pg_current_xact_id()::text::bigint"
_NOTE: Final[LiteralString] = (
    "UPDATE queue SET known_from = %s WHERE id = %s AND proposed_by = %s AND known_from IS NULL"
)


@frozen
class Floor:
    """The floor of a queue, and the one that is proposed, if any."""

    at: RowRank
    proposed: RowRank | None = None
    #: The number of the transaction that proposed it.
    proposed_by: int | None = None
    #: All transactions with higher numbers know of the proposal; None if no such number is noted yet.
    known_from: int | None = None


@frozen
class Seen:
    """What a transaction sees."""

    #: The number of the oldest transaction that has not ended, and its own.
    oldest: int
    number: int
    #: The first job from the floor on that can be claimed.
    first: RowRank | None


def raised(floor: Floor, seen: Seen, claimed: RowRank) -> Floor:
    """The floor after the first or the third step; `claimed` is proposed if no job can be claimed."""
    if floor.proposed is None:
        return _proposing(floor.at, seen.first or claimed, seen.number)
    if floor.known_from is None:
        return floor
    if floor.known_from > seen.number:
        # The database was restored, and its numbers began anew; or another has noted one while this waited for the row.
        # It does no harm to note a new number.
        return evolve(floor, known_from=None)
    if seen.oldest < floor.known_from:
        return floor
    return _proposing(min(floor.proposed, seen.first or floor.proposed), seen.first or claimed, seen.number)


def _proposing(at: RowRank, proposed: RowRank, number: int) -> Floor:
    return Floor(at, proposed, number) if proposed > at else Floor(at)


def raise_floor(connection: "Connection[Row]", queue_id: int, claimed: RowRank) -> None:
    """Raise the floor of a queue if it can be raised by now, and propose the next one; see `raised`."""
    with suppress(LockNotAvailable):
        floor = _step(connection, queue_id, claimed)
        if floor is not None and floor.proposed is not None and floor.known_from is None:
            _note(connection, queue_id, floor)


def _step(connection: "Connection[Row]", queue_id: int, claimed: RowRank) -> Floor | None:
    """Take the first or the third step; returns the floor as it is committed then, or None if the queue is gone."""
    with connection.transaction():
        connection.execute(_BEGUN)
        row = connection.execute(_FLOOR, [queue_id]).fetchone()
        if row is None:
            return None
        before = Floor((row[0], row[1]), _rank(row[2], row[3]), row[4], row[5])
        ((oldest, number, *first),) = connection.execute(_SEEN, [queue_id, *before.at]).fetchall()
        after = raised(before, Seen(oldest, number, _rank(*first)), claimed)
        if after != before:
            proposed = after.proposed or (None, None)
            connection.execute(_RAISE, [*after.at, *proposed, after.proposed_by, after.known_from, queue_id])
        return after


def _note(connection: "Connection[Row]", queue_id: int, floor: Floor) -> None:
    """Take the second step, for a proposal that is committed, unless there is another one by now."""
    with connection.transaction():
        connection.execute(_BEGUN)
        ((number,),) = connection.execute(_NUMBER).fetchall()
        connection.execute(_NOTE, [number, queue_id, floor.proposed_by])


def _rank(inv_prio: int | None, arrival: int | None) -> RowRank | None:
    return None if inv_prio is None or arrival is None else (inv_prio, arrival)


def lowered(changes: Iterable[Change], *, is_known: bool) -> dict[int, Statement]:
    """
    The statements that lower the floors of queues by number: at most one for each in which jobs become ready.

    With `is_known`, the floors of the queues were read after the transaction had its number, so most need none.
    """
    lowest: dict[int, RowRank] = {}
    for one in changes:
        floor = one.queue.floor if is_known else None
        if floor == NO_FLOOR or (job := _made_ready(one)) is None:
            continue
        rank = (~job.spec.priority, job.spec.arrival)
        if floor is None or rank < floor:
            lowest[one.queue.id] = min(rank, lowest.get(one.queue.id, rank))
    return {queue_id: Statement(_LOWER, [*rank, queue_id]) for queue_id, rank in lowest.items()}


def _made_ready(change: Change) -> Job | None:
    """The job, if it is ready now and was not, or may have been at another place."""
    old, new = change.old, change.new
    was_there = old is not None and new is not None and old.ready and old.spec is new.spec
    return None if new is None or not new.ready or was_there else new


@define
class Floors:
    """Says which floors are worth raising: lanes note what they claim."""

    #: How many jobs are claimed from a queue until its floor is raised. Walking past fewer costs less than raising it.
    worth: int = 2_000
    #: Milliseconds between two times of raising floors.
    pause: int = 1_000
    #: By queue: how many jobs were claimed since its floor was raised, and the rank of the last one.
    _claimed: dict[int, tuple[int, RowRank]] = field(factory=dict, init=False)
    #: When to raise floors next, by the monotonic clock in milliseconds.
    _next: int = field(default=0, init=False)

    def note(self, queue_id: int, jobs: int, last: RowRank) -> None:
        """Some jobs were claimed. Any thread may call this; now and then it misses some of them, which does no harm."""
        before, _ = self._claimed.get(queue_id, (0, last))
        keep(self._claimed, queue_id, (before + jobs, last))

    def take(self, now: int) -> list[tuple[int, RowRank]]:
        """The queues whose floors are to be raised now, each with the rank of the last job that was claimed."""
        if now < self._next:
            return []
        self._next = now + self.pause
        worth = [(queue_id, last) for queue_id, (jobs, last) in self._claimed.copy().items() if jobs >= self.worth]
        for queue_id, _ in worth:
            self._claimed.pop(queue_id, None)
        return worth
