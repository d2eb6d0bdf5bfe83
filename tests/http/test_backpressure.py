"""The server stops reading from a client that does not read its answers, or sends too much ahead of them."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.doubles import MemoryServer, Stepped
from tests.http.connection import Connection, request

TEST = request("GET", "/test")
BODY = b'{"queue_name":"q","job":{"content":{}}}'
PUT = request("PUT", "/api/v1/job", "X-Access-Key: key", "Content-Type: application/json", body=BODY)
MUCH = request("GET", "/test", "X: " + "x" * 4000) * 5


@pytest.fixture(params=["as a whole", "in pieces"])
def connection(start: Callable[..., MemoryServer], stepped: Stepped, request: pytest.FixtureRequest) -> Connection:
    """A connection on which a request is under way until `stepped` makes a step."""
    server = start(engine_parts={"thread": stepped})
    connection = Connection(server).send(TEST)
    for piece in [PUT] if request.param == "as a whole" else [PUT[:10], PUT[10:]]:
        connection.send(piece)
    return connection


def _state(connection: Connection) -> str:
    transport: Any = connection.transport
    return str(transport.producerState)


def test_the_server_resumes_reading_requests_when_the_client_reads_its_answers(
    connection: Connection, stepped: Stepped
) -> None:
    connection.channel.pauseProducing()
    assert _state(connection) == "paused"
    stepped.step()
    connection.server.pump()
    # The request is answered, but it is unknown whether the client reads the answer.
    assert _state(connection) == "paused"
    connection.channel.resumeProducing()
    assert _state(connection) == "producing"
    assert [answer.status for answer in connection.send(TEST).answers] == [200, 201, 200]


def test_no_further_request_is_started_for_a_client_that_reads_no_answers(
    connection: Connection, stepped: Stepped
) -> None:
    connection.send(PUT + PUT[:-3]).channel.pauseProducing()
    stepped.step()
    connection.server.pump()
    assert stepped.waiting == []
    # The requests that wait do not use up the client's time.
    connection.wait(50)
    connection.channel.resumeProducing()
    connection.server.pump()
    assert len(stepped.waiting) == 1
    # The counts of the queue, and behind them the job.
    for _ in range(2):
        stepped.step()
        connection.server.pump()
    connection.send(PUT[-3:] + TEST)
    stepped.step()
    connection.server.pump()
    assert [answer.status for answer in connection.answers] == [200, 201, 201, 201, 200]


def test_after_too_many_pipelined_bytes_the_server_reads_no_more_although_the_client_reads_answers(
    connection: Connection, stepped: Stepped
) -> None:
    for _ in range(3):
        connection.channel.pauseProducing()
        connection.channel.resumeProducing()
        assert _state(connection) == "producing"
    connection.send(MUCH)
    for _ in range(3):
        assert _state(connection) == "paused"
        connection.channel.pauseProducing()
        connection.channel.resumeProducing()
    assert _state(connection) == "paused"
    stepped.step()
    connection.server.pump()
    assert _state(connection) == "producing"
    assert [answer.status for answer in connection.answers] == [200, 201, *[200] * 5]
