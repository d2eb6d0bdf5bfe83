"""
Clients that wait for jobs, first come first served on each server, or for the end of a job.

Changes by this server wake them immediately. Changes by other servers are found by small polling queries, after a
notification, and now and then.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from attrs import define, field
from psycopg import Connection
from twisted.internet.defer import Deferred, gatherResults
from twisted.python.failure import Failure

from ....core.commands import Claimed, ClaimResult, Peek
from ....core.effects import Effect, ItemEffect, JobEffect, QueueEffect
from ....core.model import FINISHED, UNFINISHED, Job
from ....core.places import Place
from ...waiting_line import Done, Ends, Line, Outcome, Refused, Waiter, has_become_ready
from ..batch.decide import Result
from ..batch.plan import Task
from ..batch.tables import LoadedTable
from ..database.pipeline import Row
from ..database.rows import Rows, has_flow
from ..sql import named
from .news import ENDED, READY, News

#: The most waiters to serve in one batch.
_SERVED: Final = 200
#: More jobs than a queue can have.
_ANY_NUMBER: Final = 1 << 62
#: The values of the column `place` for unfinished jobs; see core/places.py.
_UNFINISHED: Final = [int(place) for place in Place if place.state in UNFINISHED]
_POLL_QUEUES: Final = named("poll_queues")
_POLL_UNFINISHED_JOBS: Final = named("poll_unfinished_jobs")


@define
class PollResult:
    """The result of a poll of the database."""

    #: The number and revision of each existing queue, by name.
    revisions: dict[str, tuple[int, int]] = field(factory=dict)
    #: The names of queues with ready jobs, and of queues known to be paused.
    ready: set[str] = field(factory=set)
    paused: set[str] = field(factory=set)
    #: The awaited jobs, by queue and uid, that exist and are unfinished.
    unfinished: set[tuple[str, str]] = field(factory=set)


def poll(
    connection: "Connection[Row]", rows: Rows, names: Sequence[str], ends: Sequence[tuple[str, str]]
) -> PollResult:
    """Read which of these queues have ready jobs, and which of the awaited jobs, by queue and uid, are unfinished."""
    result = PollResult()
    digests = {rows.name(name): name for name in (*names, *(name for name, _ in ends))}
    for digest, number, rev, ready in _POLL_QUEUES.execute(connection, digests=list(digests)):
        name = digests[digest]
        result.revisions[name] = (number, rev)
        if ready:
            (result.paused if rows.is_paused(number, rev) else result.ready).add(name)
    if ends:
        answer = _POLL_UNFINISHED_JOBS.execute(
            connection,
            digests=[rows.name(name) for name, _ in ends],
            uids=[uid for _, uid in ends],
            places=_UNFINISHED,
        )
        result.unfinished = {(digests[digest], uid) for digest, uid in answer}
    return result


@define
class _QueueChange:
    """The changes in a queue since its waiters were last served."""

    #: The number of jobs that have become ready.
    jobs: int = 0
    #: The combinations of tags of the jobs that have become ready.
    kinds: set[tuple[str, ...]] = field(factory=set)
    #: Whether the change concerns all waiters, as a reconfiguration does.
    concerns_all: bool = False

    def concerns(self, waiter: Waiter) -> bool:
        """Whether the change concerns this waiter."""
        return self.concerns_all or any(waiter.tags.issubset(tags) for tags in self.kinds)


@define(eq=False)
class PendingClaim:
    """A claim that is being carried out. If it finds no job, its client becomes a waiter."""

    queues: Sequence[str]
    #: Whether jobs have become ready in these queues meanwhile, which the claim may not have seen.
    outdated: bool = False
    _running: "set[PendingClaim]" = field(factory=set, repr=False)

    def __enter__(self) -> "PendingClaim":
        self._running.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._running.remove(self)


@define(kw_only=True, eq=False)
class Waiters:
    """All waiters, and the changes since they were last served."""

    #: Carries out tasks in their order before all others; see Lane.submit_first.
    submit_first: "Callable[[Sequence[Task]], list[Deferred[Outcome[Any]]]]"
    #: Undoes claims whose callers have disconnected.
    put_back: Callable[[Outcome[Any]], None]
    line: Line = field(factory=Line)
    ends: Ends = field(factory=Ends)
    _pending: set[PendingClaim] = field(factory=set, init=False)
    _changed: dict[str, _QueueChange] = field(factory=dict, init=False)
    _serving: bool = field(default=False, init=False)
    #: The number and revision of each queue at the last poll.
    _revisions: dict[str, tuple[int, int]] = field(factory=dict, init=False)

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self.line) or bool(self.ends)

    def pending(self, queues: Sequence[str]) -> PendingClaim:
        """A running claim, which is tracked inside its `with` block."""
        return PendingClaim(queues, running=self._pending)

    def news(self) -> News:
        """The kinds of news that would wake waiters or concern running claims."""
        pending = {name for one in self._pending for name in one.queues}
        ready = {(READY, name) for name in pending.union(self.line.names())}
        return ready | {(ENDED, name) for name, _ in self.ends.places()}

    def mark_outdated(self, news: News) -> None:
        """Mark a running claim as outdated if jobs have become ready in one of its queues."""
        for one in self._pending:
            one.outdated = one.outdated or any((READY, name) in news for name in one.queues)

    def wake(self, result: Result) -> None:
        """Wake the waiters that are concerned by a batch's changes."""
        if self:
            known = result.now.known
            for effect in result.effects:
                if isinstance(effect, JobEffect | ItemEffect) and has_flow(known.get(effect.queue)):
                    self._change_all(effect.queue)
                self._collect(effect)
            self._serve()

    def recheck(self, name: str) -> None:
        """Let all waiters of a queue claim: a gate has opened."""
        self._change_all(name)
        self._serve()

    def _change_all(self, name: str) -> None:
        if self.line.waits_for(name):
            self._change_of(name).concerns_all = True

    def apply_poll(self, result: PollResult) -> None:
        """Wake the waiters that are concerned by changes of other servers."""
        for name in self.line.names():
            revision = result.revisions.get(name)
            is_ready = name in result.ready or (name in result.paused and self._has_peeks(name))
            if is_ready or revision is None or self._revisions.get(name) != revision:
                self._change_of(name).concerns_all = True
        self._revisions = result.revisions
        for name, uid in self.ends.places():
            if (name, uid) not in result.unfinished:
                self.ends.wake(name, uid, None)
        self._serve()

    def _has_peeks(self, name: str) -> bool:
        """Whether a client waits to peek at a queue, which is possible even while the queue is paused."""
        return any(isinstance(one.command, Peek) for one in self.line.of([name]))

    def _collect(self, effect: Effect) -> None:
        if isinstance(effect, JobEffect):
            self._collect_job(effect.queue, effect.uid, effect.old, effect.new)
        elif isinstance(effect, QueueEffect):
            self._change_all(effect.queue)
            if isinstance(effect.old, LoadedTable):
                self.ends.end([effect.queue])

    def _collect_job(self, name: str, uid: str, old: Job | None, new: Job | None) -> None:
        if self.ends and (new is None or new.state in FINISHED):
            self.ends.wake(name, uid, new)
        if new is not None and self.line.waits_for(name) and has_become_ready(old, new):
            change = self._change_of(name)
            change.jobs += 1
            change.kinds.add(new.spec.tags)

    def _change_of(self, name: str) -> _QueueChange:
        return self._changed.setdefault(name, _QueueChange())

    # Serving

    def _serve(self) -> None:
        """Serve the concerned waiters, unless a round is running."""
        if self._changed and not self._serving:
            Deferred.fromCoroutine(self._serve_rounds())

    async def _serve_rounds(self) -> None:
        self._serving = True
        while self._changed:
            changes, self._changed = self._changed, {}
            await self._serve_round(changes)
        self._serving = False

    async def _serve_round(self, changes: Mapping[str, _QueueChange]) -> None:
        """Let the concerned waiters claim, first come first served, as long as there are jobs for them."""
        concerned = (one for one in self.line.of(changes) if _concerns(changes, one))
        concerns_all = any(one.concerns_all for one in changes.values())
        jobs = _ANY_NUMBER if concerns_all else sum(one.jobs for one in changes.values())
        most = jobs
        while jobs > 0 and (waiters := list(islice(concerned, min(most, _SERVED)))):
            served = [self._served(*one) for one in zip(waiters, self.submit_first(_tasks(waiters)), strict=True)]
            claimed = sum(await gatherResults(served))
            jobs -= claimed
            # If no waiter got a job, another server has claimed the jobs. Then serve the next waiters in full batches.
            most = jobs if claimed else _SERVED

    def _served(self, waiter: Waiter, claimed: "Deferred[Outcome[Any]]") -> "Deferred[int]":
        """How many jobs a waiter has claimed."""
        return claimed.addCallback(self._offer, waiter).addErrback(self._fail, waiter)

    def _offer(self, outcome: Outcome[Any], waiter: Waiter) -> int:
        if waiter.done.called:
            # The waiter has disconnected meanwhile.
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
    """The result for a waiter: jobs, or an error; None if the waiter has to keep waiting."""
    if isinstance(outcome, Refused) or jobs_in(outcome):
        return outcome
    if isinstance(waiter.command, Peek) and outcome.answer is not None:
        # Peeks wait in the same line as claims.
        return Done(ClaimResult(jobs=[Claimed(waiter.command.queue, outcome.answer)]), changed=False)
    return None


def _tasks(waiters: Iterable[Waiter]) -> list[Task]:
    return [waiter.command for waiter in waiters]


def _concerns(changes: Mapping[str, _QueueChange], waiter: Waiter) -> bool:
    return any(name in changes and changes[name].concerns(waiter) for name in waiter.queues)
