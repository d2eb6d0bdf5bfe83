"""How gathered calls are sent, in threads and in tasks; the server is a function that the test delays."""

import asyncio
import json
import queue
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from jobengine.client import batching
from jobengine.client._async import batch_sender as async_sender
from jobengine.client._sync import batch_sender as sync_sender
from jobengine.client.batching import MOST, AddLane, Item, Lane
from jobengine.client.errors import BadRequest, OutcomeUnknown, Unavailable
from jobengine.client.http_codec import Response

from .doubles import PATIENCE, in_loop


def _answer(batch: Sequence[Item], bad: bytes = b"") -> tuple[Response, bool]:
    for number, item in enumerate(batch):
        if item.data == bad:
            problem = {"detail": "bad", **({"index": number} if len(batch) > 1 else {})}
            return Response(400, {}, json.dumps(problem).encode()), False
    jobs = [{"uid": item.data.decode()} for item in batch]
    return Response(201, {}, json.dumps(jobs[0] if len(jobs) == 1 else {"jobs": jobs}).encode()), False


class Held:
    def __init__(self) -> None:
        self.batches: queue.Queue[list[bytes]] = queue.Queue()
        self.replies: queue.Queue[Any] = queue.Queue()

    def send(self, lane: Lane, batch: Sequence[Item]) -> tuple[Response, bool]:
        self.batches.put([item.data for item in batch])
        reply = self.replies.get(timeout=PATIENCE)
        if isinstance(reply, BaseException):
            raise reply
        return _answer(batch, reply)

    def next(self) -> list[bytes]:
        return self.batches.get(timeout=PATIENCE)


class Threads:
    def __init__(self, sender: sync_sender.BatchSender) -> None:
        self._sender = sender
        self._threads: list[threading.Thread] = []
        self.interrupted: list[BaseException] = []

    def submit(self, *items: Item) -> None:
        def run() -> None:
            try:
                self._sender.submit(items)
            except BaseException as error:
                self.interrupted.append(error)

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def _until_waiting(lane: Lane, count: int) -> None:
    deadline = threading.Event()
    for _ in range(PATIENCE * 1000):
        if len(lane) == count:
            return
        deadline.wait(0.001)
    raise AssertionError(f"{len(lane)} are waiting, not {count}")


def _behind_a_request(server: Held, lane: Lane, *items: Item) -> Threads:
    """Threads: one sends a request, each of the others waits with one of these items."""
    threads = Threads(sync_sender.BatchSender(lane, server.send))
    threads.submit(Item(b"first"))
    assert server.next() == [b"first"]
    for count, item in enumerate(items):
        threads.submit(item)
        _until_waiting(lane, count + 1)
    return threads


def _with_an_interrupted_leader(server: Held, lane: Lane, *items: Item) -> Threads:
    """Threads that send these items in one request, of which the one that leads is interrupted."""
    threads = _behind_a_request(server, lane, *items)
    server.replies.put(b"")
    assert server.next() == [item.data for item in items]
    server.replies.put(KeyboardInterrupt())
    return threads


@pytest.fixture
def lane() -> AddLane:
    return AddLane("q", 100)


def test_a_lone_call_is_sent_at_once_by_its_own_thread(lane: AddLane) -> None:
    senders = []

    def send(lane: Lane, batch: Sequence[Item]) -> tuple[Response, bool]:
        senders.append(threading.get_ident())
        return _answer(batch)

    item = Item(b"a")
    sync_sender.BatchSender(lane, send).submit([item])
    assert item.result() == {"uid": "a"}
    assert senders == [threading.get_ident()]


def test_jobs_added_by_threads_during_a_request_share_the_next_request(lane: AddLane) -> None:
    server = Held()
    items = [Item(b"%d" % number) for number in range(20)]
    threads = _behind_a_request(server, lane, *items)
    server.replies.put(b"")
    assert server.next() == [item.data for item in items]
    server.replies.put(b"")
    threads.join()
    assert all(item.result()["uid"] for item in items)
    assert server.batches.empty()


