"""The reference of the HTTP API, in Markdown, from api_schema.yml."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

import yaml
from attrs import define, frozen

from .cells import cell
from .links import ROOT

Schema = Mapping[str, Any]

#: The page with the values that several calls use and, in the next line, the page about all calls.
_VALUES: Final = "http-values.md"
_OVERVIEW: Final = "http-api.md"
#: An answer that at least this share of the calls may give is described once.
_COMMON: Final = 0.5
#: The beginning of the names of values that are accepted and ignored.
_IGNORED: Final = "Ignored"
#: A list of numbers in an example, and how many of them are shown.
_NUMBERS: Final = re.compile(r"\[\s+((?:[\d.]+|null)(?:,\s+(?:[\d.]+|null))*)\s+\]")
_SHOWN: Final = 8
_METHODS: Final = ("get", "put", "post", "delete")


@frozen
class _Call:
    """One method of one path."""

    method: str
    path: str
    about: Schema

    @property
    def name(self) -> str:
        return f"{self.method.upper()} {self.path}"

    @property
    def tag(self) -> str:
        return str(self.about["tags"][0])

    @property
    def anchor(self) -> str:
        """The anchor of its heading: `operationId` with hyphens."""
        return re.sub("(?<=[a-z])(?=[A-Z])", "-", str(self.about["operationId"])).lower()

    @property
    def page(self) -> str:
        return f"http-{self.tag}.md"


@define
class _Document:
    """The schema, with what is looked up in it often."""

    whole: Schema
    calls: Sequence[_Call]
    #: Names of the answers that are described once for all calls.
    common: frozenset[str]
    #: Names of the values that only one call takes, as its body.
    inline: frozenset[str]

    def resolved(self, node: Schema) -> Schema:
        """The node itself or, if it has a `$ref`, the component named there, with the other fields of the node."""
        if "$ref" not in node:
            return node
        target: Any = self.whole
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return {**target, **{key: value for key, value in node.items() if key != "$ref"}}


@cache
def _document() -> _Document:
    whole = yaml.safe_load((ROOT / "api_schema.yml").read_text(encoding="utf-8"))
    calls = [
        _Call(method, path, about)
        for path, methods in whole["paths"].items()
        for method, about in methods.items()
        if method in _METHODS
    ]
    answers = Counter(_name(answer) for call in calls for answer in call.about["responses"].values())
    uses = Counter(re.findall(r"'#/components/schemas/(\w+)'", repr(whole)))
    bodies = {_name(media["schema"]) for call in calls for _, media in _bodies(call)}
    return _Document(
        whole,
        calls,
        frozenset(name for name, count in answers.items() if name and count >= _COMMON * len(calls)),
        frozenset(name for name in bodies if uses[name] == 1),
    )


def _name(node: Schema) -> str:
    """The name of the component that a node refers to; empty if it refers to none."""
    return str(node.get("$ref", "")).rpartition("/")[2]


def _bodies(call: _Call) -> Iterator[tuple[str, Schema]]:
    """Each media type of the request's body."""
    yield from call.about.get("requestBody", {}).get("content", {}).items()


def overview(_: str) -> str:
    """All calls in a table for each tag; the rules; and the answers that every call may give."""
    document = _document()
    lines = []
    for tag in document.whole["tags"]:
        lines += [f"## {tag['name'].capitalize()}", "", tag["description"], "", "| call | what it does |", "|---|---|"]
        lines += [
            f"| [`{call.name}`]({call.page}#{call.anchor}) | {cell(call.about['summary'])} |"
            for call in document.calls
            if call.tag == tag["name"]
        ]
        lines.append("")
    lines += ["## Rules for all calls", "", document.whole["info"]["description"].strip(), ""]
    lines += ["## Answers of every call", "", "Most calls may also give these answers; a call's own come first.", ""]
    lines += ["| status | what it means |", "|---|---|"]
    lines += sorted({_answer_row(status, answer) for status, answer in _common_answers(document)})
    return "\n".join(lines)


def _common_answers(document: _Document) -> Iterator[tuple[str, Schema]]:
    for call in document.calls:
        for status, answer in call.about["responses"].items():
            if _name(answer) in document.common:
                yield status, answer


def calls(tag: str) -> str:
    """All calls with one tag."""
    return "\n".join(line for call in _document().calls if call.tag == tag for line in _call(call))


def _call(call: _Call) -> Iterator[str]:
    about = call.about
    yield from (f"## {about['summary']} {{ #{call.anchor} }}", "", "```http", call.name, "```", "")
    if "description" in about:
        yield from (about["description"].strip(), "")
    if keys := _keys(about):
        yield from (f"**Key:** {keys}", "")
    if about.get("parameters"):
        yield from _parameters(about["parameters"])
    for media, content in _bodies(call):
        yield from _body(media, content)
    yield from _answers(call)


def _keys(about: Schema) -> str:
    """Which keys open the call."""
    needs = about.get("security", _document().whole.get("security", []))
    names = [" and ".join(_KEYS.get(name, name) for name in one) for one in needs if one]
    if names and {} in needs:
        return f"none, or if the server has one, {' or '.join(names)}"
    return " or ".join(names)


_KEYS: Final = {
    "accessKey": "`X-Access-Key`",
    "adminKey": "`X-Admin-Key`",
    "bearer": "`Authorization: Bearer KEY`",
    "adminBearer": "`Authorization: Bearer ADMIN_KEY`",
}


