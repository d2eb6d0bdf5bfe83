"""
Sends the waiting calls of one queue in bulk, in the threads that make these calls.

If no request is in flight, the calling thread sends one; other calls wait meanwhile. When the sender's own call has its
outcome, the thread that has waited longest sends the next request, after a short wait for callers that may return.
"""

import threading
from collections.abc import Callable, Sequence

from ..batching import Item, Lane, Returning
from ..errors import JobEngineError, OutcomeUnknown
from ..http_codec import Response
from .transport import monotonic

#: Sends a batch; returns the answer, and whether an earlier attempt may have succeeded.
Send = Callable[[Lane, Sequence[Item]], tuple[Response, bool]]


class BatchSender:
    """
    Sends the items of a lane (see jobengine.client.batching); threads wait here for room and for outcomes.

    While any call waits, one of these threads is the leader and sends the requests.
    """

    def __init__(self, lane: Lane, send: Send) -> None:
        self._lane = lane
        self._send = send
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._returning = Returning()
        #: Notified when all expected callers are there.
        self._returned = threading.Condition(self._lock)
        self._led = False

    def submit(self, items: Sequence[Item]) -> None:
        """Wait for room in the lane, add items, and return when each has its outcome."""
        self._put(items)
        try:
            for item in items:
                self._settle(item)
        except BaseException:
            self._leave(items)
            raise

    def _put(self, items: Sequence[Item]) -> None:
        with self._lock:
            while self._lane.full():
                self._room.wait()
            for item in items:
                item.waiter = threading.Lock()
                item.waiter.acquire()
                self._lane.put(item)
            if items:
                self._called(items)

    def _called(self, items: Sequence[Item]) -> None:
        items[-1].closes = True
        if not self._led:
            self._led = items[0].leads = True
        elif self._returning.are_there(len(self._lane)):
            self._returned.notify()

    def _settle(self, item: Item) -> None:
        if not item.leads and not item.settled:
            item.waiter.acquire()
        if not item.settled:
            self._lead(item)

    def _lead(self, item: Item) -> None:
        try:
            while not item.settled:
                self._step()
        finally:
            with self._lock:
                item.leads = False
                self._hand_on()

    def _step(self) -> None:
        with self._lock:
            self._wait_for_others()
            batch = self._lane.take()
        began = monotonic()
        try:
            response, repeated = self._send(self._lane, batch)
        except JobEngineError as error:
            with self._lock:
                self._lane.lost(batch, error)
                self._wake(batch)
        except BaseException:
            with self._lock:
                self._interrupted(batch)
            raise
        else:
            with self._lock:
                self._lane.answered(batch, response, repeated=repeated)
                self._returning.released(batch, len(self._lane), began, monotonic())
                self._wake(batch)

    def _interrupted(self, batch: Sequence[Item]) -> None:
        """
        After an interruption, put back the items that are safe to repeat, since the batch may have been sent; the
        others fail.
        """
        again = [item for item in batch if item.safe]
        for item in again:
            item.repeated = True
        self._lane.put_back(again)
        unsafe = [item for item in batch if not item.safe]
        self._lane.lost(unsafe, OutcomeUnknown("The sending thread was interrupted before the answer came."))
        self._wake(unsafe)

    def _wait_for_others(self) -> None:
        while (seconds := self._returning.patience(len(self._lane), monotonic())) > 0:
            self._returned.wait(seconds)
        self._returning.waited(len(self._lane))

    def _wake(self, batch: Sequence[Item]) -> None:
        for item in batch:
            if item.settled:
                _release(item)
        self._room.notify_all()

    def _hand_on(self) -> None:
        """Make the thread that has waited longest the leader, if any waits."""
        first = self._lane.first()
        self._led = first is not None
        if first is not None:
            first.leads = True
            _release(first)

    def _leave(self, items: Sequence[Item]) -> None:
        """Withdraw the unsent items of this interrupted thread, and make another thread the leader."""
        with self._lock:
            for item in items:
                self._lane.withdraw(item)
            if any(item.leads for item in items):
                self._hand_on()
            self._room.notify_all()


def _release(item: Item) -> None:
    if item.waiter.locked():
        item.waiter.release()
