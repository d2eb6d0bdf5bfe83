"""The client's connections to a small local server, which does what the test sets."""

import asyncio
import inspect
import json
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from jobengine.client import AsyncJobEngine, JobEngine, OutcomeUnknown
from jobengine.client._sync import transport
from jobengine.client.batching import MOST
from jobengine.client.errors import BadRequest, EventsLost, Unavailable

from .doubles import PATIENCE, in_loop

_EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def _reply(status: int, value: Any, *headers: str) -> bytes:
    body = json.dumps(value).encode()
    lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


_CLAIMED = _reply(200, {"jobs": [{"uid": "u", "queue_name": "q", "lease": "secret", "state": "inprogress"}]})
_UPDATED = _reply(200, {"results": [{"uid": "u", "status": 200}]})


class Server:
    """Takes whole requests, and answers each with what the test gives it; None closes the connection."""

    def __init__(self) -> None:
        self.requests: queue.Queue[tuple[int, bytes]] = queue.Queue()
        self.replies: queue.Queue[bytes | None] = queue.Queue()
        #: The numbers of the connections that clients have closed.
        self.gone: queue.Queue[int] = queue.Queue()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for one in (self._listener, *self._connections):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def close_all(self) -> None:
        """Close the connections, and wait until the clients can see it."""
        for connection in self._connections:
            connection.shutdown(socket.SHUT_RDWR)
            self.gone.get(timeout=PATIENCE)

    def next(self) -> tuple[int, str]:
        """The connection's number and the first line and body of a request."""
        number, request = self.requests.get(timeout=PATIENCE)
        head, _, body = request.partition(b"\r\n\r\n")
        return number, f"{head.split(b' HTTP')[0].decode()} {body.decode()}".strip()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._connections.append(self._listener.accept()[0])
                number = len(self._connections) - 1
                threading.Thread(target=self._serve, args=(number,), daemon=True).start()

    def _serve(self, number: int) -> None:
        connection, data = self._connections[number], b""
        with suppress(OSError):
            while part := connection.recv(65536):
                data += part
                head, end, body = data.partition(b"\r\n\r\n")
                length = int((head.lower() + b"\r\n").partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                if not end or len(body) < length:
                    continue
                self.requests.put((number, data))
                data = b""
                reply = self.replies.get()
                if reply is None:
                    connection.shutdown(socket.SHUT_RDWR)
                    break
                connection.sendall(reply)
        self.gone.put(number)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def _engine(server: Server, **more: Any) -> JobEngine:
    return JobEngine(server.url, access_key="k", **more)


BOTH = pytest.mark.parametrize("kind", [JobEngine, AsyncJobEngine])


async def _done(result: Any) -> Any:
    """The result of a call of either client."""
    return await result if inspect.isawaitable(result) else result


async def _first(chunks: Any) -> Any:
    return next(chunks) if hasattr(chunks, "__next__") else await anext(chunks)


async def _close(what: Any) -> None:
    await _done(what.aclose() if hasattr(what, "aclose") else what.close())


def test_a_connection_is_reused_and_replaced_when_it_is_closed(server: Server) -> None:
    with _engine(server) as engine:
        for reply in (_EMPTY, _EMPTY.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"), _EMPTY):
            server.replies.put(reply)
            engine.test()
        assert [server.next()[0] for _ in range(3)] == [0, 0, 1]


def test_an_idle_connection_is_checked_before_it_sends_a_claim(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with _engine(server) as engine:
        server.replies.put(_EMPTY)
        engine.test()
        server.close_all()
        monkeypatch.setattr(transport, "_FRESH", 0)
        server.replies.put(_CLAIMED)
        assert len(engine.queue("q").claim()) == 1


@pytest.fixture
def without_tls() -> Iterator[str]:
    """The https address of a server that speaks only HTTP."""

    def refuse() -> None:
        with suppress(OSError):
            while True:
                connection = listener.accept()[0]
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=refuse, daemon=True).start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@BOTH
@in_loop
async def test_a_connection_that_the_server_has_closed_is_replaced_silently(server: Server, kind: Any) -> None:
    engine = kind(server.url, access_key="k", retry_for=0)
    for reply in (_EMPTY, None, _EMPTY):
        server.replies.put(reply)
    await _done(engine.test())
    await _done(engine.test())
    await _close(engine)
    assert [server.next()[0] for _ in range(3)] == [0, 0, 1]


@BOTH
@in_loop
async def test_a_server_without_tls_is_distinguished_from_an_unreachable_server(without_tls: str, kind: Any) -> None:
    engine = kind(without_tls, access_key="k", retry_for=0)
    with pytest.raises(Unavailable, match="does not speak TLS; try http:// instead of https://\\."):
        await _done(engine.queue("q").stats())
    await _close(engine)


@BOTH
@in_loop
async def test_a_new_connection_that_is_closed_without_an_answer_hints_at_tls(server: Server, kind: Any) -> None:
    server.replies.put(None)
    engine = kind(server.url, access_key="k", retry_for=0)
    with pytest.raises(OutcomeUnknown, match=r"without an answer; if it is a port for TLS, use https:"):
        await _done(engine.test())
    await _close(engine)


@BOTH
@in_loop
async def test_a_call_closes_its_connection_if_no_answer_comes_before_the_timeout(server: Server, kind: Any) -> None:
    engine = kind(server.url, access_key="k", timeout=0.5, retry_for=0)
    with pytest.raises(OutcomeUnknown, match="in time"):
        await _done(engine.test())
    server.replies.put(_EMPTY)
    assert await asyncio.to_thread(server.gone.get, timeout=PATIENCE) == 0
    await _close(engine)


def test_an_answer_is_read_even_if_it_comes_before_the_whole_request_was_sent(server: Server) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    too_long = _reply(413, {"detail": "The body is too long."})

    def refuse() -> None:
        connection, _ = listener.accept()
        connection.recv(1000)
        connection.sendall(too_long)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 20):
            pass
        connection.close()

    threading.Thread(target=refuse, daemon=True).start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with JobEngine(url, access_key="k", retry_for=0) as engine, pytest.raises(BadRequest, match="too long"):
        engine.queue("q").add({"text": "x" * 5_000_000})
    listener.close()


def test_an_interrupted_claim_releases_the_jobs_in_an_answer_already_on_its_way(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(BaseException):
        pass

    receive = transport._Connection.receive

    def interrupted(connection: Any) -> Any:
        monkeypatch.setattr(transport._Connection, "receive", receive)
        raise Interrupted

    monkeypatch.setattr(transport._Connection, "receive", interrupted)
    monkeypatch.setattr(transport, "_RESCUE", PATIENCE)
    server.replies.put(_CLAIMED)
    server.replies.put(_UPDATED)
    with _engine(server) as engine, pytest.raises(Interrupted):
        engine.queue("q").claim()
    server.next()
    assert '"new_status":"queued","lease":"secret"' in server.next()[1]


_BUSY = _reply(503, {"detail": "busy"})
_MANY_ADDED = _reply(201, {"jobs": [{"uid": "u"}] * MOST})
#: So many jobs that they need two requests.
_TWO_REQUESTS: list[dict[str, Any]] = [{}] * (MOST + 1)


@BOTH
@in_loop
async def test_a_failed_add_many_leaves_its_connection_open_for_other_calls(server: Server, kind: Any) -> None:
    for reply in (_BUSY, _BUSY, _EMPTY):
        server.replies.put(reply)
    engine = kind(server.url, access_key="k", retry_for=0)
    with pytest.raises(Unavailable):
        await _done(engine.queue("q").add_many(_TWO_REQUESTS))
    await _done(engine.test())
    await _close(engine)
    assert [server.next()[0] for _ in range(3)] == [0, 0, 0]


@BOTH
@in_loop
async def test_an_abandoned_add_in_chunks_closes_its_connection(server: Server, kind: Any) -> None:
    server.replies.put(_MANY_ADDED)
    engine = kind(server.url, access_key="k")
    chunks = engine.queue("q").add_in_chunks(_TWO_REQUESTS)
    await _first(chunks)
    await _close(chunks)
    assert engine._caller.pool._used == set()
    server.replies.put(_EMPTY)
    assert await asyncio.to_thread(server.gone.get, timeout=PATIENCE) == 0
    await _close(engine)


@BOTH
@in_loop
async def test_a_request_that_can_not_be_written_leaves_no_connection_behind(server: Server, kind: Any) -> None:
    engine = kind(server.url, access_key="k")
    with pytest.raises(ValueError, match="header"):
        await _first(engine.queue("q").events(after="a\r\nb: c"))
    assert engine._caller.pool._used == set()
    await _close(engine)


def _stream(text: str) -> bytes:
    """An answer with events, after which the connection is closed."""
    return f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


@BOTH
@in_loop
async def test_a_stream_cut_before_its_first_event_is_resumed_after_its_start_id(server: Server, kind: Any) -> None:
    server.replies.put(_stream(":\n\nid: a-7\n\n"))
    server.replies.put(_stream('id: a-8\nevent: job\ndata: {"uid":"u","before":null,"state":"queued","at":1.5}\n\n'))
    engine = kind(server.url, access_key="k")
    assert (await _first(engine.queue("q").events())).uid == "u"
    requests = [server.requests.get(timeout=PATIENCE)[1] for _ in range(2)]
    assert [b"Last-Event-ID: a-7\r\n" in request for request in requests] == [False, True]
    await _close(engine)


@BOTH
@in_loop
async def test_a_stream_cut_before_it_has_sent_an_id_may_have_lost_events(server: Server, kind: Any) -> None:
    for _ in range(2):
        server.replies.put(_stream(":\n\n"))
    engine = kind(server.url, access_key="k")
    with pytest.raises(EventsLost):
        await _first(engine.queue("q").events())
    await _close(engine)


def test_a_thread_that_holds_the_pool_lock_can_drop_a_connection(server: Server) -> None:
    server.replies.put(_MANY_ADDED)
    engine = _engine(server)
    pool, chunks = engine._caller.pool, engine.queue("q").add_in_chunks(_TWO_REQUESTS)
    next(chunks)

    def collect() -> None:
        """Close a generator as the garbage collector does when nobody uses it any more."""
        with pool._lock:
            chunks.close()

    collecting = threading.Thread(target=collect, daemon=True)
    collecting.start()
    collecting.join(PATIENCE)
    assert pool._used == set()
    engine.close()


@in_loop
async def test_a_cancelled_claim_releases_the_jobs_in_an_answer_already_on_its_way(server: Server) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jobengine.client._async.transport._RESCUE", PATIENCE)
        async with AsyncJobEngine(server.url, access_key="k") as engine:
            claim = asyncio.create_task(engine.queue("q").claim(wait=20))
            await asyncio.to_thread(server.next)
            claim.cancel()
            await asyncio.sleep(0)
            server.replies.put(_CLAIMED)
            server.replies.put(_UPDATED)
            with pytest.raises(asyncio.CancelledError):
                await claim
    assert '"new_status":"queued","lease":"secret"' in (await asyncio.to_thread(server.next))[1]


@in_loop
async def test_a_cancelled_claim_closes_its_connection(server: Server) -> None:
    async with AsyncJobEngine(server.url, access_key="k") as engine:
        claim = asyncio.create_task(engine.queue("q").claim(wait=20))
        await asyncio.to_thread(server.next)
        claim.cancel()
        with pytest.raises(asyncio.CancelledError):
            await claim
    server.replies.put(b"x" * 10)
    server.replies.put(b"x" * 10)
    assert await asyncio.to_thread(server.gone.get, timeout=PATIENCE) == 0


@in_loop
async def test_one_event_loop_makes_at_most_100_connections(server: Server) -> None:
    async with AsyncJobEngine(server.url, access_key="k") as engine:
        for _ in range(300):
            server.replies.put(_EMPTY)
        await asyncio.gather(*[engine.test() for _ in range(300)])
    assert len({server.next()[0] for _ in range(300)}) <= 100
