"""GET /openapi.json, and whether calls read exactly the parameters that it documents."""

import json
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobengine.http.request import JobRequest
from tests.doubles import MemoryServer
from tests.schema import operations, resolve, schema
from tests.web.asking import make_queue

#: The headers that every call accepts.
FOR_ALL = {"X-Access-Key", "X-Admin-Key", "Authorization", "Content-Type", "Content-Encoding", "X-Request-Id"} | {
    "Host",
    "Origin",
    "Sec-Fetch-Site",
}


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def test_openapi_json_equals_api_schema_yml_and_needs_no_key(server: MemoryServer) -> None:
    answer = server.call("GET", "/openapi.json", key=None)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json == schema(), "openapi.json is not of this api_schema.yml; run `make venv/installed-test`"


def test_the_references_in_openapi_json_lead_to_parts_of_the_same_document(server: MemoryServer) -> None:
    document = server.call("GET", "/openapi.json").json
    references = set(_references(document))
    assert len(references) > 50
    for reference in references:
        node = document
        assert reference.startswith("#/components/")
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_the_installed_package_has_openapi_json() -> None:
    installed = Path(sysconfig.get_path("purelib")) / "jobengine" / "web" / "openapi.json"
    assert json.loads(installed.read_text()) == schema(), "run `make venv/installed-test`"


def _example(holder: Any) -> Any:
    """The first of some examples."""
    return next(resolve(example)["value"] for example in holder["examples"].values())


class _Noted(dict[bytes, list[bytes]]):
    """A query, or headers, that records which names were read."""

    def __init__(self, read: set[str]) -> None:
        super().__init__()
        self._read = read

    def get(self, name: Any, default: Any = None) -> Any:
        self._read.add(name.decode())
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        assert isinstance(name, bytes)
        self._read.add(name.decode())
        return super().__contains__(name)


@pytest.mark.parametrize(
    ("method", "path", "operation"), [pytest.param(*each, id=each[2]["operationId"]) for each in operations()]
)
def test_a_call_reads_exactly_its_documented_parameters(
    server: MemoryServer, monkeypatch: pytest.MonkeyPatch, method: str, path: str, operation: Any
) -> None:
    make_queue(server, "mail")
    read: dict[str, set[str]] = {"query": set(), "header": set()}
    query, sent = _Noted(read["query"]), _Noted(read["header"])
    monkeypatch.setattr(JobRequest, "args", property(lambda _: query, lambda _, values: query.update(values)), False)
    monkeypatch.setattr(JobRequest, "sent", property(lambda _: sent, lambda _, values: sent.update(values)), False)
    parameters = [resolve(parameter) for parameter in operation.get("parameters", ())]
    given: dict[str, dict[str, str]] = {"query": {}, "header": {}}
    for parameter in parameters:
        given[parameter["in"]][parameter["name"]] = str(_example(parameter))
    body = operation.get("requestBody")
    server.ask(
        method,
        path,
        query=given["query"],
        headers={**given["header"]},
        body=None if body is None else _example(body["content"]["application/json"]),
    )
    server.pump()
    assert read["query"] == set(given["query"])
    assert read["header"] - {name.lower() for name in FOR_ALL} == {name.lower() for name in given["header"]}
