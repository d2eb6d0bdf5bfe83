"""Groups of jobs, their limits and rates: the server's answers, and how they are sent."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypedDict

from .answers import Answer, Field, as_moment, as_span
from .jobs import Moment, Span, unix, whole_minutes, whole_seconds, written
from .moves import DeadLetter, DeadLetterOptions, dead_letter_value

#: The orders of a list of groups, the largest first.
GroupSort = Literal["queued", "in_progress", "oldest"]


class Rate(Answer):
    """At most `count` claims in any `window`."""

    __slots__ = ()
    _shown = ("count", "window")

    count = Field[int]("count")
    window = Field[timedelta]("seconds", as_span)


class Limits(Answer):
    """The limits of a queue, or of each of its groups; None is no limit."""

    __slots__ = ()
    _shown = ("in_progress", "rate")

    #: The most jobs in progress.
    in_progress = Field[int | None]("in_progress")
    rate = Field[Rate | None]("rate", Rate)


class GroupSettings(Answer):
    """A group's own settings."""

    __slots__ = ()
    _shown = ("in_progress", "rate", "weight", "paused")

    #: The most jobs in progress; None is the queue's limit for groups.
    in_progress = Field[int | None]("in_progress")
    #: The group's rate; None is the queue's rate for groups.
    rate = Field[Rate | None]("rate", Rate)
    #: The group's share in fair order.
    weight = Field[int]("weight", default=1)
    #: Whether the group is paused, so that none of its jobs can be claimed.
    paused = Field[bool]("paused", default=False)


class Group(Answer):
    """A group of jobs in a queue."""

    __slots__ = ()
    _shown = ("name", "queued", "in_progress")

    name = Field[str]("group")
    #: The number of queued jobs, whether ready, held or delayed.
    queued = Field[int]("queued", default=0)
    #: Queued jobs that can be claimed.
    ready = Field[int]("ready", default=0)
    #: Queued jobs that a limit, a rate, a hold or the order holds.
    held = Field[int]("held", default=0)
    in_progress = Field[int]("in_progress", default=0)
    #: The age of the group's first job that is neither delayed nor waiting for others, even if it is held; None if
    #: there is none.
    oldest_ready = Field[timedelta | None]("oldest_ready_seconds", as_span)
    #: Until when the group is held.
    held_until = Field[datetime | None]("held_until", as_moment)
    #: The group's own settings.
    own = Field[GroupSettings]("own", GroupSettings)


class HoldingJob(Answer):
    """A job that must end before another one can be claimed."""

    __slots__ = ()
    _shown = ("uid", "state", "worker")

    uid = Field[str]("uid")
    #: queued, inprogress or failed.
    state = Field[str]("state")
    #: The worker that holds the job.
    worker = Field[str | None]("worker")
    #: When the job's lease expires without an update.
    lease_expires = Field[datetime | None]("lease_expires", as_moment)


def holding_jobs(raw: list[Any]) -> tuple[HoldingJob, ...]:
    """A HoldingJob for each JSON object."""
    return tuple([HoldingJob(one) for one in raw])


class Order(Answer):
    """Priority ageing: the order in which a queue's jobs are claimed."""

    __slots__ = ()
    _shown = ("per_priority",)

    #: How much age one step of priority is worth.
    per_priority = Field[timedelta]("seconds_per_priority", as_span)


#: A rate to set: the number of claims and the seconds, or a Rate from an answer.
RateOption = tuple[int, Span] | Rate


class LimitOptions(TypedDict, total=False):
    """Limits to set; an omitted limit is removed."""

    #: The most jobs in progress.
    in_progress: int | None
    #: The most claims in a span of time, as (count, seconds).
    rate: RateOption | None


class OrderOptions(TypedDict):
    """Priority ageing to set."""

    #: How much age one step of priority is worth.
    seconds_per_priority: Span


class QueueSettings(TypedDict, total=False):
    """The settings of a queue; omitted ones stay unchanged."""

    paused: bool | None
    draining: bool | None
    #: Whether each update of a job in progress must have the lease.
    require_lease: bool | None
    #: The most jobs in the queue, in any state; None or 0 is no limit.
    max_jobs: int | None
    #: keep_minutes, keep_failed_minutes, timeout_seconds, max_attempts and retry_delay_seconds of new jobs. Omitted
    #: ones stay unchanged; None as a value is the server's default, and None for `defaults` removes them all.
    defaults: Mapping[str, Span | None] | None
    #: The limits of the whole queue, such as {"in_progress": 5, "rate": (10, 60)}, or None.
    limits: LimitOptions | Limits | None
    #: The limits of each group, in the same form.
    group_limits: LimitOptions | Limits | None
    #: Which job is claimed next: arrival, fair or strict.
    group_order: str | None
    #: What a failed job does to its group in strict order: next (the next job can be claimed) or hold.
    group_on_failure: str | None
    #: How long jobs should wait at most, for `workers_wanted` of the stats; None removes it.
    target_wait_seconds: Span | None
    #: Priority ageing, such as {"seconds_per_priority": 60}; None removes it.
    order: OrderOptions | Order | None
    #: The queue for jobs that fail with no attempts left: its name, or {"queue_name": "mail-dead",
    #: "keep_minutes": 20160}; None removes the setting.
    dead_letter: str | DeadLetterOptions | DeadLetter | None
    #: Until when no job can be claimed; None ends the hold.
    held_until: Moment | None
    #: How long the owner's old key stays valid beside the new one.
    old_key_seconds: Span | None


