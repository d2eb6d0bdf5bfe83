"""A client that has closed its sending side gets its answers, but its long poll counts as disconnected."""

import gc
import weakref
from collections.abc import Callable

import pytest
from twisted.internet.interfaces import IHalfCloseableProtocol

from tests.doubles import MemoryServer, Stepped
from tests.http.connection import Connection, request

KEY = "X-Access-Key: key"
PUT = request(
    "PUT",
    "/api/v1/job",
    "Content-Type: application/json",
    KEY,
    body=b'{"queue_name":"q","job":{"content":{}}}',
)


def _close(connection: Connection) -> Connection:
    IHalfCloseableProtocol(connection.channel).readConnectionLost()
    connection.server.pump()
    return connection


def _step(server: MemoryServer, stepped: Stepped) -> None:
    stepped.step()
    server.pump()


@pytest.mark.parametrize("count", [1, 3])
def test_every_request_of_a_half_closed_client_is_answered_before_the_close(
    start: Callable[..., MemoryServer], stepped: Stepped, count: int
) -> None:
    server = start(engine_parts={"thread": stepped})
    connection = _close(Connection(server).send(PUT * count))
    for done in range(count):
        assert (len(connection.answers), connection.open) == (done, True)
        _step(server, stepped)
    assert [answer.status for answer in connection.answers] == [201] * count
    assert not connection.open


@pytest.mark.parametrize("begun", [b"", b"GET /te", PUT[:-5], PUT[:-60]])
def test_an_incomplete_request_of_a_half_closed_client_is_closed_at_once(server: MemoryServer, begun: bytes) -> None:
    connection = Connection(server).send(request("GET", "/test")).send(begun)
    assert not _close(connection).open
    assert len(connection.answers) == 1


def test_half_closing_during_the_second_request_answers_the_first_and_drops_the_second(
    start: Callable[..., MemoryServer], stepped: Stepped
) -> None:
    server = start(engine_parts={"thread": stepped})
    connection = _close(Connection(server).send(PUT + b"GET /te"))
    _step(server, stepped)
    assert [answer.status for answer in connection.answers] == [201]
    assert not connection.open


@pytest.mark.parametrize(
    "sent",
    [
        request("GET", "/api/v1/job/next?queueName=q&markQueued=true&wait=30", KEY),
        request(
            "POST",
            "/api/v1/job/next",
            "Content-Type: application/json",
            KEY,
            body=b'{"queue_names":["q"],"wait":30}',
        ),
        request("GET", "/api/v1/events?queueName=q", KEY),
    ],
    ids=["get", "post", "events"],
)
def test_a_client_that_half_closes_during_a_long_poll_counts_as_disconnected(server: MemoryServer, sent: bytes) -> None:
    connection = Connection(server).send(sent)
    assert connection.open
    _close(connection)
    assert not connection.open
    Connection(server).send(PUT)
    shown = server.call("GET", "/api/v1/job/next", query={"queueName": "q"})
    assert (shown.status, shown.json["state"]) == (200, "queued")


def test_a_half_closed_connection_is_no_longer_read(start: Callable[..., MemoryServer], stepped: Stepped) -> None:
    server = start(engine_parts={"thread": stepped})
    connection = Connection(server).send(PUT + PUT)
    _close(connection)
    connection.transport.producerState = "ended"  # a value that is replaced if the server reads on
    _step(server, stepped)
    assert len(connection.answers) == 1
    connection.channel.resumeProducing()
    assert connection.open


def test_the_connection_of_a_refused_client_is_closed_when_the_client_half_closes(server: MemoryServer) -> None:
    connection = Connection(server).send(b"nonsense\r\n")
    assert connection.open
    assert not _close(connection).open
    assert connection.answers[0].status == 400


@pytest.mark.parametrize("sent", [b"GET /te", PUT[:-5], PUT], ids=["half a head", "half a body", "a whole request"])
def test_a_lost_connection_is_freed_without_the_garbage_collector(server: MemoryServer, sent: bytes) -> None:
    gc.collect()
    gc.disable()
    try:
        connection = Connection(server).send(sent)
        channel = weakref.ref(connection.channel)
        connection.go()
        # Unlike a real transport, this one keeps references to its connection.
        connection.transport.__dict__.clear()
        connection.channel = None
        assert channel() is None
    finally:
        gc.enable()
