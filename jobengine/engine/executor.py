"""
The state of one engine and the way of a change into it: clock, rules, tables, journal.

Between reading the clock and submitting the facts there is no await: that unbroken stretch is what serialises all
changes on the reactor thread.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ..core.activity import Activity
from ..core.commands import Command
from ..core.errors import DomainError
from ..core.fact_codec import UnknownRecord, decode, encode
from ..core.facts import ClockSet, Fact
from ..core.model import QueueStats
from ..core.rules import NewId, decide, expire, latest_change
from ..core.state import JobSwap, QueueSwap, QueueTable, Swap, Tables
from ..core.wall_time import shown
from ..storage.committer import Backlog, Committer, Hooks, Phase, Run
from ..storage.errors import NewerFormat, NoRoom, StorageError
from ..storage.journal import Journal
from .compaction import Compaction
from .door import Busy, Full, OutcomeUnknown
from .event_feed import Events, Feed
from .timeline import Timeline

__all__ = ["Ledger", "Observer"]

#: Jobs that time moves on in one commit.
_EXPIRY_SLICE: Final = 200
#: The timer is never set further ahead than this many seconds.
_LONGEST_WAIT: Final = 86_400.0
#: Milliseconds by which the time of day may go its own way before it counts as set.
_CLOCK_STEP: Final = 250

T = TypeVar("T")


class Observer(Protocol):
    """Is told of every change when it is made, which is before it is on disk."""

    def jobs_changed(self, swaps: Sequence[JobSwap]) -> None:
        """Jobs are not what they were."""

    def queue_changed(self, queue: str, exists: bool) -> None:
        """A queue was created, set up otherwise, or deleted."""

    def changes_made(self) -> None:
        """All changes of one commit have been told of."""


@frozen
class _Change:
    """Facts that were applied and are not on disk yet, what they did, and what that means to those who watch."""

    facts: Sequence[Fact]
    swaps: list[Swap]
    events: list[Events]


@define(kw_only=True, eq=False)
class Ledger:
    """Carries out commands, one whole after the other, and knows when they are on disk."""

    #: The file.
    journal: Journal
    #: Where the journal is written.
    thread: Run
    #: Timers and the end of a reactor turn. Its seconds must go on steadily, whatever is done to the time of day.
    clock: IReactorTime
    #: The time of day, in milliseconds since the epoch.
    now: Callable[[], int]
    #: See NewId.
    new_id: NewId
    #: See LocalEngine.
    on_failure: Callable[[StorageError], None]
    #: Who is told of changes.
    observer: Observer
    #: See Committer.
    sync_interval: float = 0
    max_backlog: int = 64 << 20
    tables: Tables = field(factory=Tables, init=False)
    activity: Activity = field(factory=Activity, init=False)
    feed: Feed = field(init=False)
    committer: Committer[_Change] = field(init=False)
    compaction: Compaction = field(init=False)
    #: "commits", "records" and "bytes" since the start.
    totals: Counter[str] = field(factory=Counter, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _running: bool = field(default=False, init=False)
    timeline: Timeline = field(init=False)
    _log: Logger = field(factory=Logger, init=False)

    def __attrs_post_init__(self) -> None:
        self.feed = Feed(self.new_id)
        self.timeline = Timeline(self.clock, self.now)
        self.compaction = Compaction(
            tables=self.tables,
            journal=self.journal,
            run=self.thread,
            clock=self.clock,
            poke=lambda: self.committer.poke(),
            broken=lambda failure: self.committer.give_up(failure),
        )
        self.committer = Committer(
            writer=self.journal,
            run=self.thread,
            clock=self.clock,
            max_backlog=self.max_backlog,
            sync_interval=self.sync_interval,
            hooks=Hooks(
                stalled=self._take_back,
                resumed=self._make_true_again,
                failed=self.on_failure,
                next_slice=self.compaction.next_slice,
                written=self._written,
            ),
        )

    # Life

    def recover(self, secret: Callable[[], bytes]) -> None:
        """Read the file back, blocking, or make it; raises StorageError or OSError."""
        if self.journal.lock():
            self.journal.open(secret())
            self._read_back()
        else:
            self.journal.make(secret())

    def _read_back(self) -> None:
        for records in self.journal.recover(self.now()):
            self._replay(records)
        torn = self.journal.torn
        if torn is not None:
            self._log.warn(
                "a crash had cut the last write short; its {n} bytes are in {path}", n=torn.length, path=torn.copy
            )
        if not self.journal.clean:
            self._log.info("the database was not closed in good order: making sure that what was read is on disk")
        self.journal.confirm()

    def start(self) -> None:
        """Let time act from now on."""
        self._running = True
        self.timeline.start(self.tables.ahead, latest_change(self.tables))
        self.tick()
        self._set_timer()

    def wall_clock_was_set(self) -> None:
        """Take note of it, if time acts."""
        if self._running:
            self._wake()

    def stop(self) -> "Deferred[None]":
        """Let time act no more; fires when the last commit was made."""
        if self._running:
            # If the wall clock was set since the last look, nobody could tell after the restart.
            self.tick()
        self._running = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        return self.committer.drain()

    # The way of a command

    async def carry_out(self, command: Command) -> Any:
        """The answer to a command, once nothing that it shows could be taken back by a crash."""
        return await self.settle(lambda: self.decide(command), [command.queue])

    async def settle(self, step: Callable[[], tuple[bool, T]], queues: Iterable[str] = ()) -> T:
        """
        What `step` answers, once it is on disk; it says too whether it changed anything.

        It is taken when all that time has brought about in `queues` is true. Raises its DomainError, or Unavailable.
        """
        while True:
            for name in queues:
                while self._behind(name):
                    # Others are let in between the slices of what time has brought about.
                    await deferLater(self.clock, 0)
            error: DomainError | None = None
            try:
                changed, answer = step()
            except DomainError as raised:
                changed, error = False, raised
            try:
                await self._durable()
            except Full:
                if changed:
                    raise
                # A read had seen what found no room and is out of sight now: look again.
                continue
            if error is not None:
                raise error
            return shown(answer, self.tables.ahead)

    def decide(self, command: Command, *, admitted: bool = False) -> tuple[bool, Any]:
        """
        Carry a command out: whether it changed anything, and its answer. Raises DomainError or Unavailable.

        One that is part of a request of which another part was carried out is `admitted`: none is left half done.
        """
        now = self.tick()
        facts, answer = decide(self.tables, command, now, self.new_id)
        if facts:
            if not admitted:
                self.admit()
            self.commit(facts, now)
        return bool(facts), answer

    def tick(self) -> int:
        """The time now, with all that it has brought about made true."""
        now, ahead = self.timeline.elapsed(), self.timeline.ahead()
        step = ahead - self.tables.ahead
        if abs(step) > _CLOCK_STEP:
            self._log.warn("the wall clock was set by {ms} ms", ms=step)
            self.commit([ClockSet(ahead)], now)
            self._set_timer()
        self._expire(now)
        return now

    def admit(self) -> None:
        """Return if a change can be taken now; raises Unavailable."""
        try:
            self.committer.admit()
        except StorageError as error:
            raise _for_client(error) from None

    def commit(self, facts: Sequence[Fact], now: int) -> None:
        """Make facts true and have them written."""
        if not facts or self.committer.phase is Phase.FAILED:
            return
        # Encoding comes first: if it can fail, it fails before anything is changed.
        records = [encode(fact) for fact in facts]
        swaps = self.tables.apply(facts)
        self.committer.submit(records, _Change(facts, swaps, self._tell(swaps, now)))
        self._set_timer()
        self.observer.changes_made()

    def stats_of(self, name: str) -> QueueStats:
        """A queue in numbers; the queue must be there."""
        return self.activity.stats(self.tables.queues[name], self.timeline.elapsed(), self._steady())

    def table(self, name: str) -> QueueTable | None:
        """The queue of that name."""
        return self.tables.queues.get(name)

    def _behind(self, name: str) -> bool:
        """Whether time has brought about something in a queue that is not true yet; a slice of it is made true."""
        if not self._is_due(name):
            return False
        self.tick()
        return self._is_due(name) and self._running and self.committer.phase is not Phase.FAILED

    def _is_due(self, name: str) -> bool:
        table = self.tables.queues.get(name)
        return table is not None and table.next_deadline is not None and table.next_deadline <= self.timeline.elapsed()

    async def _durable(self) -> None:
        try:
            waiting = self.committer.durable()
            if waiting is not None:
                await waiting
        except StorageError as error:
            raise _for_client(error) from None

    def _tell(self, swaps: Sequence[Swap], now: int) -> list[Events]:
        """Tell everybody who wants to know what has just become true; the events it makes."""
        jobs = self._notify(swaps)
        if len(jobs) < len(swaps):
            self._forget_queues(swaps)
        self.activity.note(jobs, now, self._steady())
        return self.feed.events(jobs, self.tables.wall(now))

    def _notify(self, swaps: Sequence[Swap]) -> list[JobSwap]:
        """Tell the observer, and give what is about jobs."""
        jobs = []
        for swap in swaps:
            if isinstance(swap, JobSwap):
                jobs.append(swap)
            elif isinstance(swap, QueueSwap):
                self.observer.queue_changed(swap.queue, swap.queue in self.tables.queues)
        self.observer.jobs_changed(jobs)
        return jobs

    def _forget_queues(self, swaps: Sequence[Swap]) -> None:
        """Keep nothing of queues that are gone."""
        for swap in swaps:
            if isinstance(swap, QueueSwap) and swap.queue not in self.tables.queues:
                self.activity.forget(swap.queue)
                self.feed.end(swap.queue)

    # Time

    def _steady(self) -> int:
        return int(self.clock.seconds() * 1000)

    def _expire(self, now: int) -> None:
        """Make true what is due, a slice of it; the timer goes off again at once for the rest."""
        deadline = self.tables.next_deadline
        if deadline is not None and deadline <= now and self.committer.phase is not Phase.FAILED:
            self.commit(expire(self.tables, now, _EXPIRY_SLICE), now)

    def _wake(self) -> None:
        self._timer = None
        self.tick()
        self._set_timer()

    def _set_timer(self) -> None:
        """Have the timer go off at the earliest deadline, or before."""
        deadline = self.tables.next_deadline
        if deadline is None or not self._running or self.committer.phase is Phase.FAILED:
            return
        wait = max(0.0, min((deadline - self.timeline.elapsed()) / 1000, _LONGEST_WAIT))
        if self._timer is None:
            self._timer = self.clock.callLater(wait, self._wake)
        elif self._timer.getTime() > self.clock.seconds() + wait:
            self._timer.reset(wait)

    # Storage

    def _replay(self, records: Sequence[bytes]) -> None:
        try:
            facts = [decode(record) for record in records]
        except UnknownRecord as error:
            raise NewerFormat(f"{self.journal.path}: {error} is not known to this JobEngine; use a newer one") from None
        self.tables.apply(facts)

    def _take_back(self, changes: list[_Change]) -> None:
        for change in reversed(changes):
            self.tables.restore(change.swaps)

    def _make_true_again(self, changes: list[_Change]) -> None:
        for change in changes:
            change.swaps[:] = self.tables.apply(change.facts)
            self._notify(change.swaps)
        self._set_timer()
        self.observer.changes_made()

    def _written(self, records: int, size: int, changes: Sequence[_Change]) -> None:
        if records:
            self.totals.update(commits=1, records=records, bytes=size)
        for change in changes:
            for events in change.events:
                self.feed.publish(events)
        self.compaction.after_write()


def _for_client(error: StorageError) -> Exception:
    if isinstance(error, NoRoom):
        return Full(
            "The disk has no room for the change. It was not made now; it may still be made when there is room, so "
            "look before you repeat it. Reads are answered."
        )
    if isinstance(error, Backlog):
        return Busy("More changes are waiting to be written than may wait; this one was not made. Try again.")
    return OutcomeUnknown(
        "Storage has failed and the server is stopping: the change may or may not be there when it is back. Look "
        "before you repeat it."
    )
