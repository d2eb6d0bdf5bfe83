"""
What the server answers, as frozen values.

Each holds the wire's object in `raw` and reads its fields from there: what is not asked for costs nothing, and what a
newer server sends is kept. Numbers of seconds and minutes come as timedelta, times as datetime in UTC.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Self, TypeVar, overload

__all__ = [
    "Access",
    "AccessKey",
    "Answer",
    "Attempt",
    "Counts",
    "Explanation",
    "Field",
    "Job",
    "JobEvent",
    "Lately",
    "Minutes",
    "QueueDefaults",
    "QueueSetup",
    "QueueStats",
    "Readiness",
    "Times",
    "WorkerJobs",
]

T = TypeVar("T")


class Field(Generic[T]):
    """One field of an Answer: which of the wire it is, how it is read, and what it is if it is not there."""

    def __init__(self, wire: str, read: Callable[[Any], T] | None = None, default: Any = None) -> None:
        self.wire = wire
        self._read = read
        self._default = default

    @overload
    def __get__(self, holder: None, owner: type) -> Self: ...
    @overload
    def __get__(self, holder: "Answer", owner: type) -> T: ...
    def __get__(self, holder: "Answer | None", owner: type) -> Any:
        if holder is None:
            return self
        value = holder.raw.get(self.wire)
        if value is None:
            return self._default
        return value if self._read is None else self._read(value)

    def __set__(self, holder: "Answer", value: T) -> None:
        raise AttributeError("an answer of the server can't be changed")


class Answer:
    """An answer of the server; equal to another with the same `raw`."""

    __slots__ = ("raw",)
    #: What repr shows, so that it is short and has no content, result or lease in it.
    _shown: tuple[str, ...] = ()
    #: The wire's object.
    raw: Mapping[str, Any]

    def __init__(self, raw: Mapping[str, Any]) -> None:
        object.__setattr__(self, "raw", raw)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("an answer of the server can't be changed")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Answer) and type(self) is type(other) and self.raw == other.raw

    __hash__ = None  # type: ignore[assignment]  # it holds a dict

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._shown)
        return f"{type(self).__name__}({shown})"

    def __getstate__(self) -> Any:
        return self.raw

    def __setstate__(self, raw: Any) -> None:
        object.__setattr__(self, "raw", raw)


def _moment(seconds: float) -> datetime | None:
    """The time, or None if it is 0 or further away than a datetime can be."""
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (OverflowError, ValueError, OSError):
        return None


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _seconds(seconds: float) -> timedelta:
    """A span of time; one that is longer than a timedelta can be is the longest one."""
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        return timedelta.max


def _minutes(minutes: float) -> timedelta:
    return _seconds(minutes * 60)


def _limit(seconds: float) -> timedelta | None:
    return _seconds(seconds) if seconds else None


class Attempt(Answer):
    """One time that a job was in progress."""

    __slots__ = ()
    _shown = ("outcome", "worker", "error")

    #: The name that the worker gave.
    worker = Field[str | None]("worker")
    #: When it was claimed.
    started = Field[datetime]("started", _time)
    #: When it ended.
    ended = Field[datetime]("ended", _time)
    #: complete, failed, timeout, or released.
    outcome = Field[str]("outcome")
    #: What went wrong.
    error = Field[str | None]("error")


def _attempts(history: list[Any]) -> tuple[Attempt, ...]:
    return tuple([Attempt(one) for one in history])


class Job(Answer):
    """A job as it was when the server answered."""

    __slots__ = ()
    _shown = ("uid", "state", "priority")

    #: Names it in its queue: a UUID as text.
    uid = Field[str]("uid")
    #: Higher goes first; equal ones by arrival.
    priority = Field[int]("priority", default=0)
    #: How long it is kept once it is complete or failed.
    keep = Field[timedelta]("keep_minutes", _minutes)
    #: How long it may be in progress without an update, in whole minutes; None is for ever. `timeout` is to the second.
    timeout_in_minutes = Field[timedelta | None]("timeout_minutes", lambda minutes: _limit(minutes * 60))
    #: How long it may be in progress without an update; None is for ever.
    timeout = Field[timedelta | None]("timeout_seconds", _limit)
    #: When it was added.
    created = Field[datetime]("created", _time)
    #: When it last changed its state or was updated.
    last_updated = Field[datetime]("last_updated", _time)
    #: When it is removed if it is still queued; None is never.
    timeout_time = Field[datetime | None]("timeout_time", _moment)
    #: The JSON object that was sent.
    content = Field[Any]("content")
    #: queued, inprogress, complete or failed.
    state = Field[str]("state")
    #: Words to find it by, and to claim it by.
    tags = Field[tuple[str, ...]]("tags", tuple, ())
    #: How often it is tried before it has failed for good.
    max_attempts = Field[int]("max_attempts", default=1)
    #: The time before the second attempt, doubled at each one after it.
    retry_delay = Field[timedelta]("retry_delay_seconds", _seconds, timedelta(0))
    #: While it is queued or in progress, no other job with this key is added.
    unique_key = Field[str | None]("unique_key")
    #: How often it was claimed.
    attempts = Field[int]("attempts", default=0)
    #: The name that its holder gave, or that of the last one.
    worker = Field[str | None]("worker")
    #: When it will have timed out if it is not updated.
    lease_expires = Field[datetime | None]("lease_expires", _moment)
    #: When it can be claimed; None is at once.
    not_before = Field[datetime | None]("not_before", _moment)
    #: How far the work is, in per cent.
    progress = Field[int | None]("progress")
    #: What came of it; any JSON.
    result = Field[Any]("result")
    #: What went wrong last.
    error = Field[str | None]("error")
    #: Whether somebody wants it to stop.
    cancel_requested = Field[bool]("cancel_requested", default=False)
    #: The last attempts that have ended, oldest first.
    history = Field[tuple[Attempt, ...]]("history", _attempts, ())
    #: A JSON object of the one who added it, kept untouched.
    meta = Field[Any]("meta")
    #: The trace that the job belongs to (W3C Trace Context), if its add was sent with one.
    traceparent = Field[str | None]("traceparent")

    @property
    def finished(self) -> bool:
        """Whether it is complete or failed."""
        return self.raw["state"] in ("complete", "failed")


class JobEvent(Answer):
    """A change of a job's state."""

    __slots__ = ("id",)
    _shown = ("id", "uid", "before", "state")
    #: Names the event: events(after=id) goes on behind it.
    id: str

    def __init__(self, raw: Mapping[str, Any], id: str = "") -> None:  # noqa: A002  # the word of the standard
        super().__init__(raw)
        object.__setattr__(self, "id", id)

    #: The job's uid.
    uid = Field[str]("uid")
    #: The state it was in, or None if it is new.
    before = Field[str | None]("before")
    #: The state it is in, or None if it was removed.
    state = Field[str | None]("state")
    #: When that was.
    at = Field[datetime]("at", _time)

    def __getstate__(self) -> Any:
        return (self.raw, self.id)

    def __setstate__(self, state: Any) -> None:
        self.__init__(*state)  # type: ignore[misc]  # it is a new object that nobody has seen


