"""api_schema.yml itself, and the checker that compares answers with it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate
from twisted.web.resource import Resource
from yaml import YAMLError

from jobengine.web.api import Api
from tests.doubles import MemoryServer
from tests.schema import check_answer, operations, read_yaml, resolve, schema, validator

_HEADERS = {"X-Request-Id": "0123abcd-1", "Cache-Control": "no-store", "Content-Type": "application/json"}
_JOB = {
    "uid": "00000000-0000-0000-0000-000000000001",
    "priority": 0,
    "keep_minutes": 60,
    "timeout_minutes": 10,
    "created": 1,
    "last_updated": 1,
    "timeout_time": 0,
    "content": {"any": {"thing": [1]}},
    "state": "queued",
    "timeout_seconds": 600,
}
_PROBLEM = {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "gone", "error": "gone"}


def _without(value: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: held for key, held in value.items() if key != name}


def test_the_schema_is_valid_openapi() -> None:
    validate(schema())
    assert schema()["openapi"].startswith("3.1")


def test_the_schema_documents_exactly_the_existing_routes() -> None:
    routed = {
        (method, rule.rule)
        for rule in Api._app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS")
    }
    assert {(method, path) for method, path, _ in operations()} == routed


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a: 1\na: 2", id="a key twice"),
        pytest.param("a: {b: {c: 1, c: 1}}", id="further in"),
        pytest.param("'409': {}\n'404': {}\n'409': {}", id="the same value twice"),
        pytest.param("a: &b {c: 1}\nd: 2", id="an anchor"),
        pytest.param("a: &b 1\nc: *b", id="an alias"),
    ],
)
def test_the_schema_reader_refuses_yaml_that_other_readers_can_not_read(text: str) -> None:
    with pytest.raises(YAMLError):
        read_yaml(text)


def _examples(node: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Place, schema and value of every example."""
    if isinstance(node, dict):
        named = node.get("examples", {}) if "schema" in node else {}
        yield from ((f"{where}/{name}", node["schema"], resolve(example)["value"]) for name, example in named.items())
        if "schema" in node and "example" in node:
            yield where, node["schema"], node["example"]
        for key, value in node.items():
            yield from _examples(value, f"{where}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _examples(value, f"{where}/{index}")


def test_every_example_matches_its_schema() -> None:
    for where, fragment, value in _examples(schema()):
        assert [(where, error.message) for error in validator(fragment, closed=True).iter_errors(value)] == []


def _content(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        if "content" in node and "schema" not in node and isinstance(node["content"], dict):
            yield from (kind for kind in node["content"].values() if isinstance(kind, dict) and "schema" in kind)
        for value in node.values():
            yield from _content(value)


def test_every_body_and_parameter_has_an_example() -> None:
    document = schema()
    bodies = [*_content(document["paths"]), *_content(document["components"]["responses"])]
    assert len(bodies) > 20
    assert all(body.get("examples") for body in bodies)
    assert all(parameter.get("examples") for parameter in document["components"]["parameters"].values())


def test_the_answer_checker_accepts_answers_that_match_the_schema() -> None:
    check_answer("GET", "/api/v1/job?queueName=q", 200, _HEADERS, json.dumps(_JOB).encode())
    check_answer("HEAD", "/api/v1/job", 200, _HEADERS, b"")
    check_answer("DELETE", "/api/v1/job", 204, _HEADERS, b"")
    check_answer("GET", "/no/such/path", 404, _HEADERS | _problem(), json.dumps(_PROBLEM).encode())


def _problem() -> dict[str, str]:
    return {"Content-Type": "application/problem+json"}


@pytest.mark.parametrize(
    ("method", "path", "status", "headers", "body"),
    [
        pytest.param("GET", "/api/v1/job", 200, _HEADERS, {**_JOB, "priority": "0"}, id="a field of another type"),
        pytest.param("GET", "/api/v1/job", 200, _HEADERS, {**_JOB, "priority": 1 << 63}, id="a number out of bounds"),
        pytest.param("GET", "/api/v1/job", 200, _HEADERS, {**_JOB, "uid": "1"}, id="a uid that is no UUID"),
        pytest.param("GET", "/api/v1/job", 200, _HEADERS, {**_JOB, "state": "QUEUED"}, id="a state that is none"),
        pytest.param("GET", "/api/v1/job", 200, _HEADERS, {**_JOB, "content": []}, id="content that is no object"),
        pytest.param("GET", "/api/v1/job", 200, _HEADERS, {**_JOB, "lease": "x"}, id="a field nobody documented"),
        pytest.param("GET", "/api/v1/job", 200, _HEADERS, _without(_JOB, "state"), id="a field missing"),
        pytest.param(
            "GET", "/api/v1/queue", 200, _HEADERS, {"name": "q", "size": 1, "jobs": [{}]}, id="a fault further in"
        ),
        pytest.param("GET", "/api/v1/job", 202, _HEADERS, _JOB, id="another status"),
        pytest.param("GET", "/api/v1/job", 200, _HEADERS | {"Content-Type": "text/html"}, _JOB, id="another type"),
        pytest.param("GET", "/api/v1/job", 200, _without(_HEADERS, "Content-Type"), _JOB, id="no content type"),
        pytest.param("GET", "/api/v1/job", 200, _without(_HEADERS, "X-Request-Id"), _JOB, id="a header missing"),
        pytest.param("GET", "/api/v1/job", 200, _HEADERS | {"X-Request-Id": "?"}, _JOB, id="a header of another form"),
        pytest.param("PUT", "/api/v1/queue", 201, _HEADERS, _JOB, id="a body where none is documented"),
        pytest.param(
            "GET", "/api/v1/job/next", 200, _HEADERS, {**_JOB, "queue_name": "q"}, id="a field of a kin of the answer"
        ),
        pytest.param("HEAD", "/api/v1/job", 200, _HEADERS, _JOB, id="a body after HEAD"),
        pytest.param("GET", "/api/v1/job", 404, _HEADERS, _PROBLEM, id="a problem as plain JSON"),
        pytest.param(
            "GET", "/api/v1/job", 404, _HEADERS | _problem(), _without(_PROBLEM, "error"), id="a problem without error"
        ),
        pytest.param(
            "GET", "/api/v1/job", 401, _HEADERS | _problem(), {**_PROBLEM, "status": 401}, id="a 401 without a scheme"
        ),
        pytest.param("GET", "/api/v1/job", 400, _HEADERS | _problem(), _PROBLEM, id="a problem of another status"),
        pytest.param("GET", "/no/such/path", 200, _HEADERS, _JOB, id="success where no path is"),
        pytest.param("PATCH", "/api/v1/job", 404, _HEADERS | _problem(), _PROBLEM, id="404 for a method"),
    ],
)
def test_the_answer_checker_refuses_answers_that_contradict_the_schema(
    method: str, path: str, status: int, headers: Any, body: Any
) -> None:
    with pytest.raises(AssertionError):
        check_answer(method, path, status, headers, json.dumps(body).encode())


def test_the_answer_checker_refuses_text_that_is_not_json() -> None:
    with pytest.raises(AssertionError):
        check_answer("GET", "/healthz", 200, _HEADERS, b'{"status": NaN}')
    with pytest.raises(ValueError, match="Expecting"):
        check_answer("GET", "/healthz", 200, _HEADERS, b"fine")


class _Ill(Resource):
    """A server whose answers are not documented."""

    def render_GET(self, request: Any) -> bytes:
        request.setHeader(b"Content-Type", b"application/json")
        return b'{"status": "ill"}'


def test_the_in_memory_server_of_the_tests_checks_its_answers_against_the_schema(tmp_path: Path) -> None:
    server = MemoryServer(tmp_path / "db")
    root = Resource()
    root.putChild(b"healthz", _Ill())
    server.site.resource, server.site.begin = root, lambda _request: False
    server._agent = type(server._agent)(server.site)
    with pytest.raises(AssertionError, match='"ill" is not one of'):
        server.call("GET", "/healthz")
