"""Every call of the first API version: status, fields, and the order of its checks."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.doubles import MemoryServer
from tests.http.connection import Connection, request
from tests.schema import check_answer
from tests.web.asking import add, claim, peek, read, update, v1

UID = "00000000-0000-0000-0000-00000000dead"
#: The calls that take a queue's key, as a request that is well-formed: method, path, query, body.
KEYED: list[tuple[str, str, dict[str, str] | None, Any]] = [
    ("GET", "/api/v1/queue", {"name": "q"}, None),
    ("DELETE", "/api/v1/queue", {"name": "q"}, None),
    ("PUT", "/api/v1/job", None, {"queue_name": "q", "job": {"content": {}}}),
    ("GET", "/api/v1/job", {"queueName": "q", "jobUID": UID}, None),
    ("GET", "/api/v1/job/next", {"queueName": "q"}, None),
    ("GET", "/api/v1/job/next", {"queueName": "q", "markQueued": "true"}, None),
    ("POST", "/api/v1/job", None, {"queue_name": "q", "uid": UID, "new_status": "complete"}),
    ("DELETE", "/api/v1/job", {"queueName": "q", "jobUID": UID}, None),
]
#: The methods of each path.
METHODS = {
    "/test": "GET, HEAD",
    "/api/v1/queue": "DELETE, GET, HEAD, POST, PUT",
    "/api/v1/job": "DELETE, GET, HEAD, POST, PUT",
    "/api/v1/job/next": "GET, HEAD, POST",
    "/healthz": "GET, HEAD",
    "/openapi.json": "GET, HEAD",
    "/readyz": "GET, HEAD",
    "/metrics": "GET, HEAD",
}
keyed = pytest.mark.parametrize(("method", "path", "query", "body"), KEYED)


def _in_queue(name: str, query: dict[str, str] | None, body: Any) -> dict[str, Any]:
    """The same request for another queue."""
    if body is not None:
        return {"body": {**body, "queue_name": name}}
    assert query is not None
    return {"query": {key: name if key in ("name", "queueName") else value for key, value in query.items()}}


def test_the_test_call_returns_200_with_an_empty_body(server: MemoryServer) -> None:
    answer = server.call("GET", "/test", key=None)
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    "body",
    [
        *[{}, {"name": "n"}, {"access_key": "k"}, {"name": "", "access_key": "k"}, {"name": "n", "access_key": ""}],
        *[{"name": None, "access_key": "k"}, {"name": 1, "access_key": "k"}, {"name": "n", "access_key": ["k"]}],
        *[{"name": "n" * 257, "access_key": "k"}, {"name": "n", "access_key": "k" * 1025}],
        *[{"name": "n", "access_key": " k"}, {"name": "n", "access_key": "k "}, {"name": "n", "access_key": "k\n"}],
        *[{"name": "n", "access_key": "a\nb"}, {"name": "n", "access_key": "a\u0000b"}],
        *[{"name": "n", "access_key": "\u007f"}, [], "n"],
    ],
)
def test_a_queue_with_a_bad_name_or_key_is_refused(server: MemoryServer, body: Any) -> None:
    assert server.call("PUT", "/api/v1/queue", body=body, key=None).status == 400


@pytest.mark.parametrize("name", ["n" * 256, "a/b?c&d=e#f", "\u00fc \U0001f600", "..", "\u0000", " "])
@pytest.mark.parametrize("key", ["k" * 1024, "a b", "~!@"])
def test_a_queue_may_have_any_name_and_a_key_that_a_header_carries(server: MemoryServer, name: str, key: str) -> None:
    assert server.call("PUT", "/api/v1/queue", body={"name": name, "access_key": key}, key=None).status == 201
    shown = server.call("GET", "/api/v1/queue", query={"name": name}, key=key)
    assert (shown.status, shown.json) == (200, {"name": name, "jobs": [], "size": 0})


def test_the_answer_to_an_add_has_the_job_with_all_defaults(server: MemoryServer) -> None:
    answer = server.call("PUT", "/api/v1/job", body={"queue_name": "q", "job": {"content": {"a": 1}}})
    now = int(server.clock.seconds())
    uid = answer.json.pop("uid") if answer.status == 201 else ""
    assert uid
    assert v1(answer.json) == {
        "uid": uid,
        "priority": 0,
        "keep_minutes": 60,
        "timeout_minutes": 10,
        "created": now,
        "last_updated": now,
        "timeout_time": 0,
        "content": {"a": 1},
        "state": "queued",
    }


@pytest.mark.parametrize("value", ["true", "TRUE", "True", "tRuE"])
def test_mark_queued_is_accepted_in_upper_or_lower_case(server: MemoryServer, value: str) -> None:
    uid = add(server)["uid"]
    answer = server.call("GET", "/api/v1/job/next", query={"queueName": "q", "markQueued": value})
    assert (answer.status, answer.json["uid"], answer.json["state"]) == (200, uid, "inprogress")
    assert claim(server).status == 204


@pytest.mark.parametrize("query", [{}, {"markQueued": "false"}, {"markQueued": "FALSE"}, {"markQueued": "fAlse"}])
def test_a_peek_changes_nothing(server: MemoryServer, query: dict[str, str]) -> None:
    added = add(server)
    server.clock.advance(5)
    answer = server.call("GET", "/api/v1/job/next", query={"queueName": "q", **query})
    assert (answer.status, answer.json) == (200, added)
    assert read(server, added["uid"]).json == added


@pytest.mark.parametrize("value", ["", "1", "yes", "true ", "truefalse"])
def test_mark_queued_refuses_any_value_but_true_and_false(server: MemoryServer, value: str) -> None:
    add(server)
    assert server.call("GET", f"/api/v1/job/next?queueName=q&markQueued={value}").status == 400
    assert claim(server).status == 200


def test_a_head_request_never_claims(server: MemoryServer) -> None:
    add(server)
    answer = server.call("HEAD", "/api/v1/job/next", query={"queueName": "q", "markQueued": "true"})
    assert (answer.status, answer.body) == (200, b"")
    assert peek(server).json["state"] == "queued"


@pytest.mark.parametrize("state", ["queued", "inprogress", "complete", "failed"])
@pytest.mark.parametrize("spell", [str.lower, str.upper, str.title])
def test_new_status_is_accepted_in_upper_or_lower_case(
    server: MemoryServer, state: str, spell: Callable[[str], str]
) -> None:
    uid = add(server)["uid"]
    answer = update(server, uid, spell(state))
    assert (answer.status, answer.body) == (200, b"")
    assert read(server, uid).json["state"] == state


@pytest.mark.parametrize(
    ("prefer", "is_shown"),
    [
        ("return=representation", True),
        ('respond-async, Return = "representation"; x=1', True),
        ("return=minimal", False),
        ("wait=3", False),
        ("noreturn=representation", False),
    ],
)
def test_an_update_with_only_version_1_fields_returns_the_job_if_the_prefer_header_requests_it(
    server: MemoryServer, prefer: str, is_shown: bool
) -> None:
    uid = add(server)["uid"]
    body = {"queue_name": "q", "uid": uid, "new_status": "complete"}
    answer = server.call("POST", "/api/v1/job", body=body, headers={"Prefer": prefer})
    assert answer.status == 200
    assert (answer.body == read(server, uid).body) is is_shown
    assert bool(answer.body) is is_shown


@keyed
@pytest.mark.parametrize("sent", [[], [""], ["key", "key"], ["key", "wrong"], ["", "key"]])
def test_a_request_with_no_key_or_two_keys_gets_400_even_if_the_queue_is_missing(
    server: MemoryServer, method: str, path: str, query: Any, body: Any, sent: list[str]
) -> None:
    headers = {"X-Access-Key": sent} if sent else {}
    for name in ("q", "none"):
        asked = _in_queue(name, query, body)
        assert server.call(method, path, **asked, key=None, headers=headers).status == 400


@keyed
def test_a_missing_or_repeated_parameter_gets_400_whatever_the_key(
    server: MemoryServer, method: str, path: str, query: Any, body: Any
) -> None:
    for key in ("key", "wrong"):
        for name in set(query or {}) - {"markQueued"}:
            rest = [f"{other}={value}" for other, value in query.items() if other != name]
            for instead in ([], [f"{name}="], [f"{name}=q", f"{name}=q"], [f"{name}=%ff"], [f"{name.upper()}=q"]):
                assert server.call(method, f"{path}?{'&'.join(rest + instead)}", key=key).status == 400


@keyed
def test_a_field_that_is_missing_or_not_text_gets_400_whatever_the_key(
    server: MemoryServer, method: str, path: str, query: Any, body: Any
) -> None:
    for name in body or {}:
        rest = {other: value for other, value in body.items() if other != name}
        for bad in (rest, {**rest, name: None}, {**rest, name: ""}, {**rest, name: 1}):
            assert server.call(method, path, body=bad, key="wrong").status == 400


BODIES = [("PUT", "/api/v1/queue"), ("PUT", "/api/v1/job"), ("POST", "/api/v1/job")]


def _good_body(server: MemoryServer, method: str, path: str) -> tuple[Any, int]:
    """A valid body for the call, and the status of its answer."""
    if path == "/api/v1/queue":
        return {"name": "other", "access_key": "k"}, 201
    if method == "PUT":
        return {"queue_name": "q", "job": {"content": {}}}, 201
    return {"queue_name": "q", "uid": add(server)["uid"], "new_status": "failed"}, 200


@pytest.mark.parametrize(("method", "path"), BODIES)
@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "application/json ; charset=utf-8",
        "Application/JSON",
    ],
)
def test_json_with_a_charset_is_accepted(server: MemoryServer, method: str, path: str, kind: str) -> None:
    body, status = _good_body(server, method, path)
    assert server.call(method, path, body=body, headers={"Content-Type": kind}).status == status


@pytest.mark.parametrize(("method", "path"), BODIES)
@pytest.mark.parametrize(
    "kind",
    [
        *["text/plain", "application/jsonx", "application/problem+json", "application/x-www-form-urlencoded"],
        *["multipart/form-data", "multipart/form-data; boundary=x", "json", ";", ""],
    ],
)
def test_a_content_type_other_than_json_is_refused(server: MemoryServer, method: str, path: str, kind: str) -> None:
    body, _ = _good_body(server, method, path)
    answer = server.call(method, path, body=body, headers={"Content-Type": kind})
    assert (answer.status, "Content-Type" in answer.json["detail"]) == (400, True)


@pytest.mark.parametrize(("path", "allowed"), METHODS.items())
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_a_method_that_a_path_does_not_support_gets_405_with_the_supported_methods(
    server: MemoryServer, method: str, path: str, allowed: str
) -> None:
    if method not in allowed.split(", "):
        answer = server.call(method, path)
        assert (answer.status, answer.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize(
    "path",
    ["/", "/api", "/api/v1", "/api/v1/", "/api/v1/jobs/", "/api/v1/queue/", "/API/v1/queue", "/test/x", "/api/v2/job"],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH"])
def test_an_unknown_path_gets_404_with_every_method(server: MemoryServer, method: str, path: str) -> None:
    assert server.call(method, path).status == 404


def test_every_error_is_a_problem_document_with_the_same_text_in_detail_and_error(server: MemoryServer) -> None:
    answers = [
        server.call("GET", "/none"),
        server.call("PATCH", "/test"),
        server.call("GET", "/api/v1/queue"),
        server.call("GET", "/api/v1/queue", query={"name": "none"}),
        server.call("GET", "/api/v1/queue", query={"name": "q"}, key="wrong"),
        server.call("PUT", "/api/v1/queue", body={"name": "q", "access_key": "k"}),
        server.call("PUT", "/api/v1/job", raw=b"{"),
    ]
    assert [answer.status for answer in answers] == [404, 405, 400, 404, 401, 409, 400]
    for answer in answers:
        problem = answer.json
        assert list(problem) == ["type", "title", "status", "detail", "error"]
        assert problem["status"] == answer.status
        assert problem["error"] == problem["detail"]
        assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["get", "head", "delete", "Delete", "put", "post"])
def test_a_method_in_lower_or_mixed_case_gets_405_and_does_nothing(server: MemoryServer, method: str) -> None:
    uid = add(server)["uid"]
    for target in (f"/api/v1/job?queueName=q&jobUID={uid}", "/api/v1/job/next?queueName=q&markQueued=true"):
        (answer,) = Connection(server).send(request(method, target, "X-Access-Key: key")).answers
        check_answer("BREW", target.partition("?")[0], answer.status, answer.headers, answer.body)
        assert answer.status == 405
        assert "GET" in answer.headers["allow"]
    assert read(server, uid).json["state"] == "queued"


@pytest.mark.parametrize("prefix", ["http://x", "http://x:6006", "HTTPS://[::1]:6006", "http://user@x"])
def test_a_request_target_with_scheme_and_host_works_like_a_path(server: MemoryServer, prefix: str) -> None:
    uid = add(server)["uid"]
    target = f"{prefix}/api/v1/job?queueName=q&jobUID={uid}"
    (answer,) = Connection(server).send(request("GET", target, "X-Access-Key: key")).answers
    assert (answer.status, uid.encode() in answer.body) == (200, True)
    for rest in ("", "?x"):
        assert Connection(server).send(request("GET", prefix + rest)).answers[0].status == 404
