"""Schedules over HTTP: their forms, bad input, and what their readers see."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.doubles import START, Answer, MemoryServer
from tests.web.asking import NO_WORKER, add, change, claim, each, explain, listed, metrics, read, set_up

NIGHTLY: dict[str, Any] = {
    "cron": "0 3 * * *",
    "timezone": "Europe/Berlin",
    "job": {"content": {"report": "sales"}, "priority": 5},
}
#: START is 2027-01-15, 08:00 UTC; the first time is the next day at 02:00 UTC.
FIRST = START + 18 * 3_600
DEFAULTS = {"if_running": "skip", "missed": "once", "missed_seconds": 86_400, "paused": False}


def _put(server: MemoryServer, name: str = "nightly", **more: Any) -> Answer:
    return server.call("PUT", "/api/v1/schedule", body={"queue_name": "q", "name": name, **(more or NIGHTLY)})


def _post(server: MemoryServer, **changes: Any) -> Answer:
    return server.call("POST", "/api/v1/schedule", body={"queue_name": "q", "name": "nightly", **changes})


def _read(server: MemoryServer, method: str = "GET", name: str = "nightly") -> Answer:
    return server.call(method, "/api/v1/schedule", query={"queueName": "q", "name": name})


def _run(server: MemoryServer, **more: Any) -> Answer:
    return server.call("POST", "/api/v1/schedule/run", body={"queue_name": "q", "name": "nightly", **more})


def _list(server: MemoryServer, **query: str) -> Answer:
    return server.call("GET", "/api/v1/schedules", query={"queueName": "q", **query})


def _wait_until(server: MemoryServer, second: float) -> None:
    server.clock.advance(second - server.clock.seconds())
    server.pump()


def test_a_schedule_is_created_replaced_read_and_deleted(server: MemoryServer) -> None:
    created = _put(server)
    assert created.status == 201
    assert created.json == {
        "queue_name": "q",
        "name": "nightly",
        **NIGHTLY,
        **DEFAULTS,
        "created": START,
        "next": [f"2027-01-{day}T03:00:00+01:00" for day in range(16, 21)],
        "firings": [],
        "notes": [],
    }
    assert (_put(server).status, _put(server).json) == (200, created.json)
    server.restart()
    assert _read(server).json == created.json
    assert _read(server, "DELETE").status == 204
    assert (_read(server).status, _read(server, "DELETE").status, _run(server).status) == (404, 404, 404)


def test_a_waiting_claim_gets_the_job_of_a_firing(server: MemoryServer) -> None:
    _put(server)
    server.clock.advance(0)
    got = server.begin("POST", "/api/v1/job/next", body={"queue_names": ["q"], "wait": 50})
    _put(server, every_seconds=30, job={"content": {"a": 1}}, timezone="America/New_York")
    _wait_until(server, START + 30)
    (job,) = got[0].json["jobs"]
    time = "2027-01-15T03:00:30-05:00"
    assert (job["content"], job["meta"]) == ({"a": 1}, {"schedule": {"name": "nightly", "time": time}})
    assert _read(server).json["firings"] == [{"time": time, "uid": job["uid"], "state": "inprogress"}]
    _wait_until(server, START + 60)
    reason = f"The job {job['uid']} is not finished."
    assert _read(server).json["firings"][1] == {"time": "2027-01-15T03:01:00-05:00", "skipped": reason}


def test_explain_names_the_schedule_and_the_time(server: MemoryServer) -> None:
    _put(server)
    _wait_until(server, FIRST)
    uid = _read(server).json["firings"][0]["uid"]
    explained = explain(server, uid)
    added = {"name": "nightly", "time": "2027-01-16T03:00:00+01:00"}
    assert explained["schedule"] == added
    assert explained["reason"] == (
        f"It can be claimed. It is the next.{NO_WORKER} Added by schedule 'nightly' for 2027-01-16T03:00:00+01:00."
    )
    for meta in each({"schedule": 1}, {"schedule": {"name": 1, "time": 2}}, {"schedule": {}}, {}, {"a": "b"}):
        other = add(server, meta=meta)["uid"]
        explained = explain(server, other)
        assert ("schedule" in explained, "Added" in explained["reason"]) == (False, False)


def test_the_notes_of_a_schedule_say_which_times_within_a_year_a_clock_change_affects(
    server: MemoryServer,
) -> None:
    noted = {
        ("30 2 * * *", "Europe/Berlin"): [
            "2027-03-28: 02:30 does not exist; it fires at 03:00",
            "2027-10-31: 02:30 comes twice; it fires the first time only",
        ],
        ("*/20 1-2 * * *", "America/New_York"): [
            "2027-03-14: 02:00 to 02:40 do not exist; they are skipped",
            "2027-11-07: 01:00 to 01:40 come twice; they fire both times",
        ],
        ("0,15 2 * * *", "Europe/Berlin"): [
            "2027-03-28: 02:00 to 02:15 do not exist; it fires once for them, at 03:00",
            "2027-10-31: 02:00 to 02:15 come twice; they fire the first time only",
        ],
        ("0 2 * * *", "UTC"): [],
    }
    for (cron, timezone), notes in noted.items():
        assert _put(server, cron=cron, timezone=timezone, job={"content": {}}).json["notes"] == notes
    assert "notes" not in _list(server).json["schedules"][0]


def test_a_dry_run_shows_a_schedule_and_stores_nothing(server: MemoryServer) -> None:
    shown = _put(server, **NIGHTLY, dry_run=True)
    assert (shown.status, len(shown.json["next"])) == (200, 5)
    assert _list(server).json == {"schedules": [], "next_cursor": None}


def test_a_change_of_some_settings_leaves_the_other_settings_of_a_schedule(server: MemoryServer) -> None:
    _put(server)
    changed = _post(server, cron="0  4 * *  1-5", if_running="add", pause_after_failures=3).json
    assert (changed["cron"], changed["timezone"], changed["next"][0]) == (
        "0 4 * * 1-5",
        "Europe/Berlin",
        "2027-01-18T04:00:00+01:00",
    )
    assert (changed["if_running"], changed["pause_after_failures"], changed["job"]) == ("add", 3, NIGHTLY["job"])
    changed = _post(server, every_seconds=60, pause_after_failures=None).json
    assert ("cron" in changed, changed["every_seconds"], "pause_after_failures" in changed) == (False, 60, False)
    assert _post(server, paused=True).json["next"] == []
    assert _post(server, paused=False).json["next"][0] == "2027-01-15T09:01:00+01:00"


def test_a_schedule_runs_now_and_for_past_times(server: MemoryServer) -> None:
    _put(server, cron="0 * * * *", job={"content": {}}, if_running="add", timezone="Asia/Kolkata")
    ran = _run(server)
    assert (ran.status, ran.json["time"], ran.json["manual"]) == (201, "2027-01-15T13:30:00+05:30", True)
    assert read(server, ran.json["uid"]).json["meta"]["schedule"] == {"name": "nightly", "time": ran.json["time"]}
    span = {"from": START - 1_800, "until": "2027-01-15T09:00:00+01:00"}
    dry = _run(server, **span, dry_run=True)
    assert dry.status == 200
    assert _run(server, **span).json == dry.json
    assert _run(server, **span).json == {**dry.json, "added": 0}
    assert len(dry.json["times"]) == dry.json["matched"] == dry.json["added"]


def test_a_run_repeated_with_its_idempotency_key_adds_no_job(server: MemoryServer) -> None:
    for name in ("nightly", "daily"):
        _put(server, name, **NIGHTLY, if_running="add")

    def run(key: str, name: str = "nightly") -> Answer:
        """Run a schedule now, with an Idempotency-Key."""
        body, headers = {"queue_name": "q", "name": name}, {"Idempotency-Key": key}
        return server.call("POST", "/api/v1/schedule/run", body=body, headers=headers)

    first = run("k")
    server.clock.advance(5)
    again = run("k")
    assert (first.status, again.status, again.json) == (201, 201, first.json)
    uids = {first.json["uid"], run("k", "daily").json["uid"], run("other").json["uid"]}
    assert (len(uids), listed(server)["size"]) == (3, 3)
    assert len(_read(server).json["firings"]) == 2
    assert run("k" * 257).status == 400


def test_running_a_schedule_is_refused_while_its_job_is_unfinished_or_its_queue_takes_no_jobs(
    server: MemoryServer,
) -> None:
    _put(server)
    uid = _run(server).json["uid"]
    refused = _run(server)
    assert (refused.status, uid in refused.json["detail"]) == (409, True)
    change(server, uid, new_status="complete")
    set_up(server, max_jobs=1)
    assert _run(server).status == 429
    set_up(server, max_jobs=0, draining=True)
    assert _run(server).status == 409


def test_a_list_of_schedules_continues_at_its_cursor(server: MemoryServer) -> None:
    for name in ("c", "a", "b"):
        _put(server, name, **NIGHTLY)
    first = _list(server, limit="2")
    assert [one["name"] for one in first.json["schedules"]] == ["a", "b"]
    assert [one["next"] for one in first.json["schedules"]] == [["2027-01-16T03:00:00+01:00"]] * 2
    assert first.json["next_cursor"] in first.headers["Link"]
    second = _list(server, limit="2", cursor=first.json["next_cursor"]).json
    assert ([one["name"] for one in second["schedules"]], second["next_cursor"]) == (["c"], None)
    assert _list(server, cursor="x").status == 400


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"cron": "61 * * * *"}, "cron has '61' as minute"),
        ({"cron": "* 24 * * *"}, "as hour, which must be 0 to 23"),
        ({"cron": "* * 0 * *"}, "as day-of-month"),
        ({"cron": "* * * 13 *"}, "as month"),
        ({"cron": "* * * * FOO"}, "as day-of-week"),
        ({"cron": "* * * *"}, "has 4"),
        ({"cron": "* * * * * *"}, "has 6"),
        ({"cron": "@reboot"}, "@daily"),
        ({"cron": "0 0 31 2 *"}, "never fires"),
        ({"cron": "0 0 */16 * MON#2"}, "never fires"),
        ({"cron": ""}, "cron"),
        ({"cron": "*" * 1_001}, "cron"),
        ({"cron": None}, "Send cron"),
        ({"every_seconds": 60}, "can't be combined"),
        ({"cron": None, "every_seconds": 0}, "every_seconds"),
        ({"cron": None, "every_seconds": 31_622_401}, "every_seconds"),
        ({"timezone": "Europe/Berlim"}, "Did you mean 'Europe/Berlin'?"),
        ({"timezone": "CEST"}, "timezone 'CEST' is not known. Send a name such as Europe/Berlin"),
        ({"timezone": "../etc/passwd"}, "timezone"),
        ({"timezone": "/etc/localtime"}, "timezone"),
        ({"timezone": "Europe"}, "timezone"),
        ({"timezone": "\x00"}, "timezone"),
        ({"if_running": "wait"}, "if_running must be one of skip, add, replace"),
        ({"missed": "some"}, "missed must be one of once, none, all"),
        ({"missed_seconds": -1}, "missed_seconds"),
        ({"pause_after_failures": 0}, "pause_after_failures"),
        ({"paused": 1}, "paused"),
        ({"job": {"content": []}}, "job.content must be a JSON object"),
        ({"job": {"content": {"a": "x" * 65_536}}}, "job.content is longer than 65536 bytes"),
        ({"job": {}}, "content is missing"),
        ({"job": {"content": {}, "uid": "x"}}, "'uid'"),
        ({"job": {"content": {}, "not_before": 1}}, "delay_seconds"),
        ({"job": {"content": {}, "meta": {"schedule": 1}}}, "job.meta must not have a field schedule"),
        ({"job": {"content": {}, "meta": {"a": "x" * 4_050}}}, "job.meta is too long"),
        ({"job": {"content": {}, "unique_key": "u"}, "if_running": "replace"}, "unique_key"),
        ({"content": {}}, "belong in job"),
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name must have at most 200 characters"),
    ],
)
def test_a_malformed_schedule_is_refused_and_the_error_names_the_field(
    server: MemoryServer, fields: dict[str, Any], named: str
) -> None:
    refused = _put(server, **{**NIGHTLY, "name": "nightly", **fields})
    assert (refused.status, named in refused.json["detail"]) == (400, True), refused.json
    assert _list(server).json["schedules"] == []


@pytest.mark.parametrize(
    "fields",
    each(
        {},
        {"from": 0},
        {"until": 0},
        {"dry_run": True},
        {"from": 1, "until": 0},
        {"from": "2027-01-01", "until": START},
        {"from": "2027-01-01T00:00:00", "until": START},
        {"from": "x", "until": START},
        {"from": -1, "until": START},
        {"from": 10**30, "until": START},
        {"from": 0, "until": START + 1},
        {"from": [], "until": START},
    )[1:],
)
def test_a_backfill_with_a_malformed_time_span_is_refused(server: MemoryServer, fields: dict[str, Any]) -> None:
    _put(server)
    assert _run(server, **fields).status == 400


def test_a_change_that_contradicts_the_stored_schedule_is_a_conflict(server: MemoryServer) -> None:
    _put(server, **NIGHTLY, if_running="replace")
    keyed = {"content": {}, "unique_key": "u"}
    refused = _post(server, job=keyed)
    assert (refused.status, "Send 'skip' or 'add' too" in refused.json["detail"]) == (409, True)
    assert _post(server, job=keyed, if_running="replace").status == 400
    assert _post(server, job=keyed, if_running="skip").status == 200
    assert _post(server, if_running="replace").status == 409


def test_a_change_without_any_setting_is_refused(server: MemoryServer) -> None:
    _put(server)
    assert _post(server).status == 400


def test_in_schedule_calls_name_and_queue_name_mean_different_things(server: MemoryServer) -> None:
    """In other calls `name` and `queue_name` mean the same; here they differ."""
    _put(server)
    assert server.call("GET", "/api/v1/schedule", query={"queue_name": "q", "name": "nightly"}).status == 200
    body = {"queue_name": "q", "name": "nightly", **NIGHTLY, "job": {"content": {}, "name": "x"}}
    assert "'name' in job" in server.call("PUT", "/api/v1/schedule", body=body).json["detail"]


def test_consecutive_failures_pause_a_schedule(server: MemoryServer) -> None:
    _put(server, every_seconds=60, job={"content": {}}, pause_after_failures=1)
    _wait_until(server, START + 60)
    change(server, claim(server).json["uid"], new_status="failed")
    assert _read(server).json["failures"] == 1
    _wait_until(server, START + 120)
    shown = _read(server).json
    assert (shown["paused"], shown["paused_by_failures"], shown["next"]) == (True, True, [])


def test_missed_times_are_shown_as_one_entry(start: Callable[..., MemoryServer]) -> None:
    server = start()
    _put(server, cron="0 * * * *", job={"content": {}})
    server.stop()
    server.clock.advance(3 * 86_400 + 60)
    server.start()
    skipped, fired = _read(server).json["firings"]
    assert skipped == {
        "time": "2027-01-15T09:00:00+00:00",
        "skipped": "It was missed.",
        "times": 71,
        "until": "2027-01-18T07:00:00+00:00",
    }
    assert (fired["time"], fired["state"]) == ("2027-01-18T08:00:00+00:00", "queued")


def test_metrics_count_firings_and_skips_and_show_late_and_failing_schedules(server: MemoryServer) -> None:
    _put(server, every_seconds=60, job={"content": {}}, pause_after_failures=1)
    for minute in (1, 2):
        _wait_until(server, START + 60 * minute)
    uid = claim(server).json["uid"]
    change(server, uid, new_status="failed")
    _wait_until(server, START + 180)
    found = metrics(server)
    assert 'jobengine_schedule_fired_total{queue="q"} 1\n' in found
    assert 'jobengine_schedule_skipped_total{queue="q"} 2\n' in found
    assert 'jobengine_schedule_late_seconds{queue="q"} 0.0\n' in found
    assert 'jobengine_schedules_paused_by_failures{queue="q"} 1\n' in found
