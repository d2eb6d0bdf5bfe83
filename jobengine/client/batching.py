"""
Gathers calls into bulk requests. Pure state, without threads, tasks or sockets.

A lane holds the calls for one queue. If no request is in flight, a call is sent at once; calls that arrive during a
request go into the next one. So a lane has at most one request in flight, and calls are carried out in the order of
`put`. Before the next request, threads wait briefly for callers that were just answered (see Returning). Coroutines
need no such wait: all of them call again in the same turn of their loop.
"""

import json
import re
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from . import calls, shapes
from .errors import BadRequest, Conflict, JobEngineError, JobNotFound, LeaseLost, QueueNotFound, error_of
from .http_codec import Response

#: The most items in one request. One request is prepared while another is in flight, so larger requests only cause
#: delays: with 1,000 coroutines, 500 is as fast as 250 and a quarter faster than 1,000.
MOST: Final = 500
#: The most bytes of items in one request, unless a single item is longer: many proxies accept at most 1 MB.
MOST_BYTES: Final = 900_000
#: The most bytes of waiting items.
_WAITING_BYTES: Final = 64 << 20
#: The longest time that a request waits for returning callers, as a share of the last round trip.
_SHARE: Final = 0.25
#: A share that has fallen to this value is reset to `_SHARE`.
_LEAST_SHARE: Final = 0.004
#: The beginning of an error text that names one item of a request, such as `jobs[3]: `.
_PLACE: Final = re.compile(r"^(?:jobs|updates)\[\d+\](?:\.|: )")


class Item:
    """A call that waits for its outcome: a job to add, or an update."""

    __slots__ = (
        "answer",
        "brief",
        "closes",
        "data",
        "error",
        "leads",
        "lease",
        "repeated",
        "safe",
        "settled",
        "status",
        "waiter",
    )

    def __init__(
        self, data: bytes, *, safe: bool = True, brief: bool = False, lease: bool = False, status: str | None = None
    ) -> None:
        #: The item as JSON.
        self.data = data
        #: Whether the item may be sent again after its answer was lost.
        self.safe = safe
        #: Whether the caller needs no answer beyond success.
        self.brief = brief
        #: Whether the update has a lease.
        self.lease = lease
        #: The status that the update sets.
        self.status = status
        #: Whether the item was sent before, with an unknown outcome.
        self.repeated = False
        self.settled = False
        #: Whether the item is the last of its call.
        self.closes = False
        #: The job in a successful answer, as a JSON object.
        self.answer: Mapping[str, Any] = {}
        #: The error of a failure.
        self.error: JobEngineError | None = None
        #: The object to wake once the item is settled, or None.
        self.waiter: Any = None
        #: Whether the item's thread must send the next request.
        self.leads = False

    def done(self, answer: Mapping[str, Any]) -> None:
        """Settle the item with an answer."""
        self.answer = answer
        self.settled = True

    def failed(self, error: JobEngineError) -> None:
        """Settle the item with an error."""
        self.error = error
        self.settled = True

    def result(self) -> Mapping[str, Any]:
        """The item's answer; raises the item's error if it failed."""
        if self.error is not None:
            raise self.error
        return self.answer


class Returning:
    """
    Decides how long the next request waits for callers that were just answered: callers in a loop call again at once.

    If the first caller's request were sent alone, all others would wait for its answer. So the next request waits until
    the answered callers are back, for at most a quarter of the last round trip. Each time they don't come back, the
    wait is halved; after several halvings it is reset to a quarter, since other callers may have appeared. A lone
    caller never waits.
    """

    def __init__(self) -> None:
        self._expected = 0
        self._until = 0.0
        self._share = _SHARE

    def released(self, batch: Sequence[Item], waiting: int, began: float, now: float) -> None:
        """Record that a batch was answered while `waiting` other items waited; times are in seconds on any clock."""
        callers = sum([item.settled and item.closes for item in batch])
        self._expected = min(callers + waiting, MOST)
        self._until = now + (now - began) * self._share

    def are_there(self, waiting: int) -> bool:
        """Whether all expected callers are back if this many items wait."""
        return self._expected < 2 or waiting >= self._expected

    def patience(self, waiting: int, now: float) -> float:
        """The seconds to wait for further callers."""
        return 0 if self.are_there(waiting) else max(self._until - now, 0)

    def waited(self, waiting: int) -> None:
        """Record that the wait has ended with this many waiting callers."""
        self._share *= 2 if self.are_there(waiting) else 0.5
        if not _LEAST_SHARE < self._share < _SHARE:
            self._share = _SHARE


