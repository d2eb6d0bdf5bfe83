"""Requests in one piece and in several are read by different parsers: the outcomes must be the same."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock, StringTransport

from jobengine.http.fast_head_parser import plain_head
from jobengine.http.site import JobSite
from tests.http.connection import request
from tests.http.outcomes import FIRST, LIMITS, Kept, outcome


def test_bytes_after_a_request_with_connection_close_are_ignored() -> None:
    """Over TLS a closing connection still delivers bytes that the client has sent."""
    kept = Kept()
    site = JobSite(kept, LIMITS, lambda *_: None, MemoryReactorClock())
    channel: Any = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    transport = StringTransport()
    channel.makeConnection(transport)
    channel.dataReceived(FIRST)
    channel.dataReceived(request("GET", "/last", "Connection: close"))
    channel.dataReceived(request("GET", "/behind"))
    assert [seen["line"][2] for seen in kept.requests] == [b"/first", b"/last"]


def test_the_repr_of_a_parsed_head_has_no_header_and_no_query() -> None:
    head = plain_head(b"GET /?key=canary HTTP/1.1\r\nHost: x\r\nX-Access-Key: canary\r\n\r\n", 400)
    assert head is not None
    assert "canary" not in repr(head)


METHODS = st.sampled_from([b"GET", b"PUT", b"POST", b"DELETE", b"HEAD", b"M-X!", b"get", b"", b"G T", b"\xff"])
TARGETS = st.sampled_from(
    [
        *[b"/", b"/test", b"/api/v1/jobs", b"/a?b=c&b=d&e", b"/%ff", b"/\xff", b"*", b"", b"http://x/", b"/a b"],
        *[b"//?", b"/\x00"],
    ]
)
VERSIONS = st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/1.2", b"http/1.1", b"HTTP/1.1 ", b""])
NAMES = st.one_of(
    st.sampled_from(
        [
            *[b"Host", b"x-access-KEY", b"X-A", b"x-a", b"Connection", b"Cookie", b"Expect", b"Upgrade"],
            b"Transfer-Encoding",
        ]
    ),
    st.sampled_from(
        [b"Content-Type", b"Content-Length", b"content-length", b" X", b"X ", b"", b"X\tY", b"\xff", b"Dnt", b"etag"]
    ),
)
VALUES = st.one_of(
    st.sampled_from(
        [b"", b" ", b" a", b"\ta \t", b"0", b"5", b" 5 ", b"+5", b"5,5", b"41", b"81", b"9" * 20, b"\xb2", b"close"]
    ),
    st.sampled_from(
        [b"keep-alive", b"Close, x", b"chunked", b"identity", b"100-continue", b"a=b; c", b"\xff", b"a\x00b", b"a\rb"]
    ),
    st.sampled_from(
        [
            *[b"a\nb", b"a:b", b"\x0b5", b"multipart/form-data; boundary=x", b"application/x-www-form-urlencoded"],
            b"a\r\n b",
        ]
    ),
)
MEANT = [b"Expect: 100-continue", b"Connection: close", b"Transfer-Encoding: chunked", b"Cookie: a=b", b"Upgrade: h2c"]
HEADER = st.sampled_from(MEANT) | st.tuples(NAMES, st.sampled_from([b":"] * 8 + [b"", b" :"]), VALUES).map(b"".join)
ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n", b"\r\n\r\n"])
BODIES = st.sampled_from([b"", b"", b"12345", b"x" * 40, b"x" * 41, b"x" * 80, b"5\r\nhello\r\n0\r\n\r\n", b"\r\n"])


LINES = st.sampled_from([b"GET /test HTTP/1.1"] * 5 + [b"PUT /api/v1/jobs HTTP/1.1"]) | st.tuples(
    METHODS, TARGETS, VERSIONS
).map(b" ".join)
USUAL = st.sampled_from([b"Host: x", b"X-A: 1", b"x-a:2", b"Connection: keep-alive", b"Content-Type: text/plain"])


@st.composite
def plain(draw: Any) -> bytes:
    """A usual request, possibly with one unusual header or an unusual first line."""
    body = draw(BODIES)
    headers = draw(st.lists(USUAL, max_size=8))
    if body or draw(st.booleans()):
        headers.append(b"Content-Length: %d" % len(body))
    headers += draw(st.lists(HEADER, max_size=1))
    return b"\r\n".join([draw(LINES), *draw(st.permutations(headers)), b"", b""]) + body


@st.composite
def odd(draw: Any) -> bytes:
    """Bytes that may be a request, or the beginning of one."""
    lines = [draw(LINES), *draw(st.lists(HEADER, max_size=9)), b""]
    return b"".join(line + draw(ENDS) for line in lines) + draw(BODIES)


@st.composite
def changed(draw: Any) -> bytes:
    """A usual request with bytes inserted, removed or changed."""
    data = draw(plain())
    for _ in range(draw(st.integers(1, 3))):
        at, length = draw(st.integers(0, len(data))), draw(st.integers(0, 2))
        data = (
            data[:at]
            + draw(st.sampled_from([b"", b"\r", b"\n", b"\r\n", b" ", b":", b"\x00", b"a"]))
            + data[at + length :]
        )
    return data


@pytest.mark.slow
@example(b"PUT / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n12345")
@example(b"PUT / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n123456")
@example(b"PUT / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
@example(b"PUT / HTTP/1.1\r\nContent-Length: +5\r\n\r\n12345")
@example(b"PUT / HTTP/1.1\r\nX: a\r\n Content-Length: 5\r\n\r\n12345")
@example(b"PUT / HTTP/1.1\r\nX: a\nContent-Length: 5\r\n\r\n12345")
@settings(deadline=None, max_examples=500)
@given(st.one_of(plain(), odd(), changed(), st.lists(plain(), min_size=2, max_size=3).map(b"".join)))
def test_a_request_sent_in_one_piece_has_the_same_outcome_as_sent_byte_by_byte(data: bytes) -> None:
    whole = outcome(data)
    assert whole == outcome(data[:1], data[1:])
    # Which bytes are discarded after a refusal depends on when they arrive.
    assert whole == outcome(*[data[at : at + 1] for at in range(len(data))]) or whole[-1].name == "REFUSED"


def test_the_fast_parser_parses_a_usual_request() -> None:
    body = b'{"queue_name":"q"}'
    sent = request("PUT", "/api/v1/job", "X-Access-Key: k", "Connection: keep-alive", "Accept: */*", body=body)
    head = plain_head(sent, 1000)
    assert head is not None
    assert (head.method, head.uri) == (b"PUT", b"/api/v1/job")
    assert (head.headers[b"content-length"], head.headers[b"x-access-key"]) == ([b"18"], [b"k"])
    assert head.count == 5
    assert (sent[head.end :], head.length) == (body, len(body))


@pytest.mark.parametrize("limit", [3, 40, 60])
def test_the_fast_parser_rejects_a_head_over_the_limit(limit: int) -> None:
    sent = request("GET", "/test", "X-A: " + "x" * 100)
    assert plain_head(sent, len(sent)) is not None
    assert plain_head(sent, len(sent) - 1) is None
    assert plain_head(sent, limit) is None
