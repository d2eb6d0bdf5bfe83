"""The limits of requests, each applied while the bytes arrive."""

import json
import tempfile
from collections.abc import Callable
from typing import Any

import pytest

from jobengine.http.limits import Limits
from tests.doubles import MemoryServer
from tests.http.connection import Connection, parse, request

MIB = 1 << 20
JSON = "Content-Type: application/json"
KEY = "X-Access-Key: key"


def _put_job(content: bytes, *headers: str) -> bytes:
    body = b'{"queue_name":"q","job":{"content":%s}}' % content
    return request("PUT", "/api/v1/job", JSON, KEY, *headers, body=body)


def _held(connection: Connection) -> int:
    """Bytes of bodies and buffers that the connection holds."""
    channel = connection.channel
    bodies = sum(len(sent.content.getvalue()) for sent in channel.requests if sent.content is not None)
    return bodies + sum(map(len, channel._dataBuffer)) + len(channel._buffer)


# The body's size


@pytest.mark.parametrize("length", [str(MIB + 1), str(10 << 30), "9" * 4000])
def test_a_body_with_a_content_length_over_the_limit_is_refused_unread(server: MemoryServer, length: str) -> None:
    head = request("PUT", "/api/v1/job", JSON, KEY, f"Content-Length: {length}", "Expect: 100-continue")
    connection = Connection(server).send(head)
    refusal = connection.refusal("PUT", "/api/v1/job")
    advice = "The body is longer than 1048576 bytes; send less at once, or keep the data elsewhere."
    assert (refusal.status, json.loads(refusal.body)["detail"]) == (413, advice)
    assert b"100 Continue" not in connection.sent


def test_a_content_length_of_too_many_digits_gets_400(server: MemoryServer) -> None:
    connection = Connection(server).send(request("PUT", "/api/v1/job", f"Content-Length: {'9' * 5000}"))
    assert connection.refusal("PUT", "/api/v1/job").status == 400


def test_a_body_within_the_limit_gets_100_continue(server: MemoryServer) -> None:
    whole = _put_job(b"{}", "Expect: 100-continue")
    head, body = whole.split(b"\r\n\r\n")
    connection = Connection(server).send(head + b"\r\n\r\n")
    assert connection.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.send(body)
    assert parse(connection.sent.partition(b"\r\n\r\n")[2])[0].status == 201


def test_a_body_of_exactly_the_limit_is_accepted_and_one_byte_more_is_refused(server: MemoryServer) -> None:
    rest = len(_put_job(b'{"a":""}').split(b"\r\n\r\n")[1])
    for more, status in ((0, 201), (1, 413)):
        connection = Connection(server).send(_put_job(b'{"a":"%s"}' % (b"x" * (MIB - rest + more))))
        assert [answer.status for answer in connection.answers] == [status]


def test_a_too_long_chunked_body_is_refused_while_it_arrives_and_the_rest_is_discarded(server: MemoryServer) -> None:
    connection = Connection(server)
    connection.send(request("PUT", "/api/v1/job", JSON, KEY, "Transfer-Encoding: chunked"))
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    for _ in range(16):
        connection.send(piece)
    assert connection.sent == b""
    connection.send(b"1\r\nx\r\n")
    assert connection.refusal("PUT", "/api/v1/job").status == 413
    for _ in range(100):
        connection.send(piece)
        assert _held(connection) <= MIB
    assert len(connection.answers) == 1


def test_one_huge_chunk_is_refused_without_being_kept_in_memory(server: MemoryServer) -> None:
    connection = Connection(server)
    connection.send(request("PUT", "/api/v1/job", JSON, KEY, "Transfer-Encoding: chunked") + b"280000000\r\n")
    for _ in range(40):
        connection.send(b"x" * 65536)
        assert _held(connection) <= MIB
    assert connection.refusal("PUT", "/api/v1/job").status == 413


