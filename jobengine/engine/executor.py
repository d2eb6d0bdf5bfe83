"""
The Executor owns clock, tables and committer: it reads the time, runs the rules, applies facts, submits their records.

Between reading the clock and submitting the facts there is no await: so changes are serialised on the reactor thread
without a lock. After the changes of a command, one call serves all waiters.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from attrs import define, field
from msgspec import Struct
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..core.commands import Claimed, ClaimResult, Claims, Command, Peek, QueueCommand, ReturnClaims
from ..core.commands.firing import fire
from ..core.dependants import follow_up
from ..core.effects import OF_JOBS, Effect, JobEffect, QueueEffect, by_queue
from ..core.errors import DomainError, QueueNotFound
from ..core.expiring import expire
from ..core.fact_codec import encode_all
from ..core.facts import ClockSet, Fact
from ..core.model import Defaults
from ..core.schedules import Edge
from ..core.tables import NewId
from ..storage.committer import Committer, Hooks, Phase
from ..storage.errors import Stalled, StorageError
from ..storage.journal import Journal
from ..timetable import TIMETABLE
from .activity import QueueActivity
from .claimers import ClaimLog
from .clock import DeadlineTimer, Timeline
from .compaction import PAUSE, SLACK, Compaction
from .door import Starting, Unavailable
from .errors import unavailable
from .event_feed import Events, Feed
from .gradual_free import GradualFree
from .recovery import read_back
from .short_collections import ShortCollections
from .tables.state import Tables, latest_change
from .threads import Thread
from .waiters import Offer, Waiters
from .waiting_line import Done, Outcome, Refused
from .waits import Waits

#: The most jobs that expire in one commit.
_EXPIRY_SLICE: Final = 200
#: The most jobs that a cascade of dependencies changes in the commit that began it.
_CASCADE: Final = 1_000
#: The most jobs that move into dead-letter queues in the reactor turn in which they fail.
_MOVED: Final = 200
#: The most schedules that are fired in a reactor turn, and the seconds after which no more are fired in that turn.
_FIRING_SLICE: Final = 50
_FIRING_SECONDS: Final = 0.002
#: Milliseconds by which the wall clock may drift before it counts as set.
_CLOCK_STEP: Final = 250
#: A constant for the hot path; see core.model.QUEUED.
_FAILED: Final = Phase.FAILED

A = TypeVar("A")


class _Change(Struct, frozen=True):
    """Applied facts that are not on disk yet, with their effects and events."""

    facts: Sequence[Fact]
    effects: list[Effect]
    events: list[Events]
    #: False if all effects are on jobs or the history: then no queue was deleted.
    of_queues: bool


@define(kw_only=True, eq=False)
class Executor:
    """Carries out commands one at a time, and waits until their changes are on disk."""

    #: The database file.
    journal: Journal
    #: The thread that writes the journal.
    thread: Thread
    #: Timers, the end of a reactor turn, and the monotonic clock.
    clock: IReactorTime
    #: The wall clock, in milliseconds since the epoch.
    now: Callable[[], int]
    #: See NewId.
    new_id: NewId
    #: What is needed to fire schedules: the server's defaults and its calendar.
    edge: Edge = Edge(Defaults(), TIMETABLE)
    #: Called once when storage has failed permanently; the process should end.
    on_failure: Callable[[StorageError], None]
    #: Seconds between syncs, or 0 for a sync at every commit.
    sync_interval: float = 0
    #: Bytes of records that may wait for a write.
    max_backlog: int = 64 << 20
    #: See Compaction.
    compaction_slack: int = SLACK
    compaction_pause: float = PAUSE
    timeline: Timeline = field(init=False)
    tables: Tables = field(factory=Tables, init=False)
    committer: Committer[_Change] = field(init=False)
    compaction: Compaction = field(init=False)
    waiters: Waiters = field(init=False)
    waits: Waits = field(init=False)
    feed: Feed = field(init=False)
    #: Totals since the start: "commits", "records" and "bytes".
    totals: Counter[str] = field(factory=Counter, init=False)
    _claim_log: ClaimLog = field(init=False)
    _activity: QueueActivity = field(init=False)
    _gradual_free: GradualFree = field(init=False)
    _short_collections: ShortCollections = field(factory=ShortCollections, init=False)
    _timer: DeadlineTimer = field(init=False)
    #: Whether the database was read, so that commands can be carried out.
    started: bool = field(default=False, init=False)
    _running: bool = field(default=False, init=False)
    _log: Logger = field(factory=Logger, init=False)

    def __attrs_post_init__(self) -> None:
        self.timeline = Timeline(self.clock, self.now)
        self.waiters = Waiters(self.tables, self.take)
        self._claim_log = ClaimLog(self.waiters.line)
        self.waits = Waits(self.clock, self._claim_log, self.waiters.ends, self.timeline.elapsed)
        self.feed = Feed(self.new_id)
        self._activity = QueueActivity(self.clock, self._claim_log, self.tables, self._keep_counts)
        self._gradual_free = GradualFree(self.clock)
        self._timer = DeadlineTimer(self.clock, self.timeline, self._wake)
        self.committer = Committer(
            writer=self.journal,
            run=self.thread,
            clock=self.clock,
            max_backlog=self.max_backlog,
            sync_interval=self.sync_interval,
            hooks=Hooks(
                stalled=self._roll_back, resumed=self._apply_again, failed=self.on_failure, written=self._written
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

    # Start and stop

    def read_back(self) -> Iterator[None]:
        """Read the database file back, some records at each step of the iterator; raises StorageError or OSError."""
        return read_back(self.journal, self.tables, self._gradual_free, self.now())

    def start(self) -> None:
        """Begin to carry out commands and to expire jobs."""
        self.started = self._running = True
        self.timeline.start(self.tables.ahead, latest_change(self.tables))
        self._tick()
        self._set_timer()

    def wall_clock_was_set(self) -> None:
        if self._running:
            self._tick()
            self._set_timer()

    async def stop(self) -> bool:
        """Stop expiring jobs and make the last commit; returns whether all is on disk."""
        if self._running:
            # Record now whether the wall clock was set: after a restart this is unknown.
            self._tick()
            self._keep_counts()
        self._running = False
        self._activity.stop()
        self._timer.stop()
        await self.committer.drain()
        is_orderly = self.committer.phase is Phase.IDLE
        self.committer.close()
        return is_orderly

    # Commands

    @property
    def trouble(self) -> StorageError | None:
        """Why changes are refused, or None."""
        return self.committer.trouble

    def check_started(self) -> None:
        """Raise Starting unless the executor has started."""
        if not self.started:
            raise Starting(f"The server is {self.progress}; nothing was carried out. Try again.")

    @property
    def progress(self) -> str:
        """The progress of reading the database, as a text."""
        return f"recovering, {int(self.journal.progress * 100)} %"

    def is_behind(self, command: Command[A]) -> bool:
        """
        Expire some of the jobs that are due in a command's queues and, if the command removes jobs, go on with a
        cascade of dependencies; returns whether there is more to do.

        Yield to the reactor between calls. Raises Starting.
        """
        if not self.started:
            self.check_started()
        deadline = self.tables.next_deadline
        if deadline is not None and deadline <= self.timeline.elapsed() and any(map(self._behind, command.queue_names)):
            return True
        return command.removes and self._has_cascade()

    def execute(self, command: Command[A]) -> Outcome[A]:
        """Carry out a command; show its outcome to nobody before `durable` has returned True. Raises Unavailable."""
        now = self._tick()
        try:
            outcome: Outcome[A] = self._decide(command, now)
        except DomainError as error:
            outcome = Refused(error)
        if self.waiters.pending:
            self.waiters.serve(now)
        return outcome

    def execute_claim(self, command: Claims | Peek) -> Outcome[ClaimResult]:
        """Carry out a claim or a peek, like `execute`. A peek answers with a job and leaves it unchanged."""
        now = self._tick()
        try:
            done = self.take(command, now)
        except DomainError as error:
            return Refused(error)
        if isinstance(command, Claims):
            self._claim_log.record(command, now)
        return done

    def take(self, command: Claims | Peek, now: int, offer: Offer | None = None) -> Done[ClaimResult]:
        """Claim or peek, like `execute_claim`; with an offer, a claim takes only offered jobs."""
        if isinstance(command, Peek):
            job = self._decide(command, now).answer
            return Done(ClaimResult(jobs=[] if job is None else [Claimed(command.queue, job)]), changed=False)
        changed = False

        # Quoted: the annotation of an inner function is evaluated whenever the outer one is called.
        def decide(part: "QueueCommand[A]") -> A:
            nonlocal changed
            done = self._decide(part, now, admitted=changed)
            changed = changed or done.changed
            return done.answer

        if offer is None:
            # Jobs that the updates made ready go to waiters, since these came before this claim.
            result = command.carry_out(self.tables, now, decide, self.waiters.serve)
        else:
            result = command.carry_out_offer(self.tables, now, decide, offer)
        return Done(result, changed)

    def put_back(self, claimed: Sequence[Claimed]) -> None:
        """Undo a claim whose caller has left. While changes are refused nothing is undone, and the leases run out."""
        now = self._tick()
        for one in claimed if self.committer.trouble is None else ():
            lease = one.job.standing.lease or ""
            command = ReturnClaims(queue=one.queue, admin=True, claims=((one.job.spec.uid, lease),))
            with suppress(QueueNotFound):
                self._decide(command, now, admitted=True)
        self.waiters.serve(now)

    def allows(self, command: Command[A]) -> bool:
        """Whether the command's queues exist, and its key may send it now."""
        try:
            command.check(self.tables, self.timeline.elapsed())
        except DomainError:
            return False
        return True

    async def durable(self, *, changed: bool) -> bool:
        """
        Wait until all changes so far are on disk. Returns False if they were rolled back since storage stalled, and the
        caller has not `changed` anything.

        Such a caller may have read rolled-back changes, and must read again. Raises Unavailable.
        """
        try:
            waiting = self.committer.durable()
            if waiting is not None:
                await waiting
        except Stalled as error:
            if changed:
                raise unavailable(error) from None
            return False
        except StorageError as error:
            raise unavailable(error) from None
        return True

    def _decide(self, command: Command[A], now: int, *, admitted: bool = False) -> Done[A]:
        """
        Decide, apply and submit. Raises DomainError or Unavailable.

        `admitted` skips the back-pressure check: an earlier part of the same request was already applied.
        """
        if self.tables.of_go_version:
            self._renew_key(command, now)
        facts, answer = command.decide(self.tables, now, self.new_id, self._activity)
        if facts:
            if not admitted:
                self._admit()
            self._commit(facts, now)
            if self.tables.has_dead_letters:
                self._move(now)
        return Done(answer, bool(facts))

    def _renew_key(self, command: Command[A], now: int) -> None:
        """Replace the digest of a key from the Go version, if changes are accepted; reads work with the old digest."""
        facts = command.renew_key(self.tables)
        if facts:
            with suppress(Unavailable):
                self._admit()
                self._commit(facts, now)

    def _admit(self) -> None:
        """Raise Unavailable if changes are not accepted now."""
        try:
            self.committer.admit()
        except StorageError as error:
            raise unavailable(error) from None

    def _commit(self, facts: Sequence[Fact], now: int) -> None:
        """Apply facts and submit them for writing; then do the same for the cascade that they begin, up to a limit."""
        if not facts or self.committer.phase is _FAILED:
            return
        # The timer continues a cascade that began earlier.
        dependants = self.tables.dependants
        has_begun = dependants.may_be_pending and dependants.pending
        self._submit(facts, now)
        if dependants.may_be_pending and not has_begun and dependants.pending:
            self._follow_up(now, _CASCADE)
        self._set_timer()

    def _move(self, now: int) -> None:
        """Move at most _MOVED jobs that have just failed into dead-letter queues; the timer moves the others."""
        for _ in range(_MOVED // _EXPIRY_SLICE):
            deadline = self.tables.next_deadline
            if deadline is None or deadline > now or not (facts := expire(self.tables, now, _EXPIRY_SLICE)):
                break
            self._commit(facts, now)

    def _follow_up(self, now: int, most: int) -> None:
        """Apply what follows from ended dependencies, for at most this many jobs."""
        while most > 0 and (facts := follow_up(self.tables, now, min(most, _EXPIRY_SLICE))):
            self._submit(facts, now)
            most -= len(facts)

    def _submit(self, facts: Sequence[Fact], now: int) -> None:
        """Apply facts and submit them for writing."""
        # Encode first: an error must come before anything is changed.
        records = encode_all(facts)
        effects = self.tables.apply(facts)
        self.waiters.record(effects)
        jobs: Sequence[Any] = effects
        of_queues = not OF_JOBS.issuperset(map(type, effects))
        if of_queues:
            jobs = [effect for effect in effects if type(effect) is JobEffect]
            self._forget_queues(effects)
            self._activity.count_firings(effects)
        self.committer.submit(records, _Change(facts, effects, self._events(jobs, now), of_queues))
        self._short_collections.changed(len(facts))

    def _behind(self, name: str) -> bool:
        """Expire some of the jobs that are due in a queue; returns whether more are due."""
        if not self._is_due(name):
            return False
        self._tick()
        return self._is_due(name) and self._expires

    def _has_cascade(self) -> bool:
        """Go on with a cascade of dependencies, unless storage is stalled; returns whether there is more to do."""
        if not self.tables.dependants.pending or not self._expires or self.committer.trouble is not None:
            return False
        self._go_on(self._tick())
        self._set_timer()
        return self.tables.dependants.pending

    def _is_due(self, name: str) -> bool:
        table = self.tables.queues.get(name)
        deadline = None if table is None else table.next_deadline
        return deadline is not None and deadline <= self.timeline.elapsed()

    def _events(self, jobs: Sequence[JobEffect], now: int) -> list[Events]:
        """Count changes of jobs that were just applied; returns their events."""
        made, at = [], self.tables.wall(now)
        for name, changed in by_queue(jobs):
            self._activity.count(name, changed, now)
            events = self.feed.events(name, changed, at)
            if events is not None:
                made.append(events)
        return made

    def _keep_counts(self) -> None:
        """Save the activity counts with the next commit. A killed process loses the counts since the last save."""
        if self.committer.trouble is None and (facts := self._activity.unsaved()):
            records, effects = encode_all(facts), self.tables.apply(facts)
            self.committer.submit(records, _Change(facts, effects, [], of_queues=False))

    def _forget_queues(self, effects: Sequence[Effect]) -> None:
        """Drop the counts, claims and streams of deleted queues."""
        for effect in effects:
            if isinstance(effect, QueueEffect) and effect.queue not in self.tables.queues:
                self._activity.forget(effect.queue)
                self.feed.end(effect.queue)

    # Time

    def _tick(self) -> int:
        """Read the clock, and expire at most _EXPIRY_SLICE jobs that are due; returns elapsed time in milliseconds."""
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
        # Jobs whose delay has ended go to waiters, since these came before this caller.
        if self.waiters.pending:
            self.waiters.serve(now)
        return now

    @property
    def _expires(self) -> bool:
        """Whether due jobs may be expired now: the engine is running, and storage has not failed permanently."""
        return self._running and self.committer.phase is not _FAILED

    def _expire(self, now: int) -> None:
        """Apply at most _EXPIRY_SLICE due changes; if more are due, the timer fires again at once."""
        for name in self.tables.open_gates(now):
            self.waiters.recheck(name)
        if self.committer.phase is not _FAILED:
            self._commit(expire(self.tables, now, _EXPIRY_SLICE), now)

    def _fire(self, now: int) -> None:
        """
        Fire due schedules one after the other, for some milliseconds; if more are due, the timer fires again at once.

        Only the timer fires schedules, so that no request waits for more than one reactor turn. While changes are
        refused, no schedule is fired: a firing that is rolled back would be fired again.
        """
        until = self.clock.seconds() + _FIRING_SECONDS
        for _ in range(_FIRING_SLICE):
            facts = fire(self.tables, now, self.edge) if self.committer.trouble is None else ()
            self._commit(facts, now)
            if not facts or self.clock.seconds() >= until:
                break
        if self.waiters.pending:
            self.waiters.serve(now)

    def _wake(self) -> None:
        now = self._tick()
        self._fire(now)
        self._go_on(now)
        self._set_timer()

    def _go_on(self, now: int) -> None:
        """Go on with a cascade of dependencies, for at most _EXPIRY_SLICE jobs."""
        if self.tables.dependants.pending and self._expires:
            self._follow_up(now, _EXPIRY_SLICE)
            self.waiters.serve(now)

    def _set_timer(self) -> None:
        deadline = self.tables.next_deadline if self.committer.trouble is None else self.tables.job_deadline
        dependants = self.tables.dependants
        if dependants.may_be_pending and dependants.pending:
            deadline = 0
        if deadline is not None and deadline < self._timer.due and self._expires:
            self._timer.no_later(deadline)

    # Storage

    def _roll_back(self, changes: list[_Change]) -> None:
        """Roll back changes that can't be written now."""
        for change in reversed(changes):
            self.tables.restore(change.effects)

    def _apply_again(self, changes: list[_Change]) -> None:
        """Apply rolled-back changes again: there is room now."""
        for change in changes:
            change.effects[:] = self.tables.apply(change.facts)
            self.waiters.record(change.effects)
        self._set_timer()
        self._tick()

    def _written(self, records: int, size: int, changes: Sequence[_Change]) -> None:
        if records:
            self.totals.update(commits=1, records=records, bytes=size)
        for change in changes:
            if change.of_queues:
                self._gradual_free.add_deleted(change.effects, self.tables)
            for events in change.events:
                self.feed.publish(events)
        self.compaction.after_write()
