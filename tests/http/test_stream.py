"""Lists of jobs that are too long to be sent in one piece."""

import json
import socket
from collections.abc import Iterator
from select import select
from typing import Any

import pytest
from twisted.internet import unix
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.logger import LogEvent
from twisted.python.failure import Failure

from jobengine.core.commands import AddJobs, DeleteJob, DeleteQueue, NewJob
from jobengine.core.model import Defaults
from jobengine.http import channel
from tests.doubles import MemoryServer
from tests.http.connection import Connection, parse, request
from tests.schema import check_answer
from tests.web.asking import listed

LIST = request("GET", "/api/v1/queue?name=q", "X-Access-Key: key")


def _add(server: MemoryServer, *priorities: int) -> list[str]:
    """Add jobs that are numbered by their contents; returns their uids."""
    jobs = tuple(NewJob(priority=priority, content=b'{"n":%d}' % number) for number, priority in enumerate(priorities))
    command = AddJobs(queue="q", access_key=b"key", jobs=jobs, defaults=Defaults())
    return [added.job.spec.uid for added in _done(server, server.engine.ask(command))]


def _fill(server: MemoryServer, count: int) -> list[str]:
    """Add this many jobs of one priority; returns their uids."""
    return _add(server, *[0] * count) if count else []


def _delete(server: MemoryServer, uid: str) -> None:
    _done(server, server.engine.ask(DeleteJob(queue="q", access_key=b"key", uid=uid)))


def _done(server: MemoryServer, verb: Any) -> Any:
    results: list[Any] = []
    Deferred.fromCoroutine(verb).addBoth(results.append)
    while not results:
        server.clock.advance(0)
    return results[0]


def _begin(server: MemoryServer) -> Connection:
    """A client that has received the beginning of the list and has stopped reading."""
    connection = Connection(server)
    write = connection.channel.writeSequence

    def write_first(data: Any) -> None:
        connection.channel.writeSequence = write
        write(data)
        connection.channel.pauseProducing()

    connection.channel.writeSequence = write_first
    connection.channel.dataReceived(LIST)
    server.pump()
    return connection


def _end(connection: Connection) -> Any:
    """The list, after the client has read all of it."""
    connection.channel.resumeProducing()
    connection.server.pump()
    (answer,) = connection.answers
    check_answer("GET", "/api/v1/queue", answer.status, answer.headers, answer.body)
    return json.loads(answer.body)


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 1000, 1001])
def test_a_streamed_list_of_any_length_is_complete(server: MemoryServer, count: int) -> None:
    uids = _fill(server, count)
    shown = listed(server)
    assert shown["size"] == count
    assert [job["uid"] for job in shown["jobs"]] == uids
    assert [job["content"]["n"] for job in shown["jobs"]] == list(range(count))


def test_other_requests_are_answered_between_the_parts_of_a_list(server: MemoryServer) -> None:
    _fill(server, 1600)
    connection, other = Connection(server), Connection(server)
    connection.channel.dataReceived(LIST)
    other.channel.dataReceived(request("GET", "/test"))
    assert len(other.answers) == 1
    assert not connection.sent.endswith(b"0\r\n\r\n")
    server.pump()
    assert len(connection.answers) == 1


def test_a_list_is_written_no_faster_than_the_client_reads(server: MemoryServer) -> None:
    _fill(server, 2600)
    connection = _begin(server)
    server.pump()
    held = len(connection.sent)
    server.pump()
    assert len(connection.sent) == held
    assert held < 2600 * 200 / 2
    assert _end(connection)["size"] == 2600


def test_a_streamed_list_stays_valid_json_if_the_jobs_not_yet_sent_are_deleted(server: MemoryServer) -> None:
    uids = _fill(server, 1600)
    connection = _begin(server)
    server.pump()
    for uid in uids[1000:]:
        _delete(server, uid)
    # The server had read two parts before the deletion; the next part is empty.
    assert _end(connection)["size"] == 1000


def test_deleting_a_queue_while_it_is_listed_breaks_the_connection(
    server: MemoryServer, events: list[LogEvent]
) -> None:
    _fill(server, 1600)
    connection = _begin(server)
    _done(server, server.engine.ask(DeleteQueue(queue="q", access_key=b"key")))
    connection.channel.resumeProducing()
    server.pump()
    assert not connection.open
    assert not connection.sent.endswith(b"0\r\n\r\n")
    assert not [event for event in events if "log_failure" in event]


