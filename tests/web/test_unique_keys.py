"""Unique keys with rules: `unique` and `debounce` of a job."""

import json
from typing import Any

import pytest

from jobengine.wire.time_text import time_text
from tests.doubles import Answer, MemoryServer
from tests.web.asking import add, claim, each, explain, listed, put, read, update

UID = "0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11"


def test_a_unique_key_rule_is_shown_without_default_values(server: MemoryServer) -> None:
    unique = {"key": "k", "seconds": 60, "if_queued": "replace", "if_running": "add"}
    job = add(server, unique=unique, debounce={"seconds": 5})
    assert (job["unique"], job["debounce"]) == (unique, {"seconds": 5, "at_most_seconds": 50})
    assert "unique_key" not in job
    server.restart()
    assert read(server, job["uid"]).json == job


@pytest.mark.parametrize("rule", [{}, {"until": "finished", "seconds": 0, "if_queued": "keep", "if_running": "keep"}])
def test_a_unique_key_rule_with_only_a_key_equals_the_short_form(server: MemoryServer, rule: dict[str, Any]) -> None:
    job = add(server, unique={"key": "k", **rule})
    assert (job["unique_key"], "unique" in job) == ("k", False)


def test_an_add_that_replaces_a_job_answers_200_with_the_new_state_of_the_job(server: MemoryServer) -> None:
    first = add(server, {"n": 1}, unique_key="k", priority=3)
    answer = put(server, content={"n": 2}, unique={"key": "k", "if_queued": "replace"}, tags=["t"])
    assert answer.status == 200
    assert answer.json["replaced"] is True
    assert {name: answer.json[name] for name in ("uid", "created", "content", "priority", "tags")} == {
        "uid": first["uid"],
        "created": first["created"],
        "content": {"n": 2},
        "priority": 0,
        "tags": ["t"],
    }
    assert "replaced" not in read(server, first["uid"]).json
    assert "replaced" not in put(server, unique_key="k").json


def test_a_bulk_add_names_the_replaced_jobs(server: MemoryServer) -> None:
    jobs = [{"content": {"n": n}, "unique": {"key": key, "if_queued": "replace"}} for n, key in enumerate("aba")]
    body = {"queue_name": "q", "jobs": jobs}
    answer = server.call("PUT", "/api/v1/jobs", body=body)
    assert [one.get("replaced") for one in answer.json["jobs"]] == [None, None, True]
    brief = server.call("PUT", "/api/v1/jobs", body=body, headers={"Prefer": "return=minimal"}).json["jobs"]
    assert [(one["status"], one.get("replaced")) for one in brief] == [(200, True)] * 3
    assert sorted(job["content"]["n"] for job in listed(server)["jobs"]) == [1, 2]


def test_an_add_that_waits_returns_the_outcome_and_whether_it_replaced_a_job(server: MemoryServer) -> None:
    add(server, unique_key="k")
    body = {"queue_name": "q", "job": {"content": {}, "unique": {"key": "k", "if_queued": "replace"}}}
    answers: list[Answer] = []
    server.ask("PUT", "/api/v1/job", body=body, headers={"Prefer": "wait=30"}).addCallback(answers.append)
    server.pump()
    update(server, claim(server).json["uid"], "complete")
    (answer,) = answers
    assert (answer.json["state"], answer.json["replaced"]) == ("complete", True)


def test_a_job_from_an_answer_can_be_sent_back_to_add_it_again(server: MemoryServer) -> None:
    job: Any = put(server, unique={"key": "k", "until": "started"}, debounce={"seconds": 5}).json
    again: dict[str, Any] = {**job, "uid": None, "replaced": True}
    answer = put(server, **again)
    assert (answer.status, answer.json["uid"], answer.json["replaced"]) == (200, job["uid"], True)


