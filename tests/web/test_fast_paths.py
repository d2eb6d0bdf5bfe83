"""Requests to fixed paths bypass Klein, plain answers bypass Twisted's headers: the answers must not differ."""

from collections.abc import Callable
from typing import Any

from tests.doubles import MemoryServer
from tests.http.connection import Connection, RawAnswer, request

_KEY, _JSON = "X-Access-Key: key", "Content-Type: application/json"
_UID = "00000000-0000-4000-8000-000000000001"


def _call(method: str, target: str, body: bytes = b"", *headers: str) -> bytes:
    return request(method, target, _KEY, *headers, *([_JSON] if body else []), body=body)


_CALLS = [
    _call("GET", "/test"),
    _call("GET", "/healthz"),
    _call("PUT", "/api/v1/queue", b'{"name":"r","access_key":"key"}'),
    _call("PUT", "/api/v1/queue", b'{"name":"r","access_key":"key"}'),
    _call("PUT", "/api/v1/job", b'{"queue_name":"q","job":{"uid":"%b","content":{"n":1}}}' % _UID.encode()),
    _call("PUT", "/api/v1/job", b'{"queue_name":"q","job":{"content":[]}}'),
    _call("PUT", "/api/v1/job", b'{"queue_name":"q"', "X-Request-Id: mine"),
    _call("GET", f"/api/v1/job?queueName=q&jobUID={_UID}"),
    _call("GET", "/api/v1/job?queueName=q&jobUID=none"),
    _call("GET", "/api/v1/job?queueName=q&nonsense=1"),
    _call("GET", "/api/v1/job/next?queueName=q&markQueued=true"),
    _call("GET", "/api/v1/job/next?queueName=q&markQueued=true"),
    _call("POST", "/api/v1/job", b'{"queue_name":"q","uid":"%b","new_status":"complete"}' % _UID.encode()),
    _call("GET", "/api/v1/jobs?queueName=q&limit=1"),
    _call("GET", "/api/v1/queue?name=q"),
    request("GET", "/api/v1/queue?name=q", "X-Access-Key: wrong"),
    _call("DELETE", f"/api/v1/job?queueName=q&jobUID={_UID}"),
    _call("PATCH", "/api/v1/job"),
    _call("GET", "/nowhere"),
]


def _answers(server: MemoryServer) -> list[RawAnswer]:
    connection = Connection(server)
    for call in _CALLS:
        connection.send(call)
    return connection.answers


def _comparable(answer: RawAnswer, *its_own: str) -> tuple[int, dict[str, str], bytes]:
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", *its_own)}
    return answer.status, headers, answer.body


def test_every_call_has_the_same_answer_with_and_without_the_fast_paths(start: Callable[..., MemoryServer]) -> None:
    quick, plain = start(), start()
    site: Any = plain.site
    site.begin = lambda _request: False
    pairs = list(zip(_answers(quick), _answers(plain), strict=True))
    assert len(pairs) == len(_CALLS)
    for ours, theirs in pairs:
        own = "" if ours.headers["x-request-id"] == "mine" else "x-request-id"
        assert _comparable(ours, own) == _comparable(theirs, own)
    assert {ours.status for ours, _ in pairs} >= {200, 201, 204, 400, 401, 404, 405, 409}
