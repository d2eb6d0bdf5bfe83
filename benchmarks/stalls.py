"""
How long does one request delay all others? Run from the root: `python -m benchmarks.stalls`.

Clients with and without a key send the requests that take the daemon longest. Meanwhile another client sends a cheap
request, a ping, every millisecond. Each row has the longest time of a ping; in the first row there are no other
requests. The clients share one core, so the times include waiting for that core.
"""

import multiprocessing
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from statistics import median
from time import perf_counter, sleep

from attrs import frozen

from .calls import Connection, add_many, complete_many, connect, make_queue, request, uids_in
from .results import TIMES, Results, run_alone, say
from .servers import JobEngine
from .servers.jobengine import QUEUE

MIB = 1 << 20
#: Targets: the most milliseconds by which a client without a key, and any client, may delay others.
_STRANGER, _ANY = 20, 100
_PING = request("GET", "/test")
#: Seconds between pings, and seconds for which pings go on after the answer.
_PAUSE, _AFTER = 0.001, 0.1
_JOBS, _QUEUES, _READERS = 1_000_000, 10_000, 200


@frozen
class Call:
    """A request that may delay others."""

    name: str
    #: Returns the bytes to send on each connection; called for each measurement.
    sent: Callable[[], bytes]
    #: The longest allowed delay of other requests, in milliseconds.
    target: float = _ANY
    #: The number of connections that send these bytes at the same time.
    connections: int = 1
    #: Called before each sending.
    before: Callable[[], None] = lambda: None


def measure(results: Results) -> None:
    """Measure how long each call delays pings; adds a row for each call to `results`."""
    server = JobEngine(settings={"MAX_QUEUES": str(2 * _QUEUES)})
    with server.running():
        idle = [longest(server.port, b"") for _ in range(TIMES)]
        results.bound("longest stall, idle", idle, "ms", _STRANGER)
        for call in (*_strangers(), *_bulks(server)):
            _measure(results, server, call)
        with _readers(server.port):
            _measure(results, server, Call("adding 5,000 with 200 readers of events", lambda: add_many(QUEUE, 5_000)))
        for call in _large(server):
            _measure(results, server, call)


def _measure(results: Results, server: JobEngine, call: Call) -> None:
    stalls = []
    for _ in range(TIMES):
        call.before()
        stalls.append(longest(server.port, call.sent(), call.connections))
    say(f"{call.name}: {median(stalls):.1f} ms")
    results.bound(f"longest stall, {call.name}", stalls, "ms", call.target)


def longest(port: int, sent: bytes, connections: int = 1) -> float:
    """The milliseconds of the longest ping while the bytes are sent and answered."""
    sender = multiprocessing.get_context("fork").Process(target=_send, args=(port, sent, connections))
    pinger, longest = Connection(port), 0.0
    pinger.ask(_PING)
    sender.start()
    until = None
    while until is None or perf_counter() < until:
        began = perf_counter()
        pinger.ask(_PING)
        longest = max(longest, perf_counter() - began)
        if until is None and not sender.is_alive():
            until = perf_counter() + _AFTER
        sleep(_PAUSE)
    pinger.close()
    return longest * 1000


def _send(port: int, sent: bytes, connections: int) -> None:
    """Send the request, and read until the last answer has come, however late, or the connection is closed."""
    if not sent:
        sleep(1)
        return
    opened = [connect(port) for _ in range(connections)]
    # Send all but the last byte on every connection, and then the last bytes: so all requests are complete at once.
    for part in (sent[:-1], sent[-1:] + request("GET", "/the-end")):
        for connection in opened:
            with suppress(OSError):  # it may be refused while it is sent
                connection.sendall(part)
    for connection in opened:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bytes(16))
            while connection.recv(MIB):
                pass


# Without a key


def _put(path: str, body: bytes) -> bytes:
    return request("PUT", path, body).replace(b"X-Access-Key: key", b"X-Access-Key: wrong")


