"""The server's answers; see `answers` for how their fields are read."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from msgspec.json import decode

from .answers import Answer, Field, as_limit, as_minutes, as_moment, as_span, as_time
from .groups import HoldingJob, Limits, Order, holding_jobs
from .links import AwaitedJob, LinkedJob, awaited_jobs, linked_jobs
from .moves import DeadLetter, MovedFrom
from .unique_keys import Debounce, Unique


class Attempt(Answer):
    """An attempt at a job, from its claim to its end."""

    __slots__ = ()
    _shown = ("outcome", "worker", "error")

    #: The worker's name.
    worker = Field[str | None]("worker")
    #: When it was claimed.
    started = Field[datetime]("started", as_time)
    #: When it ended.
    ended = Field[datetime]("ended", as_time)
    #: complete, failed, timeout, or released.
    outcome = Field[str]("outcome")
    #: The error that the worker reported, or "timed out".
    error = Field[str | None]("error")
    #: The number of consecutive releases that this entry combines; 1 for any other outcome.
    times = Field[int]("times", default=1)
    #: The error's fingerprint, if the attempt failed or timed out. The answer to an update has only fingerprints that a
    #: worker sent.
    fingerprint = Field[str | None]("fingerprint")


def _attempts(history: list[Any]) -> tuple[Attempt, ...]:
    return tuple([Attempt(one) for one in history])


def as_awaited(jobs: list[Any]) -> tuple[str | tuple[str, str], ...]:
    """Jobs that another one waits for: uids or, for jobs of other queues, the queue's name and the uid."""
    return tuple([one if isinstance(one, str) else (one["queue_name"], one["uid"]) for one in jobs])


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
    keep = Field[timedelta]("keep_minutes", as_minutes)
    #: Like `timeout`, rounded up to whole minutes.
    timeout_in_minutes = Field[timedelta | None]("timeout_minutes", lambda minutes: as_limit(minutes * 60))
    #: How long the job may be in progress without an update; None is no limit.
    timeout = Field[timedelta | None]("timeout_seconds", as_limit)
    #: When it was added.
    created = Field[datetime]("created", as_time)
    #: When the job was last updated or changed its state.
    last_updated = Field[datetime]("last_updated", as_time)
    #: When the job is deleted if it is still queued; None is never.
    timeout_time = Field[datetime | None]("timeout_time", as_moment)
    #: The JSON object that was sent.
    content = Field[Any]("content")
    #: queued, inprogress, complete or failed.
    state = Field[str]("state")
    #: Words by which to find and claim the job.
    tags = Field[tuple[str, ...]]("tags", tuple, ())
    #: The most attempts.
    max_attempts = Field[int]("max_attempts", default=1)
    #: The delay before the second attempt; doubled for each further one.
    retry_delay = Field[timedelta]("retry_delay_seconds", as_span, timedelta(0))
    #: While this job is queued or in progress, no other job with this key is added.
    unique_key = Field[str | None]("unique_key")
    #: How often the job was claimed.
    attempts = Field[int]("attempts", default=0)
    #: The name of the worker that holds the job, or held it last.
    worker = Field[str | None]("worker")
    #: When the job's lease expires without an update.
    lease_expires = Field[datetime | None]("lease_expires", as_moment)
    #: When the job was claimed, if it is in progress; otherwise None.
    started = Field[datetime | None]("started", as_moment)
    #: When the job can be claimed; None is at once.
    not_before = Field[datetime | None]("not_before", as_moment)
    #: The progress in per cent.
    progress = Field[int | None]("progress")
    #: The result; any JSON.
    result = Field[Any]("result")
    #: The last error.
    error = Field[str | None]("error")
    #: The last error's fingerprint: equal for errors of the same kind. The answer to an update has it only if a worker
    #: sent it.
    fingerprint = Field[str | None]("fingerprint")
    #: Whether the job's worker should stop.
    cancel_requested = Field[bool]("cancel_requested", default=False)
    #: When the finished job will be deleted.
    removed_at = Field[datetime | None]("removed_at", as_moment)
    #: Whether the job failed because it was cancelled.
    cancelled = Field[bool]("cancelled", default=False)
    #: The last attempts that have ended, oldest first.
    history = Field[tuple[Attempt, ...]]("history", _attempts, ())
    #: Where the job was before its last move into another queue.
    moved_from = Field[MovedFrom | None]("moved_from", MovedFrom)
    #: Why this failed job did not move into the dead-letter queue, such as full; None if it need not move.
    not_moved = Field[str | None]("not_moved")
    #: The `meta` of the job's options, unchanged.
    meta = Field[Any]("meta")
    #: The trace (W3C Trace Context) that the job was added with, or None.
    traceparent = Field[str | None]("traceparent")
    #: The group that the job belongs to.
    group = Field[str | None]("group")
    #: The jobs that the job waits for, or has waited for: uids or, for jobs of other queues, queue name and uid.
    depends_on = Field[tuple[str | tuple[str, str], ...]]("depends_on", as_awaited, ())
    #: What becomes of the job if a job that it waits for fails or is removed: fail, run or wait.
    on_dependency_failure = Field[str]("on_dependency_failure", default="fail")
    #: Whether the job is queued and waits for other jobs, or for a batch.
    waiting = Field[bool]("waiting", default=False)
    #: The batch that the job belongs to.
    batch = Field[str | None]("batch")
    #: What the job has waited for, if it was claimed `with_results`.
    dependencies = Field[tuple[AwaitedJob, ...]]("dependencies", awaited_jobs, ())
    #: The number of results that `dependencies` lacks: they are too long together, or can't be read.
    results_left_out = Field[int]("results_left_out", default=0)
    #: The job's unique key with rules; None if it has none, or only a `unique_key`.
    unique = Field[Unique | None]("unique", Unique)
    #: How adds with the same unique key delay the job.
    debounce = Field[Debounce | None]("debounce", Debounce)
    #: In the answer to an add: whether the add has replaced what this job does.
    replaced = Field[bool]("replaced", default=False)

    @property
    def finished(self) -> bool:
        """Whether the job is complete or failed."""
        return self.state in ("complete", "failed")


