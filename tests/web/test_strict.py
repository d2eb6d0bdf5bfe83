"""Unknown fields and parameters are refused and named: a typo must not be ignored, least of all in a deletion."""

from itertools import product
from typing import Any

import pytest
from msgspec import Struct, inspect
from msgspec.structs import fields

from jobengine.web.router import Routes
from jobengine.wire import bodies, request_head
from jobengine.wire.shown_job import ShownJob
from jobengine.wire.unknown_fields import Ignored
from tests.doubles import Answer, MemoryServer
from tests.schema import operations, resolve, schema
from tests.web.asking import add, each, hold, listed, put, read, update, v1

CALLS = Routes.calls
UID = "0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11"
#: For each call with a body, a body that passes all checks before that of the queue.
BODIES: dict[tuple[str, str], Any] = {
    ("PUT", "/api/v1/queue"): {"name": "new", "access_key": "k"},
    ("POST", "/api/v1/queue"): {"name": "q", "defaults": {"max_attempts": 2}},
    ("PUT", "/api/v1/queue/key"): {"queue_name": "q", "role": "worker", "access_key": "k"},
    ("PUT", "/api/v1/group"): {"queue_name": "q", "group": "g", "rate": {"count": 9, "seconds": 9}},
    ("PUT", "/api/v1/schedule"): {"queue_name": "q", "name": "s", "every_seconds": 9, "job": {"content": {}}},
    ("POST", "/api/v1/schedule"): {"queue_name": "q", "name": "s", "job": {"content": {}}},
    ("POST", "/api/v1/schedule/run"): {"queue_name": "q", "name": "s"},
    ("PUT", "/api/v1/batch"): {"queue_name": "q", "name": "b", "then": {"content": {}}},
    ("POST", "/api/v1/batch"): {"queue_name": "q", "name": "b", "open": False},
    ("PUT", "/api/v1/job"): {"queue_name": "q", "job": {"content": {}}},
    ("POST", "/api/v1/job"): {"queue_name": "q", "uid": UID, "new_status": "failed"},
    ("POST", "/api/v1/job/next"): {
        "queue_names": ["q"],
        "updates": [{"queue_name": "q", "uid": UID, "new_status": "complete"}],
    },
    ("PUT", "/api/v1/jobs"): {"queue_name": "q", "jobs": [{"content": {}}]},
    ("POST", "/api/v1/jobs"): {"queue_name": "q", "updates": [{"uid": UID, "progress": 1}]},
}
#: The calls of the first version that take fields or parameters.
V1_BODIES = [call for call in BODIES if CALLS[call].v1]


def _put(server: MemoryServer, job: dict[str, Any]) -> Answer:
    return server.call("PUT", "/api/v1/job", body={"queue_name": "q", "job": {"content": {}, **job}})


def _places(value: Any, at: str = "") -> list[str]:
    """The places of the API's own objects in a body, as paths."""
    if isinstance(value, list):
        return _places(value[0], f"{at}[0]")
    if not isinstance(value, dict) or at.endswith("content"):
        return []
    within = [place for name, held in value.items() for place in _places(held, f"{at}.{name}")]
    return [at, *within]


def _with(value: Any, place: str, extra: dict[str, Any]) -> Any:
    """A copy of a body with more fields in the object at a place."""
    if not place:
        return {**value, **extra}
    step, _, rest = place[1:].partition(".") if place[0] == "." else ("", "", "")
    name, bracket, _ = step.partition("[")
    if bracket:
        return {**value, name: [_with(value[name][0], "." + rest if rest else "", extra)]}
    return {**value, name: _with(value[name], "." + rest if rest else "", extra)}


OBJECTS = [
    *[(call, body, place) for call, body in BODIES.items() for place in _places(body)],
    (
        ("POST", "/api/v1/jobs"),
        {"queue_name": "q", "filter": {"state": "failed"}, "new_status": "queued"},
        ".filter",
    ),
]


def test_every_call_with_a_body_has_a_case_in_this_file() -> None:
    documented = {(method, path) for method, path, operation in operations() if "requestBody" in operation}
    assert set(BODIES) == documented


@pytest.mark.parametrize(("call", "body", "place"), OBJECTS, ids=[f"{c[0]} {c[1]} {p}" for c, _, p in OBJECTS])
def test_the_error_for_an_unknown_field_at_any_depth_names_the_field(
    server: MemoryServer, call: tuple[str, str], body: Any, place: str
) -> None:
    values: tuple[Any, ...] = (1, None, {}, "")
    for value in values:
        answer = server.call(*call, body=_with(body, place, {"colour": value}))
        assert (answer.status, "'colour'" in answer.json["detail"]) == (400, True), value
        assert place.removeprefix(".").partition("[")[0] in answer.json["detail"]
    assert listed(server)["size"] == 0