class GroupOptions(TypedDict, total=False):
    """The settings of a group; omitted ones stay unchanged."""

    #: The most jobs in progress; None is the queue's limit for groups.
    in_progress: int | None
    #: The most claims in a span of time, as (count, seconds); None is the queue's rate for groups.
    rate: RateOption | None
    #: The group's share in fair order.
    weight: int | None
    #: Whether the group is paused, so that none of its jobs can be claimed.
    paused: bool | None
    #: Until when no job of the group can be claimed; None ends the hold.
    held_until: Moment | None


def settings_value(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a queue as a JSON object; raises TypeError."""
    return _with_zeros(written(settings, QueueSettings.__optional_keys__, _REMOVED, _WRITE))


def merged_defaults(present: Mapping[str, int] | None, changes: Mapping[str, int | None]) -> dict[str, int]:
    """The present defaults of a queue, with these changes; None removes a default, so that the server's applies."""
    merged = {**(present or {}), **changes}
    return {name: value for name, value in merged.items() if value is not None}


def group_value(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a group as a JSON object; raises TypeError."""
    return _with_zeros(written(settings, GroupOptions.__optional_keys__, _REMOVED, _WRITE))


def _with_zeros(value: dict[str, Any]) -> dict[str, Any]:
    """The object with 0 in place of None for `max_jobs`, and for `held_until`, where 0 is a time in the past."""
    return {**value, **{name: value[name] or 0 for name in ("held_until", "max_jobs") if name in value}}


def _defaults_value(defaults: Any) -> Mapping[str, Any]:
    checked = _checked(defaults, '{"timeout_seconds": 300}')
    return written(checked, _DEFAULTS, _DEFAULTS, _WRITE_DEFAULTS)


def _limits_value(limits: Any) -> Mapping[str, Any]:
    if isinstance(limits, Limits):
        return limits.raw
    return written(_checked(limits, '{"in_progress": 5}'), LimitOptions.__optional_keys__, encoders=_WRITE)


def _rate_value(rate: Any) -> Mapping[str, Any]:
    if isinstance(rate, Rate):
        return rate.raw
    try:
        count, seconds = (rate["count"], rate["seconds"]) if isinstance(rate, Mapping) else rate
        return {"count": count, "seconds": whole_seconds(seconds)}
    except (TypeError, ValueError, KeyError):
        raise TypeError("a rate is a number of claims and seconds, such as (10, 60)") from None


def _order_value(order: Any) -> Mapping[str, Any]:
    if isinstance(order, Order):
        return order.raw
    checked = _checked(order, '{"seconds_per_priority": 60}')
    return written(checked, OrderOptions.__required_keys__, encoders={"seconds_per_priority": whole_seconds})


def _checked(value: Any, example: str) -> Mapping[str, Any]:
    """The value; raises TypeError if it is not a mapping."""
    if not isinstance(value, Mapping):
        raise TypeError(f"must be a dict such as {example}, not {type(value).__name__}")
    return value


_WRITE_DEFAULTS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "keep_minutes": whole_minutes,
    "keep_failed_minutes": whole_minutes,
    "timeout_seconds": whole_seconds,
    "retry_delay_seconds": whole_seconds,
}
#: The names of the defaults of new jobs.
_DEFAULTS: Final = frozenset({*_WRITE_DEFAULTS, "max_attempts"})
_WRITE: Final[Mapping[str, Callable[[Any], Any]]] = {
    "defaults": _defaults_value,
    "limits": _limits_value,
    "group_limits": _limits_value,
    "rate": _rate_value,
    "target_wait_seconds": whole_seconds,
    "order": _order_value,
    "dead_letter": dead_letter_value,
    "held_until": unix,
    "old_key_seconds": whole_seconds,
}
#: Settings that None removes.
_REMOVED: Final = frozenset(
    {
        "defaults",
        "limits",
        "group_limits",
        "target_wait_seconds",
        "order",
        "dead_letter",
        "held_until",
        "max_jobs",
        "in_progress",
        "rate",
    }
)
