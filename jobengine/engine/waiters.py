"""
Waiters for jobs to claim, first come first served, and for a job to finish.

The executor calls `record` when facts are applied, and `serve` once all facts of a command are applied.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from attrs import define, field

from ..core.commands import ClaimResult, Claims, Peek
from ..core.effects import Effect, ItemEffect, JobEffect, QueueEffect
from ..core.errors import DomainError
from ..core.model import FINISHED, Job, Queue
from .door import Unavailable
from .tables.state import Tables
from .waiting_line import Done, Ends, Line, Outcome, ReadyJobs, Refused, Waiter, has_become_ready

#: Jobs offered to a waiter: uids by queue, in the order in which the waiter names the queues.
Offer = Sequence[tuple[str, tuple[str, ...]]]


class Take(Protocol):
    """A function that claims offered jobs, or peeks, for a waiter."""

    def __call__(self, command: Claims | Peek, now: int, offer: Offer | None, /) -> Done[ClaimResult]:
        """Claim or peek; raises DomainError or Unavailable."""


@define
class Waiters:
    """All waiters, and the changes that concern them since they were last served."""

    _tables: Tables
    _take: Take
    line: Line = field(factory=Line)
    ends: Ends = field(factory=Ends)
    #: Whether any changes wait to be served.
    pending: bool = False
    #: The jobs that have become ready, by queue; only of queues with waiters.
    _ready: dict[str, ReadyJobs] = field(factory=dict)
    #: The queues that were created, reconfigured or deleted, each with whether this may have ended a pause.
    _reconfigured: dict[str, bool] = field(factory=dict)
    #: Queues with flow in which something changed.
    _to_recheck: dict[str, None] = field(factory=dict)
    #: Queue, uid and job of each job that was finished or removed; a removed job is None.
    _ended: list[tuple[str, str, Job | None]] = field(factory=list)

    def record(self, effects: Sequence[Effect]) -> None:
        """Record changes that were just applied."""
        if not self.line.queues and not self.ends.jobs:
            return
        for effect in effects:
            if isinstance(effect, JobEffect):
                self._record_job(effect)
            elif isinstance(effect, QueueEffect):
                self._record_queue(effect)
            elif isinstance(effect, ItemEffect):
                self.recheck(effect.queue)

    def serve(self, now: int) -> None:
        """Check the keys of waiters for reconfigured queues, hand out ready jobs, report finished jobs."""
        while self.pending:
            for waiter in self._affected(now):
                self._check(waiter, now)
            self._offer_jobs(now)
            self._claim_again(now)
            ended, self._ended = self._ended, []
            for queue, uid, job in ended:
                self.ends.wake(queue, uid, job)

    def recheck(self, name: str) -> None:
        """Let the waiters of a queue claim, if the queue has flow: a change in it may have made jobs claimable."""
        table = self._tables.queues.get(name)
        if table is not None and table.turns is not None and self.line.waits_for(name):
            self._to_recheck[name] = None
            self.pending = True

    def _claim_again(self, now: int) -> None:
        """
        Claim for the waiters of queues with flow, first come first served, while the queues have jobs to give.

        A change can make other jobs claimable than the changed one. So no jobs are offered: the claims are repeated.
        """
        names, self._to_recheck = self._to_recheck, {}
        for waiter in self.line.of(names):
            tables = [table for name in waiter.queues if (table := self._tables.queues.get(name)) is not None]
            if any(table.gives_any(tuple(waiter.tags)) for table in tables):
                self._give(waiter, None, now)

    def _affected(self, now: int) -> Iterator[Waiter]:
        """
        Take the changes of queues: returns the waiters for queues that were created, reconfigured or deleted.

        The keys of these waiters may no longer open the queues. If a queue's pause has ended, its ready jobs are
        recorded, and offered next.
        """
        self.pending = False
        names, self._reconfigured = self._reconfigured, {}
        self.ends.end({name for name in names if name not in self._tables.queues})
        for name, resumed in names.items():
            if resumed:
                self._record_all(name, now)
        return self.line.of(names)

    def _check(self, waiter: Waiter, now: int) -> None:
        """Wake a waiter with an error if its key no longer opens its queues, or one of them was deleted."""
        try:
            waiter.command.check(self._tables, now)
        except DomainError as error:
            self._wake(waiter, Refused(error))

    def _offer_jobs(self, now: int) -> None:
        """Offer the jobs that have become ready, first come first served, until all of them are claimed."""
        ready, self._ready = self._ready, {}
        for waiter in self.line.matching(ready):
            if not any(one.left for one in ready.values()):
                break
            offer = self._offer_for(waiter, ready)
            if offer:
                self._give(waiter, offer, now)
                for name, uids in offer:
                    ready[name].recount(uids)

    def _offer_for(self, waiter: Waiter, ready: dict[str, ReadyJobs]) -> Offer:
        """The ready jobs for a waiter, at most as many as it takes."""
        offer = []
        count = waiter.count
        for name in waiter.queues:
            uids = ready[name].uids(waiter.tags, count) if name in ready and count else ()
            if uids:
                offer.append((name, uids))
                count -= len(uids)
        return offer

    def _give(self, waiter: Waiter, offer: Offer | None, now: int) -> None:
        """Claim offered jobs for a waiter; without an offer, carry out its command."""
        try:
            done = self._take(waiter.command, now, offer)
        except DomainError as error:
            # The waiter's key had been replaced, and was valid for some time after that: its expiry changes nothing in
            # the queue.
            self._wake(waiter, Refused(error))
        except Unavailable as error:
            self.line.remove(waiter)
            waiter.done.errback(error)
        else:
            if done.answer.jobs:
                self._wake(waiter, done)

    def _wake(self, waiter: Waiter, outcome: Outcome[ClaimResult]) -> None:
        self.line.remove(waiter)
        waiter.done.callback(outcome)

    def _record_job(self, effect: JobEffect) -> None:
        old, new = effect.old, effect.new
        if self.ends and (new is None or new.state in FINISHED):
            self._ended.append((effect.queue, effect.uid, new))
            self.pending = True
        if not self.line.waits_for(effect.queue):
            return
        table = self._tables.queues.get(effect.queue)
        if table is not None and table.turns is not None:
            self.recheck(effect.queue)
        elif new is not None and has_become_ready(old, new):
            self._record_ready(effect.queue, [new])

    def _record_queue(self, effect: QueueEffect) -> None:
        resumed = isinstance(effect.old, Queue) and (effect.old.paused or effect.old.flow is not None)
        self.pending = True
        self.recheck(effect.queue)
        self._reconfigured[effect.queue] = resumed or self._reconfigured.get(effect.queue, False)

    def _record_ready(self, name: str, jobs: Iterable[Job]) -> None:
        table = self._tables.queues.get(name)
        # Jobs of a paused queue are collected at the end of its pause.
        if table is not None and not table.queue.paused:
            self._ready.setdefault(name, ReadyJobs(table)).add(jobs)
            self.pending = True

    def _record_all(self, name: str, now: int) -> None:
        """Record ready jobs of a queue, as many as its waiters would take."""
        table = self._tables.queues.get(name)
        if table is not None and table.turns is None:
            for tags, count in self.line.wanted(name):
                self._record_ready(name, table.claim_order(tags, now, count))