@pytest.mark.parametrize(
    ("job", "named"),
    [
        ({"maxAttempts": 3}, "'max_attempts'"),
        ({"delay": 3}, "'delay_seconds'"),
        ({"timeoutMinutes": 3}, "'timeout_minutes'"),
        ({"tag": ["a"]}, "'tags'"),
        ({"Priority": 1}, "'priority'"),
    ],
)
def test_the_error_for_an_unknown_field_suggests_the_most_similar_one(
    server: MemoryServer, job: Any, named: str
) -> None:
    detail = _put(server, job).json["detail"]
    assert detail == f"There is no field {next(iter(job))!r} in job. Did you mean {named}?"


def test_the_error_for_an_unknown_field_without_a_similar_name_lists_all_known_names(server: MemoryServer) -> None:
    answer = server.call("PUT", "/api/v1/queue", body={"name": "a", "access_key": "k", "xyz": 1})
    assert answer.json["detail"] == "There is no field 'xyz'. Known are access_key, name."


def test_the_error_for_an_unknown_field_shortens_a_long_name(server: MemoryServer) -> None:
    for answer in (_put(server, {"x" * 100_000: 1}), server.call("GET", "/test?" + "x" * 7_000 + "=1")):
        assert answer.status == 400
        assert len(answer.json["detail"]) < 500


@pytest.mark.parametrize("name", ["a`", "a\n", "a` - at `$.x", "`", "日本", "", "a'b\"c\\"])
def test_an_unknown_field_with_an_unusual_name_is_refused(server: MemoryServer, name: str) -> None:
    assert _put(server, {name: 1}).status == 400


@pytest.mark.parametrize("call", BODIES, ids=" ".join)
def test_the_error_for_a_repeated_field_names_the_field(server: MemoryServer, call: tuple[str, str]) -> None:
    first = next(iter(BODIES[call]))
    raw = b'{"%b": "q", "%b": "q"}' % (first.encode(), first.encode())
    answer = server.call(*call, raw=raw)
    assert (answer.status, repr(first) in answer.json["detail"]) == (400, True)


# Query parameters


@pytest.mark.parametrize("key", ["key", "wrong"])
def test_the_error_of_every_call_for_an_unknown_parameter_names_the_parameter(server: MemoryServer, key: str) -> None:
    queries = ("colour=1", "colour=", "colour", "%63olour=1", "x=1;colour=1", "colour=1&colour=2")
    for (method, path), query in product(CALLS, queries):
        for sent in {method, "HEAD"} if method == "GET" else {method}:
            answer = server.call(sent, f"{path}?{query}", body=BODIES.get((method, path)), key=key)
            assert (sent, path, answer.status) == (sent, path, 400)
            if sent != "HEAD" and "x=" not in query:
                assert "'colour'" in answer.json["detail"]


def test_a_parameter_must_occur_once_and_have_a_value_in_every_call(server: MemoryServer) -> None:
    for (method, path), call in CALLS.items():
        for name in sorted(call.parameters):
            text = name.decode()
            for query in (f"{text}=1&{text}=1", f"{text}=", text, f"{text}=1&{text}"):
                answer = server.call(method, f"{path}?{query}")
                assert (answer.status, text in answer.json["detail"]) == (400, True), (method, path, query)


@pytest.mark.parametrize(
    ("method", "path", "detail"),
    [
        (
            "DELETE",
            "/api/v1/jobs?queueName=q&tags=bill",
            "This call has no query parameter 'tags'. Did you mean 'tag'?",
        ),
        (
            "DELETE",
            "/api/v1/jobs?queueName=q&all=true&dryRun=true",
            "This call has no query parameter 'dryRun'. Did you mean 'dry_run'?",
        ),
        ("GET", "/api/v1/queue?names=q", "This call has no query parameter 'names'. Did you mean 'name'?"),
        (
            "GET",
            "/api/v1/job/next?queue=q",
            "This call has no query parameter 'queue'. Did you mean 'queueName'?",
        ),
        ("GET", "/test?x=1", "This call has no query parameter 'x'. It accepts no parameters."),
        ("DELETE", "/api/v1/jobs?queueName=q&q=", "The query parameter q is empty: give it a value, or leave it out."),
        (
            "DELETE",
            "/api/v1/jobs?queueName=q&tag=a&dry_run",
            "The query parameter dry_run has no value: send dry_run=….",
        ),
    ],
)
def test_the_error_for_an_unknown_parameter_suggests_the_most_similar_one(
    server: MemoryServer, method: str, path: str, detail: str
) -> None:
    assert server.call(method, path).json["detail"] == detail


