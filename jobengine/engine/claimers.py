"""
The claims that wait on each queue, when jobs were last claimed, and where workers run.

All of this is kept in memory; data that grows with names from clients is bounded.
"""

from collections.abc import Mapping
from typing import Final

from attrs import define, field

from ..core.claimers import Claimers, Origin, WaitingClaim
from ..core.commands import Claims
from .waiting_line import Line, Waiter

#: The most queues for which the time of the last claim is kept.
_QUEUES: Final = 100_000
#: The most workers of a queue for which the origin is kept: the workers that claimed last.
_WORKERS: Final = 1_000
#: The most claims without a job that are remembered.
_REMEMBERED: Final = 10_000
#: Milliseconds within which the next claim of a worker continues its wait.
_GAP: Final = 10_000
#: The most waiting claims of a queue that are listed.
_LISTED: Final = 1_000


@define(eq=False)
class ClaimLog:
    """The waiting claims and the last claims on one server."""

    line: Line
    #: The time of the last claim from each queue, in elapsed milliseconds, by the queue's name.
    last: dict[str, int] = field(factory=dict)
    #: Where the last claim of a worker came from, by queue and worker.
    origins: dict[str, dict[str, Origin]] = field(factory=dict)
    #: Recent claims without a job, by worker: since when the worker had waited, and until when.
    _empty: dict[object, tuple[int, int]] = field(factory=dict)

    def record(self, claims: Claims, now: int) -> None:
        """Record a claim that was carried out, with or without jobs, at the elapsed time `now`."""
        last = self.last
        if len(last) > _QUEUES:
            # Some of these queues may have been deleted by other servers.
            last.clear()
        for name in claims.queues:
            last[name] = now
        if claims.origin is not None and claims.worker is not None:
            for name in claims.queues:
                self._record_origin(name, claims.worker, claims.origin)

    def _record_origin(self, name: str, worker: str, origin: Origin) -> None:
        its = self.origins.setdefault(name, {})
        if its.pop(worker, None) is None and len(its) >= _WORKERS:
            del its[next(iter(its))]
        its[worker] = origin

    def waits_since(self, claims: Claims, now: int) -> int:
        """
        Since when the worker of this claim waits, in elapsed milliseconds.

        This is `now` or, if its last claims got no job and quickly followed each other, the start of the first.
        """
        since, until = self._empty.pop(_identity(claims), (now, now))
        return since if now - until <= _GAP else now

    def record_empty(self, claims: Claims, since: int, now: int) -> None:
        """Record that a claim has waited without a job, if its worker can be identified by name or origin."""
        if claims.worker is None and claims.origin is None:
            return
        if len(self._empty) >= _REMEMBERED:
            del self._empty[next(iter(self._empty))]
        self._empty[_identity(claims)] = (since, now)

    def forget(self, name: str) -> None:
        """Drop the claims of a deleted queue."""
        self.last.pop(name, None)
        self.origins.pop(name, None)

    def waiting(self, name: str) -> int:
        """How many claims wait for jobs of a queue."""
        return sum(1 for _ in self.line.claims(name))

    def claimers(self, name: str) -> Claimers:
        """The claims that wait on a queue, and where its workers claim from."""
        found = sorted(self.line.claims(name), key=lambda one: (one.since, one.number))[:_LISTED]
        return Claimers(
            waiting=[shown for one in found if (shown := self.shown(one)) is not None],
            origins=self.origins_of(name),
        )

    def shown(self, waiter: Waiter) -> WaitingClaim | None:
        """A waiter as it is listed for clients; None for a waiting peek."""
        claims = waiter.command
        if not isinstance(claims, Claims):
            return None
        return WaitingClaim(
            worker=claims.worker,
            since=waiter.since,
            last_claim=waiter.requested,
            queues=claims.queues,
            tags=claims.tags,
            origin=claims.origin,
        )

    def origins_of(self, name: str) -> Mapping[str, Origin]:
        """Where the workers of a queue run, by their names."""
        return dict(self.origins.get(name, {}))


def _identity(claims: Claims) -> object:
    """A key that is equal for claims of the same worker for the same jobs."""
    return (claims.worker, claims.origin, claims.queues, claims.tags)
