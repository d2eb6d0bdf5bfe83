"""
The waiters: for jobs to claim, first come first served, and for a job to finish.

The executor calls `note` when facts are applied. Nothing here carries out commands: `offers` proposes jobs for waiters,
and the executor claims them.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from attrs import define, field

from ...core.effects import JobSwap, QueueSwap, Swap
from ...core.model import FINISHED, Job, Queue
from ..waiting_line import Ends, Line, ReadyJobs, Waiter, has_become_ready
from .tables.state import Tables

#: A waiter and the jobs proposed for it: uids by queue, in the order of its queues.
Offer = tuple[Waiter, list[tuple[str, tuple[str, ...]]]]


@define
class Waiters:
    """All waiters, and the changes since they were last served that concern them."""

    _tables: Tables
    line: Line = field(factory=Line)
    ends: Ends = field(factory=Ends)
    #: Whether there is anything to serve.
    stirred: bool = False
    #: The jobs that have become ready, by queue; only of queues with waiters.
    _ready: dict[str, ReadyJobs] = field(factory=dict)
    #: Queues that were created, reconfigured or deleted, and whether this ended a pause.
    _reconfigured: dict[str, bool] = field(factory=dict)
    #: Jobs that are finished, or None if they are gone.
    _ended: list[tuple[str, str, Job | None]] = field(factory=list)

    def note(self, swaps: Sequence[Swap]) -> None:
        """Note changes that were just applied."""
        if not self.line.queues and not self.ends.jobs:
            return
        for swap in swaps:
            if isinstance(swap, JobSwap):
                self._note_job(swap)
            elif isinstance(swap, QueueSwap):
                self._note_queue(swap)

    def tell_ends(self) -> None:
        """Wake the waiters for jobs that are finished or gone."""
        ended, self._ended = self._ended, []
        for queue, uid, job in ended:
            self.ends.tell(queue, uid, job)

    def concerned(self) -> Iterator[Waiter]:
        """
        Begin a round: returns the waiters for queues that were created, reconfigured or deleted.

        Their keys may no longer open the queues. Ready jobs of a queue whose pause has ended are offered next.
        """
        self.stirred = False
        names, self._reconfigured = self._reconfigured, {}
        self.ends.end({name for name in names if name not in self._tables.queues})
        for name, resumed in names.items():
            if resumed:
                self._note_all(name)
        return self.line.of(names)

    def offers(self) -> Iterator[Offer]:
        """
        Propose jobs for waiters, first come first served; each offer is computed when it is asked for.

        It ends when as many jobs were claimed as have become ready.
        """
        ready, self._ready = self._ready, {}
        for waiter in self.line.matching(ready):
            if not any(one.left for one in ready.values()):
                break
            found = self._found(waiter, ready)
            if found:
                yield waiter, found
                for name, uids in found:
                    ready[name].look_again(uids)

    def _note_job(self, swap: JobSwap) -> None:
        old, new = swap.old, swap.new
        if self.ends and (new is None or new.state in FINISHED):
            self._ended.append((swap.queue, swap.uid, new))
            self.stirred = True
        if new is not None and self.line.waits_for(swap.queue) and has_become_ready(old, new):
            self._note_ready(swap.queue, [new])

    def _note_queue(self, swap: QueueSwap) -> None:
        resumed = isinstance(swap.old, Queue) and swap.old.paused
        self.stirred = True
        self._reconfigured[swap.queue] = resumed or self._reconfigured.get(swap.queue, False)

    def _note_ready(self, name: str, jobs: Iterable[Job]) -> None:
        table = self._tables.queues.get(name)
        # Jobs of a paused queue are collected at the end of its pause.
        if table is not None and not table.queue.paused:
            self._ready.setdefault(name, ReadyJobs(table)).add(jobs)
            self.stirred = True

    def _note_all(self, name: str) -> None:
        """Note ready jobs of a queue, as many as its waiters would take."""
        table = self._tables.queues.get(name)
        if table is not None:
            for tags, count in self.line.wanted(name):
                self._note_ready(name, islice(table.ready_jobs(tags), count))

    def _found(self, waiter: Waiter, ready: dict[str, ReadyJobs]) -> list[tuple[str, tuple[str, ...]]]:
        """The jobs that have become ready for a waiter, by queue: at most as many as it takes."""
        found = []
        count = waiter.count
        for name in waiter.queues:
            uids = ready[name].uids(waiter.tags, count) if name in ready and count else ()
            if uids:
                found.append((name, uids))
                count -= len(uids)
        return found
