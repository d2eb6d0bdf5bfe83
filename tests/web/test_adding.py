"""Adding a job: for later, once, or only while there is none with its unique key."""

import json
from typing import Any

import pytest

from tests.doubles import Answer, MemoryServer
from tests.web.asking import add, change, claim, each, hold, listed, peek, put, read, update

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
    job = add(server, **dict.fromkeys([*names, "not_before", "uid", "meta", "traceparent"]))
    assert set(job) - set(add(server)) == set()


@pytest.mark.parametrize(("seconds", "minutes"), [(0, 0), (1, 1), (59, 1), (60, 1), (61, 2), (600, 10)])
def test_a_job_with_timeout_seconds_shows_minutes_rounded_up(server: MemoryServer, seconds: int, minutes: int) -> None:
    job = add(server, timeout_seconds=seconds)
    assert (job["timeout_seconds"], job["timeout_minutes"]) == (seconds, minutes)


def test_a_job_with_timeout_minutes_shows_seconds(server: MemoryServer) -> None:
    assert add(server, timeout_minutes=2)["timeout_seconds"] == 120


def test_a_job_times_out_to_the_second(server: MemoryServer) -> None:
    uid = add(server, timeout_seconds=3)["uid"]
    claim(server)
    server.clock.advance(2.999)
    assert read(server, uid).json["state"] == "inprogress"
    server.clock.advance(0.001)
    shown = read(server, uid).json
    assert (shown["state"], shown["error"]) == ("failed", "timed out")


_COUNTS = ["timeout_seconds", "retry_delay_seconds", "delay_seconds", "not_before", "max_attempts"]


@pytest.mark.parametrize(
    "job",
    [
        *[{name: value} for name in _COUNTS for value in each("1", 1.5, True, [], -1, 1 << 63)],
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


def test_a_job_without_a_trace_gets_that_of_its_request(server: MemoryServer) -> None:
    assert _put_traced(server, ("traceparent", TRACE)).json["traceparent"] == TRACE
    assert _put_traced(server, ("traceparent", TRACE), traceparent=OTHER_TRACE).json["traceparent"] == OTHER_TRACE


@pytest.mark.parametrize("trace", [trace for trace in _BAD_TRACES if trace.strip() != TRACE])
def test_a_bad_trace_in_the_header_is_refused(server: MemoryServer, trace: str) -> None:
    answer = _put_traced(server, ("traceparent", trace))
    assert (answer.status, "traceparent" in answer.json["detail"]) == (400, True)
    assert listed(server)["size"] == 0


def test_the_same_request_with_another_trace_is_the_same_job_and_with_other_meta_is_not(server: MemoryServer) -> None:
    first = add(server, uid=UID, meta={"a": 1}, traceparent=TRACE)
    again = put(server, uid=UID, meta={"a": 1}, traceparent=OTHER_TRACE)
    assert (again.status, again.json) == (200, first)
    assert put(server, uid=UID, meta={"a": 2}).status == 409
    assert put(server, uid=UID).status == 409


# Later


@pytest.mark.parametrize("how", ["delay_seconds", "not_before"])
def test_a_delayed_job_is_not_claimed_before_its_time(server: MemoryServer, how: str) -> None:
    due = int(server.clock.seconds()) + 10
    job = add(server, **{how: 10 if how == "delay_seconds" else due})
    assert (job["state"], job["not_before"]) == ("queued", due)
    assert claim(server).status == 204
    server.clock.advance(10)
    assert "not_before" not in peek(server).json


# Once


def _twice(kind: str) -> dict[str, Any]:
    return {"uid": UID} if kind == "uid" else {"headers": {"Idempotency-Key": "order-1 \u00fc"}}


def test_the_error_for_an_invalid_uid_describes_a_valid_one(server: MemoryServer) -> None:
    answer = server.call("PUT", "/api/v1/job", body={"queue_name": "q", "job": {"content": {}, "uid": UID.upper()}})
    assert answer.json["detail"] == "job.uid must be a UUID in lower case."


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


@pytest.mark.parametrize("kind", ["uid", "key"])
def test_adding_another_job_with_the_same_uid_or_key_is_409(server: MemoryServer, kind: str) -> None:
    put(server, **_twice(kind))
    assert put(server, priority=1, **_twice(kind)).status == 409


@pytest.mark.parametrize("keys", [[""], ["k" * 257], ["a", "a"]])
def test_a_bad_idempotency_key_is_refused(server: MemoryServer, keys: list[str]) -> None:
    assert put(server, headers={"Idempotency-Key": keys}).status == 400
    assert listed(server)["size"] == 0


def test_a_uid_and_an_idempotency_key_together_are_refused(server: MemoryServer) -> None:
    assert put(server, uid=UID, headers={"Idempotency-Key": "k"}).status == 400


# Unique


def test_while_a_job_is_unfinished_no_other_with_its_unique_key_is_added(server: MemoryServer) -> None:
    first = add(server, unique_key="k", content={"a": 1})
    again = put(server, unique_key="k", content={"b": 2}, priority=3)
    assert (again.status, again.json) == (200, first)
    assert put(server, unique_key="other").status == 201


def test_a_repeated_add_of_a_claimed_job_shows_no_lease(server: MemoryServer) -> None:
    add(server, unique_key="k")
    lease = hold(server)["lease"]
    assert lease not in put(server, unique_key="k").body.decode()


def test_a_cancelled_job_that_was_read_can_be_added_again(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    change(server, uid, cancel=True)
    shown = read(server, uid).json
    assert (shown["cancelled"], shown["removed_at"]) == (True, shown["last_updated"] + 4_320 * 60)
    server.call("DELETE", "/api/v1/job", query={"queueName": "q", "jobUID": uid})
    again = server.call("PUT", "/api/v1/job", body={"queue_name": "q", "job": shown}).json
    assert (again["uid"], again["state"], again.get("cancelled")) == (uid, "queued", None)
