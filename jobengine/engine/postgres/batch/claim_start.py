"""
The claim start of a queue: no job that can be claimed comes before this rank. Claims begin there.

Until PostgreSQL vacuums, its indexes have entries of all jobs that went through. Without a claim start, each claim
would walk past them.

A transaction that makes a job ready before the claim start also sets the claim start back. So in any snapshot the claim
start is right, and one statement reads it and the jobs from there on.

A claim start is advanced in three steps, each a transaction of its own:

1. A new one is proposed. Transactions that know of the proposal, and make a job ready before it, set the proposal back.
2. Then a new transaction records its own number. All transactions with a higher number know of the proposal: those that
   write get their number before they read the queue, or set both back without reading it first (see `set_back`).
3. Once all transactions with lower numbers have ended, the proposal becomes the claim start; or the first ready job
   does, if that job comes before the proposal.

The columns of the table queue are called floor_prio and floor_arrival.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Final, LiteralString

from attrs import define, evolve, field, frozen
from psycopg import Connection
from psycopg.errors import LockNotAvailable

from ....core.model import Job
from ..database.pipeline import Row, Statement
from ..database.rows import NO_CLAIM_START, RowRank, keep
from .write import Change

_LOWERED: Final[LiteralString] = (
    "{which}_prio = CASE WHEN (n.prio, n.arrival) < ({which}_prio, {which}_arrival) THEN n.prio ELSE {which}_prio END, "
    "{which}_arrival = CASE WHEN (n.prio, n.arrival) < ({which}_prio, {which}_arrival) THEN n.arrival "
    "ELSE {which}_arrival END"
)
#: A proposal need not be set back: to lock the row is enough. But then each later batch with such a job would lock it.
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
class ClaimStart:
    """The claim start of a queue, and the one that is proposed, if any."""

    at: RowRank
    proposed: RowRank | None = None
    #: The number of the transaction that proposed it.
    proposed_by: int | None = None
    #: All transactions with higher numbers know of the proposal; None if no such number is recorded yet.
    known_from: int | None = None


@frozen
class Observation:
    """What a transaction finds when it wants to advance a claim start."""

    #: The number of the oldest transaction that has not ended, and its own.
    oldest: int
    number: int
    #: The first job from the claim start on that can be claimed.
    first: RowRank | None


def advanced(start: ClaimStart, seen: Observation, claimed: RowRank) -> ClaimStart:
    """The claim start after the first or the third step; `claimed` is proposed if no job can be claimed."""
    if start.proposed is None:
        return _proposing(start.at, seen.first or claimed, seen.number)
    if start.known_from is None:
        return start
    if start.known_from > seen.number:
        # The database was restored, and its numbers start again; or another has recorded one while this waited for
        # the row. It does no harm to record a new number.
        return evolve(start, known_from=None)
    if seen.oldest < start.known_from:
        return start
    return _proposing(min(start.proposed, seen.first or start.proposed), seen.first or claimed, seen.number)


def _proposing(at: RowRank, proposed: RowRank, number: int) -> ClaimStart:
    return ClaimStart(at, proposed, number) if proposed > at else ClaimStart(at)


def advance_claim_start(connection: "Connection[Row]", queue_id: int, claimed: RowRank) -> None:
    """Advance the claim start of a queue as far as it can be by now, and propose the next; see `advanced`."""
    with suppress(LockNotAvailable):
        start = _step(connection, queue_id, claimed)
        if start is not None and start.proposed is not None and start.known_from is None:
            _record(connection, queue_id, start)


def _step(connection: "Connection[Row]", queue_id: int, claimed: RowRank) -> ClaimStart | None:
    """Take the first or the third step; returns the claim start that is committed, or None if the queue is gone."""
    with connection.transaction():
        connection.execute(_BEGUN)
        row = connection.execute(_FLOOR, [queue_id]).fetchone()
        if row is None:
            return None
        before = ClaimStart((row[0], row[1]), _rank(row[2], row[3]), row[4], row[5])
        ((oldest, number, *first),) = connection.execute(_SEEN, [queue_id, *before.at]).fetchall()
        after = advanced(before, Observation(oldest, number, _rank(*first)), claimed)
        if after != before:
            proposed = after.proposed or (None, None)
            connection.execute(_RAISE, [*after.at, *proposed, after.proposed_by, after.known_from, queue_id])
        return after


def _record(connection: "Connection[Row]", queue_id: int, start: ClaimStart) -> None:
    """Take the second step, for a proposal that is committed, unless there is another one by now."""
    with connection.transaction():
        connection.execute(_BEGUN)
        ((number,),) = connection.execute(_NUMBER).fetchall()
        connection.execute(_NOTE, [number, queue_id, start.proposed_by])


def _rank(inv_prio: int | None, arrival: int | None) -> RowRank | None:
    return None if inv_prio is None or arrival is None else (inv_prio, arrival)


def set_back(changes: Iterable[Change], *, is_known: bool) -> dict[int, Statement]:
    """
    The statements that set claim starts back, by queue number: at most one for each queue in which jobs become ready.

    With `is_known`, the claim starts were read after the transaction had its number, so most need none.
    """
    lowest: dict[int, RowRank] = {}
    for one in changes:
        start = one.queue.claim_start if is_known else None
        if start == NO_CLAIM_START or (job := _made_ready(one)) is None:
            continue
        rank = (~job.spec.priority, job.spec.arrival)
        if start is None or rank < start:
            lowest[one.queue.id] = min(rank, lowest.get(one.queue.id, rank))
    return {queue_id: Statement(_LOWER, [*rank, queue_id]) for queue_id, rank in lowest.items()}


def _made_ready(change: Change) -> Job | None:
    """The job, if it is ready now and was not, or may have been at another place."""
    old, new = change.old, change.new
    was_there = old is not None and new is not None and old.ready and old.spec is new.spec
    return None if new is None or not new.ready or was_there else new


@define
class ClaimStarts:
    """Finds the claim starts that are worth advancing, from what lanes claim."""

    #: How many jobs are claimed from a queue until its claim start is advanced. Walking past fewer costs less.
    worth: int = 2_000
    #: Milliseconds between two times of advancing claim starts.
    pause: int = 1_000
    #: By queue: how many jobs were claimed since its claim start was advanced, and the rank of the last one.
    _claimed: dict[int, tuple[int, RowRank]] = field(factory=dict, init=False)
    #: When to advance claim starts next, by the monotonic clock in milliseconds.
    _next: int = field(default=0, init=False)

    def count(self, queue_id: int, jobs: int, last: RowRank) -> None:
        """Some jobs were claimed. Any thread may call this; now and then it misses some of them, which does no harm."""
        before, _ = self._claimed.get(queue_id, (0, last))
        keep(self._claimed, queue_id, (before + jobs, last))

    def take(self, now: int) -> list[tuple[int, RowRank]]:
        """The queues whose claim starts are to be advanced now, each with the rank of the last job that was claimed."""
        if now < self._next:
            return []
        self._next = now + self.pause
        worth = [(queue_id, last) for queue_id, (jobs, last) in self._claimed.copy().items() if jobs >= self.worth]
        for queue_id, _ in worth:
            self._claimed.pop(queue_id, None)
        return worth
