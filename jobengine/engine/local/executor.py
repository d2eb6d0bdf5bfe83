"""
Carries out commands: reads the clock, asks the rules, changes the tables and submits the records to be written.

Between reading the clock and submitting the facts there is no await: that unbroken stretch is what serialises all
changes on the reactor thread. When a change is applied, one call serves the waiters.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from math import inf
from typing import Final, TypeVar

from attrs import define, field
from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ...core.activity import Activity
from ...core.commands import Claimed, ClaimResult, Claims, Command, Peek, QueueCommand, ReturnClaims
from ...core.effects import JobSwap, QueueSwap, Swap, by_queue
from ...core.errors import DomainError, QueueNotFound
from ...core.expiring import expire
from ...core.fact_codec import encode
from ...core.facts import ClockSet, Fact
from ...core.tables import NewId
from ...storage.committer import Committer, Hooks, Phase, Run
from ...storage.errors import NoRoom, StorageError
from ...storage.journal import Journal
from ..claimers import ClaimLog
from ..door import Starting, Unavailable
from ..event_feed import Events, Feed
from ..waiting_line import Done, Outcome, Refused, Waiter
from .activity import LocalActivity
from .clock import Timeline
from .compaction import PAUSE, SLACK, Compaction
from .errors import unavailable
from .gradual_free import Freeing
from .recovery import read_back
from .tables.state import Tables, latest_change
from .waiters import Waiters

__all__ = ["Executor"]

#: The most jobs that expire in one commit.
_EXPIRY_SLICE: Final = 200
#: The timer is never set further ahead than this many seconds.
_LONGEST_WAIT: Final = 86_400.0
#: Seconds from a change to the commit that keeps what was counted.
_KEEPING: Final = 5.0
#: Milliseconds by which the wall clock may drift before it counts as set.
_CLOCK_STEP: Final = 250
#: See core.model.QUEUED.
_FAILED: Final = Phase.FAILED

A = TypeVar("A")


class _Change(Struct, frozen=True):
    """Facts that were applied and are not on disk yet, with their effects and events."""

    facts: Sequence[Fact]
    swaps: list[Swap]
    events: list[Events]
    #: Whether it has effects on queues or the clock.
    of_queues: bool


@define
class _Parts:
    """Decides the parts of one request, at one time."""

    _executor: "Executor"
    _now: int
    #: Whether a part has changed anything.
    changed: bool = False

    def __call__(self, command: QueueCommand[A]) -> A:
        done = self._executor.decide(command, self._now, admitted=self.changed)
        self.changed = self.changed or done.changed
        return done.answer


@define(kw_only=True, eq=False)
class Executor:
    """Carries out commands, one at a time, and knows when they are on disk."""

    #: The file.
    journal: Journal
    #: The thread that writes the journal.
    thread: Run
    #: Timers, the end of a reactor turn, and the monotonic clock.
    clock: IReactorTime
    #: The wall clock, in milliseconds since the epoch.
    now: Callable[[], int]
    #: See NewId.
    new_id: NewId
    #: See LocalEngine.
    on_failure: Callable[[StorageError], None]
    #: See Committer.
    sync_interval: float = 0
    max_backlog: int = 64 << 20
    #: See Compaction.
    compaction_slack: int = SLACK
    compaction_pause: float = PAUSE
    tables: Tables = field(factory=Tables, init=False)
    activity: LocalActivity = field(init=False)
    feed: Feed = field(init=False)
    committer: Committer[_Change] = field(init=False)
    compaction: Compaction = field(init=False)
    waiters: Waiters = field(init=False)
    #: Totals since the start: "commits", "records" and "bytes".
    totals: Counter[str] = field(factory=Counter, init=False)
    _freeing: Freeing = field(init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    #: Runs while there are counts that are not in the tables.
    _keeping: IDelayedCall | None = field(default=None, init=False)
    #: The deadline that the timer is set for, or infinity without a timer; it may fire earlier.
    _timer_due: float = field(default=inf, init=False)
    #: Whether the database was read.
    started: bool = field(default=False, init=False)
    _running: bool = field(default=False, init=False)
    timeline: Timeline = field(init=False)
    _log: Logger = field(factory=Logger, init=False)

    def __attrs_post_init__(self) -> None:
        self.feed = Feed(self.new_id)
        self.timeline = Timeline(self.clock, self.now)
        self.waiters = Waiters(self.tables)
        self.activity = LocalActivity(ClaimLog(self.waiters.line), Activity(self.tables.kept_period))
        self._freeing = Freeing(self.clock)
        self.committer = Committer(
            writer=self.journal,
            run=self.thread,
            clock=self.clock,
            max_backlog=self.max_backlog,
            sync_interval=self.sync_interval,
            hooks=Hooks(
                stalled=self._roll_back,
                resumed=self._apply_again,
                failed=self.on_failure,
                written=self._written,
            ),
        )
        self.compaction = Compaction(
            tables=self.tables,
            journal=self.journal,
            run=self.thread,
            committer=self.committer,
            clock=self.clock,
            now=self.now,
            slack=self.compaction_slack,
            pause=self.compaction_pause,
        )

    # Life

    def read_back(self) -> Iterator[None]:
        """Read the file back, a slice at each step; raises StorageError or OSError."""
        return read_back(self.journal, self.tables, self._freeing, self.now())

    def start(self) -> None:
        """Begin to carry out commands and to expire jobs."""
        self.started = self._running = True
        self.timeline.start(self.tables.ahead, latest_change(self.tables))
        self._tick()
        self._set_timer()

    def wall_clock_was_set(self) -> None:
        """Note the new wall clock, if the executor has started."""
        if self._running:
            self._tick()
            self._set_timer()

    def stop(self) -> "Deferred[None]":
        """Stop expiring jobs; fires when the last commit was made."""
        if self._running:
            # Record it now if the wall clock was set: after a restart this could not be known.
            self._tick()
            self._keep_counts()
        self._running = False
        if self._keeping is not None:
            self._keeping.cancel()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        return self.committer.drain()

    # Commands

    def check_started(self) -> None:
        """Raise Starting unless the executor has started."""
        if not self.started:
            raise Starting(f"The server is {self.progress}; nothing was carried out. Try again.")

    @property
    def progress(self) -> str:
        """The progress of reading the database, in words."""
        return f"recovering, {int(self.journal.progress * 100)} %"

    def is_behind(self, command: Command[A]) -> bool:
        """
        Apply a slice of what is due in the queues of a command; returns whether more is due.

        Let others in, then call it again. Raises Starting.
        """
        if not self.started:
            self.check_started()
        deadline = self.tables.next_deadline
        return (
            deadline is not None and deadline <= self.timeline.elapsed() and any(map(self._behind, command.queue_names))
        )

    def execute(self, command: Command[A]) -> Outcome[A]:
        """Carry out a command. Its outcome may be told once it is `durable`. Raises Unavailable."""
        now = self._tick()
        try:
            outcome: Outcome[A] = self.decide(command, now)
        except DomainError as error:
            outcome = Refused(error)
        if self.waiters.stirred:
            self._serve(now)
        return outcome

    def take(self, command: Claims | Peek) -> Outcome[ClaimResult]:
        """Carry out a claim or a peek, as `execute`. The job of a peek is in the answer and stays as it is."""
        now = self._tick()
        try:
            return self._claim(command, now) if isinstance(command, Claims) else self._peek(command, now)
        except DomainError as error:
            return Refused(error)

    def put_back(self, claimed: Sequence[Claimed]) -> None:
        """Undo a claim whose caller has gone, if that can be written now."""
        now = self._tick()
        for one in claimed if self.committer.trouble is None else ():
            lease = one.job.standing.lease or ""
            command = ReturnClaims(queue=one.queue, admin=True, claims=((one.job.spec.uid, lease),))
            with suppress(QueueNotFound):
                self.decide(command, now, admitted=True)
        self._serve(now)

    async def durable(self, *, changed: bool) -> bool:
        """
        Wait until all changes so far are on disk. Returns False if they were rolled back for lack of room and the
        caller has not `changed` anything.

        Such a caller has seen what was rolled back, and must look again. Raises Unavailable.
        """
        try:
            waiting = self.committer.durable()
            if waiting is not None:
                await waiting
        except NoRoom as error:
            if changed:
                raise unavailable(error) from None
            return False
        except StorageError as error:
            raise unavailable(error) from None
        return True

    def decide(self, command: Command[A], now: int, *, admitted: bool = False) -> Done[A]:
        """
        Decide, apply and submit. Raises DomainError or Unavailable.

        `admitted` skips the back-pressure check: an earlier part of the same request was already applied.
        """
        if self.tables.of_go_version:
            self._renew_key(command, now)
        facts, answer = command.decide(self.tables, now, self.new_id, self.activity)
        if facts:
            if not admitted:
                self._admit()
            self._commit(facts, now)
        return Done(answer, bool(facts))

    def _renew_key(self, command: Command[A], now: int) -> None:
        """Give the key of a command a digest of its own if changes are accepted: reads go on without."""
        facts = command.renew_key(self.tables)
        if facts:
            with suppress(Unavailable):
                self._admit()
                self._commit(facts, now)

    def _claim(self, claims: Claims, now: int) -> Done[ClaimResult]:
        # Jobs that the updates made ready go to waiters first, since those came before.
        decide = _Parts(self, now)
        result = claims.carry_out(self.tables, now, decide, lambda: self._serve(now))
        self.activity.claim_log.note(claims, now)
        return Done(result, decide.changed)

    def _peek(self, command: Peek, now: int) -> Done[ClaimResult]:
        job = self.decide(command, now).answer
        jobs = [] if job is None else [Claimed(command.queue, job)]
        return Done(ClaimResult(jobs=jobs), changed=False)

    def _admit(self) -> None:
        """Raise Unavailable if changes are not accepted now."""
        try:
            self.committer.admit()
        except StorageError as error:
            raise unavailable(error) from None

    def _commit(self, facts: Sequence[Fact], now: int) -> None:
        """Apply facts and submit them for writing."""
        if not facts or self.committer.phase is _FAILED:
            return
        # Encode first: an error must come before anything is changed.
        records = list(map(encode, facts))
        swaps = self.tables.apply(facts)
        self.waiters.note(swaps)
        jobs = [swap for swap in swaps if type(swap) is JobSwap]
        of_queues = len(jobs) < len(swaps)
        if of_queues:
            self._forget_queues(swaps)
        self.committer.submit(records, _Change(facts, swaps, self._events(jobs, now), of_queues))
        self._set_timer()

    # Waiters

    def _serve(self, now: int) -> None:
        """Serve the waiters: check keys if a queue was reconfigured, hand out ready jobs, report finished ones."""
        while self.waiters.stirred:
            for waiter in self.waiters.concerned():
                self._check(waiter, now)
            for waiter, found in self.waiters.offers():
                self._offer(waiter, found, now)
            self.waiters.tell_ends()

    def _check(self, waiter: Waiter, now: int) -> None:
        """Wake a waiter with an error if its key no longer opens its queues, or one of them is gone."""
        try:
            waiter.command.check(self.tables, now)
        except DomainError as error:
            self._tell(waiter, Refused(error))

    def _offer(self, waiter: Waiter, found: list[tuple[str, tuple[str, ...]]], now: int) -> None:
        """Give a waiter the jobs that are offered to it."""
        try:
            done = self._given(waiter.command, found, now)
        except DomainError as error:
            # Its key was an old one, which ends by time: no change told `concerned` of it.
            self._tell(waiter, Refused(error))
        except Unavailable as error:
            self.waiters.line.remove(waiter)
            waiter.done.errback(error)
        else:
            if done.answer.jobs:
                self._tell(waiter, done)

    def _given(self, command: Claims | Peek, found: list[tuple[str, tuple[str, ...]]], now: int) -> Done[ClaimResult]:
        """Claim the jobs that were found for a waiter, or peek."""
        if isinstance(command, Peek):
            return self._peek(command, now)
        decide = _Parts(self, now)
        return Done(command.carry_out_offer(self.tables, now, decide, found), decide.changed)

    def _tell(self, waiter: Waiter, outcome: Outcome[ClaimResult]) -> None:
        self.waiters.line.remove(waiter)
        waiter.done.callback(outcome)

    def _behind(self, name: str) -> bool:
        """Apply a slice of what is due in a queue; returns whether more is due."""
        if not self._is_due(self._deadline_of(name)):
            return False
        self._tick()
        return self._is_due(self._deadline_of(name)) and self._running and self.committer.phase is not _FAILED

    def _deadline_of(self, name: str) -> int | None:
        table = self.tables.queues.get(name)
        return None if table is None else table.next_deadline

    def _is_due(self, deadline: int | None) -> bool:
        return deadline is not None and deadline <= self.timeline.elapsed()

    def _events(self, jobs: Sequence[JobSwap], now: int) -> list[Events]:
        """Count changes of jobs that were just applied; returns their events."""
        made, at = [], self.tables.wall(now)
        for name, changed in by_queue(jobs):
            # Elapsed time runs by the monotonic clock.
            self.activity.counts.note(name, changed, now, now)
            events = self.feed.events(name, changed, at)
            if events is not None:
                made.append(events)
        if self._keeping is None and jobs and self._running:
            self._keeping = self.clock.callLater(_KEEPING, self._keep_counts)
        return made

    def _keep_counts(self) -> None:
        """Keep what was counted since the last time, with the next commit: a kill loses no more than that."""
        if self._keeping is not None and self._keeping.active():
            self._keeping.cancel()
        self._keeping = None
        if self.committer.trouble is None and (facts := self.activity.unsaved(self.tables)):
            records, swaps = list(map(encode, facts)), self.tables.apply(facts)
            self.committer.submit(records, _Change(facts, swaps, [], of_queues=False))

    def _forget_queues(self, swaps: Sequence[Swap]) -> None:
        """Drop what is kept of deleted queues."""
        for swap in swaps:
            if isinstance(swap, QueueSwap) and swap.queue not in self.tables.queues:
                self.activity.forget(swap.queue)
                self.feed.end(swap.queue)

    # Time

    def _tick(self) -> int:
        """Read the clock and apply what is due; returns the time."""
        now = self.timeline.elapsed()
        ahead = self.now() - now
        step = ahead - self.tables.ahead
        if abs(step) > _CLOCK_STEP:
            self._log.warn("the wall clock was set by {ms} ms", ms=step)
            self._commit([ClockSet(ahead)], now)
            self._set_timer()
        deadline = self.tables.next_deadline
        if deadline is not None and deadline <= now:
            self._expire(now)
        # Jobs whose delay has ended go to waiters first, since those came before this caller.
        if self.waiters.stirred:
            self._serve(now)
        return now

    def _expire(self, now: int) -> None:
        """Apply a slice of what is due; the timer fires again at once for the rest."""
        if self.committer.phase is not _FAILED:
            self._commit(expire(self.tables, now, _EXPIRY_SLICE), now)

    def _wake(self) -> None:
        self._timer, self._timer_due = None, inf
        self._tick()
        self._set_timer()

    def _set_timer(self) -> None:
        """Set the timer for the earliest deadline, or earlier."""
        deadline = self.tables.next_deadline
        if deadline is None or deadline >= self._timer_due or not self._running or self.committer.phase is _FAILED:
            return
        wait = max(0.0, min((deadline - self.timeline.elapsed()) / 1000, _LONGEST_WAIT))
        self._timer_due = deadline
        if self._timer is None:
            self._timer = self.clock.callLater(wait, self._wake)
        else:
            self._timer.reset(wait)

    # Storage

    def _roll_back(self, changes: list[_Change]) -> None:
        """Roll back changes that found no room on disk."""
        for change in reversed(changes):
            self.tables.restore(change.swaps)

    def _apply_again(self, changes: list[_Change]) -> None:
        """Apply again what was rolled back: there is room now."""
        for change in changes:
            change.swaps[:] = self.tables.apply(change.facts)
            self.waiters.note(change.swaps)
        self._set_timer()
        self._tick()

    def _written(self, records: int, size: int, changes: Sequence[_Change]) -> None:
        if records:
            self.totals.update(commits=1, records=records, bytes=size)
        for change in changes:
            if change.of_queues:
                self._freeing.add_deleted(change.swaps, self.tables)
            for events in change.events:
                self.feed.publish(events)
        self.compaction.after_write()
