"""Headers: keys, preferences, ids, encodings."""

import gzip
import json
from typing import Any

import pytest

from tests.doubles import Answer, MemoryServer
from tests.http.connection import Connection, request
from tests.web.asking import add, change, hold, listed, make_queue, read, waiting

UID = "0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11"
MINIMAL = {"Prefer": "return=minimal"}
QUEUE = "/api/v1/queue?name=q"


def _get(server: MemoryServer, headers: Any, path: str = QUEUE) -> Answer:
    return server.call("GET", path, key=None, headers=headers)


# The access key


@pytest.mark.parametrize("value", ["Bearer key", "bearer key", "BEARER key", "Bearer  key"])
def test_the_access_key_is_accepted_as_bearer_token(server: MemoryServer, value: str) -> None:
    assert _get(server, {"Authorization": value}).status == 200
    body = {"queue_name": "q", "job": {"content": {}}}
    assert server.call("PUT", "/api/v1/job", body=body, key=None, headers={"Authorization": value}).status == 201


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer Key"}, 401),
        ({"Authorization": "Bearer"}, 400),
        ({"Authorization": "Bearer "}, 400),
        ({"Authorization": "Basic a2V5OmtleQ=="}, 400),
        ({"Authorization": "key"}, 400),
        ({"Authorization": "Bearerkey"}, 400),
        ({"Authorization": ["Bearer key", "Bearer key"]}, 400),
        ({"Authorization": "Bearer key", "X-Access-Key": "key"}, 400),
        ({"Authorization": "Bearer key", "X-Access-Key": "wrong"}, 400),
        ({"Authorization": "Bearer key", "X-Access-Key": ""}, 400),
        ({"Authorization": "Basic a2V5OmtleQ==", "X-Access-Key": "key"}, 200),
    ],
)
def test_a_request_may_have_only_one_key_in_only_one_header(server: MemoryServer, headers: Any, status: int) -> None:
    assert _get(server, headers).status == status


def test_a_key_with_spaces_is_accepted_as_bearer_token(server: MemoryServer) -> None:
    make_queue(server, "w", key="two  words")
    assert _get(server, {"Authorization": "Bearer two  words"}, "/api/v1/queue?name=w").status == 200
    assert _get(server, {"Authorization": "Bearer two words"}, "/api/v1/queue?name=w").status == 401


def test_the_error_for_a_wrong_key_names_both_schemes(server: MemoryServer) -> None:
    answer = _get(server, {"Authorization": "Bearer wrong"})
    assert answer.headers["WWW-Authenticate"] == 'X-Access-Key realm="queue", Bearer realm="queue"'


def test_wrong_bearer_tokens_count_as_wrong_keys(server: MemoryServer) -> None:
    statuses = [_get(server, {"Authorization": "Bearer wrong"}).status for _ in range(11)]
    assert statuses == [401] * 10 + [429]


# Headers that come twice


@pytest.mark.parametrize("name", ["X-Access-Key", "X-Admin-Key", "Authorization", "Idempotency-Key", "Content-Type"])
def test_the_error_for_a_repeated_header_names_the_header(start: Any, name: str) -> None:
    server = start(admin_key=b"admin")
    value = {"Content-Type": "application/json", "X-Admin-Key": "admin", "Authorization": "Bearer key"}.get(name, "key")
    body = {"queue_name": "q", "job": {"content": {}}}
    key = None if name in ("X-Access-Key", "Authorization") else "key"
    answer = server.call("PUT", "/api/v1/job", body=body, key=key, headers={name: [value, value]})
    assert (answer.status, answer.json["detail"]) == (400, f"The header {name} occurs more than once.")


def test_a_request_with_two_last_event_id_headers_is_refused(server: MemoryServer) -> None:
    answer = server.call("GET", "/api/v1/events?queueName=q", headers={"Last-Event-ID": ["1", "1"]})
    assert answer.status == 400


# Compressed bodies


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "identity, gzip", "x", ["identity", "gzip"]])
def test_a_compressed_body_gets_415_with_the_advice_to_send_it_uncompressed(
    server: MemoryServer, encoding: Any
) -> None:
    body = gzip.compress(json.dumps({"queue_name": "q", "job": {"content": {}}}).encode())
    answer = server.call("PUT", "/api/v1/job", raw=body, headers={"Content-Encoding": encoding})
    assert (answer.status, "without Content-Encoding" in answer.json["detail"]) == (415, True)
    assert listed(server)["size"] == 0


@pytest.mark.parametrize("encoding", ["identity", ""])
def test_a_body_with_content_encoding_identity_is_accepted(server: MemoryServer, encoding: str) -> None:
    body = {"queue_name": "q", "job": {"content": {}}}
    assert server.call("PUT", "/api/v1/job", body=body, headers={"Content-Encoding": encoding}).status == 201


# Ids of requests


@pytest.mark.parametrize("sent", ["a", "A-1_b.c", "x" * 64, "5f0c2a1b-42"])
@pytest.mark.parametrize("path", ["/test", QUEUE, "/none", "/api/v1/queue?name=none"])
def test_a_well_formed_request_id_is_returned_unchanged(server: MemoryServer, sent: str, path: str) -> None:
    assert server.call("GET", path, headers={"X-Request-Id": sent}).headers["X-Request-Id"] == sent