@pytest.mark.parametrize("waits", [True, False], ids=["behind with reading", "reading"])
def test_a_client_that_disconnects_during_a_list_leaves_no_timer_and_no_open_scan(
    server: MemoryServer, events: list[LogEvent], waits: bool
) -> None:
    _fill(server, 1600)
    server.pump()
    before = len(server.clock.getDelayedCalls())
    connection = _begin(server)
    if waits:
        server.pump()
    else:
        connection.channel.resumeProducing()
    connection.go()
    sent = connection.sent
    server.pump()
    assert connection.sent == sent
    assert len(server.clock.getDelayedCalls()) == before
    assert not [event for event in events if "log_failure" in event]
    assert listed(server)["size"] == 1600


class _Untaken:
    """Replaces the system's count of the bytes that the client has not read."""

    def __init__(self, connection: Connection) -> None:
        self.bytes: int | None = 0
        connection.channel.unsent = lambda: None if self.bytes is None else (self.bytes, 0)


def test_a_client_that_reads_slowly_but_steadily_is_kept(server: MemoryServer) -> None:
    _fill(server, 1600)
    connection = _begin(server)
    unsent = _Untaken(connection)
    for number in range(100):
        unsent.bytes = 100 - number
        connection.wait(29)
    assert connection.open
    assert _end(connection)["size"] == 1600


@pytest.mark.parametrize("known", [None, 7])
def test_a_client_that_reads_nothing_for_thirty_seconds_is_cut_off(server: MemoryServer, known: int | None) -> None:
    _fill(server, 1600)
    connection = _begin(server)
    unsent = _Untaken(connection)
    unsent.bytes = known
    server.pump()
    assert connection.wait(29).open
    # The unread bytes are checked every 30 seconds; the first check has no earlier number to compare.
    for _ in range(2):
        connection.wait(31)
        server.pump()
    assert not connection.open


class _OverUnixSocket:
    """A client that reads from one end of a Unix socket; the reactor in memory writes to the other end."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        self._reactor: Any = server.site.reactor
        self._client, accepted = socket.socketpair()
        self._client.settimeout(2)
        accepted.setblocking(False)
        channel = server.site.buildProtocol(UNIXAddress(None))
        self._transport = unix.Server(accepted, channel, "", None, 0, self._reactor)
        channel.makeConnection(self._transport)
        channel.dataReceived(LIST)
        server.pump()

    def write(self) -> None:
        """Let the server write as long as it has data and the socket has room."""
        while self._transport in self._reactor.getWriters() and select([], [self._transport], [], 0)[1]:
            self._transport.doWrite()
            self._server.pump()

    def wait(self, seconds: float) -> bool:
        """Let time pass; returns whether the connection is still open."""
        self._reactor.advance(seconds)
        self._server.clock.advance(seconds)
        self._server.pump()
        return bool(self._transport.connected)

    def read(self, size: int) -> bytes:
        return self._client.recv(size)

    def close(self) -> None:
        self._client.close()
        if self._transport.connected:
            self._transport.connectionLost(Failure(ConnectionDone()))


@pytest.fixture
def over_unix_socket(server: MemoryServer) -> Iterator[_OverUnixSocket]:
    """A client that has requested a list of 2 MB and has read nothing yet."""
    jobs = [{"content": {"text": "x" * 1000}}] * 1600
    assert server.call("PUT", "/api/v1/jobs?queueName=q", body={"queue_name": "q", "jobs": jobs}).status == 201
    connection = _OverUnixSocket(server)
    connection.write()
    yield connection
    connection.close()


def test_a_client_that_reads_a_little_from_a_unix_socket_is_kept(over_unix_socket: _OverUnixSocket) -> None:
    answer = b""
    while not answer.endswith(b"0\r\n\r\n"):
        answer += over_unix_socket.read(50_000)
        over_unix_socket.write()
        assert over_unix_socket.wait(29)
    (shown,) = parse(answer)
    assert json.loads(shown.body)["size"] == 1600


def test_a_client_that_reads_nothing_from_a_unix_socket_is_cut_off(over_unix_socket: _OverUnixSocket) -> None:
    assert over_unix_socket.wait(29)
    over_unix_socket.wait(2)
    assert not over_unix_socket.wait(30)


def test_a_connection_without_requests_stays_open_while_the_client_reads_the_last_answer(
    server: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Connection(server).send(request("GET", "/test"))
    unsent = _Untaken(connection)
    monkeypatch.setattr(channel, "is_all_sent", lambda _: False)
    for number in range(5):
        unsent.bytes = 5 - number
        assert connection.wait(60).open
    assert not connection.wait(60).open
