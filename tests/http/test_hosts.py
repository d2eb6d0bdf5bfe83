"""
The header Host: each request has one; without an admin key, a browser's Host must be a name that no stranger controls.
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobengine.http.hosts import Hosts
from jobengine.web.dashboard_files import read_dashboard
from tests.doubles import MemoryServer
from tests.http.connection import Connection, RawAnswer

PAGE = "Origin: http://evil.example"


def _ask(server: MemoryServer, *headers: str, path: str = "/healthz", method: str = "GET") -> RawAnswer:
    lines = [f"{method} {path} HTTP/1.1", *headers, "", ""]
    (answer,) = Connection(server).send("\r\n".join(lines).encode("latin-1")).answers
    return answer


@pytest.mark.parametrize(
    "host",
    [
        *["127.0.0.1", "127.0.0.1:6006", "192.0.2.7:80", "[::1]:6006", "[::1]", "[2001:DB8::7]", "localhost"],
        *["localhost:6006", "localhost:", "LOCALHOST:1", "localhost.", "localhost.:6006", "jobengine"],
        *["JobEngine:6006", "job_engine-1:6006"],
    ],
)
def test_a_browser_that_uses_an_ip_address_or_a_local_name_is_answered(server: MemoryServer, host: str) -> None:
    assert _ask(server, f"Host: {host}", PAGE).status == 200
    assert _ask(server, f"Host: {host}", "Sec-Fetch-Site: same-origin").status == 200


@pytest.mark.parametrize(
    "host",
    [
        *["evil.example", "evil.example:6006", "jobengine.test", "jobs.localhost", "evil.localhost.evil.example"],
        *["localhost.evil.example", "localhost..", "com.", "jobengine.", "127.0.0.1.evil.example", "127.0.0.1."],
        *["127.1", "127.0.0.01", "0x7f.0.0.1", "[evil.example]", "[127.0.0.1]", "[::1", "::1]", "::1"],
        *["[::1].evil.example", "[::1]evil", "localhost@evil.example", "localhost:6006@evil.example", "localhost:port"],
        *["localhost:6006:6006", "localhost, evil.example", "localhost evil", "localhost/", "-", "-a", "a" * 64, "."],
        *["", "\xe9", "jobs\xe9", "%6cocalhost"],
    ],
)
def test_the_refusal_of_a_browser_that_uses_an_unknown_host_name_names_the_setting(
    server: MemoryServer, host: str
) -> None:
    for header in (PAGE, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: none", "Origin: null"):
        answer = _ask(server, f"Host: {host}", header)
        assert (answer.status, answer.headers["content-type"]) == (403, "application/problem+json")
        assert b"ALLOWED_HOSTS" in answer.body
        assert b"ADMIN_KEY" in answer.body


def test_a_refused_host_is_shown_shortened_and_escaped(server: MemoryServer) -> None:
    body = _ask(server, "Host: " + "\x80a" * 500, PAGE).body
    assert len(body) < 1_500
    assert json.loads(body)["detail"].startswith(r"The server does not know the host name '\x80a\x80a")


@pytest.mark.parametrize("path", ["/", "/api/v1/queues", "/metrics", "/test", "/nowhere", "/openapi.json"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_every_path_and_method_is_refused_to_a_browser_that_uses_an_unknown_host_name(
    server: MemoryServer, path: str, method: str
) -> None:
    assert _ask(server, "Host: evil.example", PAGE, path=path, method=method).status == 403


def test_the_dashboard_is_refused_to_a_browser_that_uses_an_unknown_host_name(start: Any) -> None:
    server = start(others=read_dashboard().answers)
    assert _ask(server, "Host: localhost", "Sec-Fetch-Site: none", "Accept: text/html", path="/").status == 200
    assert _ask(server, "Host: evil.example", "Sec-Fetch-Site: none", "Accept: text/html", path="/").status == 403


def test_a_refused_browser_changes_nothing(server: MemoryServer) -> None:
    body = b'{"name":"stolen","access_key":"k"}'
    head = f"PUT /api/v1/queue HTTP/1.1\r\nHost: evil.example\r\n{PAGE}\r\nContent-Type: application/json\r\n"
    Connection(server).send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert server.call("GET", "/api/v1/queue?name=stolen", key="k").status == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "", "::1", "a b", "\xe9", "..", "a" * 300, "[::1", "x:99999", "a/b?c#d"]
)
def test_requests_that_are_not_from_a_browser_may_have_any_host_header(server: MemoryServer, host: str) -> None:
    assert _ask(server, f"Host: {host}").status == 200


@pytest.mark.parametrize("host", ["jobs.example.org", "JOBS.example.ORG:8443", "jobs.example.org.", "evil.example."])
def test_a_browser_that_uses_a_configured_host_name_is_answered(start: Any, host: str) -> None:
    server = start(allowed_hosts=frozenset({"jobs.example.org", "evil.example"}))
    assert _ask(server, f"Host: {host}", PAGE).status == 200
    assert _ask(server, f"Host: not.{host}", PAGE).status == 403


def test_the_setting_star_allows_any_host_name(start: Any) -> None:
    server = start(allowed_hosts=frozenset({"*"}))
    assert _ask(server, "Host: evil.example", PAGE).status == 200


def test_pages_of_a_configured_cors_origin_can_read_the_refusal_of_a_host(start: Any) -> None:
    server = start(cors_origins=frozenset({b"https://board.example"}))
    answer = _ask(server, "Host: jobs.example.org", "Origin: https://board.example")
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (403, "https://board.example")


def test_a_browser_that_sends_http_1_0_without_a_host_header_is_refused(server: MemoryServer) -> None:
    (answer,) = Connection(server).send(f"GET /test HTTP/1.0\r\n{PAGE}\r\n\r\n".encode()).answers
    assert answer.status == 403


@given(st.binary(max_size=20))
def test_a_host_name_with_a_dot_is_allowed_only_by_the_setting(garbage: bytes) -> None:
    request: Any = type("Request", (), {"sent": {b"host": [garbage + b"evil.example"], b"origin": [b"null"]}})
    assert Hosts().problem(request) is not None


# The number of Host headers


@pytest.mark.parametrize(
    ("headers", "version", "status"),
    [
        *[(["Host: a"], "HTTP/1.1", 200), (["hOST: a"], "HTTP/1.1", 200), (["Host:"], "HTTP/1.1", 200)],
        *[([], "HTTP/1.1", 400), (["Host: a", "Host: a"], "HTTP/1.1", 400)],
        *[(["Host: a", "X: b", "host: b"], "HTTP/1.1", 400), (["X-Host: a"], "HTTP/1.1", 400), ([], "HTTP/1.0", 200)],
        *[(["Host: a"], "HTTP/1.0", 200), (["Host: a", "Host: b"], "HTTP/1.0", 400)],
    ],
)
@pytest.mark.parametrize("target", ["/test", "http://jobengine.test/test"])
@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_request_needs_exactly_one_host_header_which_only_http_1_0_may_omit(
    server: MemoryServer, headers: list[str], version: str, status: int, target: str, in_pieces: bool
) -> None:
    connection = Connection(server)
    sent = "\r\n".join([f"GET {target} {version}", *headers, "", ""]).encode()
    for piece in (sent[:-3], sent[-3:]) if in_pieces else (sent,):
        connection.send(piece)
    (answer,) = connection.answers
    assert (answer.status, b"one Host header" in answer.body) == (status, status == 400)
