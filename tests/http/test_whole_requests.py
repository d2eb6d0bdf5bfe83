"""A request in one piece bypasses Twisted's parser: bytes after it must be neither lost nor reordered."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.doubles import MemoryServer, Stepped
from tests.http.connection import Connection, request


def _put(number: int, length: int = 0) -> bytes:
    body = b'{"queue_name":"q","job":{"content":{"n":%d,"x":"%s"}}}' % (number, b"x" * length)
    return request("PUT", "/api/v1/job", "X-Access-Key: key", "Content-Type: application/json", body=body)


@pytest.fixture
def connection(start: Callable[..., MemoryServer], stepped: Stepped) -> Connection:
    """A connection with a request that arrived in one piece and is under way until `stepped` makes a step."""
    server = start(engine_parts={"thread": stepped})
    return Connection(server).send(request("GET", "/test")).send(_put(0))


def _numbers(connection: Connection) -> list[bytes]:
    """The numbers of the added jobs, in the order of the answers."""
    first, *others = connection.answers
    assert [first.status, *(answer.status for answer in others)] == [200, *[201] * len(others)]
    return [answer.body.partition(b'"n":')[2][:1] for answer in others]


def _step(connection: Connection, stepped: Stepped) -> None:
    stepped.step()
    connection.server.pump()


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_pipelined_requests_sent_in_pieces_are_answered_in_order(
    connection: Connection, stepped: Stepped, size: int
) -> None:
    sent = _put(1) + _put(2) + _put(3)
    for at in range(0, len(sent), size):
        connection.send(sent[at : at + size])
    for done in range(4):
        assert _numbers(connection) == [b"%d" % number for number in range(done)]
        _step(connection, stepped)
    assert _numbers(connection) == [b"0", b"1", b"2", b"3"]
    assert connection.open


def test_an_incomplete_pipelined_request_is_refused_ten_seconds_after_its_first_byte(
    connection: Connection, stepped: Stepped
) -> None:
    connection.send(b"GET /te").wait(100)
    _step(connection, stepped)
    assert _numbers(connection.wait(9)) == [b"0"]
    assert [answer.status for answer in connection.wait(2).answers] == [200, 201, 408]


def test_after_16_kib_of_pipelined_requests_reading_pauses_until_the_next_answer(
    connection: Connection, stepped: Stepped
) -> None:
    transport: Any = connection.transport
    connection.send(_put(1, 16 << 10)[: 16 << 10])
    assert transport.producerState == "producing"
    connection.send(_put(1, 16 << 10)[16 << 10 :])
    assert transport.producerState == "paused"
    _step(connection, stepped)
    assert transport.producerState == "producing"
    _step(connection, stepped)
    assert _numbers(connection) == [b"0", b"1"]


def test_bytes_after_the_last_request_of_a_connection_are_ignored(
    start: Callable[..., MemoryServer], stepped: Stepped
) -> None:
    server = start(engine_parts={"thread": stepped})
    connection = Connection(server).send(request("GET", "/test"))
    connection.send(_put(0).replace(b"Host:", b"Connection: close\r\nHost:"))
    connection.send(_put(1))
    _step(connection, stepped)
    assert _numbers(connection) == [b"0"]
    assert not connection.open
    assert stepped.waiting == []


def test_pipelined_requests_are_dropped_when_the_client_disconnects(connection: Connection, stepped: Stepped) -> None:
    connection.send(_put(1))
    connection.go()
    _step(connection, stepped)
    assert stepped.waiting == []
    assert connection.server.site.channels == set()
