"""Names of a body are accepted in a query and vice versa; a misspelt call is answered with the right one."""

import json
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from msgspec import Raw, Struct
from msgspec.structs import fields

from jobengine.web.router import Routes
from jobengine.wire import bodies
from jobengine.wire.unknown_fields import Ignored
from tests.doubles import Answer, MemoryServer
from tests.web.asking import add, each
from tests.web.test_strict import BODIES

CALLS = Routes.calls
UID = "0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11"
#: The values of query parameters.
VALUES = {"queue": "q", "jobUID": UID, "keyID": UID, "markQueued": "false", "withResults": "false"}


def _query(call: tuple[str, str]) -> dict[str, str]:
    """A valid query of the call, with the names that its handler reads."""
    names = [name.decode() for name in CALLS[call].parameters]
    return {name: VALUES.get(name, "q") for name in names if name in ("name", "queueName") or name in VALUES}


ALIASED = [(call, other.decode(), name.decode()) for call in CALLS for other, name in CALLS[call].aliases.items()]


@pytest.mark.parametrize(("call", "other", "name"), ALIASED, ids=[f"{c[0]} {c[1]} {o}" for c, o, _ in ALIASED])
def test_a_query_parameter_has_the_same_effect_under_its_alias(
    server: MemoryServer, call: tuple[str, str], other: str, name: str
) -> None:
    method, path = call
    if path == "/api/v1/events":
        method = "HEAD"
    query = _query(call)
    if "jobUID" in query:
        query["jobUID"] = add(server, uid=UID)["uid"]
    both = server.call(method, path, query={**query, other: query[name]}, body=BODIES.get(call))
    assert both.status == 400
    assert method == "HEAD" or "mean the same; send one of them" in both.json["detail"]
    renamed = {other if known == name else known: value for known, value in query.items()}
    one = server.call(method, path, query=renamed, body=BODIES.get(call))
    assert "no query parameter" not in one.body.decode()
    assert one.body == b"" or one.status < 400 or f"{name} is missing" not in one.json["detail"]


def test_a_parameter_without_a_value_or_repeated_gets_400_under_its_alias_too(server: MemoryServer) -> None:
    for query in ("queue_name=", "queue_name", "queue_name=q&queue_name=q"):
        answer = server.call("GET", f"/api/v1/job/next?{query}")
        assert answer.status == 400


#: Calls whose body names its queue; in a body about a schedule, `name` is that of the schedule.
NAMED = [call for call, body in BODIES.items() if len({"name", "queue_name"} & body.keys()) == 1]


@pytest.mark.parametrize("call", NAMED, ids=" ".join)
def test_a_body_with_neither_or_both_of_name_and_queue_name_is_refused(
    server: MemoryServer, call: tuple[str, str]
) -> None:
    body = BODIES[call]
    name, other = ("name", "queue_name") if "name" in body else ("queue_name", "name")
    both = server.call(*call, body={**body, other: "q"})
    assert (both.status, both.json["detail"]) == (400, "name and queue_name mean the same; send one of them.")
    renamed = {other if known == name else known: value for known, value in body.items()}
    # The other name comes first, since a queue can be created only once.
    answer = server.call(*call, body=renamed)
    assert answer.status in (200, 201, 404), answer
    neither = {known: value for known, value in body.items() if known != name}
    assert server.call(*call, body=neither).json["detail"].startswith(f"{name} is missing.")