def test_a_refused_client_has_two_seconds_to_read_the_answer(server: MemoryServer) -> None:
    connection = Connection(server).send(request("PUT", "/test", f"Content-Length: {MIB + 1}"))
    assert connection.transport.write_closed
    assert connection.wait(1.9).open
    assert not connection.wait(0.2).open
    assert not server.site.channels


def test_at_most_64_mib_of_a_refused_body_are_read(server: MemoryServer) -> None:
    connection = Connection(server).send(request("GET", "/test", "Content-Length: 1048577"))
    piece = b"x" * (1 << 20)
    for _ in range(64):
        connection.send(piece)
    assert connection.transport.producerState == "producing"
    connection.send(piece)
    assert connection.transport.producerState == "paused"
    assert not connection.wait(2.0).open


def test_a_large_body_is_never_put_in_a_file(server: MemoryServer, tmp_path: Any) -> None:
    kept, tempfile.tempdir = tempfile.tempdir, str(tmp_path / "nowhere")
    try:
        connection = Connection(server).send(_put_job(b'{"a":"%s"}' % (b"x" * 900_000)))
    finally:
        tempfile.tempdir = kept
    assert connection.answers[0].status == 201


# The head's size


def _headers(count: int) -> list[str]:
    # The header Host counts too.
    return [f"X-{number}: {number}" for number in range(count - 1)]


def test_64_headers_are_accepted_and_65_are_refused(server: MemoryServer) -> None:
    assert Connection(server).send(request("GET", "/test", *_headers(64))).answers[0].status == 200
    assert Connection(server).send(request("GET", "/test", *_headers(65))).refusal().status == 431


def test_8_kib_of_headers_are_accepted_and_one_byte_more_is_refused(server: MemoryServer) -> None:
    rest = len(request("GET", "/test", "X: "))
    for more, status in ((0, 200), (1, 431)):
        connection = Connection(server).send(request("GET", "/test", "X: " + "x" * (8192 - rest + more)))
        assert connection.answers[0].status == status


def test_many_headers_that_are_together_too_long_are_refused(server: MemoryServer) -> None:
    lines = [f"X-{number}: {'x' * 1000}" for number in range(9)]
    assert Connection(server).send(request("GET", "/test", *lines)).refusal().status == 431


@pytest.mark.parametrize("begun", [b"", b"GET /", b"GET /test HTTP/1.1\r\nX: "])
def test_an_endless_header_line_is_refused_while_it_arrives(server: MemoryServer, begun: bytes) -> None:
    connection = Connection(server).send(begun)
    for _ in range(40):
        connection.send(b"x" * 500)
        assert _held(connection) <= 8192 + 500
    assert connection.refusal().status == 431


def test_folded_header_lines_count_towards_the_header_limit(server: MemoryServer) -> None:
    connection = Connection(server).send(b"GET /test HTTP/1.1\r\nX: a\r\n" + b" x\r\n" * 100)
    assert connection.refusal().status == 431


# Time


def test_slowly_sent_headers_are_cut_off_after_ten_seconds(server: MemoryServer) -> None:
    connection = Connection(server)
    for byte in b"GET /test":
        connection.send(bytes([byte])).wait(1)
    assert connection.sent == b""
    connection.send(b" ").wait(1)
    assert connection.refusal().status == 408


def test_a_silent_client_is_cut_off_after_ten_seconds(server: MemoryServer) -> None:
    connection = Connection(server).wait(9.9)
    assert connection.sent == b""
    assert connection.wait(0.2).refusal().status == 408


def test_a_slowly_sent_body_is_cut_off_after_thirty_seconds(server: MemoryServer) -> None:
    connection = Connection(server).send(request("PUT", "/api/v1/job", JSON, KEY, "Content-Length: 100"))
    for _ in range(29):
        connection.send(b" ").wait(1)
    assert connection.sent == b""
    connection.send(b" ").wait(1)
    assert connection.refusal("PUT", "/api/v1/job").status == 408