def test_the_table_of_parameters_matches_the_schema() -> None:
    documented = {
        (method, path): frozenset(
            parameter["name"].encode()
            for parameter in map(resolve, operation.get("parameters", ()))
            if parameter["in"] == "query"
        )
        for method, path, operation in operations()
    }
    assert {call: known.parameters for call, known in CALLS.items()} == documented


def test_parameter_aliases_match_the_schema() -> None:
    for method, path, operation in operations():
        aliases = CALLS[method, path].aliases
        for parameter in map(resolve, operation.get("parameters", ())):
            if parameter["in"] == "query" and method != "HEAD":
                name = parameter["name"].encode()
                others = {other.decode() for other, its in aliases.items() if its == name}
                assert set(parameter.get("x-aliases", ())) == others, (path, parameter)


def test_the_schema_has_no_parameter_that_may_be_empty() -> None:
    parameters = [one for one in schema()["components"]["parameters"].values() if one["in"] == "query"]
    texts = [one["schema"] for one in parameters if one["schema"].get("type") == "string"]
    assert len(texts) > 5
    assert [text for text in texts if "enum" not in text and not text.get("minLength")] == []


#: The struct for each component of the schema that is a body, or a part of one.
COMPONENTS: dict[str, type[Struct]] = {
    "NewQueue": bodies.NewQueue,
    "ChangeQueue": bodies.ChangeQueue,
    "NewDefaults": bodies.Defaults,
    "Rate": bodies.Rate,
    "Limits": bodies.Limits,
    "ChangeGroup": bodies.Group,
    "AddKey": bodies.AddKey,
    "AddJob": bodies.AddJob,
    "AddJobs": bodies.AddJobs,
    "NewJob": bodies.NewJob,
    "Claim": bodies.Claim,
    "UpdateJob": bodies.UpdateJob,
    "ChangeJob": bodies.ChangeJob,
    "OtherQueuesJob": bodies.Dependency,
    "SetBatch": bodies.SetBatch,
    "ChangeBatch": bodies.ChangeBatch,
    "JobUpdate": bodies.Update,
    "Filter": request_head.SentFilter,
}


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_schema_names_exactly_the_fields_of_a_body(name: str) -> None:
    component = schema()["components"]["schemas"][name]
    assert set(component["properties"]) == {field.name for field in fields(COMPONENTS[name])}
    assert component["additionalProperties"] is False


def _bounds(kind: inspect.Type) -> dict[str, Any]:
    """The bounds of a field's type, by their names in a schema."""
    if isinstance(kind, inspect.UnionType):
        return next(_bounds(one) for one in kind.types if not isinstance(one, inspect.NoneType))
    of = "Length" if isinstance(kind, inspect.StrType) else "Items"
    names = {"ge": "minimum", "le": "maximum", "min_length": f"min{of}", "max_length": f"max{of}"}
    return {name: bound for ours, name in names.items() if (bound := getattr(kind, ours, None)) is not None}


def _documented(part: dict[str, Any]) -> dict[str, Any]:
    """The bounds of a field in the schema, and the values that it may have."""
    if "$ref" in part:
        return _documented(schema()["components"]["schemas"][part["$ref"].rpartition("/")[2]])
    found: dict[str, Any] = {}
    for one in (*part.get("anyOf", ()), *part.get("oneOf", ()), *part.get("allOf", ())):
        found |= _documented(one)
    return found | {name: bound for name, bound in part.items() if name.startswith(("min", "max", "enum"))}


@pytest.mark.parametrize("name", COMPONENTS)
def test_each_field_of_a_body_has_the_bounds_in_the_schema(name: str) -> None:
    properties = schema()["components"]["schemas"][name]["properties"]
    documented = {field: found for field, part in properties.items() if "enum" not in (found := _documented(part))}
    kind = inspect.type_info(COMPONENTS[name])
    assert isinstance(kind, inspect.StructType)
    ours = {field.encode_name: _bounds(field.type) for field in kind.fields}
    assert {field: ours[field] for field in documented} == documented


def test_the_schema_has_all_fields_of_all_forms_of_a_bulk_change() -> None:
    either = [
        schema()["components"]["schemas"][name] for name in ("UpdateJobs", "UpdateMatchingJobs", "MoveMatchingJobs")
    ]
    named = set().union(*(one["properties"] for one in either))
    assert named == {field.name for field in fields(bodies.UpdateJobs)}
    assert [one["additionalProperties"] for one in either] == [False, False, False]