class JobEvent(Answer):
    """A change of a job's state, or a report that a failed job stays in its queue (see `not_moved`)."""

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
    at = Field[datetime]("at", as_time)
    #: The job's group; None if it has none.
    group = Field[str | None]("group")
    #: Why a failed job does not move to the dead-letter queue; otherwise None.
    not_moved = Field[str | None]("not_moved")

    def __getstate__(self) -> Any:
        return (self.raw, self.id)

    def __setstate__(self, state: Any) -> None:
        self.__init__(*state)  # type: ignore[misc]  # a new object, not yet in use


class Explanation(Answer):
    """Why a job is not running."""

    __slots__ = ()
    _shown = ("uid", "state", "reason")
    _shown_if_set = ("paused", "held_by", "opens", "ahead", "not_before", "worker", "cancelled")

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
    not_before = Field[datetime | None]("not_before", as_moment)
    #: Until when the job, which is finished, still holds its unique key.
    key_held_until = Field[datetime | None]("key_held_until", as_moment)
    #: The worker that holds the job.
    worker = Field[str | None]("worker")
    #: When the job's lease expires without an update.
    lease_expires = Field[datetime | None]("lease_expires", as_moment)
    #: Whether the job failed because it was cancelled.
    cancelled = Field[bool]("cancelled", default=False)
    #: Whether the job is in progress and its cancellation was requested.
    cancel_requested = Field[bool]("cancel_requested", default=False)
    #: The last error.
    error = Field[str | None]("error")
    #: The last error's fingerprint.
    fingerprint = Field[str | None]("fingerprint")
    #: The number of failed jobs with this fingerprint, including this one; None if the job has not failed.
    failed_alike = Field[int | None]("failed_alike")
    #: When the first of these jobs failed.
    failed_alike_since = Field[datetime | None]("failed_alike_since", as_time)
    #: Whether there may be more such jobs, and earlier ones: the queue has more kinds of failures than are counted.
    failed_alike_at_least = Field[bool]("failed_alike_at_least", default=False)
    #: The job's group.
    group = Field[str | None]("group")
    #: What holds a queued job that is not delayed: group_limit, group_rate, queue_limit, queue_rate, hold or order. Or
    #: dependencies: it waits for others, or failed because of others.
    held_by = Field[str | None]("held_by")
    #: The jobs that must end before this one can be claimed, at most 10.
    holders = Field[tuple[HoldingJob, ...]]("holders", holding_jobs, ())
    #: When a job can be claimed again, if only a rate or a timed hold prevents it.
    opens = Field[datetime | None]("opens", as_moment)
    #: The number of jobs of the same group that will be claimed before this one.
    ahead_in_group = Field[int | None]("ahead_in_group")
    #: The schedule that has added the job: its `name`, and the `time` for which the job was added.
    schedule = Field[dict[str, str] | None]("schedule")
    #: The jobs and batches that the job waits for, or because of which it failed.
    dependencies = Field[tuple[LinkedJob, ...]]("dependencies", linked_jobs, ())


class QueueDefaults(Answer):
    """The defaults of a queue, for jobs that do not set them."""

    __slots__ = ()
    _shown = ("keep", "timeout", "max_attempts", "retry_delay")

    #: How long a complete job is kept.
    keep = Field[timedelta]("keep_minutes", as_minutes)
    #: How long a failed job is kept; None is the server's default.
    keep_failed = Field[timedelta | None]("keep_failed_minutes", as_minutes)
    #: How long a job may be in progress without an update; None is no limit.
    timeout = Field[timedelta | None]("timeout_seconds", as_limit)
    max_attempts = Field[int]("max_attempts", default=1)
    retry_delay = Field[timedelta]("retry_delay_seconds", as_span, timedelta(0))


