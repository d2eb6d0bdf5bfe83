"""
The values of the domain.

Times are whole milliseconds of elapsed time unless a field says otherwise. Elapsed time begins as the Unix time at
which the database was made and goes on steadily, however the wall clock is set; jobengine.core.wall_time turns it into
what the wall clock shows. Everything here is frozen: a change makes a new value, so a value that was handed out never
changes under its reader.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from attrs import field, frozen
from msgspec.structs import force_setattr

from .values import Value

__all__ = [
    "DAY",
    "FINISHED",
    "HISTORY_LENGTH",
    "INPROGRESS",
    "MINUTE",
    "NO_CONTEXT",
    "NO_NOTES",
    "QUEUED",
    "SECOND",
    "UNFINISHED",
    "AccessKey",
    "Attempt",
    "Context",
    "Defaults",
    "EventBatch",
    "Grant",
    "Job",
    "JobEvent",
    "Notes",
    "OldKey",
    "Position",
    "Queue",
    "QueueCounts",
    "QueueStats",
    "QueueTotals",
    "Rank",
    "Recent",
    "Role",
    "Spec",
    "Standing",
    "State",
    "Times",
]

#: A place in execution order: negative priority, arrival, uid.
Rank = tuple[int, int, str]
#: A place in the order of a list: what it is sorted by, arrival, uid. In execution order it is the rank.
Position = tuple[int, int, str]

SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
DAY: Final = 24 * 60 * MINUTE
#: How many attempts a job remembers.
HISTORY_LENGTH: Final = 20


class State(StrEnum):
    """Where a job is in its life; the values are those of the API."""

    QUEUED = "queued"
    INPROGRESS = "inprogress"
    COMPLETE = "complete"
    FAILED = "failed"


#: Short for the hot paths: through the class each of them takes 75 ns on Python 3.11, which is three times as long.
QUEUED: Final = State.QUEUED
INPROGRESS: Final = State.INPROGRESS
#: The states in which a job is only kept to be looked at.
FINISHED: Final = frozenset({State.COMPLETE, State.FAILED})
#: The states in which something is still to be done.
UNFINISHED: Final = frozenset({State.QUEUED, State.INPROGRESS})


class Role(StrEnum):
    """What an access key may do; which calls that is stands in jobengine.core.access."""

    OWNER = "owner"
    PRODUCER = "producer"
    WORKER = "worker"
    VIEWER = "viewer"


@frozen(kw_only=True)
class Defaults:
    """What holds for a job whose client does not say."""

    #: Minutes a finished job is kept.
    keep_minutes: int = 60
    #: Seconds without an update until a job in progress has timed out; 0 is never.
    timeout_seconds: int = 600
    #: How often a job is tried.
    max_attempts: int = 1
    #: Seconds before the second attempt.
    retry_delay_seconds: int = 0


class Context(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What a client says of a job for others to read; no rule looks at it, and most jobs have none of it."""

    #: A JSON object as text, as the client sent it, or None.
    meta: str | None = None
    #: The trace that the job belongs to, as in the header of that name (W3C Trace Context), or None.
    traceparent: str | None = None


#: For a job of which nothing is said.
NO_CONTEXT: Final = Context()


class Spec(Value, frozen=True, kw_only=True):
    """What was asked for; the half of a job that stays the same until a client changes it."""

    #: A UUID as text, unique within the queue.
    uid: str
    #: Higher goes first.
    priority: int
    #: The job's place among those of equal priority; grows with every job added to the queue.
    arrival: int
    #: Minutes a finished job is kept; 0 removes it at once.
    keep_minutes: int
    #: Seconds in progress without an update until it has timed out; 0 is never.
    timeout_seconds: int
    #: Unix seconds of the wall clock at which a job still queued is removed; 0 is never.
    timeout_time: int
    #: A JSON object, byte for byte as the client sent it.
    content: bytes
    #: When it was added.
    created: int
    #: Words to find it by, and to claim it by.
    tags: tuple[str, ...] = ()
    #: How often it is tried before it has failed for good.
    max_attempts: int = 1
    #: Seconds before the second attempt; doubled at each one after it, up to a day.
    retry_delay_seconds: int = 0
    #: No second job with this key is added while this one is queued or in progress.
    unique_key: str | None = None
    #: What the client asked for, as a digest, if it chose the uid; tells the same request again from another.
    fingerprint: str | None = None
    #: The id of the key it was added with; None for the owner's.
    author: str | None = None
    #: What is handed on with it.
    context: Context = NO_CONTEXT
    #: The job's place in execution order: smaller goes first. One tuple, shared by every index that holds it.
    #: It is made of the others, whatever is given.
    rank: Rank = (0, 0, "")

    def __post_init__(self) -> None:
        force_setattr(self, "rank", (-self.priority, self.arrival, self.uid))


