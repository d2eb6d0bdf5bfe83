"""
The waiters: for a job that can be claimed, first come first served, or for a job to be finished.

The executor calls `note` when facts are applied. Nothing here carries out a command: `offers` says which waiter may
have which jobs, and the executor claims them.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ..core.model import FINISHED, Job, Queue
from ..core.state import JobSwap, QueueSwap, Swap, Tables
from .line import Line, ReadyJobs, Waiter

__all__ = ["Ends", "Offer", "Waiters", "in_time"]

T = TypeVar("T")
#: A waiter and the jobs that it may have: uids by queue, in the order of its queues.
Offer = tuple[Waiter, list[tuple[str, tuple[str, ...]]]]


def in_time(clock: IReactorTime, waiting: "Deferred[T]", seconds: float, otherwise: T) -> "Deferred[T]":
    """`waiting`, but `otherwise` if it has not fired after so many seconds; it is cancelled then."""
    late: list[bool] = []

    def give_up() -> None:
        late.append(True)
        waiting.cancel()

    timer = clock.callLater(seconds, give_up)

    def done(result: T) -> T:
        if timer.active():
            timer.cancel()
        return otherwise if late else result

    return waiting.addBoth(done)


@define
class Ends:
    """All waiters for a job to be finished, by queue and uid."""

    _jobs: "dict[tuple[str, str], list[Deferred[Job | None]]]" = field(factory=dict)

    def __bool__(self) -> bool:
        """Whether there is anybody."""
        return bool(self._jobs)

    def __len__(self) -> int:
        """How many they are."""
        return sum(map(len, self._jobs.values()))

    def add(self, queue: str, uid: str) -> "Deferred[Job | None]":
        """Fires with the finished job, or None if it is removed unfinished; `remove` it to wait no longer."""
        done: Deferred[Job | None] = Deferred(lambda _: self.remove(queue, uid, done))
        self._jobs.setdefault((queue, uid), []).append(done)
        return done

    def remove(self, queue: str, uid: str, done: "Deferred[Job | None]") -> None:
        """One waits no longer, if it still does."""
        waiting = self._jobs.get((queue, uid), [])
        if done in waiting:
            waiting.remove(done)
        if not waiting:
            self._jobs.pop((queue, uid), None)

    def tell(self, queue: str, uid: str, job: Job | None) -> None:
        """The job is finished or gone."""
        for done in self._jobs.pop((queue, uid), ()):
            done.callback(job)

    def end(self, queues: Iterable[str] | None = None) -> None:
        """Wake all waiters, or those for jobs of some queues."""
        for queue, uid in [place for place in self._jobs if queues is None or place[0] in queues]:
            self.tell(queue, uid, None)


@define
class Waiters:
    """All waiters, and the changes that concern them since they were served last."""

    _tables: Tables
    line: Line = field(factory=Line)
    ends: Ends = field(factory=Ends)
    #: Whether anything has happened.
    stirred: bool = False
    #: What has become ready, by queue; only where somebody waits.
    _ready: dict[str, ReadyJobs] = field(factory=dict)
    #: Queues that were created, reconfigured or deleted, and whether that ended a pause.
    _reconfigured: dict[str, bool] = field(factory=dict)
    #: Jobs that are finished, or gone (None).
    _ended: list[tuple[str, str, Job | None]] = field(factory=list)

    def note(self, swaps: Sequence[Swap]) -> None:
        """Take note of changes that were just applied."""
        if not self.line and not self.ends:
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
        Begin a round: those in the line for queues that were created, reconfigured or deleted.

        Their keys may open the queues no more. What can be claimed of a queue that was paused is offered next.
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
        Which waiter may have which jobs, first come first served; each offer is made when it is asked for.

        It ends when as many were claimed as have become ready.
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

    def end(self) -> None:
        """Wake everybody, with nothing."""
        self.line.end()
        self.ends.end()

    def _note_job(self, swap: JobSwap) -> None:
        old, new = swap.old, swap.new
        if self.ends and (new is None or new.state in FINISHED):
            self._ended.append((swap.queue, swap.uid, new))
            self.stirred = True
        if new is not None and self.line.waits_for(swap.queue) and _has_become_ready(old, new):
            self._note_ready(swap.queue, [new])

    def _note_queue(self, swap: QueueSwap) -> None:
        resumed = isinstance(swap.old, Queue) and swap.old.paused
        self.stirred = True
        self._reconfigured[swap.queue] = resumed or self._reconfigured.get(swap.queue, False)

    def _note_ready(self, name: str, jobs: Iterable[Job]) -> None:
        table = self._tables.queues.get(name)
        # Those of a paused queue are looked for at the end of its pause.
        if table is not None and not table.queue.paused:
            self._ready.setdefault(name, ReadyJobs(table)).add(jobs)
            self.stirred = True

    def _note_all(self, name: str) -> None:
        """Note the ready jobs of a queue, as many as its waiters would take."""
        table = self._tables.queues.get(name)
        if table is not None:
            for tags, count in self.line.wanted(name):
                self._note_ready(name, islice(table.ready_jobs(tags), count))

    def _found(self, waiter: Waiter, ready: dict[str, ReadyJobs]) -> list[tuple[str, tuple[str, ...]]]:
        """The jobs that have become ready for a waiter, by queue: at most as many as it would take."""
        found = []
        count = waiter.count
        for name in waiter.queues:
            uids = ready[name].uids(waiter.tags, count) if name in ready and count else ()
            if uids:
                found.append((name, uids))
                count -= len(uids)
        return found


def _has_become_ready(old: Job | None, new: Job) -> bool:
    """Whether it can be claimed, and could not be before, or not by its tags."""
    return new.ready and (old is None or not old.ready or old.spec.tags != new.spec.tags)
