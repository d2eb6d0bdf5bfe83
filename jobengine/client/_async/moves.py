"""The calls that queue jobs again, or move them into another queue; see AsyncQueue."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Unpack, overload

from .. import calls
from ..jobs import JobChanges, JobFilter, check_filter, chosen, chosen_to_move, given
from ..moves import Moved
from ..values import Job
from .queue_calls import AsyncQueueCalls


class AsyncMoves(AsyncQueueCalls, ABC):
    """The part of a queue that retries jobs and moves them."""

    @abstractmethod
    async def update(self, uid: str, **changes: Unpack[JobChanges]) -> Job:
        """Change a job."""

    @overload
    async def retry(self, uid: str) -> Job: ...
    @overload
    async def retry(
        self,
        *,
        all: bool = False,
        per_second: float | None = None,
        dry_run: bool = False,
        **filters: Unpack[JobFilter],
    ) -> int: ...
    async def retry(
        self,
        uid: str | None = None,
        *,
        all: bool = False,  # noqa: A002  # the word of the API
        per_second: float | None = None,
        dry_run: bool = False,
        **filters: Unpack[JobFilter],
    ) -> "Job | int":
        """
        With `uid`, queue this job again, and return it: a finished job as if never tried; a queued job loses its delay,
        and a job in progress is taken from its worker.

        With filters or `all`, queue all matching jobs again, and return how many: only failed jobs unless `state` is
        given, and cancelled ones only with `cancelled=True`. With `retrying=True`, jobs that wait for their retry
        become ready instead, and keep their attempts. `per_second`: the jobs become ready at about this pace.
        `dry_run`: only count.
        """
        if uid is not None:
            if all or filters or dry_run or per_second is not None:
                raise TypeError("give either uid or filters; dry_run and per_second need filters")
            return await self.update(uid, new_status="queued")
        check_filter(filters, every=all)
        wanted: JobFilter = {"state": "queued" if filters.get("retrying") else "failed", "cancelled": False, **filters}
        changes = {"new_status": "queued", **given(per_second=per_second)}
        return await self._change_all(changes, wanted, dry_run=dry_run)

    async def _change_all(
        self, changes: dict[str, Any], filters: JobFilter, *, every: bool = False, dry_run: bool = False
    ) -> int:
        """Change all matching jobs; returns their number."""
        body = {"queue_name": self.name, **chosen(filters, every=every, dry_run=dry_run), **changes}
        return await self._ask(calls.UPDATE_JOBS, body=body, safe=dry_run)

    async def move(
        self,
        to: str,
        *,
        uids: Iterable[str] | None = None,
        all: bool = False,  # noqa: A002  # the word of the API
        per_second: float | None = None,
        dry_run: bool = False,
        **filters: Unpack[JobFilter],
    ) -> Moved:
        """
        Move matching jobs, those with the `uids` (at most 1,000), or every job with `all`, into the queue `to`. The key
        must be the owner's in both queues.

        A job keeps its uid, content and history; a failed one is queued as if never tried. Jobs that can't move
        stay, see `not_moved`, where `not_found` is the number of uids that the queue does not hold. `per_second`:
        the jobs become ready at about this pace. `dry_run`: only count; `moved` is how many would be moved.
        """
        wanted = chosen_to_move(uids, filters, every=all, dry_run=dry_run)
        return await self._move(self.name, to, wanted, per_second=per_second, dry_run=dry_run)

    async def redrive(
        self,
        *,
        all: bool = False,  # noqa: A002  # the word of the API
        per_second: float | None = None,
        dry_run: bool = False,
        **filters: Unpack[JobFilter],
    ) -> Moved:
        """
        Move this queue's failed jobs back from its dead-letter queue; see `move`.

        Without filters all of them are moved; `all` is optional. Raises ValueError if the queue has no dead-letter
        queue.
        """
        if all or filters:
            check_filter(filters, every=all)
        stats = await self._ask(calls.READ_STATS, query={"name": self.name})
        if stats.dead_letter is None:
            raise ValueError(f"the queue {self.name!r} has no dead-letter queue")
        wanted: JobFilter = {"state": "failed", "moved_from": self.name, **filters}
        queue = stats.dead_letter.queue_name
        body = chosen(wanted, every=False, dry_run=dry_run)
        return await self._move(queue, self.name, body, per_second=per_second, dry_run=dry_run)

    async def _move(
        self,
        queue: str,
        to: str,
        wanted: dict[str, Any],
        *,
        per_second: float | None,
        dry_run: bool,
    ) -> Moved:
        body = {"queue_name": queue, **wanted, "move_to": to, **given(per_second=per_second)}
        return await self._ask(calls.MOVE_JOBS, body=body, safe=dry_run)
