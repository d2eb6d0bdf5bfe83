"""Checks answers against api_schema.yml: a server must not answer anything that is not documented there."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import yaml
from jsonschema_rs import Draft202012Validator

SCHEMA_PATH: Final = Path(__file__).parent.parent / "api_schema.yml"


@cache
def schema() -> dict[str, Any]:
    """The content of api_schema.yml."""
    document: dict[str, Any] = read_yaml(SCHEMA_PATH.read_text())
    return document


class _StrictLoader(yaml.CSafeLoader):
    """Reads YAML like the strictest tools: a repeated key in a mapping is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Refuse a repeated key."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for key, count in Counter(keys).items() if count > 1]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice[0]!r} comes twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(text: str) -> Any:
    """The value of a YAML document; raises YAMLError for a repeated key, and for anchors and aliases."""
    for event in yaml.parse(text, yaml.CSafeLoader):
        name = getattr(event, "anchor", None)
        if name is not None:
            raise yaml.YAMLError(f"{name} is an anchor or alias, {event.start_mark}; use $ref")
    return yaml.load(text, _StrictLoader)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method in capitals, path and description of each operation."""
    for path, item in schema()["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def check_answer(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise AssertionError unless the schema documents this answer to `method` on `path` (a query is ignored)."""
    where = f"{method} {path} {status}"
    response = _response(method, unquote(path.partition("?")[0]), status)
    assert response is not None, f"{where} is not documented"
    given = {name.lower(): value for name, value in headers.items()}
    for name, header in response.get("headers", {}).items():
        _check_header(where, name, resolve(header), given.get(name.lower()))
    _check_content(where, method, status, response, given, body)


def validator(fragment: Mapping[str, Any], *, closed: bool = False) -> Draft202012Validator:
    """A validator for a part of the schema; a closed one refuses fields that the schema does not name."""
    return _compiled(json.dumps(fragment), closed)


@cache
def _compiled(fragment: str, closed: bool) -> Draft202012Validator:
    part = json.loads(fragment)
    whole: dict[str, Any] = _bounded(_close(part) if closed else part)
    return Draft202012Validator({**whole, "components": {"schemas": _named(closed)}})


def _response(method: str, path: str, status: int) -> Mapping[str, Any] | None:
    """The description of an answer."""
    document = schema()
    item = document["paths"].get(path)
    if item is None:
        return _other(document["x-other-paths"], 404, status)
    operation = item.get("get" if method == "HEAD" else method.lower())
    if operation is None:
        return _other(document["x-other-methods"], 405, status)
    response = operation["responses"].get(str(status))
    return None if response is None else resolve(response)


def _other(response: dict[str, Any], its_status: int, status: int) -> Mapping[str, Any] | None:
    if status == its_status:
        return resolve(response)
    # Answers that any request may get before its path is read are documented under /test.
    return _response("GET", "/test", status) if status >= 400 else None


def _check_header(where: str, name: str, header: Mapping[str, Any], value: str | None) -> None:
    if value is None:
        assert not header.get("required"), f"{where}: the header {name} is missing"
        return
    parsed = int(value) if header["schema"].get("type") == "integer" and value.isdigit() else value
    _check_value(f"{where}: header {name}", header["schema"], parsed)


def _check_content(
    where: str, method: str, status: int, response: Mapping[str, Any], headers: Mapping[str, str], body: bytes
) -> None:
    content = response.get("content")
    if content is None:
        assert body == b"", f"{where}: no body is documented"
        return
    if response.get("x-body-may-be-missing") and not body and "content-type" not in headers:
        return
    kind = headers.get("content-type", "").split(";")[0].strip()
    assert kind in content, f"{where}: content type {kind!r} is not documented"
    if method == "HEAD":
        assert body == b"", f"{where}: an answer to HEAD has no body"
    elif kind.endswith("json"):
        value = json.loads(body, parse_constant=_no_constant)
        _check_value(where, content[kind]["schema"], value)
        if kind == "application/problem+json":
            assert value["status"] == status, f"{where}: the problem has another status, {value['status']}"


def _check_value(where: str, fragment: Mapping[str, Any], value: Any) -> None:
    # Clients use the schema as written; the closed copy may match fewer alternatives.
    found = [error for closed in (True, False) for error in validator(fragment, closed=closed).iter_errors(value)]
    errors = [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in found]
    assert not errors, f"{where}: {errors}"


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def resolve(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The node, or its target if it is a reference."""
    while "$ref" in node:
        target: Any = schema()
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


@cache
def _named(closed: bool) -> dict[str, Any]:
    """The named schemas, to which others refer."""
    named: dict[str, Any] = schema()["components"]["schemas"]
    return {name: _bounded(_close(node) if closed else node) for name, node in named.items()}


def _bounded(node: Any) -> Any:
    """A copy of a schema in which 64-bit integers have bounds: validators ignore their format."""
    if isinstance(node, Mapping):
        bounds = {"minimum": -(1 << 63), "maximum": (1 << 63) - 1} if node.get("format") == "int64" else {}
        return {**bounds, **{key: _bounded(value) for key, value in node.items()}}
    return [_bounded(value) for value in node] if isinstance(node, list) else node


def _close(node: Any) -> Any:
    """A copy of a schema whose objects take no fields but those that they name."""
    if isinstance(node, Mapping):
        closed = {key: _close(value) for key, value in _in_one(node).items()}
        if closed.get("type") == "object":
            closed.setdefault("additionalProperties", False)
        return closed
    return [_close(value) for value in node] if isinstance(node, list) else node


def _in_one(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema `allOf` several objects, joined into one object."""
    parts = [_in_one(resolve(part)) for part in node.get("allOf", ())]
    if not parts:
        return node
    required = [name for part in parts for name in part.get("required", ())]
    return {
        "type": "object",
        "required": list(dict.fromkeys(required)),
        "properties": {name: field for part in parts for name, field in part.get("properties", {}).items()},
    }