class Explanation(Answer):
    """Why a job is where it is."""

    __slots__ = ()
    _shown = ("uid", "state", "reason")

    uid = Field[str]("uid")
    #: queued, inprogress, complete or failed.
    state = Field[str]("state")
    #: Why, in words.
    reason = Field[str]("reason")
    #: Whether the queue gives no jobs out.
    paused = Field[bool]("paused", default=False)
    #: How many jobs are to be claimed before it, if it can be claimed.
    ahead = Field[int | None]("ahead")
    #: When it can be claimed, if that is later.
    not_before = Field[datetime | None]("not_before", _moment)
    #: Who holds it.
    worker = Field[str | None]("worker")
    #: Until when it is held if it is not updated.
    lease_expires = Field[datetime | None]("lease_expires", _moment)
    #: What went wrong last.
    error = Field[str | None]("error")


class QueueDefaults(Answer):
    """What holds for jobs of a queue that do not say it themselves."""

    __slots__ = ()
    _shown = ("keep", "timeout", "max_attempts", "retry_delay")

    keep = Field[timedelta]("keep_minutes", _minutes)
    #: None is for ever.
    timeout = Field[timedelta | None]("timeout_seconds", _limit)
    max_attempts = Field[int]("max_attempts", default=1)
    retry_delay = Field[timedelta]("retry_delay_seconds", _seconds, timedelta(0))


