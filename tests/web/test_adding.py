"""Adding a job: for later, only once, or only while no other job has its unique key."""

import json
from typing import Any

import pytest

from tests.doubles import Answer, MemoryServer
from tests.web.asking import add, claim, each, listed, put, read, update

UID = "0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER_TRACE = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00"
_BAD_TRACES = [
    "",
    TRACE.upper(),
    TRACE[:-1],
    TRACE + "-x",
    f" {TRACE}",
    f"01{TRACE[2:]}",
    "00-" + "0" * 32 + "-b7ad6b7169203331-01",
    "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
]


# Every field


def test_an_added_job_has_all_given_fields(server: MemoryServer) -> None:
    given = {
        "uid": UID,
        "content": {"a": 1},
        "priority": -2,
        "keep_minutes": 3,
        "timeout_seconds": 61,
        "timeout_time": 4_000_000_000,
        "tags": ["b", "a"],
        "max_attempts": 5,
        "retry_delay_seconds": 6,
        "unique_key": "k",
        "not_before": 3_000_000_000,
        "meta": {"asked_by": "shop"},
        "traceparent": TRACE,
    }
    now = int(server.clock.seconds())
    expected = {**given, "timeout_minutes": 2, "created": now, "last_updated": now, "state": "queued"}
    assert add(server, **given) == expected
    server.restart()
    assert read(server, UID).json == expected


def test_a_null_field_of_a_new_job_counts_as_absent(server: MemoryServer) -> None:
    names = ["timeout_seconds", "tags", "max_attempts", "retry_delay_seconds", "unique_key", "delay_seconds"]
    others = ["not_before", "uid", "meta", "traceparent", "priority", "keep_minutes", "timeout_minutes", "timeout_time"]
    job, plain = add(server, **dict.fromkeys([*names, *others])), add(server)
    assert job == {**plain, "uid": job["uid"]}


@pytest.mark.parametrize(("seconds", "minutes"), [(0, 0), (1, 1), (59, 1), (60, 1), (61, 2), (600, 10)])
def test_a_job_shows_its_timeout_in_seconds_and_in_minutes_rounded_up(
    server: MemoryServer, seconds: int, minutes: int
) -> None:
    for given, expected in (({"timeout_seconds": seconds}, seconds), ({"timeout_minutes": minutes}, 60 * minutes)):
        job = add(server, **given)
        assert (job["timeout_seconds"], job["timeout_minutes"]) == (expected, minutes)


_COUNTS = ["timeout_seconds", "retry_delay_seconds", "delay_seconds", "not_before", "max_attempts"]
_V1_COUNTS = ["keep_minutes", "timeout_minutes", "timeout_time"]


@pytest.mark.parametrize(
    "job",
    [
        *[{"content": value} for value in each(None, [], "{}", 1)],
        *[{name: value} for name in [*_COUNTS, *_V1_COUNTS] for value in each("1", 1.5, 1.0, True, [], -1, 1 << 63)],
        *[{"priority": value} for value in each("1", 1.5, 1.0, True, [], 1 << 63, -(1 << 63) - 1)],
        {"max_attempts": 0},
        *[{"timeout_minutes": 1, "timeout_seconds": seconds} for seconds in each(0, 61)],
        *[{"tags": tags} for tags in each("a", ["a", 1], [""], ["t" * 257], ["t"] * 21, {})],
        *[{"unique_key": key} for key in each("", "k" * 257, 1, [])],
        *[{"meta": meta} for meta in each([], "{}", 1, True, {"a": "x" * 4088})],
        *[{"traceparent": trace} for trace in each(*_BAD_TRACES, TRACE + "\n", 1, {})],
        *[{"uid": uid} for uid in each("", "1", UID.upper(), UID[:-1], UID + "0", f" {UID}", f"{UID}\n", 1)],
    ],
)
def test_a_job_with_a_bad_field_is_refused(server: MemoryServer, job: Any) -> None:
    assert put(server, **job).status == 400
    assert listed(server)["size"] == 0


# With what belongs to it


def test_meta_may_have_4096_bytes(server: MemoryServer) -> None:
    meta = {"a": "x" * 4087}
    assert len(json.dumps(meta)) == 4096
    assert add(server, meta=meta)["meta"] == meta


def test_a_claim_returns_meta_and_traceparent_unchanged(server: MemoryServer) -> None:
    text = '{ "n": 1.50, "\\u00e9":\n[] }'
    body = f'{{"queue_name": "q", "job": {{"content": {{}}, "meta": {text}, "traceparent": "{TRACE}"}}}}'
    assert server.call("PUT", "/api/v1/job", raw=body.encode()).status == 201
    server.restart()
    claimed = claim(server)
    assert b'"meta":' + text.encode() in claimed.body
    assert claimed.json["traceparent"] == TRACE


def _put_traced(server: MemoryServer, *headers: tuple[str, str], **job: Any) -> Answer:
    body = {"queue_name": "q", "job": {"content": {}, **job}}
    return server.call("PUT", "/api/v1/job", body=body, headers=dict(headers))


def test_a_job_without_traceparent_gets_the_traceparent_header_of_its_request(server: MemoryServer) -> None:
    assert _put_traced(server, ("traceparent", TRACE)).json["traceparent"] == TRACE
    assert _put_traced(server, ("traceparent", TRACE), traceparent=OTHER_TRACE).json["traceparent"] == OTHER_TRACE


@pytest.mark.parametrize("trace", [trace for trace in _BAD_TRACES if trace.strip() != TRACE])
def test_a_malformed_traceparent_header_is_refused(server: MemoryServer, trace: str) -> None:
    answer = _put_traced(server, ("traceparent", trace))
    assert (answer.status, "traceparent" in answer.json["detail"]) == (400, True)
    assert listed(server)["size"] == 0


def test_a_repeated_add_with_another_trace_is_accepted_but_with_other_meta_refused(server: MemoryServer) -> None:
    first = add(server, uid=UID, meta={"a": 1}, traceparent=TRACE)
    again = put(server, uid=UID, meta={"a": 1}, traceparent=OTHER_TRACE)
    assert (again.status, again.json) == (200, first)
    assert put(server, uid=UID, meta={"a": 2}).status == 409
    assert put(server, uid=UID).status == 409


# Once


def _twice(kind: str) -> dict[str, Any]:
    return {"uid": UID} if kind == "uid" else {"headers": {"Idempotency-Key": "order-1 \u00fc"}}


@pytest.mark.parametrize("kind", ["uid", "key"])
def test_a_repeated_add_is_answered_with_the_current_job(server: MemoryServer, kind: str) -> None:
    first = put(server, content={"a": 1}, **_twice(kind))
    again = put(server, content={"a": 1}, **_twice(kind))
    assert (first.status, again.status, again.json) == (201, 200, first.json)
    update(server, first.json["uid"], "complete")
    server.restart()
    done = put(server, content={"a": 1}, **_twice(kind))
    assert (done.status, done.json) == (200, read(server, first.json["uid"]).json)
    assert done.json["state"] == "complete"
    assert listed(server)["size"] == 1


@pytest.mark.parametrize("keys", [[""], ["k" * 257], ["a", "a"]])
def test_a_bad_idempotency_key_is_refused(server: MemoryServer, keys: list[str]) -> None:
    assert put(server, headers={"Idempotency-Key": keys}).status == 400
    assert listed(server)["size"] == 0


def test_a_job_with_both_a_uid_and_an_idempotency_key_is_refused(server: MemoryServer) -> None:
    assert put(server, uid=UID, headers={"Idempotency-Key": "k"}).status == 400
