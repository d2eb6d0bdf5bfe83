"""
The server's answers, as frozen values.

An answer keeps the JSON object in `raw`; each access to a field decodes it from there. So unused fields cost nothing,
and unknown fields of newer servers are kept. Seconds and minutes become timedelta, times become datetime in UTC.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from msgspec.json import decode

from .errors import NotJobEngine

T = TypeVar("T")


class Field(Generic[T]):
    """A field of an Answer: its name on the wire, how to read it, and its default."""

    def __init__(self, wire: str, read: Callable[[Any], T] | None = None, default: Any = None) -> None:
        self.wire = wire
        self.reads = read
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
        if self.reads is None:
            return value
        try:
            return self.reads(value)
        except (TypeError, ValueError, OverflowError, OSError):
            raise NotJobEngine(f"The answer did not come from a JobEngine: its {self.wire} is {value!r:.80}.") from None

    def __set__(self, holder: "Answer", value: T) -> None:
        raise AttributeError("values from the server are read-only")


class Answer:
    """An answer of the server; equal to any other with the same `raw`."""

    __slots__ = ("raw",)
    #: The fields that repr shows. It is short and hides content, result and lease.
    _shown: tuple[str, ...] = ()
    #: The JSON object.
    raw: Mapping[str, Any]

    def __init__(self, raw: Mapping[str, Any]) -> None:
        object.__setattr__(self, "raw", raw)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("values from the server are read-only")

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
    """Unix seconds as a datetime; None for 0, or for a time outside the range of datetime."""
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (OverflowError, ValueError, OSError):
        return None


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _seconds(seconds: float) -> timedelta:
    """Seconds as a timedelta, or the longest timedelta if there are too many."""
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        return timedelta.max


def _minutes(minutes: float) -> timedelta:
    return _seconds(minutes * 60)


def _limit(seconds: float) -> timedelta | None:
    return _seconds(seconds) if seconds else None


class Attempt(Answer):
    """An attempt at a job, from its claim to its end."""

    __slots__ = ()
    _shown = ("outcome", "worker", "error")

    #: The worker's name.
    worker = Field[str | None]("worker")
    #: When it was claimed.
    started = Field[datetime]("started", _time)
    #: When it ended.
    ended = Field[datetime]("ended", _time)
    #: complete, failed, timeout, or released.
    outcome = Field[str]("outcome")
    #: The error that the worker reported, or "timed out".
    error = Field[str | None]("error")
    #: The number of consecutive releases that this entry combines; 1 for any other outcome.
    times = Field[int]("times", default=1)


def _attempts(history: list[Any]) -> tuple[Attempt, ...]:
    return tuple([Attempt(one) for one in history])


class Job(Answer):
    """A job as it was when the server answered."""

    __slots__ = ("_json",)
    _shown = ("uid", "state", "priority")

    @classmethod
    def _later(cls, json: bytes) -> Self:
        """
        A job whose JSON is decoded when a field is first used: most programs never look at the jobs
        that they add.
        """
        job = cls.__new__(cls)
        object.__setattr__(job, "_json", json)
        return job

    if not TYPE_CHECKING:  # otherwise every misspelt name would have a type

        def __getattr__(self, name: str) -> Any:
            """Decode the JSON. Python calls this for missing attributes, such as `raw` of a job from `_later`."""
            if name != "raw":
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            raw = decode(self._json)
            object.__setattr__(self, "raw", raw)
            return raw

    #: Identifies the job in its queue: a UUID as text.
    uid = Field[str]("uid")
    #: Jobs with a higher priority are claimed first, jobs of equal priority in order of arrival.
    priority = Field[int]("priority", default=0)
    #: How long the job is kept once it is complete; see `removed_at` for a failed job.
    keep = Field[timedelta]("keep_minutes", _minutes)
    #: Like `timeout`, rounded up to whole minutes.
    timeout_in_minutes = Field[timedelta | None]("timeout_minutes", lambda minutes: _limit(minutes * 60))
    #: How long the job may be in progress without an update; None is no limit.
    timeout = Field[timedelta | None]("timeout_seconds", _limit)
    #: When it was added.
    created = Field[datetime]("created", _time)
    #: When it was last updated or changed its state.
    last_updated = Field[datetime]("last_updated", _time)
    #: When the job is deleted if it is still queued; None is never.
    timeout_time = Field[datetime | None]("timeout_time", _moment)
    #: The JSON object that was sent.
    content = Field[Any]("content")
    #: queued, inprogress, complete or failed.
    state = Field[str]("state")
    #: Words by which to find and claim the job.
    tags = Field[tuple[str, ...]]("tags", tuple, ())
    #: The most attempts.
    max_attempts = Field[int]("max_attempts", default=1)
    #: The delay before the second attempt; doubled for each further one.
    retry_delay = Field[timedelta]("retry_delay_seconds", _seconds, timedelta(0))
    #: While this job is queued or in progress, no other job with this key is added.
    unique_key = Field[str | None]("unique_key")
    #: How often the job was claimed.
    attempts = Field[int]("attempts", default=0)
    #: The name of the worker that holds the job, or held it last.
    worker = Field[str | None]("worker")
    #: When its lease expires without an update.
    lease_expires = Field[datetime | None]("lease_expires", _moment)
    #: When the job was claimed, if it is in progress; otherwise None.
    started = Field[datetime | None]("started", _moment)
    #: When the job can be claimed; None is at once.
    not_before = Field[datetime | None]("not_before", _moment)
    #: The progress in per cent.
    progress = Field[int | None]("progress")
    #: The result; any JSON.
    result = Field[Any]("result")
    #: The last error.
    error = Field[str | None]("error")
    #: Whether the job's worker should stop.
    cancel_requested = Field[bool]("cancel_requested", default=False)
    #: When the finished job will be deleted.
    removed_at = Field[datetime | None]("removed_at", _moment)
    #: Whether the job failed because it was cancelled.
    cancelled = Field[bool]("cancelled", default=False)
    #: The last attempts that have ended, oldest first.
    history = Field[tuple[Attempt, ...]]("history", _attempts, ())
    #: The `meta` of the job's options, unchanged.
    meta = Field[Any]("meta")
    #: The trace (W3C Trace Context) that the job was added with, or None.
    traceparent = Field[str | None]("traceparent")

    @property
    def finished(self) -> bool:
        """Whether it is complete or failed."""
        return self.state in ("complete", "failed")


class JobEvent(Answer):
    """A change of a job's state."""

    __slots__ = ("id",)
    _shown = ("id", "uid", "before", "state")
    #: Identifies the event: events(after=id) continues after it.
    id: str

    def __init__(self, raw: Mapping[str, Any], id: str = "") -> None:  # noqa: A002  # the word of the standard
        super().__init__(raw)
        object.__setattr__(self, "id", id)

    #: The job's uid.
    uid = Field[str]("uid")
    #: The old state, or None for a new job.
    before = Field[str | None]("before")
    #: The new state, or None for a deleted job.
    state = Field[str | None]("state")
    #: When the state changed.
    at = Field[datetime]("at", _time)

    def __getstate__(self) -> Any:
        return (self.raw, self.id)

    def __setstate__(self, state: Any) -> None:
        self.__init__(*state)  # type: ignore[misc]  # a new object, not yet in use


