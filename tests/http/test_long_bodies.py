"""The server accepts or refuses a long body before it arrives; a body in small chunks delays no other request."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.doubles import ByHand, MemoryServer, Stepped
from tests.http.connection import Connection, request
from tests.schema import check_answer

MIB = 1 << 20
JSON = "Content-Type: application/json"
PATH = "/api/v1/jobs"


def _head(query: str, key: str = "key", *, method: str = "PUT", length: int = 2 * MIB) -> bytes:
    return request(method, PATH + query, JSON, f"X-Access-Key: {key}", f"Content-Length: {length}")


def _refused(connection: Connection) -> tuple[int, bytes]:
    answer = connection.refusal("PUT", PATH)
    return answer.status, answer.body


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_long_body_with_a_wrong_key_is_refused_before_any_of_it_is_read(server: MemoryServer, method: str) -> None:
    connection = Connection(server).send(_head("?queueName=q", "wrong", method=method))
    assert _refused(connection)[0] == 401
    for _ in range(20):
        connection.send(b"x" * 65536)
        assert all(sent.content is None for sent in connection.channel.requests)
    assert len(connection.answers) == 1


def test_a_long_body_for_a_missing_queue_is_refused_before_any_of_it_is_read(server: MemoryServer) -> None:
    assert _refused(Connection(server).send(_head("?queueName=other", "wrong")))[0] == 404


def test_a_long_body_without_a_key_is_refused_before_any_of_it_is_read(server: MemoryServer) -> None:
    sent = request("PUT", PATH + "?queueName=q", JSON, f"Content-Length: {2 * MIB}")
    assert _refused(Connection(server).send(sent))[0] == 400


@pytest.mark.parametrize("query", ["", "?", "?queueName=", "?queue=q", "?xqueueName=q"])
def test_a_long_body_whose_query_names_no_queue_is_refused_with_advice(server: MemoryServer, query: str) -> None:
    status, body = _refused(Connection(server).send(_head(query)))
    assert status == 413
    assert b"?queue_name=" in body


def test_a_chunked_body_without_a_right_key_is_refused_when_it_becomes_long(server: MemoryServer) -> None:
    connection = Connection(server)
    sent = request("PUT", PATH + "?queueName=q", JSON, "X-Access-Key: wrong", "Transfer-Encoding: chunked")
    connection.send(sent)
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    for _ in range(16):
        connection.send(piece)
        assert connection.sent == b""
    connection.send(piece)
    assert _refused(connection)[0] == 401


def test_a_long_body_with_the_right_key_is_accepted(server: MemoryServer) -> None:
    body = b'{"queue_name":"q","jobs":[%b]}' % b",".join([b'{"content":{"a":"%b"}}' % (b"x" * 60_000)] * 30)
    connection = Connection(server)
    connection.send(_head("?queueName=q", length=len(body)))
    for at in range(0, len(body), 65536):
        connection.send(body[at : at + 65536])
    for _ in range(10):
        server.pump()
    (answer,) = connection.answers
    check_answer("PUT", PATH, answer.status, answer.headers, answer.body)
    assert answer.status == 201


def test_a_body_that_names_another_queue_than_the_query_gets_400(server: MemoryServer) -> None:
    put = {"name": "other", "access_key": "key"}
    assert server.call("PUT", "/api/v1/queue", body=put, key=None).status == 201
    for name, status in (("q", 201), ("other", 400)):
        body = {"queue_name": "q", "jobs": [{"content": {}}]}
        assert server.call("PUT", PATH, query={"queueName": name}, body=body).status == status
    body = {"queue_name": "q", "updates": [{"uid": "x", "new_status": "failed"}]}
    assert server.call("POST", PATH, query={"queueName": "other"}, body=body).status == 400


def test_a_long_body_completed_during_its_key_check_gets_one_answer(
    start: Callable[..., MemoryServer], stepped: Stepped
) -> None:
    server = start(engine_parts={"thread": stepped})
    # A write is under way, and the check of the key waits for it.
    Connection(server).send(
        request("PUT", "/api/v1/job", JSON, "X-Access-Key: key", body=b'{"queue_name":"q","job":{"content":{}}}')
    )
    connection = Connection(server).send(_head("?queueName=none", length=MIB + 1) + b" " * (MIB + 1))
    while stepped.waiting:
        stepped.step()
        server.pump()
    assert [answer.status for answer in connection.answers] == [404]


def test_wrong_keys_sent_with_long_bodies_count_towards_the_throttle(server: MemoryServer) -> None:
    statuses = [_refused(Connection(server).send(_head("?queueName=q", "wrong")))[0] for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2


# In small parts


class _Turns:
    """The calls that a connection plans for the next turns of the reactor, made one by one."""

    def __init__(self, connection: Connection) -> None:
        self.planned: list[Callable[[], None]] = []
        connection.channel.callLater = self._call_later

    def _call_later(self, seconds: float, call: Callable[[], None]) -> None:
        assert seconds == 0
        self.planned.append(call)

    def next(self) -> None:
        (call,), self.planned = self.planned, []
        call()


def test_requests_that_arrive_together_are_started_one_per_reactor_turn(server: MemoryServer) -> None:
    connection = Connection(server)
    turns = _Turns(connection)
    connection.channel.dataReceived(request("GET", "/test") * 50)
    for done in range(1, 50):
        assert len(connection.answers) == done
        turns.next()
    assert len(connection.answers) == 50
    assert turns.planned == []


def test_a_body_of_many_chunks_is_parsed_in_limited_portions_per_turn(start: Any) -> None:
    turns = ByHand()
    connection = Connection(start(turns=lambda _clock: turns))
    connection.send(request("PUT", "/api/v1/job", JSON, "X-Access-Key: key", "Transfer-Encoding: chunked"))
    body = b'{"queue_name":"q","job":{"content":{"a":"%b"}}}' % (b"x" * 8_000)
    data = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n" + request("GET", "/test")
    connection.channel.dataReceived(data)
    held = 0
    for _ in range(len(data) // 8192):
        size = len(connection.channel.requests[0].body())
        assert 0 < size - held <= 8192 // 6 + 1
        held = size
        turns.go()
    connection.server.pump()
    assert [answer.status for answer in connection.answers] == [201, 200]


@pytest.mark.parametrize("size", [10_000, 100_000])
def test_each_turn_reads_a_part_of_only_one_of_many_long_bodies(start: Any, size: int) -> None:
    turns = ByHand()
    server = start(turns=lambda _clock: turns)
    body = b'{"queue_name":"q","job":{"content":{"a":"%b"}}}' % (b"x" * size)
    sent = request("PUT", "/api/v1/job", JSON, "X-Access-Key: key", body=body)
    connections = [Connection(server).send(sent) for _ in range(5)]
    assert len(turns.waiting) == 5
    while turns.waiting:
        before = [*turns.waiting]
        turns.go()
        server.pump()
        # The request read in this turn is now the last in the queue, or complete.
        assert turns.waiting[:4] == before[1:5]
    assert [answer.status for connection in connections for answer in connection.answers] == [201] * 5
