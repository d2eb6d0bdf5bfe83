"""What a client says of a job, as JSON: new ones, and changes."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Final, Literal, TypedDict, Unpack
from uuid import uuid4

from msgspec.json import encode as encode_fast

__all__ = [
    "ERROR_LENGTH",
    "JobChanges",
    "JobFilter",
    "JobOptions",
    "JobOrder",
    "NewJob",
    "changes_json",
    "changes_of_all",
    "changes_value",
    "encode",
    "filter_query",
    "filter_value",
    "job_json",
]

#: Characters of the longest error that the server takes; of a longer one the end is sent, which says what it was.
ERROR_LENGTH: Final = 4096
#: Seconds, or a span of time.
Span = float | timedelta
#: Unix seconds, or a time; one without a zone is the local one.
Moment = float | datetime


#: By which time jobs are listed; with a "-" the newest come first.
JobOrder = Literal["created", "-created", "updated", "-updated"]


class JobOptions(TypedDict, total=False):
    """What can be said of a new job beside its content."""

    #: Higher goes first; 0 if it is left out.
    priority: int
    #: Minutes that it is kept when it is finished.
    keep_minutes: Span
    #: Minutes in progress without an update until it counts as failed.
    timeout_minutes: Span
    #: The same in seconds.
    timeout_seconds: Span
    #: When it is removed if it is still queued.
    timeout_time: Moment
    #: Words to find it by, and to claim it by.
    tags: Sequence[str]
    #: How often it is tried.
    max_attempts: int
    #: Seconds before the second attempt, doubled at each one after it.
    retry_delay_seconds: Span
    #: While a job with this key is queued or in progress, an add answers with that job.
    unique_key: str
    #: Seconds from now on in which it is not to be claimed.
    delay_seconds: Span
    #: When it can be claimed at the earliest.
    not_before: Moment
    #: Names it; a new one is made if it is left out.
    uid: str
    #: A JSON object that is kept untouched.
    meta: Mapping[str, Any]
    #: The trace that it belongs to (W3C Trace Context).
    traceparent: str


class JobChanges(TypedDict, total=False):
    """What can be changed of a job; what is left out stays as it is."""

    #: queued, inprogress, complete or failed.
    new_status: str
    #: Whether a failure may be tried again; it may if this is left out.
    retry: bool
    #: In per cent.
    progress: int
    #: What came of it; any JSON.
    result: Any
    #: What went wrong.
    error: str
    priority: int
    content: Mapping[str, Any]
    tags: Sequence[str]
    timeout_time: Moment
    #: Seconds from now on in which it is not to be claimed.
    delay_seconds: Span
    #: The lease under which it is held.
    lease: str


class JobFilter(TypedDict, total=False):
    """Which jobs are meant: those to which all of it applies."""

    #: queued, inprogress, complete or failed.
    state: str
    #: With this tag.
    tag: str
    #: With this text in their content.
    q: str
    #: Held, or last held, by this worker.
    worker: str
    #: With this text in their error.
    error: str
    #: Added longer ago than so many seconds.
    older_than: Span
    #: Not updated for so many seconds.
    updated_before: Span


class NewJob:
    """A job that is to be added, with what is said of it alone."""

    __slots__ = ("content", "options")

    def __init__(self, content: Mapping[str, Any], **options: Unpack[JobOptions]) -> None:
        self.content = content
        self.options = options

    def __repr__(self) -> str:
        return f"NewJob({', '.join(f'{name}={value!r}' for name, value in self.options.items())})"


#: NaN is no JSON, and the server takes UTF-8.
encode_text: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


_encode_keys: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=lambda key: key.reveal()
).encode


def encode(value: Any) -> bytes:
    """The body of a call, in which there may be a Secret."""
    return _encode_keys(value).encode()


def _whole_seconds(value: Span) -> int:
    return ceil(value.total_seconds()) if isinstance(value, timedelta) else ceil(value)


def _whole_minutes(value: Span) -> int:
    return ceil(value.total_seconds() / 60) if isinstance(value, timedelta) else ceil(value)


def _unix(value: Moment) -> int:
    return ceil(value.timestamp()) if isinstance(value, datetime) else ceil(value)


def _words(value: Sequence[str]) -> list[str]:
    if isinstance(value, str):
        raise TypeError("tags is a list of words, not one text")
    return list(value)


#: How those are written that the wire has in another form.
_WRITE: Final[Mapping[str, Callable[[Any], Any]]] = {
    "keep_minutes": _whole_minutes,
    "timeout_minutes": _whole_minutes,
    "timeout_seconds": _whole_seconds,
    "timeout_time": _unix,
    "tags": _words,
    "retry_delay_seconds": _whole_seconds,
    "delay_seconds": _whole_seconds,
    "not_before": _unix,
    "older_than": _whole_seconds,
    "updated_before": _whole_seconds,
}
_OPTIONS: Final = JobOptions.__optional_keys__
_CHANGES: Final = JobChanges.__optional_keys__
_FILTERS: Final = JobFilter.__optional_keys__
#: What a worker sends of most jobs: the fast encoder would write a NaN as null, and here there are no numbers.
_ONLY_WORDS: Final = frozenset({"uid", "new_status", "lease"})


def job_json(content: Mapping[str, Any], options: Mapping[str, Any]) -> bytes:
    """A new job as JSON, with a uid whether one was given or not: so the same bytes can be sent again."""
    value = {"uid": str(uuid4()), **_written(options, _OPTIONS), "content": _object(content)}
    return encode_text(value).encode()


def changes_json(uid: str, changes: Mapping[str, Any]) -> bytes:
    """An update of one of many jobs, as JSON; raises TypeError or ValueError."""
    value = changes_value(uid, changes)
    return encode_fast(value) if value.keys() <= _ONLY_WORDS else encode_text(value).encode()


def changes_value(uid: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """An update of one of many jobs, as the wire has it; raises TypeError."""
    return {"uid": uid, **changes_of_all(changes)}


def changes_of_all(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes, as the wire has them beside a filter; raises TypeError."""
    value = _written(changes, _CHANGES, nullable="result")
    if "content" in value:
        value["content"] = _object(value["content"])
    return value


def filter_value(filters: Mapping[str, Any]) -> dict[str, Any]:
    """A filter as the wire has it; raises TypeError if one is not known."""
    return _written(filters, _FILTERS)


def filter_query(filters: Mapping[str, Any]) -> dict[str, str]:
    """A filter as it stands in a query; raises TypeError if one is not known."""
    return {name: str(value) for name, value in filter_value(filters).items()}


def _written(given: Mapping[str, Any], known: frozenset[str], nullable: str = "") -> dict[str, Any]:
    if not given.keys() <= known:
        raise TypeError(_unknown(next(iter(given.keys() - known)), known))
    return {
        name: write(value) if (write := _WRITE.get(name)) and value is not None else value
        for name, value in given.items()
        if value is not None or name == nullable
    }


def _unknown(name: str, known: frozenset[str]) -> str:
    from difflib import get_close_matches  # for mistakes only

    near = get_close_matches(name, known, 1)
    return f"{name!r} is not known" + (f"; did you mean {near[0]!r}?" if near else "")


def _object(content: Any) -> Any:
    if not isinstance(content, Mapping):
        raise TypeError(f"the content of a job is a JSON object, so a dict, not {type(content).__name__}")
    return content if isinstance(content, dict) else dict(content)
