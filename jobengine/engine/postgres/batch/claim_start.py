"""
The claim start of a queue: a rank before which no job can be claimed. Claims search from there.

Until PostgreSQL vacuums, its indexes have entries of all finished jobs. Without a claim start, each claim would walk
past them. A transaction that makes a job ready before the claim start also sets the claim start back. So the claim
start is right in any snapshot, and one statement reads it and the jobs that follow.

A claim start is advanced in three steps, each in a transaction of its own:

1. A new claim start is proposed. Transactions that know of the proposal, and make a job ready before it, set it back.
2. Then a new transaction records its own number. All transactions with a higher number know of the proposal: a
   transaction that writes gets its number before it reads the queue, or sets claim start and proposal back without
   reading (`set_back`).
3. Once all transactions with lower numbers have ended, the proposal becomes the claim start; or the first ready job
   does, if that job comes before the proposal.

The columns of the table queue are called floor_prio and floor_arrival.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from attrs import define, evolve, field, frozen
from psycopg import Connection
from psycopg.errors import LockNotAvailable

from ....core.model import Job
from ..database.pipeline import Row, Statement
from ..database.rows import NO_CLAIM_START, RowRank, keep, rank_of
from ..sql import named
from .write import Change

#: A batch that has locked the queue's row holds the lock until it commits. Advancing waits only briefly for that lock,
#: and retries later.
_BEGUN: Final = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '100ms'"
_SET_CLAIM_START_BACK: Final = named("set_claim_start_back")
_LOCK_CLAIM_START: Final = named("lock_claim_start")
_OBSERVE_READY_JOBS: Final = named("observe_ready_jobs")
_WRITE_CLAIM_START: Final = named("write_claim_start")
_TRANSACTION_NUMBER: Final = named("transaction_number")
_RECORD_TRANSACTION_NUMBER: Final = named("record_transaction_number")


@frozen
class ClaimStart:
    """The claim start of a queue, and the proposed next claim start, if any."""

    at: RowRank
    proposed: RowRank | None = None
    #: The number of the transaction that made the proposal.
    proposed_by: int | None = None
    #: The transaction number that step 2 has recorded: all transactions with higher numbers know of the proposal. None
    #: before step 2.
    known_from: int | None = None


@frozen
class Observation:
    """The values that a transaction reads before it advances a claim start."""

    #: The number of the oldest running transaction.
    oldest: int
    #: The number of the transaction that read these values.
    number: int
    #: The first ready job from the claim start on.
    first: RowRank | None


def advanced(start: ClaimStart, seen: Observation, claimed: RowRank) -> ClaimStart:
    """
    The claim start after step 1 or 3 of advancing it (see this module). If no job is ready, `claimed`, the rank of the
    last claimed job, is proposed.
    """
    if start.proposed is None:
        return _proposing(start.at, seen.first or claimed, seen.number)
    if start.known_from is None:
        return start
    if start.known_from > seen.number:
        # The recorded number is too high: the database was restored, and its numbers start again, or another
        # transaction has recorded its number while this one waited for the row. Record a number again, which does no
        # harm.
        return evolve(start, known_from=None)
    if seen.oldest < start.known_from:
        return start
    return _proposing(min(start.proposed, seen.first or start.proposed), seen.first or claimed, seen.number)


def _proposing(at: RowRank, proposed: RowRank, number: int) -> ClaimStart:
    return ClaimStart(at, proposed, number) if proposed > at else ClaimStart(at)


def advance_claim_start(connection: "Connection[Row]", queue_id: int, claimed: RowRank) -> None:
    """Advance the claim start of a queue as far as possible now, and propose the next one (see this module)."""
    with suppress(LockNotAvailable):
        start = _step(connection, queue_id, claimed)
        if start is not None and start.proposed is not None and start.known_from is None:
            _record(connection, queue_id, start)


def _step(connection: "Connection[Row]", queue_id: int, claimed: RowRank) -> ClaimStart | None:
    """
    Take step 1 or 3 of advancing a claim start (see this module). Returns the committed claim start, or None if the
    queue was deleted.
    """
    with connection.transaction():
        connection.execute(_BEGUN)
        row = _LOCK_CLAIM_START.execute(connection, queue_id=queue_id).fetchone()
        if row is None:
            return None
        before = ClaimStart((row[0], row[1]), _rank(row[2], row[3]), row[4], row[5])
        inv_prio, arrival = before.at
        observed = _OBSERVE_READY_JOBS.execute(connection, queue_id=queue_id, inv_prio=inv_prio, arrival=arrival)
        ((oldest, number, *first),) = observed.fetchall()
        after = advanced(before, Observation(oldest, number, _rank(*first)), claimed)
        if after != before:
            _write(connection, queue_id, after)
        return after


def _write(connection: "Connection[Row]", queue_id: int, start: ClaimStart) -> None:
    proposed = start.proposed or (None, None)
    _WRITE_CLAIM_START.execute(
        connection,
        inv_prio=start.at[0],
        arrival=start.at[1],
        proposed_inv_prio=proposed[0],
        proposed_arrival=proposed[1],
        proposed_by=start.proposed_by,
        known_from=start.known_from,
        queue_id=queue_id,
    )


def _record(connection: "Connection[Row]", queue_id: int, start: ClaimStart) -> None:
    """Take step 2 of advancing a claim start (see this module), unless the proposal was replaced meanwhile."""
    with connection.transaction():
        connection.execute(_BEGUN)
        ((number,),) = _TRANSACTION_NUMBER.execute(connection).fetchall()
        _RECORD_TRANSACTION_NUMBER.execute(connection, number=number, queue_id=queue_id, proposed_by=start.proposed_by)


def _rank(inv_prio: int | None, arrival: int | None) -> RowRank | None:
    return None if inv_prio is None or arrival is None else (inv_prio, arrival)


def set_back(changes: Iterable[Change], *, is_known: bool) -> dict[int, Statement]:
    """
    The statements that set claim starts back, by queue number: at most one for each queue in which jobs become ready.
    `is_known`: the claim starts were read after the transaction got its number; then most queues need no statement.
    """
    lowest: dict[int, RowRank] = {}
    for one in changes:
        start = one.queue.claim_start if is_known else None
        if start == NO_CLAIM_START or (job := _made_ready(one)) is None:
            continue
        rank = rank_of(job)
        if start is None or rank < start:
            lowest[one.queue.id] = min(rank, lowest.get(one.queue.id, rank))
    return {
        queue_id: _SET_CLAIM_START_BACK(inv_prio=inv_prio, arrival=arrival, queue_id=queue_id)
        for queue_id, (inv_prio, arrival) in lowest.items()
    }


def _made_ready(change: Change) -> Job | None:
    """The changed job, if it is ready and either was not ready before or may have another rank now; otherwise None."""
    old, new = change.old, change.new
    was_there = old is not None and new is not None and old.ready and old.spec is new.spec
    return None if new is None or not new.ready or was_there else new


@define
class ClaimStarts:
    """Decides when a queue's claim start is advanced: after many claims. All sessions of a server share this object."""

    #: A queue's claim start is advanced after this many claimed jobs: for fewer, walking past them costs less than
    #: advancing.
    worth: int = 2_000
    #: The least milliseconds between two rounds of advancing claim starts.
    pause: int = 1_000
    #: The number of jobs claimed in each queue since its claim start was advanced, and the rank of the last such job.
    _claimed: dict[int, tuple[int, RowRank]] = field(factory=dict, init=False)
    #: When to advance claim starts next, by the monotonic clock in milliseconds.
    _next: int = field(default=0, init=False)

    def count(self, queue_id: int, jobs: int, last: RowRank) -> None:
        """Count claimed jobs. Any thread may call this; races may lose a count now and then, which does no harm."""
        before, _ = self._claimed.get(queue_id, (0, last))
        keep(self._claimed, queue_id, (before + jobs, last))

    def take(self, now: int) -> list[tuple[int, RowRank]]:
        """The queues whose claim starts are due to be advanced, each with the rank of the last claimed job."""
        if now < self._next:
            return []
        self._next = now + self.pause
        worth = [(queue_id, last) for queue_id, (jobs, last) in self._claimed.copy().items() if jobs >= self.worth]
        for queue_id, _ in worth:
            self._claimed.pop(queue_id, None)
        return worth