def test_the_time_limit_of_the_body_starts_after_the_headers(server: MemoryServer) -> None:
    head, body = _put_job(b"{}").split(b"\r\n\r\n")
    connection = Connection(server).send(head).wait(9).send(b"\r\n\r\n").wait(29).send(body)
    assert connection.answers[0].status == 201


def test_a_connection_in_use_is_kept_and_an_idle_one_is_closed_after_a_minute(server: MemoryServer) -> None:
    connection = Connection(server)
    for _ in range(3):
        connection.send(request("GET", "/test")).wait(59)
    assert [answer.status for answer in connection.answers] == [200] * 3
    assert connection.open
    assert not connection.wait(2).open


def test_the_ten_seconds_for_headers_restart_with_each_request(server: MemoryServer) -> None:
    connection = Connection(server).send(request("GET", "/test")).wait(50)
    for byte in b"GET /test":
        connection.send(bytes([byte])).wait(1)
    assert len(connection.answers) == 1
    connection.send(b" ").wait(1)
    assert [answer.status for answer in connection.answers] == [200, 408]


def test_the_ten_seconds_of_a_pipelined_request_start_at_its_first_byte(server: MemoryServer) -> None:
    connection = Connection(server).send(b"GET /te").wait(8).send(b"st HTTP/1.1\r\nHost: x\r\n\r\nGET /te")
    assert [answer.status for answer in connection.wait(9.9).answers] == [200]
    assert [answer.status for answer in connection.wait(0.2).answers] == [200, 408]


def test_the_time_limits_of_requests_do_not_apply_to_answers(start: Callable[..., MemoryServer], stepped: Any) -> None:
    server = start(engine_parts={"thread": stepped})
    connection = Connection(server).send(_put_job(b"{}")).wait(600)
    assert connection.sent == b""
    stepped.step()
    server.pump()
    assert connection.answers[0].status == 201
    assert connection.open


# Keep-alive and pipelining


def test_an_empty_line_before_a_request_is_ignored(server: MemoryServer) -> None:
    # Some old clients end a body with an empty line that the Content-Length does not count (RFC 9112, 2.2).
    absolute = b"\r\n" + request("GET", "http://x/test")
    assert [answer.status for answer in Connection(server).send(absolute * 2).answers] == [200, 200]
    assert Connection(server).send(b"\r\n" + request("GET", "/test", *_headers(64))).answers[0].status == 200
    head = request("PUT", "/api/v1/jobs?queueName=q", JSON, KEY, f"Content-Length: {2 * MIB}")
    assert Connection(server).send(b"\r\n" + head).sent == b""


def test_a_second_empty_line_before_a_request_gets_400(server: MemoryServer) -> None:
    assert Connection(server).send(b"\r\n\r\n").refusal().status == 400


def test_the_size_limits_apply_to_each_request_separately(server: MemoryServer) -> None:
    long = request("GET", "/test", "X: " + "x" * 8000)
    assert [answer.status for answer in Connection(server).send(long * 5).answers] == [200] * 5


def test_connection_close_or_http_1_0_closes_the_connection_after_the_answer(server: MemoryServer) -> None:
    for sent in (request("GET", "/test", "Connection: close"), request("GET", "/test", version="HTTP/1.0")):
        connection = Connection(server).send(sent)
        assert [answer.status for answer in connection.answers] == [200]
        assert not connection.open


# Invalid requests


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
        b"GET /test HTTP/9.9\r\n\r\n",
        b"GET  /test HTTP/1.1\r\n\r\n",
        b"GET /te\nst HTTP/1.1\r\n\r\n",
        b"GET /test HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /test HTTP/1.1\r\nbad name: x\r\n\r\n",
        b"GET /test HTTP/1.1\r\nX: a\x00b\r\n\r\n",
        b"GET /test HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /test HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /test HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /test HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"PUT /test HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnot hexadecimal\r\n",
        b"\xff\xfe /test HTTP/1.1\r\n\r\n",
    ],
)
def test_an_invalid_request_gets_a_400_problem_and_its_connection_is_closed(server: MemoryServer, data: bytes) -> None:
    assert Connection(server).send(data).refusal().status == 400