@pytest.mark.parametrize("sent", ["", "a b", "a\u00e9", "x" * 65, "a;b", 'a"', ["a", "a"], "a\tb"])
def test_a_malformed_request_id_is_ignored(server: MemoryServer, sent: Any) -> None:
    given = server.call("GET", "/test", headers={"X-Request-Id": sent}).headers["X-Request-Id"]
    assert given not in (sent, "a")


@pytest.mark.parametrize("connection", ["Connection: keep-alive", "Connection: close", "Cookie: a=b"])
def test_a_request_id_is_returned_by_both_the_fast_and_the_slow_head_parser(
    server: MemoryServer, connection: str
) -> None:
    asked = request("GET", "/test", "X-Request-Id: mine", connection)
    assert b"X-Request-Id: mine\r\n" in Connection(server).send(asked).sent


# Short answers


def _bulk(server: MemoryServer, headers: Any, **body: Any) -> Answer:
    method = "PUT" if "jobs" in body else "POST"
    return server.call(method, "/api/v1/jobs", body={"queue_name": "q", **body}, headers=headers)


def test_an_add_with_return_minimal_gets_a_short_answer(server: MemoryServer) -> None:
    jobs = [{"content": {}, "uid": UID}, {"content": {}, "unique_key": "k"}, {"content": {}, "unique_key": "k"}]
    for statuses in ([201, 201, 200], [200, 200, 200]):
        answer = _bulk(server, MINIMAL, jobs=jobs)
        assert (answer.status, answer.headers["Preference-Applied"]) == (201, "return=minimal")
        assert [job["status"] for job in answer.json["jobs"]] == statuses
        assert all(job.keys() == {"uid", "status"} for job in answer.json["jobs"])
        assert [job["uid"] for job in answer.json["jobs"]] == [UID, *[listed(server)["jobs"][1]["uid"]] * 2]


def test_an_update_with_return_minimal_gets_a_short_answer(server: MemoryServer) -> None:
    first = add(server)["uid"]
    held, again = hold(server, worker="w"), add(server)["uid"]
    updates = [
        {"uid": first, "lease": held["lease"], "new_status": "complete", "result": [1]},
        {"uid": again, "lease": held["lease"], "progress": 1},
        {"uid": UID, "progress": 1},
    ]
    answer = _bulk(server, MINIMAL, updates=updates)
    assert answer.headers["Preference-Applied"] == "return=minimal"
    done, lost, missing = answer.json["results"]
    assert done == {"uid": first, "status": 200}
    assert (lost["status"], lost["state"], "no longer valid" in lost["error"]) == (409, "queued", True)
    assert (missing["status"], "no job" in missing["error"]) == (404, True)
    assert read(server, first).json["result"] == [1]


def test_the_short_answer_to_an_update_shows_a_cancel_request(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    lease = hold(server)["lease"]
    update = {"uid": uid, "lease": lease, "new_status": "inprogress"}
    assert _bulk(server, MINIMAL, updates=[update]).json["results"] == [{"uid": uid, "status": 200}]
    change(server, uid, cancel=True)
    expected = {"uid": uid, "status": 200, "cancel_requested": True}
    assert _bulk(server, MINIMAL, updates=[update]).json["results"] == [expected]


@pytest.mark.parametrize("prefer", ["", "return=representation", "wait=1", "return=minimum", "x=minimal"])
def test_a_bulk_add_without_return_minimal_returns_the_jobs(server: MemoryServer, prefer: str) -> None:
    answer = _bulk(server, {"Prefer": prefer}, jobs=[{"content": {}}])
    assert "Preference-Applied" not in answer.headers
    assert answer.json["jobs"] == listed(server)["jobs"]


@pytest.mark.parametrize("prefer", ["return=minimal, wait=3", "wait=3,Return=minimal", 'return="minimal"'])
def test_return_minimal_is_accepted_among_other_preferences(server: MemoryServer, prefer: str) -> None:
    assert _bulk(server, {"Prefer": prefer}, jobs=[{"content": {}}]).json["jobs"][0].keys() == {"uid", "status"}


# Waits


def test_a_wait_of_60_seconds_is_cut_to_55(server: MemoryServer) -> None:
    uid = add(server, delay_seconds=100)["uid"]
    answers: list[Any] = waiting(server, wait=60)
    for query in (f"job?queueName=q&jobUID={uid}", "job/next?queueName=q&markQueued=true", "job/next?queueName=q"):
        server.ask("GET", f"/api/v1/{query}&wait=60").addBoth(answers.append)
    body = {"queue_name": "q", "job": {"content": {}, "delay_seconds": 100}}
    server.ask("PUT", "/api/v1/job", body=body, headers={"Prefer": "wait=60"}).addBoth(answers.append)
    server.pump()
    server.clock.advance(54.9)
    server.pump()
    assert answers == []
    server.clock.advance(0.1)
    server.pump()
    assert sorted(answer.status for answer in answers) == [200, 201, 204, 204, 204]