class Explanation(Answer):
    """Why a job is not running."""

    __slots__ = ()
    _shown = ("uid", "state", "reason")

    uid = Field[str]("uid")
    #: queued, inprogress, complete or failed.
    state = Field[str]("state")
    #: The reason, as a sentence.
    reason = Field[str]("reason")
    #: Whether the queue is paused, so that no job can be claimed.
    paused = Field[bool]("paused", default=False)
    #: The number of jobs that will be claimed before this one; None if it can't be claimed now.
    ahead = Field[int | None]("ahead")
    #: The earliest time at which the job can be claimed, if that is in the future.
    not_before = Field[datetime | None]("not_before", _moment)
    #: The worker that holds the job.
    worker = Field[str | None]("worker")
    #: When its lease expires without an update.
    lease_expires = Field[datetime | None]("lease_expires", _moment)
    #: The last error.
    error = Field[str | None]("error")


class QueueDefaults(Answer):
    """The defaults of a queue, for jobs that do not set them."""

    __slots__ = ()
    _shown = ("keep", "timeout", "max_attempts", "retry_delay")

    #: How long a complete job is kept.
    keep = Field[timedelta]("keep_minutes", _minutes)
    #: How long a failed job is kept; None is the server's default.
    keep_failed = Field[timedelta | None]("keep_failed_minutes", _minutes)
    #: How long a job may be in progress without an update; None is no limit.
    timeout = Field[timedelta | None]("timeout_seconds", _limit)
    max_attempts = Field[int]("max_attempts", default=1)
    retry_delay = Field[timedelta]("retry_delay_seconds", _seconds, timedelta(0))


class QueueSetup(Answer):
    """The settings of a queue."""

    __slots__ = ()
    _shown = ("name", "paused", "draining")

    name = Field[str]("name")
    created = Field[datetime]("created", _time)
    #: Whether no job can be claimed.
    paused = Field[bool]("paused", default=False)
    #: Whether no job can be added.
    draining = Field[bool]("draining", default=False)
    #: Whether each update of a job in progress must have the lease.
    require_lease = Field[bool]("require_lease", default=False)
    #: The most jobs in the queue, in any state; 0 is no limit.
    max_jobs = Field[int]("max_jobs", default=0)
    #: None if the server's defaults apply.
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
    """How many jobs were added, claimed, completed, failed and cancelled in a period, and how many attempts failed."""

    __slots__ = ()
    _shown = ("added", "claimed", "complete", "failed", "attempts_failed", "cancelled")

    added = Field[int]("added", default=0)
    claimed = Field[int]("claimed", default=0)
    complete = Field[int]("complete", default=0)
    #: Failed jobs, without cancelled ones.
    failed = Field[int]("failed", default=0)
    #: Attempts that failed or timed out, whether they were retried or not.
    attempts_failed = Field[int]("attempts_failed", default=0)
    cancelled = Field[int]("cancelled", default=0)


