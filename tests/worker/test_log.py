"""Lines of the worker's log: their fields, their text, and lines of JSON."""

import asyncio
import json
import logging
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobengine.client import Job
from jobengine.client.jobs import JobChanges
from jobengine.worker import JsonFormatter
from jobengine.worker.actions import Ended, Hold
from jobengine.worker.event_loop import WorkerLoop
from jobengine.worker.log import end_fields, end_message
from jobengine.worker.outcomes import Outcome

#: 2027-01-15T08:00:00Z
NOW = 1800000000.0


def _hold(
    changes: JobChanges,
    *,
    interrupted: bool = False,
    cancelled: bool = False,
    error_type: str | None = None,
    **job: Any,
) -> Hold:
    raw = {"uid": "u", "attempts": 2, "max_attempts": 3, "retry_delay_seconds": 30, **job}
    claimed = SimpleNamespace(queue=SimpleNamespace(name="mail"), uid="u", job=Job(raw), beat_seconds=1)
    claimed.attempts, claimed.cancel_requested = claimed.job.attempts, cancelled
    hold = Hold(claimed, 0)
    hold.changes, hold.interrupted, hold.error_type = changes, interrupted, error_type
    return hold


_IN_A_MINUTE = "2027-01-15T08:01:00+00:00"
FAILED: JobChanges = {"new_status": "failed", "error": "bad"}
WAITING: Outcome = {"new_status": "queued", "wait_for": [{"uid": "v", "content": {}}]}


@pytest.mark.parametrize(
    ("hold", "note", "outcome", "retry_at"),
    [
        (_hold({"new_status": "complete"}), "", "complete", None),
        (_hold(FAILED), "", "failed", _IN_A_MINUTE),
        (_hold(FAILED, attempts=1), "", "failed", "2027-01-15T08:00:30+00:00"),
        (_hold(FAILED, attempts=60, max_attempts=99), "", "failed", "2027-01-16T08:00:00+00:00"),
        (_hold(FAILED, attempts=3), "", "failed", None),
        (_hold({**FAILED, "retry": False}), "", "failed", None),
        (_hold(FAILED, cancelled=True), "", "failed", None),
        (_hold({**FAILED, "retry": False}, interrupted=True), "", "cancelled", None),
        (_hold({"new_status": "queued"}), "", "released", "2027-01-15T08:00:00+00:00"),
        (_hold({"new_status": "queued", "delay_seconds": 5.5}), "", "released", "2027-01-15T08:00:05+00:00"),
        (_hold({"new_status": "queued", "delay_seconds": 5.5, "hold_seconds": 60}), "", "released", _IN_A_MINUTE),
        (_hold({"new_status": "queued", "delay_seconds": 1e300}), "", "released", None),
        (_hold(WAITING), "", "waiting", None),
        (_hold(FAILED), "the lease was lost", "discarded", None),
    ],
)
def test_the_log_fields_of_a_finished_job_have_its_outcome_and_retry_time(
    hold: Hold, note: str, outcome: str, retry_at: str | None
) -> None:
    fields = end_fields(hold, note, 0.12345, NOW)
    assert (fields["outcome"], fields["retry_at"]) == (outcome, retry_at)
    assert [fields[name] for name in ("queue", "uid", "attempt", "seconds")] == [
        "mail",
        "u",
        hold.claimed.attempts,
        0.123,
    ]


@pytest.mark.parametrize(
    ("hold", "note", "text"),
    [
        (_hold({"new_status": "complete"}), "", "mail u, attempt 2: complete, after 0.123 s"),
        (
            _hold(FAILED, error_type="OSError"),
            "",
            "mail u, attempt 2: failed, after 0.123 s, with OSError; to be tried again at 2027-01-15T08:01:00Z",
        ),
        (_hold(FAILED), "the lease was lost", "mail u, attempt 2: the lease was lost, after 0.123 s"),
    ],
)
def test_the_log_message_has_queue_uid_attempt_outcome_and_seconds(hold: Hold, note: str, text: str) -> None:
    assert end_message(end_fields(hold, note, 0.123, NOW), note) == text


@pytest.mark.parametrize(("ended", "seconds"), [(True, 2.0), (False, 9.0)])
def test_the_running_time_in_the_log_excludes_the_time_of_the_report(
    caplog: pytest.LogCaptureFixture, *, ended: bool, seconds: float
) -> None:
    """The running time of a handler that goes on after its job was released ends at the release."""
    caplog.set_level(logging.INFO, "jobengine.worker")
    hold, now = _hold(FAILED), [100.0]

    async def live() -> None:
        supervisor: Any = SimpleNamespace(finished=lambda *_: None)
        loop = WorkerLoop(cast("Any", None), [["mail"]], supervisor, name="w", tags=[])
        loop._loop = cast("Any", SimpleNamespace(time=lambda: now[0], call_soon=lambda _: None))
        hold.began = now[0]
        now[0] += 2
        if ended:
            loop._ended([(hold, {"new_status": "complete"})])
        now[0] += 7
        loop._log_end(Ended([hold], ""))

    asyncio.run(live())
    assert [vars(record)["seconds"] for record in caplog.records] == [seconds]


@pytest.mark.parametrize(("late", "count"), [(0.9, 0), (1.25, 1)])
def test_a_blocked_event_loop_is_logged_after_a_second(
    caplog: pytest.LogCaptureFixture, late: float, count: int
) -> None:
    now = [100.0]

    def call_at(at: float, _: object) -> Any:
        return SimpleNamespace(when=lambda: at)

    async def live() -> None:
        loop = WorkerLoop(cast("Any", None), [["mail"]], cast("Any", None), name="w", tags=[])
        loop._loop = cast("Any", SimpleNamespace(time=lambda: now[0], call_at=call_at, call_soon=lambda _: None))
        loop._set_alarm(101)
        now[0] = 101 + late
        loop._ring()

    asyncio.run(live())
    assert len(caplog.records) == count
    assert all("The event loop was blocked for 1.2 seconds or more" in line for line in caplog.messages)


def _record(message: str, *arguments: Any, exc_info: Any = None, **fields: Any) -> logging.LogRecord:
    return logging.getLogger("jobengine.worker").makeRecord(
        "jobengine.worker", logging.WARNING, "", 0, message, arguments, exc_info, extra=fields
    )


def test_the_json_formatter_writes_a_record_and_its_fields_as_one_line() -> None:
    record = _record("%s\n\x9b", "hello", queue="mail", retry_at=None, other={1})
    record.created = NOW + 0.25
    line = JsonFormatter().format(record)
    assert line.isprintable()
    assert line.isascii()
    assert json.loads(line) == {
        "time": "2027-01-15T08:00:00.250+00:00",
        "level": "warning",
        "logger": "jobengine.worker",
        "message": "hello\n\x9b",
        "queue": "mail",
        "retry_at": None,
        "other": "{1}",
    }


def test_the_json_formatter_writes_a_traceback_as_a_field() -> None:
    try:
        raise OSError("no")
    except OSError:
        line = JsonFormatter().format(_record("failed", exc_info=sys.exc_info()))
    assert "\n" not in line
    assert json.loads(line)["traceback"].endswith("OSError: no")