class Attempt(Value, frozen=True, kw_only=True):
    """One time that a job was in progress, looked back on."""

    #: The name the worker gave, if any.
    worker: str | None
    #: When it was claimed.
    started: int
    #: When it ended.
    ended: int
    #: "complete", "failed", "timeout" or "released".
    outcome: str
    #: What the worker said went wrong, if anything.
    error: str | None = None


class Notes(Value, frozen=True, kw_only=True):
    """What workers and clients report of a job; most jobs have none of it."""

    #: 0 to 100, or None if nobody has said.
    progress: int | None = None
    #: JSON text, or None.
    result: bytes | None = None
    #: What went wrong last, or None.
    error: str | None = None
    #: Its worker is to stop, and learns that from its next update.
    cancel_requested: bool = False
    #: The last attempts that have ended, oldest first; at most HISTORY_LENGTH.
    history: tuple[Attempt, ...] = ()


#: For a job of which nothing was reported.
NO_NOTES: Final = Notes()


class Standing(Value, frozen=True, kw_only=True):
    """The half of a job that changes."""

    #: Where it is in its life.
    state: State
    #: When it last changed.
    updated: int
    #: How often it was claimed.
    attempts: int = 0
    #: When it was claimed last; 0 if never.
    claimed: int = 0
    #: The token that its holder has, or had when it finished.
    lease: str | None = None
    #: The name its holder gave.
    worker: str | None = None
    #: Milliseconds by which the lease ends later than `updated` and the time-out say.
    shift: int = 0
    #: Queued, but not to be claimed before this; 0 is at once.
    ready_at: int = 0
    #: Nor before this time of the wall clock, in milliseconds since the Unix epoch; 0 is at once.
    not_before: int = 0
    #: What was said of it.
    notes: Notes = NO_NOTES


class Job(Value, frozen=True):
    """A job as it is now: its fixed half and the half that changes."""

    spec: Spec
    standing: Standing

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self.standing.state

    @property
    def size(self) -> int:
        """The bytes of its content and result."""
        return len(self.spec.content) + len(self.standing.notes.result or b"")

    @property
    def updated(self) -> int:
        """When it last changed."""
        return self.standing.updated

    @property
    def ready(self) -> bool:
        """Whether it can be claimed."""
        standing = self.standing
        return standing.state is QUEUED and not standing.ready_at and not standing.not_before

    @property
    def lease_expires(self) -> int | None:
        """When it will have timed out if its holder does not update it; None if never, or if it has no holder."""
        standing, seconds = self.standing, self.spec.timeout_seconds
        if standing.state is not INPROGRESS or not seconds:
            return None
        return standing.updated + seconds * SECOND + standing.shift

    @property
    def deadline(self) -> int | None:
        """When elapsed time will move this job on by itself, or None if it never does."""
        standing = self.standing
        if standing.state is QUEUED:
            return standing.ready_at or None
        if standing.state is INPROGRESS:
            seconds = self.spec.timeout_seconds
            return standing.updated + seconds * SECOND + standing.shift if seconds else None
        return standing.updated + self.spec.keep_minutes * MINUTE

    @property
    def wall_deadline(self) -> int | None:
        """When the wall clock will move this job on by itself, in its milliseconds, or None if it never does."""
        standing = self.standing
        if standing.state is not QUEUED:
            return None
        gone, ready = self.spec.timeout_time * SECOND, standing.not_before
        return min(gone, ready) if gone and ready else gone or ready or None