def _parameters(parameters: Sequence[Schema]) -> Iterator[str]:
    yield from ("**Parameters**", "", "| name | type | |", "|---|---|---|")
    for node in parameters:
        one = _document().resolved(node)
        where = "" if one["in"] == "query" else f" ({one['in']})"
        must = "**Required.** " if one.get("required") else ""
        names = ", ".join(f"`{alias}`" for alias in one.get("x-aliases", []))
        also = f" Also: {names}." if names else ""
        yield f"| `{one['name']}`{where} | {_type(one['schema'])} | {must}{cell(one.get('description', ''))}{also} |"
    yield ""


def _body(media: str, content: Schema) -> Iterator[str]:
    name = _name(content["schema"])
    if name and name not in _document().inline:
        yield from (f"**Body:** `{media}`, {_type(content['schema'])}", "")
    else:
        yield from (f"**Body:** `{media}`", "")
        yield from _fields(_document().resolved(content["schema"]))
    yield from _example(content, "request")


def _answers(call: _Call) -> Iterator[str]:
    answers = call.about["responses"]
    own = {status: answer for status, answer in answers.items() if _name(answer) not in _document().common}
    yield from ("**Answers**", "", "| status | what it means |", "|---|---|")
    yield from (_answer_row(status, answer) for status, answer in own.items())
    if others := [status for status in answers if status not in own]:
        yield f"| {', '.join(others)} | [as for every call]({_OVERVIEW}#answers-of-every-call) |"
    yield ""
    for status, answer in own.items():
        for content in _document().resolved(answer).get("content", {}).values():
            if status.startswith("2"):
                yield from _example(content, status)


def _answer_row(status: str, answer: Schema) -> str:
    found = _document().resolved(answer)
    kinds = {_type(content["schema"]) for content in found.get("content", {}).values() if "schema" in content}
    shown = {kind for kind in kinds if "#problem" not in kind and "[" in kind}
    return f"| {status} | {cell(found['description'])}{''.join(f' {kind}' for kind in sorted(shown))} |"


def _example(content: Schema, title: str) -> Iterator[str]:
    """The first example, as JSON."""
    for node in content.get("examples", {}).values():
        value = _document().resolved(node).get("value")
        text, language = (value, "text") if isinstance(value, str) else (_json(value), "json")
        yield from (f'```{language} title="{title}"', text.rstrip(), "```", "")
        return


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else _NUMBERS.sub(_on_one_line, json.dumps(value, ensure_ascii=False, indent=2))


def _on_one_line(numbers: re.Match[str]) -> str:
    """The first numbers of a list, on one line: a history has hundreds."""
    first = numbers[1].split()[: _SHOWN + 1]
    return f"[{' '.join([*first[:_SHOWN], '…'] if len(first) > _SHOWN else first)}]"


def values(_: str) -> str:
    """The section about the schemas that several calls use; others are shown with their call."""
    document = _document()
    schemas = document.whole["components"]["schemas"]
    names = sorted(name for name in schemas if name not in document.inline and not name.startswith(_IGNORED))
    return "\n".join(line for name in names for line in _value(name, schemas[name]))


def _value(name: str, schema: Schema) -> Iterator[str]:
    yield from (f"## {name} {{ #{name.lower()} }}", "")
    if schema.get("description"):
        yield from (schema["description"].strip(), "")
    yield from _fields(schema)


def _fields(schema: Schema) -> Iterator[str]:
    """The fields of an object, or what else the value is."""
    properties, required = _properties(schema)
    if not properties:
        yield from (f"Type: {_type(schema)}", "")
        return
    ignored = [name for name, field in properties.items() if _name(field).startswith(_IGNORED)]
    yield from ("| field | type | |", "|---|---|---|")
    for name, field in properties.items():
        if name not in ignored:
            must = "**Required.** " if name in required else ""
            yield f"| `{name}` | {_type(field)} | {must}{_about(field)} |"
    yield ""
    if ignored:
        yield from (f"Ignored: {', '.join(f'`{name}`' for name in ignored)}.", "")


def _properties(schema: Schema) -> tuple[dict[str, Schema], set[str]]:
    """The fields of an object, with those of the objects that it extends; and the names of the required ones."""
    properties, required = dict(schema.get("properties", {})), set(schema.get("required", ()))
    for part in schema.get("allOf", ()):
        more, needed = _properties(_document().resolved(part))
        properties, required = {**more, **properties}, required | needed
    return properties, required


def _about(field: Schema) -> str:
    """The description of a field in a table: its own or, if it has none and its type has no fields, the type's."""
    text = cell(field.get("description", ""))
    if not text and not _properties(_document().resolved(field))[0]:
        text = cell(_document().resolved(field).get("description", ""))
    default = f" Default: `{json.dumps(field['default'])}`." if "default" in field else ""
    return text + default


def _type(schema: Schema) -> str:
    """The type in a few words, with a link if it has a name."""
    if name := _name(schema):
        return f"[{name}]({_VALUES}#{name.lower()})"
    if "const" in schema or "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return (" and " if key == "allOf" else " or ").join(_type(one) for one in schema[key])
    kinds = schema.get("type", "any")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return " or ".join(_kind(kind, schema) for kind in kinds)


def _kind(kind: str, schema: Schema) -> str:
    if kind == "array":
        return f"list of {_type(schema['items'])}" if "items" in schema else "list"
    if kind == "object" and isinstance(more := schema.get("additionalProperties"), Mapping):
        return f"object of {_type(more)}"
    least, most = schema.get("minimum"), schema.get("maximum")
    limits = " to ".join(f"{limit:,}" for limit in (least, most) if limit is not None)
    if kind not in ("integer", "number") or not limits:
        return kind
    return (
        f"{kind}, {limits}"
        if least is not None and most is not None
        else f"{kind}, {'≥' if most is None else '≤'} {limits}"
    )