class Lane:
    """The calls that wait to be sent for one queue."""

    def __init__(self, queue: str, max_pending: int) -> None:
        self.queue = queue
        self._name = json.dumps(queue).encode()
        self._max_pending = max_pending
        self._waiting: deque[Item] = deque()
        self._bytes = 0
        #: The most items of the next request. Halved when a request is refused for one bad item, and doubled when a
        #: request succeeds, so that even many bad items cost few requests.
        self._most = MOST

    def __len__(self) -> int:
        return len(self._waiting)

    def full(self) -> bool:
        """Whether the lane has reached its limit of waiting items."""
        return self.room() <= 0

    def room(self) -> int:
        """How many more items may wait; the last of them may exceed the limit of bytes."""
        return self._max_pending - len(self._waiting) if self._bytes < _WAITING_BYTES else 0

    def put(self, item: Item) -> None:
        """Append an item."""
        self._waiting.append(item)
        self._bytes += len(item.data)

    def put_back(self, items: Sequence[Item]) -> None:
        """Put items back that `take` has taken, before all others."""
        self._waiting.extendleft(reversed(items))
        self._bytes += sum([len(item.data) for item in items])

    def first(self) -> Item | None:
        """The next item to send."""
        while self._waiting and self._waiting[0].settled:
            self._bytes -= len(self._waiting.popleft().data)
        return self._waiting[0] if self._waiting else None

    def withdraw(self, item: Item) -> None:
        """Remove an item whose caller has stopped waiting, unless it was sent already."""
        item.settled = True  # `take` skips it

    def take(self) -> list[Item]:
        """Take the items of the next request; none if nothing waits."""
        batch: list[Item] = []
        size = 0
        while len(batch) < self._most and (item := self.first()) is not None:
            size += len(item.data) + 1
            if batch and (size > MOST_BYTES or item.safe is not batch[0].safe):
                break
            self._bytes -= len(item.data)
            batch.append(self._waiting.popleft())
        return batch

    def body(self, batch: Sequence[Item]) -> bytes:
        """The body of the request."""
        raise NotImplementedError  # each kind of lane has its own

    def call(self, batch: Sequence[Item]) -> calls.Call[Any]:
        """The method and path of the request."""
        raise NotImplementedError  # each kind of lane has its own

    def answered(self, batch: list[Item], response: Response, *, repeated: bool) -> None:
        """
        Settle the items of a request by its answer. If one item was refused, the others are put back and sent again.
        `repeated`: an earlier request with these items may have succeeded.
        """
        if not 200 <= response.status < 300:
            self._refused(batch, calls.failure(response, self.call(batch).special))
            return
        self._most = min(self._most * 2, MOST)
        try:
            calls.check_status(self.call(batch), response)
            self.taken(batch, response, repeated=repeated)
        except JobEngineError as error:
            self.lost(batch, error)

    def taken(self, batch: list[Item], response: Response, *, repeated: bool) -> None:
        """Settle items whose request succeeded; raises NotJobEngine."""
        raise NotImplementedError  # each kind of lane has its own

    def lost(self, batch: Sequence[Item], error: JobEngineError) -> None:
        """Settle items with an error: their outcome is unknown, or the server can't be reached."""
        for item in batch:
            if not item.settled:
                item.failed(error._again())

    def _refused(self, batch: list[Item], error: JobEngineError) -> None:
        """Settle the items of a refused request: one bad item may be the reason, or all items are refused."""
        if len(batch) == 1 or not _concerns_one(error):
            self.lost(batch, _of_one(error) if len(batch) == 1 else error)
            return
        self._most = max(len(batch) // 2, 1)
        if error.index is None or error.index >= len(batch):
            self.put_back(batch)  # the bad item is among them, and will be refused when it is sent alone
            return
        if error.status == 429:
            # The queue became full at this item: refuse it and all later items; the earlier ones are sent again.
            self.lost(batch[error.index :], error)
            self.put_back(batch[: error.index])
            return
        batch[error.index].failed(_of_one(error))
        self.put_back([item for item in batch if not item.settled])


def _of_one(error: JobEngineError) -> JobEngineError:
    """
    The error for the caller of the refused item, without the item's index in the request, which the caller does not
    know.
    """
    error.detail = _PLACE.sub("", error.detail)
    error.args = (error.detail,)
    return error


def _concerns_one(error: JobEngineError) -> bool:
    return error.index is not None or isinstance(error, BadRequest)


class AddLane(Lane):
    """
    The jobs that wait to be added to a queue. A request adds all of its jobs or none: if one job is bad, the others are
    sent again without it.
    """

    def call(self, batch: Sequence[Item]) -> calls.Call[Any]:
        return add_call([item.data for item in batch])

    def body(self, batch: Sequence[Item]) -> bytes:
        return add_body(self._name, [item.data for item in batch])

    def taken(self, batch: list[Item], response: Response, *, repeated: bool) -> None:
        call = self.call(batch)
        jobs = [calls.ADD_JOB.read(response)] if call is calls.ADD_JOB else calls.ADD_JOBS.read(response)
        _check_count(response, jobs, batch)
        for item, job in zip(batch, jobs, strict=True):
            item.done(job.raw)


def add_call(jobs: Sequence[bytes]) -> calls.Call[Any]:
    """The method and path of a request that adds these jobs."""
    return calls.ADD_JOB if _is_single(jobs) else calls.ADD_JOBS


def add_body(queue: bytes, jobs: Sequence[bytes]) -> bytes:
    """The body of a request that adds these jobs; `queue` is the name as JSON."""
    if _is_single(jobs):
        return single_body(queue, jobs[0])
    return b'{"queue_name":%b,"jobs":[%b]}' % (queue, b",".join(jobs))


def single_body(queue: bytes, job: bytes) -> bytes:
    """The body of a request with one job."""
    return b'{"queue_name":%b,"job":%b}' % (queue, job)


def _is_single(jobs: Sequence[bytes]) -> bool:
    """
    Whether to use the call for a single job. A long job is sent in a list with one job: the limit for the length of
    such a body is higher.
    """
    return len(jobs) == 1 and len(jobs[0]) <= MOST_BYTES


class UpdateLane(Lane):
    """The updates that wait to be sent to a queue. Each update in a request succeeds or fails independently."""

    def call(self, batch: Sequence[Item]) -> calls.Call[Any]:
        return calls.UPDATE_JOBS

    def body(self, batch: Sequence[Item]) -> bytes:
        return b'{"queue_name":%b,"updates":[%b]}' % (self._name, b",".join([item.data for item in batch]))

    def taken(self, batch: list[Item], response: Response, *, repeated: bool) -> None:
        results = calls.json_of(response, shapes.RESULTS)["results"]
        _check_count(response, results, batch)
        for item, result in zip(batch, results, strict=True):
            settle_update(item, result, request_id=response.request_id, repeated=repeated or item.repeated)


def _check_count(response: Response, results: Sequence[Any], batch: Sequence[Item]) -> None:
    if len(results) != len(batch):
        raise calls.not_jobengine(response, f"it has {len(results)} outcomes, not {len(batch)}")


def settle_update(item: Item, result: Mapping[str, Any], *, request_id: str | None, repeated: bool) -> None:
    """Settle an update by its `result` from an answer; `request_id` identifies the request in errors."""
    status = result["status"]
    if status == 200:
        # A short answer has no job, only the field that says whether the worker should stop.
        item.done(result.get("job") or result)
        return
    error = error_of(status, result, request_id=request_id, special={409: LeaseLost} if item.lease else None)
    if repeated and _was_done(item, error):
        item.done({})
    else:
        item.failed(error)


def _was_done(item: Item, error: JobEngineError) -> bool:
    """
    Whether a repeated update had succeeded the first time, as the error of the repetition shows.

    An update that retried or released the job has ended the job's lease, so the repetition is a conflict. After an
    update that finished a job that is not kept, the job is gone. For a finished job that is kept, the server recognises
    the last lease and reports no error.
    """
    if not item.lease or isinstance(error, QueueNotFound):
        return False
    gone = isinstance(error, JobNotFound) and item.status in ("complete", "failed")
    return gone or (isinstance(error, Conflict) and item.status in ("failed", "queued"))