@frozen(kw_only=True)
class AccessKey:
    """A key that opens a queue for one role."""

    #: Names it to the owner; says nothing of the key.
    id: str
    #: What it may do.
    role: Role
    #: Keyed digest of the key, as hexadecimal text.
    digest: str = field(repr=False)
    #: When it was added.
    created: int


@frozen(kw_only=True)
class OldKey:
    """The owner's key before the present one, which is still good for a while."""

    #: Keyed digest of the key, as hexadecimal text.
    digest: str = field(repr=False)
    #: From when on it opens nothing.
    until: int


@frozen(kw_only=True)
class Queue:
    """A queue as its owner has configured it, without its jobs."""

    #: Unique among all queues.
    name: str
    #: Random text that makes the digests this queue's own, and tells it from an earlier one of the name.
    salt: str = field(repr=False)
    #: Keyed digest of the owner's access key, as hexadecimal text (see jobengine.core.access).
    digest: str = field(repr=False)
    #: When it was created.
    created: int
    #: It gives no jobs out.
    paused: bool = False
    #: It takes no jobs in.
    draining: bool = False
    #: Jobs in progress are only updated with their lease.
    require_lease: bool = False
    #: How many jobs it may hold, of every state; 0 is any number.
    max_jobs: int = 0
    #: For jobs that do not say; None for the server's own.
    defaults: Defaults | None = None
    #: Keys beside the owner's.
    keys: tuple[AccessKey, ...] = ()
    #: The owner's key before this one, if it was to stay good for a while; it may have ended.
    old_key: OldKey | None = None


@frozen
class Grant:
    """What a key was found to be."""

    #: What it may do.
    role: Role
    #: Its id; None for the owner's own key.
    key_id: str | None = None

    @property
    def is_producer(self) -> bool:
        """Whether it may read only what it added."""
        return self.role is Role.PRODUCER


@frozen(kw_only=True)
class Times:
    """How long something took, in milliseconds; None where it never happened."""

    p50: int | None = None
    p90: int | None = None
    p99: int | None = None


@frozen(kw_only=True)
class QueueCounts:
    """How many jobs a queue has of each kind."""

    #: Jobs by state.
    states: dict[State, int]
    #: Queued jobs that can be claimed, and those that can't be yet.
    ready: int
    delayed: int


@frozen(kw_only=True)
class Recent:
    """What has been going on in a queue lately, as far as it was counted."""

    #: "added", "claimed", "complete" and "failed" in the last minute and hour.
    last_minute: dict[str, int]
    last_hour: dict[str, int]
    #: From when a job could be claimed to its claim, and from there to its end.
    wait: Times = Times()
    run: Times = Times()


@frozen(kw_only=True)
class QueueStats:
    """A queue in numbers."""

    #: The queue.
    queue: Queue
    #: Jobs by state.
    counts: dict[State, int]
    #: Queued jobs that can be claimed, and those that can't be yet.
    ready: int
    delayed: int
    #: Milliseconds since the oldest job that can be claimed was added; None if there is none.
    oldest_ready: int | None
    #: "added", "claimed", "complete" and "failed" in the last minute and hour.
    last_minute: dict[str, int]
    last_hour: dict[str, int]
    #: From when a job could be claimed to its claim, and from there to its end.
    wait: Times
    run: Times

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.queue.name


@frozen(kw_only=True)
class QueueTotals:
    """The numbers of a queue that cost little, so that those of all queues can be read often."""

    #: The queue's name.
    name: str
    #: Jobs by state.
    counts: Mapping[State, int]
    #: See QueueStats.
    oldest_ready: int | None
    #: "added", "claimed", "complete", "failed" and "timed_out" since the engine was started.
    totals: Mapping[str, int]


@frozen(kw_only=True)
class JobEvent:
    """One change of one job."""

    #: Give it to `watch` to resume behind this event.
    id: str
    #: The job's uid.
    uid: str
    #: The state it was in, or None if it is new.
    before: State | None
    #: The state it is in, or None if it was removed.
    state: State | None
    #: Milliseconds since the epoch.
    at: int


@frozen(eq=False)
class EventBatch:
    """Some changes of jobs in one queue, in the order in which they were made: one value for all who watch."""

    #: At least one.
    events: tuple[JobEvent, ...]
