"""Unique keys with rules, and debounced jobs: the server's answers, and how they are sent."""

from collections.abc import Mapping
from datetime import timedelta
from math import ceil
from typing import Any, Literal, Required, TypedDict

from .answers import Answer, Field, as_span

#: Until when a job holds its unique key.
Until = Literal["finished", "started"]


class Unique(Answer):
    """
    The unique key of a job, with its rules: how long the job holds the key, and what its add did if another job held
    it.
    """

    __slots__ = ()
    _shown = ("key", "until", "if_queued", "if_running")

    key = Field[str]("key")
    #: How long the job holds the key: until it is finished, or until it is started.
    until = Field[str]("until", default="finished")
    #: How long the finished job still holds the key.
    held_for = Field[timedelta]("seconds", as_span, timedelta(0))
    #: What the add of this job did if a queued job held the key: keep that job, or replace what it does.
    if_queued = Field[str]("if_queued", default="keep")
    #: What the add of this job did if only a job in progress held the key: keep (add no job) or add.
    if_running = Field[str]("if_running", default="keep")


class Debounce(Answer):
    """How adds with the same unique key delay a job."""

    __slots__ = ()
    _shown = ("delay", "at_most")

    #: The time from the latest add until the job can be claimed.
    delay = Field[timedelta]("seconds", as_span)
    #: The time from the first add after which further adds no longer delay the job.
    at_most = Field[timedelta]("at_most_seconds", as_span)


class UniqueOptions(TypedDict, total=False):
    """A unique key to set, with its rules."""

    key: Required[str]
    #: How long the job holds the key: until it is finished (default), or until it is claimed.
    until: Until
    #: For how many seconds the finished job still holds the key.
    seconds: float | timedelta
    #: What to do if a queued job holds the key: keep that job (default), or replace what it does.
    if_queued: Literal["keep", "replace"]
    #: What to do if only a job in progress holds the key: keep (add no job; default), or add a job.
    if_running: Literal["keep", "add"]


class DebounceOptions(TypedDict, total=False):
    """How adds with the same unique key delay a job."""

    #: Seconds from the latest add until the job can be claimed.
    seconds: Required[float | timedelta]
    #: Seconds from the first add after which further adds no longer delay the job; by default ten times `seconds`.
    at_most_seconds: float | timedelta


def unique_value(value: Any) -> Any:
    """A unique key in its wire form; raises TypeError."""
    if isinstance(value, str):
        return {"key": value}
    return _in_seconds(value, "unique must be a key, or an object with one")


def debounce_value(value: Any) -> Any:
    """The debounce of a job in its wire form, from a number of seconds or an object; raises TypeError."""
    if isinstance(value, int | float | timedelta):
        return {"seconds": _seconds(value)}
    return _in_seconds(value, "debounce must be a number of seconds, or an object with them")


def _in_seconds(value: Any, wrong: str) -> dict[str, Any]:
    raw = value.raw if isinstance(value, Answer) else value
    if not isinstance(raw, Mapping):
        raise TypeError(wrong)
    return {name: _seconds(one) if name.endswith("seconds") else one for name, one in raw.items() if one is not None}


def _seconds(value: Any) -> Any:
    """The seconds, rounded up; a value of another type is left to the server."""
    if isinstance(value, timedelta):
        return ceil(value.total_seconds())
    return ceil(value) if isinstance(value, float) else value