def test_updates_in_a_claim_may_name_the_queue_as_name_or_queue_name(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    for name in ("name", "queue_name"):
        update = {name: "q", "uid": uid, "priority": 5}
        answer = server.call("POST", "/api/v1/job/next", body={"queue_names": ["q"], "updates": [update]})
        assert answer.json["results"][0]["status"] == 200
    both = {"name": "q", "queue_name": "q", "uid": uid, "priority": 5}
    assert server.call("POST", "/api/v1/job/next", body={"queue_names": ["q"], "updates": [both]}).status == 400


def test_an_update_with_only_version_1_fields_may_name_the_queue_as_name_or_queue_name(server: MemoryServer) -> None:
    for name in ("name", "queue_name"):
        body = {name: "q", "uid": add(server)["uid"], "new_status": "complete"}
        assert server.call("POST", "/api/v1/job", body=body).body == b""


def test_a_body_may_have_both_name_and_queue_name_if_unknown_fields_are_ignored(start: Any) -> None:
    server = start(wire_parts={"pass_unknown": True})
    body = {"queue_name": "q", "name": "x", "colour": 1, "job": {"content": {}, "name": "x"}}
    assert server.call("PUT", "/api/v1/job", body=body).status == 201
    body = {"name": "q", "colour": 1, "job": {"content": {}}}
    assert server.call("PUT", "/api/v1/job", body=body).status == 201
    assert server.call("GET", "/api/v1/job/next?queueName=q&name=x&colour=1").status == 200


def test_bulk_adds_and_long_bodies_may_name_the_queue_as_name_or_queue_name(start: Any) -> None:
    server = start()
    jobs = [{"content": {"text": "x" * 1_000}} for _ in range(300)]
    assert server.call("PUT", "/api/v1/jobs", body={"name": "q", "jobs": jobs}).status == 201
    for name in ("name", "queue_name", "queueName"):
        body = {"queue_name": "q", "jobs": [{"content": {"text": "x" * 900_000}}] * 2}
        assert server.call("PUT", f"/api/v1/jobs?{name}=q", body=body).status == 201


# Near misses


@pytest.mark.parametrize(
    ("method", "path", "body", "advice"),
    [
        ("POST", "/api/v1/job", {"queue_name": "q", "content": {}}, "To add a job, send PUT /api/v1/job."),
        ("POST", "/api/v1/job", {"queue_name": "q", "job": {"content": {}}}, "To add a job, send PUT /api/v1/job."),
        ("POST", "/api/v1/job", {"queue_name": "q", "uid": UID, "state": "failed"}, "Did you mean 'new_status'?"),
        ("PUT", "/api/v1/job", {"queue_name": "q", "job": {"data": {}}}, "Did you mean 'content'?"),
        ("POST", "/api/v1/job", {"queue_name": "q", "updates": []}, "POST /api/v1/jobs"),
        ("PUT", "/api/v1/job", {"queue_name": "q", "content": {}}, "belong in job"),
        ("PUT", "/api/v1/job", {"queue_name": "q"}, 'Send {"queue_name": …, "job": {"content": {…}}}.'),
        ("PUT", "/api/v1/job", {"queue_name": "q", "new_status": "failed"}, "POST /api/v1/job."),
        ("PUT", "/api/v1/job", {"queue_name": "q", "jobs": []}, "PUT /api/v1/jobs"),
        ("PUT", "/api/v1/jobs", {"queue_name": "q", "updates": []}, "POST /api/v1/jobs"),
        ("POST", "/api/v1/jobs", {"queue_name": "q", "jobs": []}, "PUT /api/v1/jobs"),
        ("POST", "/api/v1/jobs", {"queue_name": "q", "uid": UID}, "POST /api/v1/job."),
        ("POST", "/api/v1/queue", {"name": "q", "access_key": "k"}, "To create a queue, send PUT /api/v1/queue"),
        (
            "PUT",
            "/api/v1/queue",
            {"name": "q", "access_key": "k", "defaults": {"max_attempts": 3}},
            "Create the queue first; then send its settings by POST /api/v1/queue.",
        ),
        ("PUT", "/api/v1/queue", {"name": "q", "new_access_key": "k"}, "Did you mean 'access_key'?"),
        ("POST", "/api/v1/queues", {"name": "q"}, "To create a queue, send PUT /api/v1/queue."),
        ("PUT", "/api/v1/queues", {"name": "q"}, "To create a queue, send PUT /api/v1/queue."),
        ("PATCH", "/api/v1/job", {}, "To change a job, send POST /api/v1/job."),
        ("GET", "/api/v1/jobs?queueName=q&page=2", None, "send the next_cursor of an answer as cursor"),
        ("GET", "/api/v1/jobs?queueName=q&per_page=2", None, "limit is the size of a page"),
        ("GET", "/", None, "This is a JobEngine server. A browser finds its dashboard here; programs call"),
        ("GET", "/health", None, "GET /healthz"),
        ("GET", "/api/v1/status", None, "GET /healthz"),
        ("GET", "/docs", None, "GET /openapi.json"),
        ("GET", "/api/v1", None, "GET /openapi.json"),
        ("GET", "/swagger/index.html", None, "GET /openapi.json"),
        ("GET", "/api/v1/queues/mail", None, "GET /api/v1/queue?name=NAME"),
        ("DELETE", "/api/v1/queue/mail", None, "named in the query"),
        ("GET", "/api/v1/queues/mail/jobs", None, "GET /api/v1/jobs?queueName=NAME"),
        ("GET", f"/api/v1/job/{UID}", None, "GET /api/v1/job?queueName=NAME&jobUID=UID"),
        ("POST", "/api/v1/job/add", {"queue_name": "q"}, "To add a job, send PUT /api/v1/job;"),
        ("POST", "/api/v1/jobs/create", {"queue_name": "q"}, "to add several, send PUT /api/v1/jobs."),
        ("PUT", "/job", None, "Did you mean /api/v1/job?"),
        ("POST", "/api/v1/jobs/next", {"queue_name": "q"}, "Did you mean /api/v1/job/next?"),
        ("GET", "/queues/stats?name=q", None, "Did you mean /api/v1/queue/stats?"),
        ("PUT", "/api/v1/job/", None, "Did you mean /api/v1/job?"),
        ("GET", "/API/v1/jobs", None, "Did you mean /api/v1/jobs?"),
        ("GET", "/api/v1/event", None, "Did you mean /api/v1/events?"),
        ("GET", "/dashboard", None, "The dashboard is at /"),
        ("GET", "/nothing/like/it", None, "GET /openapi.json lists the calls."),
        ("GET", "/" + "x" * 5_000, None, "GET /openapi.json lists the calls."),
    ],
)
def test_the_error_for_a_wrong_path_suggests_the_intended_call(
    server: MemoryServer, method: str, path: str, body: Any, advice: str
) -> None:
    answer = server.call(method, path, body=body)
    assert answer.status in (400, 404, 405)
    assert advice in answer.json["detail"]


# Values of wrong types


def _structs(kind: Any) -> Iterator[type[Struct]]:
    if isinstance(kind, type) and issubclass(kind, Struct):
        yield kind
    for part in get_args(kind):
        yield from _structs(part)


#: The required fields of objects that are in no body of BODIES.
_LEAST: dict[type[Struct], Any] = {
    bodies.NewJob: {"content": {}},
    bodies.Dependency: {"queue_name": "q", "uid": UID},
    bodies.Unique: {"key": "k"},
    bodies.Debounce: {"seconds": 1},
}


def _wrong(kind: type[Struct], body: Any) -> Iterator[tuple[str, Any]]:
    """Copies of an object, each with one field of another type or size, and the place of that field."""
    for field in fields(kind):
        name = field.name
        if field.type in (Ignored, Raw):
            continue
        for value in each("text", "", "x" * 5_000, -1, 10**18, 1.5, True, [], [1], {}, [[]], [""]):
            yield name, {**body, name: value}
        for within in _structs(field.type):
            held = body.get(name) or _LEAST.get(within, {})
            for place, value in _wrong(within, held[0] if isinstance(held, list) and held else held or {}):
                is_list = "list[" in str(field.type)
                yield (
                    f"{name}[0].{place}" if is_list else f"{name}.{place}",
                    {**body, name: [value] if is_list else value},
                )


_KINDS: dict[tuple[str, str], Any] = {
    ("PUT", "/api/v1/queue"): bodies.NewQueue,
    ("POST", "/api/v1/queue"): bodies.ChangeQueue,
    ("PUT", "/api/v1/queue/key"): bodies.AddKey,
    ("PUT", "/api/v1/group"): bodies.Group,
    ("PUT", "/api/v1/schedule"): bodies.SetSchedule,
    ("POST", "/api/v1/schedule"): bodies.ChangeSchedule,
    ("POST", "/api/v1/schedule/run"): bodies.RunSchedule,
    ("PUT", "/api/v1/batch"): bodies.SetBatch,
    ("POST", "/api/v1/batch"): bodies.ChangeBatch,
    ("PUT", "/api/v1/job"): bodies.AddJob,
    ("POST", "/api/v1/job"): bodies.ChangeJob,
    ("POST", "/api/v1/job/next"): bodies.Claim,
    ("PUT", "/api/v1/jobs"): bodies.AddJobs,
    ("POST", "/api/v1/jobs"): bodies.UpdateJobs,
}


def _check_words(answer: Answer) -> None:
    detail = answer.json["detail"]
    for word in ("`", "$", "Expected", "Object ", "got ", "regex", "length >=", "is not valid"):
        assert word not in detail, detail


@pytest.mark.parametrize("call", BODIES, ids=" ".join)
def test_the_error_for_a_wrong_type_has_the_path_of_the_field_in_plain_words(
    server: MemoryServer, call: tuple[str, str]
) -> None:
    refused = 0
    for place, body in _wrong(_KINDS[call], BODIES[call]):
        answer = server.call(*call, body=body)
        assert answer.status < 500
        if answer.status == 400:
            refused += 1
            _check_words(answer)
            detail = answer.json["detail"]
            named = place.rpartition(".")[2] in detail
            others = ("updates can't be combined", "Send either updates", "wait_for can be", "dead_letter.queue_name")
            assert named or detail.startswith(others), (place, detail)
    assert refused > 10


@pytest.mark.parametrize("call", BODIES, ids=" ".join)
def test_the_error_for_a_body_other_than_an_object_is_in_plain_words(
    server: MemoryServer, call: tuple[str, str]
) -> None:
    for raw in (b"[]", b"1", b"null", b'"x"', b"", b"{", b"[1", b"nul", b'{"a":}', b"{}{}", b"\xff"):
        answer = server.call(*call, raw=raw)
        assert (raw, answer.status) == (raw, 400)
        _check_words(answer)


_NO_TIME = (
    "must be a time in Unix seconds; 3600 is 1970-01-01T01:00:00Z. For a span of time, send the present time "
    "plus the span."
)


def test_the_error_for_a_wrong_value_names_the_field_and_the_rule(server: MemoryServer) -> None:
    for job, detail in (
        ({"priority": "high"}, "job.priority must be a whole number, not a text."),
        ({"priority": True}, "job.priority must be a whole number, not a boolean."),
        ({"priority": 1.5}, "job.priority must be a whole number, not a decimal number."),
        (
            {"not_before": 1_796_123_445_000},
            "job.not_before must be at most 253402300799; send Unix seconds, not milliseconds.",
        ),
        (
            {"not_before": "2027-01-01T00:00:00Z"},
            "job.not_before must be a whole number, not a text; send Unix seconds.",
        ),
        ({"timeout_time": 3_600}, f"job.timeout_time {_NO_TIME}"),
        ({"not_before": 3_600}, f"job.not_before {_NO_TIME}"),
        ({"delay_seconds": 31_536_000_001}, "job.delay_seconds must be at most 31536000000."),
        ({"tags": "a"}, "job.tags must be a list, not a text."),
        ({"tags": ["a", 1]}, "job.tags[1] must be a text, not a whole number."),
        ({"tags": ["a", ""]}, "job.tags[1] must not be empty."),
        ({"tags": ["a"] * 21}, "job.tags must have at most 20 items."),
        ({"unique_key": "x" * 257}, "job.unique_key must have at most 256 characters."),
        ({"delay_seconds": -1}, "job.delay_seconds must be 0 or more."),
        ({"uid": "x"}, "job.uid must be a UUID in lower case."),
    ):
        body = {"queue_name": "q", "job": {"content": {}, **job}}
        assert server.call("PUT", "/api/v1/job", body=body).json["detail"] == detail
    bodies: list[tuple[Any, str]] = [
        ({"queue_name": "q", "job": {}}, "job.content is missing."),
        ({"queue_name": "q", "job": []}, "job must be an object, not a list."),
        ([], "The body must be an object, not a list."),
    ]
    for body, detail in bodies:
        assert server.call("PUT", "/api/v1/job", raw=json.dumps(body).encode()).json["detail"] == detail
    over = {"queue_name": "q", "uid": UID, "progress": 101}
    assert server.call("POST", "/api/v1/job", body=over).json["detail"] == "progress must be at most 100."
