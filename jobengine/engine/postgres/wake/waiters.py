"""
The waiters: for jobs, first come first served on each server, and for the end of a job.

Changes by this server wake them at once. Small queries look for changes by other servers: when a notification tells of
some, and now and then.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, LiteralString

from attrs import define, field
from psycopg import Connection
from twisted.internet.defer import Deferred, gatherResults
from twisted.python.failure import Failure

from ....core.commands import Claimed, ClaimResult, Peek
from ....core.effects import JobSwap, QueueSwap, Swap
from ....core.model import FINISHED, Job
from ...waiting_line import Done, Ends, Line, Outcome, Refused, Waiter, has_become_ready
from ..batch.decide import Result
from ..batch.plan import Task
from ..batch.tables import SmallTable
from ..database.connection import Row
from ..database.rows import FINISHED_FROM, Rows
from .news import ENDED, READY, News

__all__ = ["Asking", "Found", "Waiting", "jobs_in", "look"]

#: Waiters that are served in one batch.
_SERVED: Final = 200
#: More jobs than there are.
_ANY_NUMBER: Final = 1 << 62
#: The queues, with their revisions, and whether a job can be claimed.
_QUEUES: Final[LiteralString] = (
    "SELECT name_digest, id, rev, EXISTS (SELECT FROM job j WHERE j.queue_id = q.id AND j.place = 0 "
    "AND (j.inv_prio, j.arrival) >= (q.floor_prio, q.floor_arrival)) "
    "FROM queue q WHERE name_digest = ANY(%s)"
)
_UNFINISHED: Final[LiteralString] = (
    "SELECT w.name_digest, w.uid FROM unnest(%s::bytea[], %s::text[]) AS w (name_digest, uid) "
    "JOIN queue q USING (name_digest) JOIN job j ON j.queue_id = q.id AND j.uid = w.uid "
    "WHERE j.place >= 0 AND j.place < %s"
)


@define
class Found:
    """What a look at the database has found."""

    #: The number and revision of each queue that is there, by name.
    revisions: dict[str, tuple[int, int]] = field(factory=dict)
    #: The names of queues with jobs that can be claimed, and of those that are known to be paused.
    ready: set[str] = field(factory=set)
    paused: set[str] = field(factory=set)
    #: The awaited jobs, by queue and uid, that are neither finished nor gone.
    unfinished: set[tuple[str, str]] = field(factory=set)


def look(connection: "Connection[Row]", rows: Rows, names: Sequence[str], ends: Sequence[tuple[str, str]]) -> Found:
    """Look at these queues and at the jobs whose end is awaited."""
    found = Found()
    digests = {rows.name(name): name for name in (*names, *(name for name, _ in ends))}
    for digest, number, rev, ready in connection.execute(_QUEUES, [list(digests)], binary=True):
        name = digests[digest]
        found.revisions[name] = (number, rev)
        if ready:
            (found.paused if rows.is_paused(number, rev) else found.ready).add(name)
    if ends:
        columns = [[rows.name(name) for name, _ in ends], [uid for _, uid in ends], FINISHED_FROM]
        answer = connection.execute(_UNFINISHED, columns, binary=True)
        found.unfinished = {(digests[digest], uid) for digest, uid in answer}
    return found


@define
class _Stir:
    """What has changed in a queue since its waiters were last served."""

    #: How many jobs have become ready; below, their tags, each combination once.
    jobs: int = 0
    kinds: set[tuple[str, ...]] = field(factory=set)
    #: Whether it concerns all waiters, as when the queue was reconfigured.
    concerns_all: bool = False

    def concerns(self, waiter: Waiter) -> bool:
        """Whether it concerns this waiter."""
        return self.concerns_all or any(waiter.tags.issubset(tags) for tags in self.kinds)


@define(eq=False)
class Asking:
    """A claim that is under way. Its client is no waiter yet, but may be one next."""

    queues: Sequence[str]
    #: Whether jobs have become ready in its queues meanwhile: its answer may not know of them.
    stirred: bool = False


@define(kw_only=True, eq=False)
class Waiting:
    """All waiters, and what has happened since they were last served."""

    #: Carries out tasks in their order before all others; see Lane.ask_first.
    ask_first: "Callable[[Sequence[Task]], list[Deferred[Outcome[Any]]]]"
    #: Undoes claims whose callers have gone.
    put_back: Callable[[Outcome[Any]], None]
    line: Line = field(factory=Line)
    ends: Ends = field(factory=Ends)
    _asking: set[Asking] = field(factory=set, init=False)
    _stirred: dict[str, _Stir] = field(factory=dict, init=False)
    _serving: bool = field(default=False, init=False)
    #: The number and revision of each queue at the last look.
    _revisions: dict[str, tuple[int, int]] = field(factory=dict, init=False)

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self.line) or bool(self.ends)

    @contextmanager
    def asking(self, queues: Sequence[str]) -> Iterator[Asking]:
        """Keep account of a claim while it is under way."""
        one = Asking(queues)
        self._asking.add(one)
        try:
            yield one
        finally:
            self._asking.remove(one)

    def news(self) -> News:
        """The news that waiters, and claims under way, are waiting for."""
        asked = {name for one in self._asking for name in one.queues}
        ready = {(READY, name) for name in asked.union(self.line.names())}
        return ready | {(ENDED, name) for name, _ in self.ends.places()}

    def note_news(self, news: News) -> None:
        """Note which queues of claims under way have got ready jobs."""
        for one in self._asking:
            one.stirred = one.stirred or any((READY, name) in news for name in one.queues)

    def note(self, result: Result) -> None:
        """Wake the waiters that the changes of a batch concern."""
        if self:
            for swap in result.swaps:
                self._note_change(swap)
            self._serve()

    def note_found(self, found: Found) -> None:
        """Wake the waiters that changes by other servers concern."""
        for name in self.line.names():
            revision = found.revisions.get(name)
            is_ready = name in found.ready or (name in found.paused and self._has_peeks(name))
            if is_ready or revision is None or self._revisions.get(name) != revision:
                self._stir(name).concerns_all = True
        self._revisions = found.revisions
        for name, uid in self.ends.places():
            if (name, uid) not in found.unfinished:
                self.ends.wake(name, uid, None)
        self._serve()

    def _has_peeks(self, name: str) -> bool:
        """Whether somebody waits to see the first job of a queue: that can be done while it is paused."""
        return any(isinstance(one.command, Peek) for one in self.line.of([name]))

    def _note_change(self, swap: Swap) -> None:
        if isinstance(swap, JobSwap):
            self._note_job(swap.queue, swap.uid, swap.old, swap.new)
        elif isinstance(swap, QueueSwap):
            if self.line.waits_for(swap.queue):
                self._stir(swap.queue).concerns_all = True
            if isinstance(swap.old, SmallTable):
                self.ends.end([swap.queue])

    def _note_job(self, name: str, uid: str, old: Job | None, new: Job | None) -> None:
        if self.ends and (new is None or new.state in FINISHED):
            self.ends.wake(name, uid, new)
        if new is not None and self.line.waits_for(name) and has_become_ready(old, new):
            stir = self._stir(name)
            stir.jobs += 1
            stir.kinds.add(new.spec.tags)

    def _stir(self, name: str) -> _Stir:
        return self._stirred.setdefault(name, _Stir())

    # Serving

    def _serve(self) -> None:
        """Serve the waiters that changes concern; one round at a time."""
        if self._stirred and not self._serving:
            Deferred.fromCoroutine(self._serve_rounds())

    async def _serve_rounds(self) -> None:
        self._serving = True
        while self._stirred:
            stirred, self._stirred = self._stirred, {}
            await self._serve_round(stirred)
        self._serving = False

    async def _serve_round(self, stirred: Mapping[str, _Stir]) -> None:
        """Let the concerned waiters claim, in the order in which they came, as long as there are jobs for them."""
        concerned = (one for one in self.line.of(stirred) if _concerns(stirred, one))
        concerns_all = any(one.concerns_all for one in stirred.values())
        jobs = _ANY_NUMBER if concerns_all else sum(one.jobs for one in stirred.values())
        most = jobs
        while jobs > 0 and (waiters := list(islice(concerned, min(most, _SERVED)))):
            served = [self._served(*one) for one in zip(waiters, self.ask_first(_tasks(waiters)), strict=True)]
            claimed = sum(await gatherResults(served))
            jobs -= claimed
            # If they got nothing, another server has the jobs. Then the other waiters are served in full batches.
            most = jobs if claimed else _SERVED

    def _served(self, waiter: Waiter, asked: "Deferred[Outcome[Any]]") -> "Deferred[int]":
        """How many jobs a waiter has claimed."""
        return asked.addCallback(self._offer, waiter).addErrback(self._fail, waiter)

    def _offer(self, outcome: Outcome[Any], waiter: Waiter) -> int:
        if waiter.done.called:
            # The waiter has left meanwhile.
            self.put_back(outcome)
            return 0
        given = _given(waiter, outcome)
        if given is not None:
            self.line.remove(waiter)
            waiter.done.callback(given)
        return len(jobs_in(outcome))

    def _fail(self, failure: Failure, waiter: Waiter) -> int:
        self.line.remove(waiter)
        if not waiter.done.called:
            waiter.done.errback(failure)
        return 0


def jobs_in(outcome: Outcome[Any]) -> Sequence[Claimed]:
    """The jobs that were claimed, if any."""
    answer = outcome.answer if isinstance(outcome, Done) else None
    return answer.jobs if isinstance(answer, ClaimResult) else ()


def _given(waiter: Waiter, outcome: Outcome[Any]) -> Outcome[ClaimResult] | None:
    """What a waiter is told: jobs, or an error; None if it goes on waiting."""
    if isinstance(outcome, Refused) or jobs_in(outcome):
        return outcome
    if isinstance(waiter.command, Peek) and outcome.answer is not None:
        # Peeks wait in the same line as claims.
        return Done(ClaimResult(jobs=[Claimed(waiter.command.queue, outcome.answer)]), changed=False)
    return None


def _tasks(waiters: Iterable[Waiter]) -> list[Task]:
    return [waiter.command for waiter in waiters]


def _concerns(stirred: Mapping[str, _Stir], waiter: Waiter) -> bool:
    return any(name in stirred and stirred[name].concerns(waiter) for name in waiter.queues)
