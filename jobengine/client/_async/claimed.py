"""A job that was claimed, and is held under a lease."""

from collections import defaultdict
from collections.abc import Iterable
from traceback import format_exception_only
from typing import Any, Protocol, Self

from ..coalescing import Item
from ..errors import JobEngineError, JobNotFound, LeaseLost, OutcomeUnknown
from ..jobs import ERROR_LENGTH, JobChanges, changes_json
from ..values import Job
from .keeper import Keeper
from .lanes import LaneDriver

__all__ = ["AsyncClaimedJob", "AsyncHolder", "extend", "update_item"]

#: The states that end a lease.
_ENDS = frozenset({"complete", "failed", "queued"})


class AsyncHolder(Protocol):
    """What a claimed job needs of the queue that it is from."""

    name: str
    updates: LaneDriver
    keeper: "Keeper[AsyncClaimedJob]"


class AsyncClaimedJob:
    """
    A job that is held under a lease.

    As a context manager it extends the lease by itself while the block runs, at a third of the job's time-out. A block
    that ends without a word completes the job, one that raises fails it, and one that is cancelled or interrupted
    gives it back.
    """

    def __init__(self, queue: AsyncHolder, job: Job) -> None:
        #: The queue that it is from.
        self.queue = queue
        #: The job as it was when it was claimed.
        self.job = job
        #: Whether somebody asked for its end, as far as the last answer said.
        self.cancel_requested = job.cancel_requested
        #: Whether the lease was lost: what comes of the work is not taken any more.
        self.lost = False
        #: Whether complete, fail or release was carried out.
        self.ended = False
        #: Whether one of them may have been: its outcome is unknown.
        self.uncertain = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}(uid={self.uid!r}, queue={self.queue.name!r})"

    @property
    def uid(self) -> str:
        """Names it in its queue."""
        return self.job.uid

    @property
    def content(self) -> Any:
        """The JSON object that was sent."""
        return self.job.content

    @property
    def attempts(self) -> int:
        """How often it was claimed, this time included."""
        return self.job.attempts

    @property
    def tags(self) -> tuple[str, ...]:
        """Words that it was added with."""
        return self.job.tags

    @property
    def raw(self) -> Any:
        """The wire's object; the lease is in it."""
        return self.job.raw

    @property
    def lease(self) -> str:
        """A secret that shows the holder."""
        lease: str = self.job.raw["lease"]
        return lease

    @property
    def cancelled(self) -> bool:
        """Whether to stop: somebody asked for its end, or the lease was lost."""
        return self.cancel_requested or self.lost

    async def progress(self, percent: int | None = None) -> bool:
        """Extend the lease, and say how far the work is; whether to go on. Raises LeaseLost."""
        changes: JobChanges = {"new_status": "inprogress"}
        if percent is not None:
            changes["progress"] = percent
        item = self.item(changes)
        await self.queue.updates.submit([item])
        self.heard(item)
        item.result()
        return not self.cancelled

    async def complete(self, result: Any = None) -> None:
        """It is done; `result` is any JSON. Raises LeaseLost."""
        changes: JobChanges = {"new_status": "complete"}
        if result is not None:
            changes["result"] = result
        await self._end(changes)

    async def fail(self, error: str = "", *, retry: bool = True) -> None:
        """It failed; it is tried again if it has attempts left, unless `retry` says no. Raises LeaseLost."""
        changes: JobChanges = {"new_status": "failed"}
        if error:
            changes["error"] = error[-ERROR_LENGTH:]
        if not retry:
            changes["retry"] = False
        await self._end(changes)

    async def release(self, delay: float = 0) -> None:
        """Give it back, not to be claimed for `delay` seconds; no attempt is spent. Raises LeaseLost."""
        changes: JobChanges = {"new_status": "queued"}
        if delay:
            changes["delay_seconds"] = delay
        await self._end(changes)

    async def _end(self, changes: JobChanges) -> None:
        self.queue.keeper.remove(self)
        item = self.item(changes)
        await self.queue.updates.submit([item])
        self.heard(item)
        item.result()

    def item(self, changes: JobChanges) -> Item:
        """An update of it, to be sent."""
        item = update_item(self.uid, {**changes, "lease": self.lease})
        item.repeated = self.uncertain
        return item

    def heard(self, item: Item) -> None:
        """Take note of what became of an update of it."""
        if isinstance(item.error, LeaseLost | JobNotFound):
            self.lost = True
        elif isinstance(item.error, OutcomeUnknown):
            self.uncertain = self.uncertain or item.status in _ENDS
        elif item.error is None:
            self.ended = self.ended or item.status in _ENDS
            self.cancel_requested = bool(item.answer.get("cancel_requested", self.cancel_requested))

    async def __aenter__(self) -> Self:
        self.queue.keeper.add(self)
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.queue.keeper.remove(self)
        if self.ended or self.lost:
            return
        if error is None:
            await self.complete()
            return
        try:
            if isinstance(error, Exception):
                await self.fail("".join(format_exception_only(error)).strip())
            else:
                await self.release()
        except JobEngineError:
            pass  # what the block raised says more

    @property
    def beat_seconds(self) -> float | None:
        """Seconds between two extensions of the lease, or None if it lasts for ever."""
        seconds = self.job.raw.get("timeout_seconds")
        return seconds / 3 if seconds else None


def update_item(uid: str, changes: JobChanges) -> Item:
    """An update to be sent, which may be repeated unless it sets a state without a lease."""
    status = changes.get("new_status")
    lease = changes.get("lease") is not None
    return Item(
        changes_json(uid, changes),
        safe=lease or (status is None and "delay_seconds" not in changes),
        brief=lease and status is not None,
        lease=lease,
        status=status,
    )


async def extend(jobs: Iterable[AsyncClaimedJob]) -> None:
    """Extend the leases of jobs, those of a queue in one request; each job learns what became of it."""
    by_queue = defaultdict(list)
    for job in jobs:
        by_queue[job.queue].append((job, job.item({"new_status": "inprogress"})))
    for queue, beats in by_queue.items():
        await queue.updates.submit([item for _, item in beats])
        for job, item in beats:
            job.heard(item)
            if job.lost:
                queue.keeper.remove(job)