def test_threads_that_call_in_a_loop_share_every_request(lane: AddLane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_SHARE", 1e9)  # no caller is left out because the machine is slow
    server = Held()
    sender = sync_sender.BatchSender(lane, server.send)

    def call(times: int) -> None:
        for _ in range(times):
            sender.submit([Item(b"a")])

    threads = [threading.Thread(target=call, args=(times,), daemon=True) for times in (6, *[5] * 7)]
    threads[0].start()
    sizes = [len(server.next())]
    for thread in threads[1:]:
        thread.start()
    _until_waiting(lane, 7)
    for _ in range(5):
        server.replies.put(b"")
        sizes.append(len(server.next()))
    server.replies.put(b"")
    for thread in threads:
        thread.join(PATIENCE)
    assert sizes == [1, 8, 8, 8, 8, 8]


def test_an_interrupted_thread_does_not_stop_the_calls_of_other_threads(lane: AddLane) -> None:
    server, other = Held(), Item(b"other")
    threads = _behind_a_request(server, lane, other)
    server.replies.put(KeyboardInterrupt())
    assert server.next() == [b"other"]
    server.replies.put(b"")
    threads.join()
    assert other.result() == {"uid": "other"}
    assert [type(error) for error in threads.interrupted] == [KeyboardInterrupt]


def test_if_the_sending_thread_is_interrupted_unsafe_calls_of_other_threads_have_an_unknown_outcome(
    lane: AddLane,
) -> None:
    server = Held()
    leader, other = (Item(name, safe=False) for name in (b"leader", b"other"))
    threads = _with_an_interrupted_leader(server, lane, leader, other)
    server.replies.put(b"")
    threads.join()
    assert isinstance(other.error, OutcomeUnknown)
    assert server.batches.empty()
    assert len(lane) == 0


def test_if_the_sending_thread_is_interrupted_safe_calls_of_other_threads_are_sent_again(lane: AddLane) -> None:
    server = Held()
    leader, other = Item(b"leader"), Item(b"other")
    threads = _with_an_interrupted_leader(server, lane, leader, other)
    assert server.next() == [b"other"]
    assert other.repeated
    server.replies.put(b"")
    threads.join()
    assert other.result() == {"uid": "other"}


def test_each_caller_in_a_request_gets_the_error_of_an_unreachable_server(lane: AddLane) -> None:
    def send(lane: Lane, batch: Sequence[Item]) -> tuple[Response, bool]:
        raise Unavailable("gone")

    items = [Item(b"a"), Item(b"b")]
    sync_sender.BatchSender(lane, send).submit(items)
    assert all(isinstance(item.error, Unavailable) for item in items)
    assert items[0].error is not items[1].error


def test_a_thread_waits_while_too_many_calls_are_waiting() -> None:
    lane, server = AddLane("q", 2), Held()
    threads, late = _behind_a_request(server, lane, Item(b"a"), Item(b"b")), Item(b"late")
    threads.submit(late)
    server.replies.put(b"")
    assert server.next() == [b"a", b"b"]
    for _ in range(3):
        server.replies.put(b"")
    threads.join()
    assert late.result() == {"uid": "late"}


def test_each_of_many_threads_gets_the_answers_to_its_own_calls() -> None:
    lane = AddLane("q", 7)
    sender = sync_sender.BatchSender(lane, lambda lane, batch: _answer(batch, b"3-13"))
    wrong: list[Any] = []

    def work(thread: int) -> None:
        for number in range(200):
            item = Item(b"%d-%d" % (thread, number))
            sender.submit([item])
            bad = item.data == b"3-13"
            if bad != isinstance(item.error, BadRequest) or (not bad and item.answer["uid"] != item.data.decode()):
                wrong.append(item)

    workers = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(16)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not any(worker.is_alive() for worker in workers)
    assert wrong == []
    assert len(lane) == 0


class AsyncHeld:
    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.open = asyncio.Event()

    async def send(self, lane: Lane, batch: Sequence[Item]) -> tuple[Response, bool]:
        self.batches.append([item.data for item in batch])
        await self.open.wait()
        return _answer(batch, b"bad")


async def _turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@in_loop
async def test_jobs_added_by_tasks_during_a_request_share_the_next_request_and_only_a_bad_job_fails() -> None:
    server = AsyncHeld()
    sender = async_sender.BatchSender(AddLane("q", 100), server.send)
    first = asyncio.create_task(sender.submit([Item(b"first")]))
    await _turns()
    items = [Item(name) for name in (b"a", b"bad", b"c")]
    rest = [asyncio.create_task(sender.submit([item])) for item in items]
    await _turns()
    assert server.batches == [[b"first"]]
    server.open.set()
    await asyncio.gather(first, *rest)
    assert server.batches[1] == [b"a", b"bad", b"c"]
    assert [type(item.error) for item in items] == [type(None), BadRequest, type(None)]


@in_loop
async def test_calls_of_one_loop_turn_share_a_request() -> None:
    server = AsyncHeld()
    server.open.set()
    sender = async_sender.BatchSender(AddLane("q", 5000), server.send)
    await asyncio.gather(*[sender.submit([Item(b"%d" % number)]) for number in range(MOST)])
    assert server.batches == [[b"%d" % number for number in range(MOST)]]


@in_loop
async def test_the_call_of_a_task_cancelled_before_sending_is_not_sent() -> None:
    server = AsyncHeld()
    sender = async_sender.BatchSender(AddLane("q", 100), server.send)
    first = asyncio.create_task(sender.submit([Item(b"first")]))
    await _turns()
    cancelled, other = (asyncio.create_task(sender.submit([Item(name)])) for name in (b"cancelled", b"other"))
    await _turns()
    cancelled.cancel()
    server.open.set()
    await asyncio.gather(first, other)
    assert server.batches == [[b"first"], [b"other"]]


@in_loop
async def test_a_cancelled_task_does_not_affect_other_tasks_in_the_same_request() -> None:
    server = AsyncHeld()
    sender = async_sender.BatchSender(AddLane("q", 100), server.send)
    item = Item(b"b")
    tasks = [asyncio.create_task(sender.submit([one])) for one in (Item(b"a"), item)]
    await _turns()
    tasks[0].cancel()
    server.open.set()
    await tasks[1]
    assert item.result() == {"uid": "b"}


@in_loop
async def test_tasks_wait_in_order_while_too_many_calls_are_waiting() -> None:
    server = AsyncHeld()
    lane = AddLane("q", 2)
    sender = async_sender.BatchSender(lane, server.send)
    tasks = []
    for number in range(9):
        tasks.append(asyncio.create_task(sender.submit([Item(b"%d" % number)])))
        await _turns()
    assert len(lane) == 2
    tasks[4].cancel()
    server.open.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [data for batch in server.batches for data in batch] == [b"%d" % n for n in range(9) if n != 4]


def test_a_client_can_be_used_in_several_event_loops_one_after_the_other() -> None:
    server = AsyncHeld()
    server.open.set()
    sender = async_sender.BatchSender(AddLane("q", 10), server.send)
    for name in (b"a", b"b"):
        item = Item(name)
        asyncio.run(sender.submit([item]))
        assert item.result()["uid"] == name.decode()