@pytest.mark.parametrize(
    ("job", "detail"),
    [
        ({"unique": {"key": "k"}, "unique_key": "k"}, "job: unique_key is the short form of unique; send one of them."),
        ({"debounce": {"seconds": 1}}, "job.debounce needs unique or unique_key"),
        ({"unique": {}}, "job.unique.key is missing."),
        ({"unique": {"key": "k", "until": "claimed"}}, "job.unique.until must be one of finished, started."),
        ({"unique": {"key": "k", "if_queued": "add"}}, "job.unique.if_queued must be one of keep, replace."),
        ({"unique": {"key": "k", "if_running": "skip"}}, "job.unique.if_running must be one of keep, add."),
        ({"unique": {"key": "k", "until": "started", "seconds": 1}}, "job.unique.seconds are counted from the end"),
        ({"unique": {"key": "k", "second": 1}}, "There is no field 'second' in job.unique. Did you mean 'seconds'?"),
        ({"unique": {"key": "k", "seconds": 31_622_401}}, "job.unique.seconds must be at most 31622400."),
        ({"unique_key": "k", "debounce": {}}, "job.debounce.seconds is missing."),
        ({"unique_key": "k", "debounce": {"seconds": 0}}, "job.debounce.seconds must be 1 or more."),
        (
            {"unique_key": "k", "debounce": {"seconds": 5, "at_most_seconds": 4}},
            "must be at least 5, the debounce's seconds.",
        ),
        ({"unique_key": "k", "debounce": {"seconds": 5}, "delay_seconds": 1}, "leave out delay_seconds."),
        ({"unique": {"key": "k", "if_queued": "keep"}, "debounce": {"seconds": 5}}, 'if_queued must not be "keep".'),
        ({"unique": {"key": "k", "if_queued": "replace"}, "depends_on": [UID]}, "can't replace a queued job"),
        ({"unique_key": "k", "debounce": {"seconds": 5}, "batch": "b"}, "can't replace a queued job"),
    ],
)
def test_the_error_for_contradicting_unique_key_options_names_the_options(
    server: MemoryServer, job: dict[str, Any], detail: str
) -> None:
    answer = put(server, **job)
    assert answer.status == 400
    assert detail in answer.json["detail"]
    body = {"queue_name": "q", "jobs": [{"content": {}}, {"content": {}, **job}]}
    many = server.call("PUT", "/api/v1/jobs", raw=json.dumps(body).encode())
    assert (many.status, many.json["index"]) == (400, 1)
    assert listed(server)["size"] == 0


@pytest.mark.parametrize("unique", each("k", 1, [], {"key": ""}, {"key": "k" * 257}, {"key": "k", "seconds": -1}))
def test_a_malformed_unique_key_rule_is_refused(server: MemoryServer, unique: Any) -> None:
    assert put(server, unique=unique).status == 400


def test_a_job_that_replaces_another_job_is_refused_in_a_bulk_add_with_a_batch(server: MemoryServer) -> None:
    server.call("PUT", "/api/v1/batch", body={"queue_name": "q", "name": "b"})
    job = {"content": {}, "unique": {"key": "k", "if_queued": "replace"}}
    answer = server.call("PUT", "/api/v1/jobs", body={"queue_name": "q", "batch": "b", "jobs": [job]})
    assert answer.status == 400


# Explained


def test_explain_shows_until_when_a_finished_job_holds_its_unique_key(server: MemoryServer) -> None:
    uid = add(server, unique={"key": "k", "seconds": 60})["uid"]
    update(server, uid, "complete")
    until = int(server.clock.seconds()) + 60
    explained = explain(server, uid)
    assert explained["key_held_until"] == until
    assert f"It holds its unique key until {time_text(until)}:" in explained["reason"]
    server.clock.advance(60)
    explained = explain(server, uid)
    assert "key_held_until" not in explained
    assert "unique key" not in explained["reason"]


def test_explain_of_a_debounced_job_shows_the_latest_end_of_its_delay(server: MemoryServer) -> None:
    now = int(server.clock.seconds())
    uid = add(server, unique_key="k", debounce={"seconds": 5, "at_most_seconds": 8})["uid"]
    assert explain(server, uid)["reason"] == (
        f"It can't be claimed before {time_text(now + 5)}. Each add with its unique key delays it by 5 seconds, until "
        f"{time_text(now + 8)} at the latest."
    )
    server.clock.advance(5)
    assert "delays it" not in explain(server, uid)["reason"]