class Minutes(Answer):
    """Like Lately, for each of the last 60 minutes, oldest first; the last minute is not over."""

    __slots__ = ()
    _shown = ("added", "claimed", "complete", "failed")

    added = Field[tuple[int, ...]]("added", tuple, ())
    claimed = Field[tuple[int, ...]]("claimed", tuple, ())
    complete = Field[tuple[int, ...]]("complete", tuple, ())
    failed = Field[tuple[int, ...]]("failed", tuple, ())
    attempts_failed = Field[tuple[int, ...]]("attempts_failed", tuple, ())
    cancelled = Field[tuple[int, ...]]("cancelled", tuple, ())


class Times(Answer):
    """Percentiles of a duration; None without data."""

    __slots__ = ()
    _shown = ("p50", "p90", "p99")

    p50 = Field[timedelta | None]("p50", _seconds)
    p90 = Field[timedelta | None]("p90", _seconds)
    p99 = Field[timedelta | None]("p99", _seconds)


class QueueStats(QueueSetup):
    """The stats of a queue."""

    __slots__ = ()
    _shown = ("name", "size", "ready")

    #: The number of jobs in the queue.
    size = Field[int]("size", default=0)
    counts = Field[Counts]("counts", Counts)
    #: Queued jobs that can be claimed, unless the queue is paused.
    ready = Field[int]("ready", default=0)
    #: Queued jobs that can't be claimed yet.
    delayed = Field[int]("delayed", default=0)
    #: Queued jobs whose last attempt failed or timed out; they are ready or delayed as well.
    retrying = Field[int]("retrying", default=0)
    #: Failed jobs that were cancelled.
    cancelled = Field[int]("cancelled", default=0)
    #: How long the oldest job that can be claimed has waited; None if there is none.
    oldest_ready = Field[timedelta | None]("oldest_ready_seconds", _seconds)
    last_minute = Field[Lately]("last_minute", Lately)
    last_hour = Field[Lately]("last_hour", Lately)
    minutes = Field[Minutes]("minutes", Minutes)
    #: From ready to claimed.
    wait = Field[Times]("wait_seconds", Times)
    #: From claimed to the end of the attempt.
    run = Field[Times]("run_seconds", Times)
    #: How many claims wait for jobs.
    workers_waiting = Field[int]("workers_waiting", default=0)
    #: When a worker last sent a claim, with or without success; None if unknown.
    last_claim = Field[datetime | None]("last_claim", _time)


class WorkerJobs(Answer):
    """
    A worker with the number of its jobs, or a claim that waits for jobs. Workers without a name share one entry. A
    worker that holds jobs and waits for more is listed twice.
    """

    __slots__ = ()
    _shown = ("worker", "jobs")

    #: The worker's name, from its claims.
    worker = Field[str | None]("worker")
    #: The number of its jobs.
    jobs = Field[int]("jobs", default=0)
    #: When it claimed its oldest job.
    oldest_claimed = Field[datetime | None]("oldest_claimed", _time)
    #: When the worker last claimed or updated any of these jobs.
    last_updated = Field[datetime | None]("last_updated", _time)
    #: Whether this is a claim that waits for jobs: the next three fields are about it.
    waiting = Field[bool]("waiting", default=False)
    #: When the worker's wait began; consecutive claims without a job count as one wait.
    since = Field[datetime | None]("since", _time)
    #: When the claim was sent.
    last_claim = Field[datetime | None]("last_claim", _time)
    #: The queues to claim from.
    queues = Field[list[str]]("queues", default=[])
    #: Machine, process and client of the last claim, if reported.
    host = Field[str | None]("host")
    pid = Field[str | None]("pid")
    client = Field[str | None]("client")


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
    """A key with a role; its secret is never shown."""

    __slots__ = ()
    _shown = ("id", "role")

    #: Identifies the key, and reveals nothing about it.
    id = Field[str]("id")
    #: producer, worker or viewer.
    role = Field[str]("role")
    created = Field[datetime]("created", _time)


class Readiness(Answer):
    """Whether the server accepts changes."""

    __slots__ = ()
    _shown = ("status", "durability")

    #: "ready", or why the server is not ready.
    status = Field[str]("status")
    #: When changes are synced to disk: "commit", before they are acknowledged, or "interval".
    durability = Field[str | None]("durability")