class QueueSetup(Answer):
    """How a queue is set up."""

    __slots__ = ()
    _shown = ("name", "paused", "draining")

    name = Field[str]("name")
    created = Field[datetime]("created", _time)
    #: It gives no jobs out.
    paused = Field[bool]("paused", default=False)
    #: It takes no jobs in.
    draining = Field[bool]("draining", default=False)
    #: Jobs in progress are only updated by those who send the lease.
    require_lease = Field[bool]("require_lease", default=False)
    #: How many jobs it may hold, of every state; 0 is any number.
    max_jobs = Field[int]("max_jobs", default=0)
    #: None: the server's defaults hold.
    defaults = Field[QueueDefaults | None]("defaults", QueueDefaults)


class Counts(Answer):
    """Jobs by state."""

    __slots__ = ()
    _shown = ("queued", "inprogress", "complete", "failed")

    queued = Field[int]("queued", default=0)
    inprogress = Field[int]("inprogress", default=0)
    complete = Field[int]("complete", default=0)
    failed = Field[int]("failed", default=0)


class Lately(Answer):
    """How many jobs were added, claimed, and came to be complete or failed in some time."""

    __slots__ = ()
    _shown = ("added", "claimed", "complete", "failed")

    added = Field[int]("added", default=0)
    claimed = Field[int]("claimed", default=0)
    complete = Field[int]("complete", default=0)
    failed = Field[int]("failed", default=0)


class Minutes(Answer):
    """The same for each of the last 60 minutes, oldest first; the last one goes on."""

    __slots__ = ()
    _shown = ("added", "claimed", "complete", "failed")

    added = Field[tuple[int, ...]]("added", tuple, ())
    claimed = Field[tuple[int, ...]]("claimed", tuple, ())
    complete = Field[tuple[int, ...]]("complete", tuple, ())
    failed = Field[tuple[int, ...]]("failed", tuple, ())


class Times(Answer):
    """Percentiles of a span of time; None if there is nothing to count."""

    __slots__ = ()
    _shown = ("p50", "p90", "p99")

    p50 = Field[timedelta | None]("p50", _seconds)
    p90 = Field[timedelta | None]("p90", _seconds)
    p99 = Field[timedelta | None]("p99", _seconds)


class QueueStats(QueueSetup):
    """A queue in numbers."""

    __slots__ = ()
    _shown = ("name", "size", "ready")

    #: How many jobs it holds.
    size = Field[int]("size", default=0)
    counts = Field[Counts]("counts", Counts)
    #: Queued jobs that can be claimed, but for a pause.
    ready = Field[int]("ready", default=0)
    #: Queued jobs that can't be claimed yet.
    delayed = Field[int]("delayed", default=0)
    #: How long the oldest job that can be claimed has been there; None if there is none.
    oldest_ready = Field[timedelta | None]("oldest_ready_seconds", _seconds)
    last_minute = Field[Lately]("last_minute", Lately)
    last_hour = Field[Lately]("last_hour", Lately)
    minutes = Field[Minutes]("minutes", Minutes)
    #: From when jobs could be claimed to their claim.
    wait = Field[Times]("wait_seconds", Times)
    #: In progress.
    run = Field[Times]("run_seconds", Times)


class WorkerJobs(Answer):
    """A worker, or all that gave no name, and what it holds."""

    __slots__ = ()
    _shown = ("worker", "jobs")

    #: The name that it gave with its claims.
    worker = Field[str | None]("worker")
    #: How many jobs it holds.
    jobs = Field[int]("jobs", default=0)
    #: When it claimed the job that it has held for longest.
    oldest_claimed = Field[datetime]("oldest_claimed", _time)
    #: When it claimed or updated one of them last.
    last_updated = Field[datetime]("last_updated", _time)


class Access(Answer):
    """What a key may do."""

    __slots__ = ()
    _shown = ("queue_name", "role")

    #: The queue; None for the admin key alone.
    queue_name = Field[str | None]("queue_name")
    #: owner, producer, worker or viewer; admin for the admin key.
    role = Field[str]("role")
    #: The id of a key with a role; None for the owner's and the admin's.
    key_id = Field[str | None]("key_id")


class AccessKey(Answer):
    """A key of a queue with a role; the key itself is never shown."""

    __slots__ = ()
    _shown = ("id", "role")

    #: Names the key, and says nothing of it.
    id = Field[str]("id")
    #: producer, worker or viewer.
    role = Field[str]("role")
    created = Field[datetime]("created", _time)


class Readiness(Answer):
    """Whether the server takes changes."""

    __slots__ = ()
    _shown = ("status", "durability")

    #: ready, or what keeps it from being so.
    status = Field[str]("status")
    #: What a change that was answered has gone through.
    durability = Field[str | None]("durability")
