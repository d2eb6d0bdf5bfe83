"""
Gathers calls into bulk requests: the server's group commit, on this side. Pure state, with no thread, task or socket.

A lane holds what waits for one queue. With nothing under way a call leaves at once; what comes meanwhile goes together
into the next request. So at most one request of a lane is under way, and calls are carried out in the order of put.
"""

import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec.json import decode

from . import calls
from .errors import BadRequest, Conflict, JobEngineError, JobNotFound, LeaseLost, QueueNotFound, error_of
from .http import Response

__all__ = ["AddLane", "Item", "Lane", "UpdateLane"]

#: Items in one request at most. The next is made ready while one is under way, so very large ones only make others
#: wait: measured with 1,000 coroutines, 500 are as fast as 250 and a quarter faster than 1,000.
MOST: Final = 500
#: Bytes of items in one request, but for one that is longer alone: many proxies stop at 1 MB.
MOST_BYTES: Final = 900_000
#: Bytes that may wait in all.
_WAITING_BYTES: Final = 64 << 20


class Item:
    """One call that waits for its outcome: a job to be added, or an update."""

    __slots__ = (
        "answer",
        "brief",
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
        #: As JSON.
        self.data = data
        #: Whether it may be sent again when its answer was lost.
        self.safe = safe
        #: Whether it is enough to know that it was done.
        self.brief = brief
        #: Whether a lease is sent with it, and the status that it asks for.
        self.lease = lease
        self.status = status
        #: Whether it was sent before, in a call whose outcome is unknown.
        self.repeated = False
        self.settled = False
        #: The job of the answer, as the wire's object, if it was carried out.
        self.answer: Mapping[str, Any] = {}
        #: Why it was not carried out.
        self.error: JobEngineError | None = None
        #: Whoever waits for it, if somebody has to be woken.
        self.waiter: Any = None
        #: Whether the one who waits for it is to send the next request.
        self.leads = False

    def done(self, answer: Mapping[str, Any]) -> None:
        """It was carried out."""
        self.answer = answer
        self.settled = True

    def failed(self, error: JobEngineError) -> None:
        """It was not, or nobody knows."""
        self.error = error
        self.settled = True

    def result(self) -> Mapping[str, Any]:
        """The answer; raises the error."""
        if self.error is not None:
            raise self.error
        return self.answer


class Lane:
    """What waits to be sent for one queue."""

    def __init__(self, queue: str, max_pending: int) -> None:
        self.queue = queue
        self._name = json.dumps(queue).encode()
        self._max_pending = max_pending
        self._waiting: deque[Item] = deque()
        self._bytes = 0
        #: Halved when a request is refused for one item, doubled when one is taken: many bad ones cost few requests.
        self._most = MOST

    def __len__(self) -> int:
        return len(self._waiting)

    def full(self) -> bool:
        """Whether no more may wait."""
        return self.room() <= 0

    def room(self) -> int:
        """How many more may wait; the last one may be longer than there is room for."""
        return self._max_pending - len(self._waiting) if self._bytes < _WAITING_BYTES else 0

    def put(self, item: Item) -> None:
        """Let an item wait; those put before it go first."""
        self._waiting.append(item)
        self._bytes += len(item.data)

    def put_back(self, items: Sequence[Item]) -> None:
        """Let items that were taken wait again, before all others."""
        self._waiting.extendleft(reversed(items))
        self._bytes += sum([len(item.data) for item in items])

    def first(self) -> Item | None:
        """The one that goes next."""
        while self._waiting and self._waiting[0].settled:
            self._bytes -= len(self._waiting.popleft().data)
        return self._waiting[0] if self._waiting else None

    def withdraw(self, item: Item) -> None:
        """Forget an item that nobody waits for any more, if it was not sent yet."""
        item.settled = True  # which is how it is known when its turn comes

    def take(self) -> list[Item]:
        """What goes into the next request: nothing if nothing waits."""
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
        """The request's body."""
        raise NotImplementedError  # each kind of lane has its own

    def call(self, batch: Sequence[Item]) -> calls.Call[Any]:
        """The request's method and path."""
        raise NotImplementedError  # each kind of lane has its own

    def answered(self, batch: list[Item], response: Response, *, repeated: bool) -> None:
        """
        Settle what the answer says, and put back what is to be sent again without the one that was refused.

        `repeated`: an earlier request with the batch may have been carried out.
        """
        if not 200 <= response.status < 300:
            self._refused(batch, calls.failure(response, self.call(batch).special))
            return
        self._most = min(self._most * 2, MOST)
        try:
            self.taken(batch, decode(response.body), request_id=response.request_id, repeated=repeated)
        except (ValueError, LookupError, TypeError):
            said = "The server's answer is not one of a JobEngine."
            self.lost(batch, JobEngineError(said, status=response.status, request_id=response.request_id))

    def taken(self, batch: list[Item], answer: Any, *, request_id: str | None, repeated: bool) -> None:
        """Settle a batch that the server has taken."""
        raise NotImplementedError  # each kind of lane has its own

    def lost(self, batch: Sequence[Item], error: JobEngineError) -> None:
        """Nobody knows what became of these, or the server can't be reached."""
        for item in batch:
            if not item.settled:
                item.failed(error.again())

    def _refused(self, batch: list[Item], error: JobEngineError) -> None:
        """All of the batch was refused: for one of its items alone, or for what holds for all of them."""
        if len(batch) == 1 or not _concerns_one(error):
            self.lost(batch, error)
            return
        self._most = max(len(batch) // 2, 1)
        if error.index is None or error.index >= len(batch):
            self.put_back(batch)  # it is among them, and fails when it is sent alone
            return
        if error.status == 429:
            # The queue is full from here on; what came before has room.
            self.lost(batch[error.index :], error)
            self.put_back(batch[: error.index])
            return
        batch[error.index].failed(error)
        self.put_back([item for item in batch if not item.settled])


def _concerns_one(error: JobEngineError) -> bool:
    return error.index is not None or isinstance(error, BadRequest)


class AddLane(Lane):
    """Jobs to be added. All of a request are added or none: one that is bad is left out and the others sent again."""

    def call(self, batch: Sequence[Item]) -> calls.Call[Any]:
        """See Lane."""
        return calls.ADD_JOB if _is_single(batch) else calls.ADD_JOBS

    def body(self, batch: Sequence[Item]) -> bytes:
        """See Lane."""
        if _is_single(batch):
            return b'{"queue_name":%b,"job":%b}' % (self._name, batch[0].data)
        return b'{"queue_name":%b,"jobs":[%b]}' % (self._name, b",".join([item.data for item in batch]))

    def taken(self, batch: list[Item], answer: Any, *, request_id: str | None, repeated: bool) -> None:
        """See Lane."""
        jobs = [answer] if _is_single(batch) else answer["jobs"]
        for item, job in zip(batch, jobs, strict=True):
            item.done(job)


def _is_single(batch: Sequence[Item]) -> bool:
    """Whether it goes as a single job; a long one does not, since the server takes longer bodies for many jobs."""
    return len(batch) == 1 and len(batch[0].data) <= MOST_BYTES


class UpdateLane(Lane):
    """Updates of jobs. Each is carried out or refused by itself, within one request."""

    def call(self, batch: Sequence[Item]) -> calls.Call[Any]:
        """See Lane."""
        return calls.UPDATE_JOBS

    def body(self, batch: Sequence[Item]) -> bytes:
        """See Lane."""
        return b'{"queue_name":%b,"updates":[%b]}' % (self._name, b",".join([item.data for item in batch]))

    def taken(self, batch: list[Item], answer: Any, *, request_id: str | None, repeated: bool) -> None:
        """See Lane."""
        for item, result in zip(batch, answer["results"], strict=True):
            settle_update(item, result, request_id=request_id, repeated=repeated or item.repeated)


def settle_update(item: Item, result: Mapping[str, Any], *, request_id: str | None, repeated: bool) -> None:
    """Take what the server says of one update, in the answer to the request with that id."""
    status = result["status"]
    if status == 200:
        # A short answer has of the job only whether it is to stop.
        item.done(result.get("job") or result)
        return
    error = error_of(status, result, request_id=request_id, special={409: LeaseLost} if item.lease else None)
    if repeated and _was_done(item, error):
        item.done({})
    else:
        item.failed(error)


def _was_done(item: Item, error: JobEngineError) -> bool:
    """
    Whether an update that ends its own lease was carried out by the request whose answer was lost.

    A job that failed with attempts left, or was released, is not held under the lease any more when it is asked again;
    one that is not kept is gone. A finished one the server knows by its lease.
    """
    if not item.lease or isinstance(error, QueueNotFound):
        return False
    gone = isinstance(error, JobNotFound) and item.status in ("complete", "failed")
    return gone or (isinstance(error, Conflict) and item.status in ("failed", "queued"))
