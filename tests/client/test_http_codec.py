"""Requests as bytes, and answers from bytes in any parts."""

import pytest

from jobengine.client.errors import BadSettings
from jobengine.client.http_codec import Address, Broken, Request, ResponseParser, long_body_query
from jobengine.client.secret import Secret

_ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\nX-Request-Id: r-1\r\nRetry-After: 7\r\n\r\nhello"
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"


def _request(**more: object) -> Request:
    return Request("PUT", "/x", seconds=1, safe=True, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", [_ANSWER, _CHUNKED], ids=["with a length", "in chunks"])
def test_an_answer_is_parsed_from_pieces_of_any_size(answer: bytes) -> None:
    for size in range(1, len(answer) + 1):
        parser = ResponseParser()
        for begin in range(0, len(answer), size):
            assert not parser.complete
            parser.feed(answer[begin : begin + size])
        assert (parser.complete, parser.reusable, parser.response().body) == (True, True, b"hello")


def test_the_headers_of_an_answer_are_read() -> None:
    parser = ResponseParser()
    parser.feed(_ANSWER)
    response = parser.response()
    assert (response.status, response.request_id, response.retry_after) == (201, "r-1", 7.0)


def test_answers_on_one_connection_are_read_in_order_and_interim_answers_are_skipped() -> None:
    parser = ResponseParser()
    for answer in (_ANSWER, _CHUNKED, _ANSWER):
        parser.expect()
        parser.feed(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert not parser.complete
        parser.feed(answer)
        assert parser.complete
        assert parser.response().body == b"hello"


@pytest.mark.parametrize("answer", [_ANSWER * 2, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"])
def test_a_connection_is_not_reused_after_excess_bytes_or_connection_close(answer: bytes) -> None:
    parser = ResponseParser()
    parser.feed(answer)
    assert (parser.complete, parser.reusable) == (True, False)


@pytest.mark.parametrize("answer", [_ANSWER, _CHUNKED], ids=["with a length", "in chunks"])
def test_an_answer_cut_at_any_byte_is_an_error(answer: bytes) -> None:
    for length in range(len(answer)):
        parser = ResponseParser()
        parser.feed(answer[:length])
        assert not parser.complete
        with pytest.raises(Broken):
            parser.end()


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    parser = ResponseParser()
    parser.feed(b"HTTP/1.0 502 Bad Gateway\r\n\r\nsorry")
    assert not parser.complete
    parser.end()
    assert (parser.response().status, parser.response().body) == (502, b"sorry")


def test_an_answer_that_is_not_http_breaks_the_connection() -> None:
    with pytest.raises(Broken, match="the answer is not HTTP"):
        ResponseParser().feed(b"SSH-2.0-OpenSSH\r\n")


def test_an_answer_in_tls_is_an_error_that_advises_https() -> None:
    with pytest.raises(Broken, match=r"^it speaks TLS; use https:// instead of http://$"):
        ResponseParser().feed(b"\x15\x03\x01\x00\x02\x02\x46")


def test_the_body_of_an_endless_answer_is_returned_in_parts() -> None:
    parser = ResponseParser()
    parser.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n")
    assert (parser.take(), parser.take()) == (b"hel", b"")
    parser.feed(b"2\r\nlo\r\n")
    assert parser.take() == b"lo"


def test_an_encoded_request_has_keys_query_and_body() -> None:
    request = _request(query={"name": "a b&c"}, body=b"{}", key=Secret("clé"), admin_key=Secret("root"))
    head, _, body = request.encode(Address("https://example.org:8443/jobs/")).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"PUT /jobs/x?name=a%20b%26c HTTP/1.1"
    assert b"Host: example.org:8443" in lines
    assert "X-Access-Key: clé".encode() in lines
    assert b"X-Admin-Key: root" in lines
    assert b"Content-Length: 2" in lines
    assert body == b"{}"


def test_a_header_value_with_a_line_end_is_not_sent() -> None:
    with pytest.raises(ValueError, match="Last-Event-ID"):
        _request(headers={"Last-Event-ID": "1\r\nX-Admin-Key: x"}).encode(Address("http://a"))


def test_a_request_without_a_body_has_no_content_headers() -> None:
    assert b"Content" not in _request().encode(Address("http://127.0.0.1"))


def test_a_path_in_the_server_url_is_percent_encoded_only_once() -> None:
    assert _request().encode(Address("http://a/my%20jobs/é/")).startswith(b"PUT /my%20jobs/%C3%A9/x HTTP/1.1\r\n")


def test_a_request_with_a_body_over_1_mib_names_its_queue_in_the_query() -> None:
    assert long_body_query("q", b"x" * (1 << 20)) is None
    assert long_body_query("q", b"x" * ((1 << 20) + 1)) == {"queueName": "q"}


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [("http://a", "a", 80), ("https://a", "a", 443), ("http://[::1]:6006", "::1", 6006), ("http://a:1/", "a", 1)],
)
def test_host_and_port_are_read_from_a_url(url: str, host: str, port: int) -> None:
    address = Address(url)
    assert (address.host, address.port) == (host, port)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6006",
        "ftp://a",
        "http://",
        "http://a:0",
        "http://a:99999",
        "http://a:x",
        "http://user:hunter2@a",
        "http://a?x=1",
        "http://a#x",
        "http://a/\r\nX: y",
        "http://a b",
        "http://é",
    ],
)
def test_an_unusable_url_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(BadSettings) as caught:
        Address(url)
    assert "hunter2" not in repr(caught.value)