# Objects may be sent as they were read


def test_a_job_from_an_answer_may_be_added_unchanged(server: MemoryServer) -> None:
    uid = add(server, {"a": 1}, tags=["t"], max_attempts=3, timeout_seconds=61)["uid"]
    held = hold(server, worker="w")
    update(server, uid, "failed")
    shown = {**read(server, uid).json, **held}
    assert {"lease", "queue_name", "attempts", "state", "created"} <= shown.keys()
    del shown["uid"]
    added = put(server, **shown)
    assert (added.status, v1(added.json)) == (201, {**v1(shown), "state": "queued", "uid": added.json["uid"]})
    assert added.json.keys() & {"attempts", "worker", "lease", "history"} == set()


def test_ignored_fields_of_a_job_may_have_any_value(server: MemoryServer) -> None:
    passed = {field.name for field in fields(ShownJob)} - _asked_for()
    assert len(passed) > 10
    for value in each(None, 1, "x", [[]], {"a": {}}):
        assert put(server, **dict.fromkeys(passed, value)).status == 201


def _asked_for() -> set[str]:
    """The fields of a new job that are not ignored."""
    return {field.name for field in fields(bodies.NewJob) if field.type != Ignored}


def test_a_new_job_accepts_every_field_of_a_shown_job() -> None:
    taken = {field.name for field in fields(bodies.NewJob)}
    assert {field.name for field in fields(ShownJob)} - taken == set()


# UNKNOWN_FIELDS=pass


@pytest.fixture
def lenient(start: Any) -> MemoryServer:
    server: MemoryServer = start(wire_parts={"pass_unknown": True})
    return server


@pytest.mark.parametrize("call", V1_BODIES, ids=" ".join)
def test_calls_of_the_first_version_can_be_set_to_ignore_unknown_fields(
    lenient: MemoryServer, call: tuple[str, str]
) -> None:
    body = BODIES[call]
    for place in _places(body):
        body = _with(body, place, {"colour": {"a": [1]}, "": 1})
    expected = 404 if UID in str(body) else 201
    assert lenient.call(*call, body=body).status == expected
    assert lenient.call(*call, body=body, key=None, headers={}).status in (400, 409)


def test_known_fields_are_read_exactly_while_unknown_fields_are_ignored(lenient: MemoryServer) -> None:
    content = '{ "n": 1.50, "unknown": "\\u00e9" ,"e":[ ]}'
    raw = '{"queue_name": "q", "x": 1, "job": {"y": 2, "content": ' + content + ', "priority": 7}}'
    answer = lenient.call("PUT", "/api/v1/job", raw=raw.encode())
    assert (answer.status, answer.json["priority"], content.encode() in answer.body) == (201, 7, True)
    uid = answer.json["uid"]
    body = {"queue_name": "q", "uid": uid, "new_status": "failed", "colour": 1}
    assert lenient.call("POST", "/api/v1/job", body=body).body == b""


def test_unknown_parameters_can_be_ignored(lenient: MemoryServer) -> None:
    uid = add(lenient)["uid"]
    for query in ("&x=1", "&x=", "&x", "&x=1&x=2", "&x=1;y"):
        assert lenient.call("GET", f"/api/v1/job?queueName=q&jobUID={uid}{query}").status == 200


@pytest.mark.parametrize(
    ("method", "path", "more"),
    [
        ("DELETE", "/api/v1/jobs?queueName=q&all=true&x=1", {}),
        ("GET", "/api/v1/queue?name=q&name=q", {}),
        ("GET", "/api/v1/job/next?queueName=q&markQueued", {}),
        ("PUT", "/api/v1/jobs", {"body": {**BODIES["PUT", "/api/v1/jobs"], "x": 1}}),
        ("PUT", "/api/v1/job", {"body": {"queue_name": "q", "job": {"content": {}, "priority": "1"}, "x": 1}}),
        ("PUT", "/api/v1/job", {"body": {"queue_name": "q", "job": 1, "x": 1}}),
        ("PUT", "/api/v1/job", {"body": {"queue_name": "q", "x": 1}}),
        ("PUT", "/api/v1/job", {"raw": b'{"queue_name": "q", "job": {"content": {}}, "x": 1, "x": 2}'}),
    ],
)
def test_requests_with_malformed_values_are_refused_even_if_unknown_fields_are_ignored(
    lenient: MemoryServer, method: str, path: str, more: Any
) -> None:
    add(lenient)
    assert lenient.call(method, path, **more).status == 400
    assert listed(lenient)["size"] == 1
