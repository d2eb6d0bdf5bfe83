# Made from _async/claimed.py by tests/client/twin.py: edit that one and run it again.
"""A claimed job and its lease."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from traceback import format_exception_only
from typing import Any, Protocol, Self, TypeVar

from .. import calls
from ..batching import Item, settle_update
from ..errors import JobEngineError, JobNotFound, LeaseLost, OutcomeUnknown
from ..failures import exception_fingerprint
from ..held_job import HeldJob
from ..jobs import (
    ERROR_LENGTH,
    JobChanges,
    NewJob,
    OnDependencyFailure,
    Span,
    changes_json,
    claimed_json,
    waiting_value,
)
from ..values import Job
from .batch_sender import BatchSender
from .heartbeats import Heartbeats

T = TypeVar("T")

#: The states that end a lease.
_ENDS = frozenset({"complete", "failed", "queued"})


class Holder(Protocol):
    """The part of a queue that its claimed jobs use."""

    name: str
    _updates: BatchSender
    _heartbeats: "Heartbeats[ClaimedJob]"

    def _ask(self, call: calls.Call[T], **more: Any) -> T: ...


class ClaimedJob(HeldJob):
    """
    A job that is held under a lease.

    As a context manager it extends the lease in the background, at a third of the job's time-out. When the block ends,
    the job is completed; if it raises, the job is failed; if it is cancelled or interrupted, the job is released. A job
    that the block has already ended is not changed.
    """

    __slots__ = ("_uncertain", "cancel_requested", "ended", "lost", "queue")

    def __init__(self, queue: Holder, job: Job) -> None:
        #: The job's queue.
        self.queue = queue
        self.job = job
        #: Whether the last answer reported a cancellation.
        self.cancel_requested = job.cancel_requested
        #: Whether the lease was lost: the server accepts no results any more.
        self.lost = False
        #: Whether complete, fail or release succeeded.
        self.ended = False
        #: Whether the outcome of complete, fail or release is unknown.
        self._uncertain = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}(uid={self.uid!r}, queue={self.queue.name!r})"

    @property
    def raw(self) -> Any:
        """The job as a JSON object, including the lease."""
        return self.job.raw

    @property
    def lease(self) -> str:
        """A secret that proves the claim."""
        lease: str = self.job.raw["lease"]
        return lease

    @property
    def cancelled(self) -> bool:
        """Whether to stop: the job was cancelled, or the lease was lost."""
        return self.cancel_requested or self.lost

    def progress(self, percent: float | None = None) -> bool:
        """Extend the lease and report the progress, rounded down; returns whether to continue. Raises LeaseLost."""
        changes: JobChanges = {"new_status": "inprogress"}
        if percent is not None:
            changes["progress"] = int(percent)
        item = self._item(changes)
        self.queue._updates.submit([item])
        self._note_outcome(item)
        item.result()
        return not self.cancelled

    def complete(self, result: Any = None) -> None:
        """Complete the job; `result` is any JSON. Raises LeaseLost."""
        changes: JobChanges = {"new_status": "complete"}
        if result is not None:
            changes["result"] = result
        self._end(changes)

    def fail(self, error: str = "", *, retry: bool = True, fingerprint: str | None = None) -> None:
        """
        Fail the attempt; the job is retried if it has attempts left, unless `retry` is false. Raises LeaseLost.

        `fingerprint`: the name under which the error is counted, instead of a fingerprint of its text.
        """
        changes: JobChanges = {"new_status": "failed"}
        if error:
            changes["error"] = error[-ERROR_LENGTH:]
        if fingerprint is not None:
            changes["fingerprint"] = fingerprint
        if not retry:
            changes["retry"] = False
        self._end(changes)

    def release(self, delay: Span = 0, *, hold: Span = 0) -> None:
        """
        Release the job: it can be claimed after `delay` seconds; the attempt does not count. Raises LeaseLost.

        For `hold` seconds, no job of its group can be claimed (no job of the queue, if it has no group).
        """
        changes: JobChanges = {"new_status": "queued"}
        if delay:
            changes["delay_seconds"] = delay
        if hold:
            changes["hold_seconds"] = hold
        self._end(changes)

    def wait_for(
        self,
        jobs: Iterable[Mapping[str, Any] | NewJob],
        *,
        on_dependency_failure: OnDependencyFailure | None = None,
    ) -> list[str]:
        """
        Add jobs to the queue and let this job wait for them: it is queued, and its next claim continues this attempt.
        Returns the uids of the jobs. They don't get the group, tags or priority of this job.

        `on_dependency_failure`: what becomes of this job if one of them fails; by default the job keeps its present
        setting. If the answer is lost, the call is not repeated: this raises OutcomeUnknown. Raises LeaseLost.
        """
        waiting = waiting_value(jobs, on_dependency_failure)
        self.queue._heartbeats.remove(self)
        body = {"queue_name": self.queue.name, "uid": self.uid, "lease": self.lease, **waiting}
        self._waits(body)
        return [job["uid"] for job in waiting["wait_for"]]

    def _waits(self, body: Mapping[str, Any]) -> None:
        """Send a request to wait for other jobs, and record its outcome."""
        try:
            self.queue._ask(calls.UPDATE_JOB, body=body)
        except (LeaseLost, JobNotFound):
            self.lost = True
            raise
        except OutcomeUnknown:
            self._uncertain = True
            raise
        self.ended = True

    def _end(self, changes: JobChanges) -> None:
        self.queue._heartbeats.remove(self)
        item = self._item(changes)
        self.queue._updates.submit([item])
        self._note_outcome(item)
        item.result()

    def _item(self, changes: JobChanges) -> Item:
        """An update of the job as an Item, to be sent in one request with other updates."""
        item = update_item(self.uid, {**changes, "lease": self.lease})
        item.repeated = self._uncertain
        return item

    def _json(self, changes: JobChanges) -> bytes:
        """An update of the job as JSON, to be sent in one request with a claim."""
        return claimed_json(self.queue.name, self.uid, {**changes, "lease": self.lease})

    def _note_result(
        self, changes: JobChanges, result: Mapping[str, Any], request_id: str | None
    ) -> JobEngineError | None:
        """
        Record the result of an update from `_json`, and return the error, if any; `request_id` identifies the request.
        For a success no Item is made: with short jobs that would take a tenth of a worker's time.
        """
        if result["status"] == 200:
            self._accepted(changes.get("new_status"), result.get("job") or result)
            return None
        item = self._item(changes)
        settle_update(item, result, request_id=request_id, repeated=item.repeated)
        self._note_outcome(item)
        return item.error

    def _note_outcome(self, item: Item) -> None:
        """Record the outcome of an update."""
        if isinstance(item.error, LeaseLost | JobNotFound):
            self.lost = True
        elif isinstance(item.error, OutcomeUnknown):
            self._uncertain = self._uncertain or item.status in _ENDS
        elif item.error is None:
            self._accepted(item.status, item.answer)

    def _accepted(self, status: str | None, answer: Mapping[str, Any]) -> None:
        self.ended = self.ended or status in _ENDS
        self.cancel_requested = bool(answer.get("cancel_requested", self.cancel_requested))

    def __enter__(self) -> Self:
        self.queue._heartbeats.add(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.queue._heartbeats.remove(self)
        if self.ended or self.lost:
            return
        if error is None:
            self.complete()
            return
        try:
            if isinstance(error, Exception):
                text = "".join(format_exception_only(error)).strip()
                self.fail(text, fingerprint=exception_fingerprint(error))
            else:
                self.release()
        except JobEngineError:
            pass  # raise the block's own error instead, which says more

    @property
    def beat_seconds(self) -> float | None:
        """Seconds between heartbeats, or None if the lease never expires."""
        seconds = self.job.raw.get("timeout_seconds")
        return seconds / 3 if seconds else None


def update_item(uid: str, changes: JobChanges) -> Item:
    """
    An update as an Item, to be sent in one request with other updates. An update that sets a state without a lease is
    not safe to repeat.
    """
    status = changes.get("new_status")
    lease = changes.get("lease") is not None
    return Item(
        changes_json(uid, changes),
        safe=lease or (status is None and "delay_seconds" not in changes),
        brief=lease and status is not None,
        lease=lease,
        status=status,
    )


def extend(jobs: Iterable[ClaimedJob]) -> None:
    """Extend the leases of jobs, with one request for each queue, and record each outcome in its job."""
    by_queue = defaultdict(list)
    for job in jobs:
        by_queue[job.queue].append((job, job._item({"new_status": "inprogress"})))
    for queue, beats in by_queue.items():
        queue._updates.submit([item for _, item in beats])
        for job, item in beats:
            job._note_outcome(item)
            if job.lost:
                queue._heartbeats.remove(job)