class QueueSetup(Answer):
    """The settings of a queue."""

    __slots__ = ()
    _shown = ("name", "paused", "draining")

    name = Field[str]("name")
    created = Field[datetime]("created", as_time)
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
    #: The limits of the queue as a whole.
    limits = Field[Limits | None]("limits", Limits)
    #: The limits of each group.
    group_limits = Field[Limits | None]("group_limits", Limits)
    #: Which job is claimed next: arrival, fair or strict.
    group_order = Field[str]("group_order", default="arrival")
    #: In strict order, what a failed job means for its group: next (the next job can be claimed) or hold.
    group_on_failure = Field[str]("group_on_failure", default="next")
    #: How long jobs should wait at most; `workers_wanted` of the stats is calculated from it.
    target_wait = Field[timedelta | None]("target_wait_seconds", as_span)
    #: Priority ageing; None if jobs are claimed strictly by priority.
    order = Field[Order | None]("order", Order)
    #: The dead-letter queue, for jobs that fail with no attempts left.
    dead_letter = Field[DeadLetter | None]("dead_letter", DeadLetter)


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
    """Percentiles of the last 1,000 durations since the server's start; None if there were none since."""

    __slots__ = ()
    _shown = ("p50", "p90", "p99")

    p50 = Field[timedelta | None]("p50", as_span)
    p90 = Field[timedelta | None]("p90", as_span)
    p99 = Field[timedelta | None]("p99", as_span)


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
    #: Queued jobs that a limit, a rate, a hold or the order of their group holds.
    held = Field[int]("held", default=0)
    #: Queued jobs that wait for other jobs, or for a batch.
    waiting = Field[int]("waiting", default=0)
    #: Queued jobs whose last attempt failed or timed out; they are ready, delayed, held or waiting as well.
    retrying = Field[int]("retrying", default=0)
    #: Failed jobs that were cancelled.
    cancelled = Field[int]("cancelled", default=0)
    #: How long the oldest job that can be claimed has waited; None if there is none.
    oldest_ready = Field[timedelta | None]("oldest_ready_seconds", as_span)
    last_minute = Field[Lately]("last_minute", Lately)
    last_hour = Field[Lately]("last_hour", Lately)
    minutes = Field[Minutes]("minutes", Minutes)
    #: From ready to claimed.
    wait = Field[Times]("wait_seconds", Times)
    #: From claimed to the end of the attempt.
    run = Field[Times]("run_seconds", Times)
    #: How many claims wait for jobs.
    workers_waiting = Field[int]("workers_waiting", default=0)
    #: When a worker last sent a claim, with or without success; None if none did since the server's start.
    last_claim = Field[datetime | None]("last_claim", as_time)
    #: How many jobs should be in progress at a time to keep to `target_wait`, within the limits; None if it is not set.
    workers_wanted = Field[int | None]("workers_wanted")
    #: Until when the whole queue is held.
    held_until = Field[datetime | None]("held_until", as_moment)


class WorkerJobs(Answer):
    """
    A worker with the number of its jobs, or a claim that waits for jobs. Workers without a name share one entry. A
    worker that holds jobs and waits for more is listed twice.
    """

    __slots__ = ()
    _shown = ("worker", "jobs")

    #: The worker's name, from its claims.
    worker = Field[str | None]("worker")
    #: The number of jobs that the worker holds.
    jobs = Field[int]("jobs", default=0)
    #: When the worker claimed its oldest job.
    oldest_claimed = Field[datetime | None]("oldest_claimed", as_time)
    #: When the worker last claimed or updated any of these jobs.
    last_updated = Field[datetime | None]("last_updated", as_time)
    #: Whether this is a claim that waits for jobs; only such a claim has `since`, `last_claim`, `queues` and `tags`.
    waiting = Field[bool]("waiting", default=False)
    #: When the worker's wait began; consecutive claims without a job count as one wait.
    since = Field[datetime | None]("since", as_time)
    #: When the claim was sent.
    last_claim = Field[datetime | None]("last_claim", as_time)
    #: The queues to claim from.
    queues = Field[list[str]]("queues", default=[])
    #: The tags that a job must have to be claimed; empty: any job is.
    tags = Field[list[str]]("tags", default=[])
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
    #: The id of a key with a role; None for the owner's key and the admin key.
    key_id = Field[str | None]("key_id")


class AccessKey(Answer):
    """A key with a role; its secret is never shown."""

    __slots__ = ()
    _shown = ("id", "role")

    #: Identifies the key, and reveals nothing about it.
    id = Field[str]("id")
    #: producer, worker or viewer.
    role = Field[str]("role")
    created = Field[datetime]("created", as_time)


class Readiness(Answer):
    """Whether the server accepts changes."""

    __slots__ = ()
    _shown = ("status", "durability")

    #: "ready", or why the server is not ready.
    status = Field[str]("status")
    #: When changes are synced to disk: "commit", before they are acknowledged, or "interval".
    durability = Field[str | None]("durability")
