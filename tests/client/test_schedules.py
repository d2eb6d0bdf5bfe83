"""What the client sends about schedules, and how it reads the answers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobengine.client import (
    Conflict,
    Firing,
    NotJobEngine,
    OutcomeUnknown,
    QueueNotFound,
    Schedule,
    ScheduleNotFound,
)
from jobengine.client.http_codec import Broken, Response

from .doubles import answer, body_of, queue_with

_SCHEDULE = {
    "queue_name": "q",
    "name": "nightly",
    "cron": "0 3 * * *",
    "timezone": "Europe/Berlin",
    "job": {"content": {"a": 1}, "priority": 5},
    "if_running": "add",
    "missed": "all",
    "missed_seconds": 3_600,
    "pause_after_failures": 3,
    "failures": 2,
    "paused": True,
    "paused_by_failures": True,
    "created": 1_800_000_000,
    "next": ["2027-03-28T03:00:00+02:00"],
    "notes": ["2027-03-28: 02:30 does not exist; it fires at 03:00"],
    "firings": [
        {
            "time": "2027-01-15T03:00:00+01:00",
            "skipped": "It was missed.",
            "times": 3,
            "until": "2027-01-17T03:00:00+01:00",
        },
        {"time": "2027-01-18T03:00:00+01:00", "uid": "u", "state": "failed", "manual": True},
    ],
}
_NAMED = {"queue_name": "q", "name": "nightly"}
_MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"cron": "@daily", "content": {"a": 1}}, {"cron": "@daily", "job": {"content": {"a": 1}}}),
        (
            {"every_seconds": _MINUTE, "missed": "once", "missed_seconds": 90.5, "content": {}},
            {"every_seconds": 60, "missed": "once", "missed_seconds": 91, "job": {"content": {}}},
        ),
        (
            {"cron": "@daily", "content": {}, "tags": ("a",), "timeout_seconds": _MINUTE, "group": "g", "priority": 2},
            {
                "cron": "@daily",
                "job": {"content": {}, "tags": ["a"], "timeout_seconds": 60, "group": "g", "priority": 2},
            },
        ),
        (
            {"cron": "@daily", "content": {}, "paused": False, "pause_after_failures": None, "dry_run": True},
            {"cron": "@daily", "job": {"content": {}}, "paused": False, "pause_after_failures": None, "dry_run": True},
        ),
    ],
)
def test_schedule_sends_the_options_of_its_jobs_in_the_field_job(given: dict[str, Any], sent: dict[str, Any]) -> None:
    queue, pool = queue_with([answer(201, _SCHEDULE)])
    queue.schedule("nightly", **given)
    (request,) = pool.requests
    assert (request.method, request.path, body_of(request)) == ("PUT", "/api/v1/schedule", {**_NAMED, **sent})


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"crom": "@daily", "content": {}}, "did you mean 'cron'"),
        ({"uid": "u", "content": {}}, "'uid' is not known"),
        ({"tags": "a", "content": {}}, "list of words"),
        ({"content": []}, "must be a dict"),
    ],
)
def test_a_wrong_option_is_a_type_error(given: dict[str, Any], named: str) -> None:
    queue, pool = queue_with([])
    with pytest.raises(TypeError, match=named):
        queue.schedule("nightly", **given)
    assert pool.requests == []


def test_setting_a_schedule_is_repeated_if_the_answer_is_lost() -> None:
    queue, pool = queue_with([Broken("cut"), answer(200, _SCHEDULE)], retry_for=60)
    assert queue.schedule("nightly", {}, cron="@daily") == Schedule(_SCHEDULE)
    assert len(pool.requests) == 2


def test_a_schedule_has_its_settings_times_and_firings() -> None:
    queue, pool = queue_with([answer(200, _SCHEDULE), answer(200, {"name": "n", "every_seconds": 60})])
    read, bare = queue.schedules.get("nightly"), queue.schedules.get("n")
    assert pool.requests[0].query == {"queueName": "q", "name": "nightly"}
    assert (read.queue_name, read.name, read.cron, read.every) == ("q", "nightly", "0 3 * * *", None)
    assert (read.timezone, read.job, read.if_running) == ("Europe/Berlin", _SCHEDULE["job"], "add")
    assert (read.missed, read.missed_within, read.pause_after_failures) == ("all", timedelta(hours=1), 3)
    assert (read.failures, read.paused, read.paused_by_failures) == (2, True, True)
    assert read.created == datetime(2027, 1, 15, 8, tzinfo=UTC)
    assert [time.isoformat() for time in read.next] == ["2027-03-28T03:00:00+02:00"]
    assert read.notes == ("2027-03-28: 02:30 does not exist; it fires at 03:00",)
    skipped, fired = read.firings
    assert (skipped.uid, skipped.skipped, skipped.times) == (None, "It was missed.", 3)
    assert skipped.until == datetime(2027, 1, 17, 2, tzinfo=UTC)
    assert (fired.time, fired.uid, fired.state) == (datetime(2027, 1, 18, 2, tzinfo=UTC), "u", "failed")
    assert (fired.manual, skipped.manual, fired.times, fired.until) == (True, False, 1, None)
    assert (bare.every, bare.next, bare.firings, bare.failures) == (_MINUTE, (), (), 0)


def test_a_change_of_a_schedule_sends_only_the_given_settings() -> None:
    queue, pool = queue_with(lambda request: answer(200, _SCHEDULE))
    queue.schedules.change("nightly", cron="@weekly", pause_after_failures=None)
    queue.schedules.change("nightly", {"b": 2}, priority=1)
    queue.schedules.pause("nightly")
    queue.schedules.resume("nightly")
    assert [body_of(request) for request in pool.requests] == [
        {**_NAMED, "cron": "@weekly", "pause_after_failures": None},
        {**_NAMED, "job": {"content": {"b": 2}, "priority": 1}},
        {**_NAMED, "paused": True},
        {**_NAMED, "paused": False},
    ]
    with pytest.raises(TypeError, match="priority can't be changed alone"):
        queue.schedules.change("nightly", priority=1)


def test_a_run_is_not_repeated_when_its_answer_is_lost() -> None:
    firing = {"time": "2027-01-15T09:00:00+01:00", "uid": "u", "manual": True}
    queue, pool = queue_with([answer(201, firing), Broken("cut"), answer(409, {"detail": "One runs."})], 60)
    assert queue.schedules.run("nightly") == Firing(firing)
    for error in (OutcomeUnknown, Conflict):
        with pytest.raises(error):
            queue.schedules.run("nightly")
    assert [body_of(request) for request in pool.requests] == [_NAMED] * 3


def test_a_backfill_sends_whole_seconds_inside_its_span_and_may_be_repeated() -> None:
    found = {"matched": 2, "added": 1, "times": ["2027-01-14T03:00:00+01:00", "2027-01-15T03:00:00+01:00"]}
    queue, pool = queue_with([Broken("cut"), answer(200, found), answer(200, found)], 60)
    end = datetime(2027, 1, 15, 8, 0, 0, 900_000, tzinfo=UTC)
    read = queue.schedules.backfill("nightly", 1_799_999_000.1, end)
    assert (read.matched, read.added, read.times[1]) == (2, 1, datetime(2027, 1, 15, 2, tzinfo=UTC))
    queue.schedules.backfill("nightly", end - _MINUTE, 1_800_000_000.9, dry_run=True)
    span = {**_NAMED, "from": 1_799_999_001, "until": 1_800_000_000}
    assert [body_of(request) for request in pool.requests[:2]] == [span] * 2
    assert body_of(pool.requests[2]) == {**span, "from": 1_799_999_941, "dry_run": True}


def test_a_deletion_sends_the_name_of_the_schedule() -> None:
    queue, pool = queue_with([Response(204, {}, b"")])
    queue.schedules.delete("nightly")
    (request,) = pool.requests
    assert (request.method, request.path, request.query) == (
        "DELETE",
        "/api/v1/schedule",
        {"queueName": "q", "name": "nightly"},
    )


@pytest.mark.parametrize(
    ("detail", "error"),
    [("The queue has no schedule 'n'.", ScheduleNotFound), ("There is no queue 'q'.", QueueNotFound)],
)
def test_a_missing_schedule_is_distinguished_from_a_missing_queue(detail: str, error: type[Exception]) -> None:
    for method in ("get", "pause", "delete", "run"):
        queue, _ = queue_with([answer(404, {"detail": detail})])
        with pytest.raises(error):
            getattr(queue.schedules, method)("n")


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"name": ""},
        {"name": "n", "next": ["soon"]},
        {"name": "n", "next": "2027-03-28T03:00:00+02:00"},
        {"name": "n", "firings": [{}]},
        {"name": "n", "firings": [{"time": 1_800_000_000}]},
    ],
)
def test_an_answer_with_a_malformed_schedule_is_refused_as_not_from_a_jobengine(wrong: Any) -> None:
    queue, _ = queue_with([answer(200, wrong), answer(200, {"schedules": [wrong], "next_cursor": None})])
    with pytest.raises(NotJobEngine):
        queue.schedules.get("n")
    with pytest.raises(NotJobEngine):
        list(queue.schedules.list())