def _filled(unit: bytes, most: int, size: int = MIB) -> bytes:
    """A job whose content is a list of `most` units, filled up to `size` bytes by a string."""
    units = unit * min(most, (size - 200) // len(unit))
    return b'{"queue_name":"q","job":{"content":{"a":[%b"%b"]}}}' % (units, b"x" * (size - 200 - len(units)))


def _strangers() -> Iterator[Call]:
    objects = b'{"a":[%b{}],"b":"\\n"}' % (b"{}," * (16 * MIB // 3 - 20))
    bodies = {
        "16 MiB of objects": ("/api/v1/jobs", objects),
        "16 MiB of objects, queue named": (f"/api/v1/jobs?queueName={QUEUE}", objects),
        "1 MiB of objects in a bulk": ("/api/v1/jobs", b'{"queue_name":"q","jobs":[%b{}]}' % (b"{}," * 49_000)),
        "1 MiB of many jobs": ("/api/v1/jobs", b'{"queue_name":"q","jobs":[%b]}' % _many_jobs(10_000)),
        "1 MiB of objects": ("/api/v1/job", _filled(b"{},", 49_900)),
        "1 MiB of small objects with escapes": ("/api/v1/job", _filled(b'{"a":[{"b":"\\n"}]},', 24_000)),
        "1 MiB of long integers": ("/api/v1/job", _filled(b"-1234567890123456789,", 90_000)),
        "1 MiB of extreme numbers": ("/api/v1/job", _filled(b"1.7976931348623157e308,", 19_900)),
        "1 MiB of numbers half way": ("/api/v1/job", _filled(b"9007199254740993.0,", 90_000)),
        "1 MiB of escapes": ("/api/v1/job", _filled(b'"%b",' % (b'\\\\\\"' * 1000), 90_000)),
        "1 MiB of strings": ("/api/v1/job", _filled(b'"\\n",', 99_000)),
    }
    for name, (path, body) in bodies.items():
        # mypy infers no type for a lambda with defaults.
        yield Call(f"{name}, wrong key", lambda path=path, body=body: _put(path, body), _STRANGER)  # type: ignore[misc]
    integers = _put("/api/v1/job", _filled(b"-1234567890123456789,", 90_000))
    yield Call("1 MiB of long integers, wrong key, 100 at once", lambda: integers, _STRANGER, connections=100)
    head = b"PUT /api/v1/job HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    yield Call("1 MiB in chunks of a byte", lambda: head + b"1\r\n \r\n" * (MIB // 6), _STRANGER)
    yield Call("3,000 requests at once", lambda: b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n" * 3_000, _STRANGER)
    yield Call("a query of 8 KiB", lambda: request("GET", "/api/v1/jobs?" + "a&" * 3_900), _STRANGER)


def _many_jobs(number: int) -> bytes:
    return b",".join([b'{"content":{"n":%d,"text":"%b"}}' % (n, b"x" * 60) for n in range(number)])


# With a key


def _bulks(server: JobEngine) -> Iterator[Call]:
    added: list[bytes] = []

    def add() -> None:
        added[:] = uids_in(server.ask(add_many(QUEUE, 10_000)))

    values = b",".join([b'{"content":{"a":[%b0]}}' % (b"0," * 1_990)] * 480)
    most = b'{"queue_name":"%b","jobs":[%b]}' % (QUEUE.encode(), values)
    yield Call("adding 10,000", lambda: add_many(QUEUE, 10_000))
    yield Call("updating 10,000", lambda: complete_many(QUEUE, added), before=add)
    yield Call("adding jobs with 960,000 values", lambda: request("PUT", f"/api/v1/jobs?queueName={QUEUE}", most))


@contextmanager
def _readers(port: int) -> Iterator[None]:
    """Have many clients read events, in another process."""
    reader = multiprocessing.get_context("fork").Process(target=_read_events, args=(port,), daemon=True)
    reader.start()
    sleep(1)
    try:
        yield
    finally:
        reader.kill()
        reader.join()


def _read_events(port: int) -> None:
    import selectors

    with selectors.DefaultSelector() as selector:
        for _ in range(_READERS):
            connection = connect(port)
            connection.sendall(request("GET", f"/api/v1/events?queueName={QUEUE}"))
            selector.register(connection, selectors.EVENT_READ)
        while ready := selector.select():
            for key, _ in ready:
                key.fileobj.recv(MIB)  # type: ignore[union-attr]  # it is a socket


def _large(server: JobEngine) -> Sequence[Call]:
    return (
        Call(
            "a search through 100 MB",
            lambda: request("GET", "/api/v1/jobs?queueName=long&q=nowhere"),
            before=_once(lambda: _fill_long(server)),
        ),
        Call(
            "/metrics with 10,000 queues",
            lambda: request("GET", "/metrics"),
            before=_once(lambda: _make_queues(server)),
        ),
        Call(
            "deleting a queue of 1,000,000",
            lambda: request("DELETE", "/api/v1/queue?name=large"),
            before=lambda: _fill(server),
        ),
    )


def _once(call: Callable[[], None]) -> Callable[[], None]:
    """Wrap a call so that only the first use runs it."""
    rest = iter((call,))
    return lambda: next(rest, lambda: None)()


def _fill_long(server: JobEngine) -> None:
    server.ask(make_queue("long"))
    for _ in range(200):
        server.ask(add_many("long", 10, {"text": "The quick brown fox. " * 2_400}))


def _make_queues(server: JobEngine) -> None:
    connection = Connection(server.port)
    for number in range(_QUEUES):
        connection.ask(make_queue(f"queue-{number}"))
    connection.close()


def _fill(server: JobEngine) -> None:
    server.ask(make_queue("large"))
    for _ in range(_JOBS // 10_000):
        server.ask(add_many("large", 10_000))


if __name__ == "__main__":
    raise SystemExit(run_alone(measure))