@pytest.mark.parametrize("path", [b"/%ff", b"/test%c3", b"/\xff", b"/api/v1/queue/%ed%a0%80"])
def test_a_path_that_is_not_utf_8_gets_400(server: MemoryServer, path: bytes) -> None:
    connection = Connection(server).send(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
    assert [answer.status for answer in connection.answers] == [400]
    assert connection.answers[0].headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "line", [b"CONNECT x:1", b"OPTIONS *", b"GET http://x/test", b"GET //", b"GET /?%", b"M-X! /test"]
)
def test_an_unusual_request_line_is_never_answered_with_a_5xx(server: MemoryServer, line: bytes) -> None:
    connection = Connection(server).send(line + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [answer.status < 500 for answer in connection.answers] == [True]


@pytest.mark.parametrize("before", [b"", request("GET", "/test")])
@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "without TLS; begin the address with http://."),
        (b"\x16", "without TLS; begin the address with http://."),
        (b"\x00\x01", "not an HTTP/1.1 request."),
    ],
)
def test_bytes_that_can_not_start_a_request_are_refused_at_once(
    server: MemoryServer, before: bytes, data: bytes, detail: str
) -> None:
    refusal = Connection(server).send(before).send(data).answers[-1]
    assert refusal.status == 400
    assert detail in refusal.body.decode()


def test_a_body_may_start_with_any_byte(server: MemoryServer) -> None:
    head = request("PUT", "/api/v1/job", JSON, KEY, "Content-Length: 3")
    (answer,) = Connection(server).send(head).send(b"\x16\x03\x01").answers
    assert (answer.status, b"JSON" in answer.body) == (400, True)


def test_a_form_is_refused_by_its_content_type_without_parsing(server: MemoryServer) -> None:
    for kind in ("multipart/form-data", "multipart/form-data; boundary=\xff", "application/x-www-form-urlencoded"):
        sent = request("POST", "/api/v1/job", f"Content-Type: {kind}", KEY, body=b"queue_name=q")
        (answer,) = Connection(server).send(sent).answers
        assert answer.status == 400
        assert b"Content-Type" in answer.body


# The number of connections


def _close_all(server: MemoryServer) -> None:
    for channel in list(server.site.channels):
        channel.loseConnection()


def test_a_connection_beyond_the_limit_gets_an_error_and_is_closed(start: Callable[..., MemoryServer]) -> None:
    server = start(limits=Limits(connections=3))
    _close_all(server)
    first, *others = [Connection(server) for _ in range(3)]
    answer = Connection(server).refusal()
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert all(other.open for other in others)
    first.go()
    assert Connection(server).send(request("GET", "/test")).answers[0].status == 200


def test_closed_connections_of_refused_clients_do_not_count_towards_the_limit(
    start: Callable[..., MemoryServer],
) -> None:
    server = start(limits=Limits(connections=1))
    _close_all(server)
    for _ in range(3):
        connection = Connection(server).send(b"nonsense\r\n")
        assert connection.refusal().status == 400
        connection.wait(3)


# Draining


def test_draining_closes_idle_connections_and_waits_for_requests_in_progress(
    start: Callable[..., MemoryServer], stepped: Any
) -> None:
    server = start(engine_parts={"thread": stepped})
    _close_all(server)
    fresh, used, busy = Connection(server), Connection(server), Connection(server)
    used.send(request("GET", "/test"))
    busy.send(_put_job(b"{}"))
    drained: list[Any] = []
    server.site.drain().addCallback(drained.append)
    assert [fresh.open, used.open, busy.open] == [False, False, True]
    assert not drained
    stepped.step()
    server.pump()
    assert busy.answers[0].status == 201
    assert not busy.open
    assert drained == [None]


def test_draining_a_site_without_connections_ends_at_once(server: MemoryServer) -> None:
    _close_all(server)
    assert server.site.drain().called
