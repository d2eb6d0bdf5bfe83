"""The headers by which browsers let a page of another origin use the API, or do not."""

from collections.abc import Callable

import pytest

from tests.doubles import MemoryServer
from tests.http.connection import Connection, RawAnswer, head_of, request

ORIGIN = "https://board.example"


def _ask(
    server: MemoryServer, method: str, origin: str | None, path: str = "/api/v1/queue?name=q", *more: str
) -> RawAnswer:
    headers = [f"Origin: {origin}"] if origin else []
    (answer,) = Connection(server).send(request(method, path, "X-Access-Key: key", *headers, *more)).answers
    return answer


def _preflight(server: MemoryServer, origin: str) -> RawAnswer:
    return _ask(server, "OPTIONS", origin, "/api/v1/jobs", "Access-Control-Request-Method: PUT")


def test_by_default_no_page_of_another_origin_may_use_the_api(server: MemoryServer) -> None:
    for answer in (_ask(server, "GET", ORIGIN), _preflight(server, ORIGIN)):
        assert not [name for name in answer.headers if name.startswith("access-control") or name == "vary"]
    assert _preflight(server, ORIGIN).status == 405


@pytest.mark.parametrize("origins", [{ORIGIN.encode()}, {b"*"}])
def test_a_page_of_a_configured_origin_may_use_the_api(start: Callable[..., MemoryServer], origins: set[bytes]) -> None:
    server = start(cors_origins=frozenset(origins))
    asked = _preflight(server, ORIGIN)
    assert (asked.status, asked.headers["access-control-allow-origin"]) == (204, ORIGIN)
    assert "PUT" in asked.headers["access-control-allow-methods"]
    assert "X-Access-Key" in asked.headers["access-control-allow-headers"]
    for method, path, status in (
        ("GET", "/api/v1/queue?name=q", 200),
        ("HEAD", "/api/v1/queue?name=q", 200),
        ("GET", "/api/v1/queue?name=other", 404),
        ("GET", "/nowhere", 404),
        ("OPTIONS", "/test", 405),
    ):
        answer = _ask(server, method, ORIGIN, path) if method != "HEAD" else _head(server, path)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, ORIGIN)
        assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
        assert answer.headers["vary"] == "Origin"


def _head(server: MemoryServer, path: str) -> RawAnswer:
    """The answer to HEAD, which has a length and no body."""
    connection = Connection(server).send(request("HEAD", path, "X-Access-Key: key", f"Origin: {ORIGIN}"))
    answer = head_of(connection.sent)
    assert int(answer.headers["content-length"]) > 0
    return answer


def test_pages_of_other_origins_may_not_use_the_api(start: Callable[..., MemoryServer]) -> None:
    server = start(cors_origins=frozenset({ORIGIN.encode()}))
    for origin in ("https://other.example", "http://board.example", "null", None):
        answer = _ask(server, "GET", origin)
        assert (answer.status, answer.headers["vary"]) == (200, "Origin")
        assert "access-control-allow-origin" not in answer.headers
    assert _preflight(server, "https://other.example").status == 405


def test_a_preflight_request_changes_nothing(start: Callable[..., MemoryServer]) -> None:
    server = start(cors_origins=frozenset({b"*"}))
    asked = _ask(server, "OPTIONS", ORIGIN, "/api/v1/queue?name=q", "Access-Control-Request-Method: DELETE")
    assert asked.status == 204
    assert _ask(server, "GET", None).status == 200
