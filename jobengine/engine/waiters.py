"""Those who wait: for a job to claim, first come first served, or for one to be finished."""

from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from itertools import count
from operator import attrgetter
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ..core.commands import Claimed, Claims
from ..core.model import Job

__all__ = ["ClaimWaiter", "ClaimWaiters", "FinishWaiters", "in_time"]

T = TypeVar("T")


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


@define(eq=False)
class ClaimWaiter:
    """One who waits for jobs to claim."""

    #: What it would claim.
    claims: Claims
    #: Fires with what it was given.
    done: "Deferred[list[Claimed]]"
    #: Its place among all who wait.
    number: int


@define
class ClaimWaiters:
    """All who wait for jobs to claim, by queue and in the order in which they came."""

    _queues: dict[str, dict[int, ClaimWaiter]] = field(factory=dict)
    _numbers: "count[int]" = field(factory=count)

    def __bool__(self) -> bool:
        """Whether there is anybody."""
        return bool(self._queues)

    def add(self, claims: Claims) -> "Deferred[list[Claimed]]":
        """Wait; cancel the Deferred to wait no longer."""
        done: Deferred[list[Claimed]] = Deferred(lambda _: self.remove(waiter))
        waiter = ClaimWaiter(claims, done, next(self._numbers))
        for name in claims.queues:
            self._queues.setdefault(name, {})[waiter.number] = waiter
        return done

    def remove(self, waiter: ClaimWaiter) -> None:
        """It waits no longer."""
        for name in waiter.claims.queues:
            waiters = self._queues.get(name, {})
            waiters.pop(waiter.number, None)
            if not waiters:
                self._queues.pop(name, None)

    def of(self, names: Iterable[str]) -> Iterator[ClaimWaiter]:
        """Those who wait for any of these queues now, in the order in which they came; one who has gone is left out."""
        lines = [list(self._queues.get(name, {}).values()) for name in names]
        previous = None
        for waiter in merge(*lines, key=attrgetter("number")):
            if waiter is not previous and not waiter.done.called:
                yield waiter
            previous = waiter

    @property
    def queues(self) -> list[str]:
        """The queues that somebody waits for."""
        return list(self._queues)

    def end(self) -> None:
        """Let everybody go with nothing."""
        for waiter in self.of(self.queues):
            self.remove(waiter)
            waiter.done.callback([])


@define
class FinishWaiters:
    """All who wait for a job to be finished, by queue and uid."""

    _jobs: "dict[tuple[str, str], list[Deferred[Job | None]]]" = field(factory=dict)

    def add(self, queue: str, uid: str) -> "Deferred[Job | None]":
        """Fires with the finished job, or None if it is removed unfinished; cancel it to wait no longer."""
        done: Deferred[Job | None] = Deferred(lambda _: self._remove(queue, uid, done))
        self._jobs.setdefault((queue, uid), []).append(done)
        return done

    def __bool__(self) -> bool:
        """Whether there is anybody."""
        return bool(self._jobs)

    def tell(self, queue: str, uid: str, job: Job | None) -> None:
        """The job is finished or gone."""
        for done in self._jobs.pop((queue, uid), ()):
            done.callback(job)

    def end(self, forget: Callable[[str], bool] = lambda _queue: True) -> None:
        """Let everybody go, or those who wait for jobs of some queues."""
        for queue, uid in [place for place in self._jobs if forget(place[0])]:
            self.tell(queue, uid, None)

    def _remove(self, queue: str, uid: str, done: "Deferred[Job | None]") -> None:
        waiting = self._jobs.get((queue, uid), [])
        if done in waiting:
            waiting.remove(done)
        if not waiting:
            self._jobs.pop((queue, uid), None)
