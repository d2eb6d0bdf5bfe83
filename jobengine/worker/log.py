"""The worker's log: one line for each ended job, as text or as JSON with fields."""

import json
from datetime import UTC, datetime, timedelta
from logging import Formatter, LogRecord
from typing import Any, Final

from .actions import Hold

#: The log's names for reported states.
_OUTCOMES: Final = {"complete": "complete", "failed": "failed", "queued": "released"}
#: The longest delay of a retry, in seconds, and the number of attempts after which the delay stops doubling; as in the
#: server.
_DAY: Final = 86400
_DOUBLINGS: Final = 17
#: The attributes that every record has; a record's other attributes are fields.
_OF_EVERY_RECORD: Final = frozenset(LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName"}


def end_fields(hold: Hold, note: str, seconds: float, now: float) -> dict[str, Any]:
    """
    The fields of the log line for a job that the worker no longer holds. `note` is the reason why the outcome was
    discarded, or empty. `seconds` is how long the handler ran; `now` is in Unix seconds.
    """
    changes = hold.changes or {}
    outcome = "waiting" if "wait_for" in changes else _OUTCOMES[changes.get("new_status", "failed")]
    if note:
        outcome = "discarded"
    elif outcome == "failed" and hold.interrupted:
        outcome = "cancelled"
    return {
        "queue": hold.claimed.queue.name,
        "uid": hold.claimed.uid,
        "attempt": hold.claimed.attempts,
        "outcome": outcome,
        "seconds": round(seconds, 3),
        "error_type": hold.error_type,
        "retry_at": None if note else _retry_at(hold, now),
    }


def _retry_at(hold: Hold, now: float) -> str | None:
    """When the job will be retried, without the server's jitter; None if there is no retry."""
    changes = hold.changes or {}
    state, job = changes.get("new_status"), hold.claimed.job
    if "wait_for" in changes:
        return None
    if state == "queued":
        delay = max(map(_seconds, (changes.get("delay_seconds", 0), changes.get("hold_seconds", 0))))
    elif hold.is_retried:
        delay = min(job.retry_delay.total_seconds() * 2 ** min(job.attempts - 1, _DOUBLINGS), _DAY)
    else:
        return None
    try:
        return _utc(now + delay, "seconds")
    except (OverflowError, ValueError):  # after the year 9999
        return None


def _seconds(span: float | timedelta) -> float:
    return span.total_seconds() if isinstance(span, timedelta) else span


def end_message(fields: dict[str, Any], note: str) -> str:
    """The text of the log line with these fields."""
    error_type, retry_at = fields["error_type"], (fields["retry_at"] or "").replace("+00:00", "Z")
    return (
        f"{fields['queue']} {fields['uid']}, attempt {fields['attempt']}: {note or fields['outcome']}, "
        f"after {fields['seconds']:.3f} s"
        + (f", with {error_type}" if error_type else "")
        + (f"; to be tried again at {retry_at}" if retry_at else "")
    )


def _utc(time: float, precision: str) -> str:
    """RFC 3339, in UTC."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec=precision)


class JsonFormatter(Formatter):
    """
    Formats a record of `logging` as a line of JSON: time (RFC 3339), level, logger, message, and the record's fields.

    The fields of the worker's lines are queue, uid, attempt, outcome, seconds, error_type and retry_at; those of your
    own lines come from `extra`. A traceback is in `traceback`.
    """

    def format(self, record: LogRecord) -> str:
        """The record as JSON, without a line end."""
        head = {
            "time": _utc(record.created, "milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = {name: value for name, value in record.__dict__.items() if name not in _OF_EVERY_RECORD}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps({**fields, **head}, default=str)
