"""
The values of the domain.

Times are whole milliseconds of elapsed time unless a field says otherwise. Elapsed time begins as the Unix time at
which the database was made and runs by the monotonic clock, however the wall clock is set; jobengine.core.wall_time
converts it for clients. Everything here is frozen: a change makes a new value, so a value that was handed out never
changes under its reader.
"""

from enum import StrEnum
from typing import Final

from attrs import field, frozen
from msgspec.structs import force_setattr

from .ageing import Order
from .dead_letters import DUE, DeadLetter, MovedFrom
from .dependencies import Dependencies
from .flow import Flow
from .retention import Retention
from .unique_rule import UniqueRule
from .values import Value

#: A place in execution order: negative priority (or a place in line, see Rare.line), arrival, uid.
Rank = tuple[int, int, str]
#: A position in the order of a list: the sorted value, arrival, uid. In execution order it is the rank.
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


#: The states as constants, for the hot paths: access through the class takes 75 ns on Python 3.11, three times as long.
QUEUED: Final = State.QUEUED
INPROGRESS: Final = State.INPROGRESS
COMPLETE: Final = State.COMPLETE
FAILED: Final = State.FAILED
#: The states of a job that is only kept for reading.
FINISHED: Final = frozenset({State.COMPLETE, State.FAILED})
#: The states of a job that is not done.
UNFINISHED: Final = frozenset({State.QUEUED, State.INPROGRESS})


class Role(StrEnum):
    """What an access key may do; jobengine.core.access lists the commands of each role."""

    OWNER = "owner"
    PRODUCER = "producer"
    WORKER = "worker"
    VIEWER = "viewer"


@frozen(kw_only=True)
class Defaults:
    """Default values for fields that a new job omits."""

    #: Minutes a complete job is kept.
    keep_minutes: int = 60
    #: Minutes a failed job is kept; None is the server's default, in a queue from a version without this field.
    keep_failed_minutes: int | None = 4_320
    #: Seconds without an update until a job in progress has timed out; 0 is never.
    timeout_seconds: int = 600
    #: The most attempts at a job.
    max_attempts: int = 1
    #: Seconds before the second attempt.
    retry_delay_seconds: int = 0


class Context(Value, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Values that a client attaches to a job for other programs; no rule uses them, and most jobs have none."""

    #: A JSON object as text, as the client sent it, or None.
    meta: str | None = None
    #: The trace that the job belongs to, as in the header of that name (W3C Trace Context), or None.
    traceparent: str | None = None


#: The context of a job without any.
NO_CONTEXT: Final = Context()


class Rare(Value, frozen=True, kw_only=True, omit_defaults=True):
    """The parts of a spec that few jobs have: one field of Spec, so that they cost other jobs nothing."""

    #: While the job holds this key, no second job with the key is added; see `unique`.
    unique_key: str | None = None
    #: Digest of the request, if the client chose the uid; tells a repeated request from a different one.
    request_digest: str | None = None
    #: The id of the access key that added the job; None for the owner's key.
    author: str | None = None
    #: What the client attached to the job.
    context: Context = NO_CONTEXT
    #: The group whose limits and order apply to the job.
    group: str | None = None
    #: The batch that the job belongs to.
    batch: str | None = None
    #: The jobs and batches that the job waits for.
    dependencies: Dependencies | None = None
    #: How the job holds its unique key; None, as for most jobs: until it is finished.
    unique: UniqueRule | None = None
    #: The job's place in line, in a queue with priority ageing; see jobengine.core.ageing.
    line: int | None = None
    #: Where the job was before it was moved into this queue.
    moved_from: MovedFrom | None = None

    @property
    def own_group(self) -> str | None:
        """The job's group, even in a queue to which it was moved and which has no groups."""
        return self.group if self.moved_from is None else self.group or self.moved_from.group


#: The rare fields of a job without any.
NO_RARE: Final = Rare()


#: Rare fields by group, or by author, group and batch. It is emptied when it is full.
_shared_rare: Final[dict[object, Rare]] = {}
_MOST_SHARED: Final = 131_072
#: Returns the rare fields shared by the jobs that have this group and no other rare field; None if none are shared yet.
of_group: Final = _shared_rare.get


def shared_rare(author: str | None = None, group: str | None = None, batch: str | None = None) -> Rare:
    """The rare fields of a job that has no other; the jobs of a group, or of a batch, share one object."""
    if author is None and group is None and batch is None:
        return NO_RARE
    key = group if author is None and batch is None else (author, group, batch)
    found = _shared_rare.get(key)
    if found is None:
        if len(_shared_rare) == _MOST_SHARED:
            _shared_rare.clear()
        # A plain dict takes 140 bytes a group less than lru_cache.
        found = _shared_rare[key] = Rare(author=author, group=group, batch=batch)
    return found


class Spec(Value, frozen=True, kw_only=True, omit_defaults=True):
    """The fixed part of a job, as requested. Only a client changes it."""

    #: A UUID as text, unique within the queue.
    uid: str
    #: Jobs with a higher priority are claimed first.
    priority: int
    #: The job's place among jobs of equal priority; grows with every job added to the queue.
    arrival: int
    #: How long the finished job is kept. One value for two times: CPython 3.11 is slow at calls with over 15 keywords.
    keep: Retention
    #: Seconds in progress without an update until the job times out; 0 is never.
    timeout_seconds: int
    #: Unix seconds of the wall clock at which a job still queued is removed; 0 is never.
    timeout_time: int
    #: A JSON object, byte for byte as the client sent it.
    content: bytes
    #: When it was added.
    created: int
    #: Words by which to find and claim the job.
    tags: tuple[str, ...] = ()
    #: The most attempts.
    max_attempts: int = 1
    #: Seconds before the second attempt; doubled at each one after it, up to a day.
    retry_delay_seconds: int = 0
    #: The fields that few jobs have.
    rare: Rare = NO_RARE
    #: The job's place in execution order: smaller goes first. One tuple, shared by every index that holds it. Computed
    #: from the other fields; a value that is passed is ignored.
    rank: Rank = (0, 0, "")

    def __post_init__(self) -> None:
        line = self.rare.line
        force_setattr(self, "rank", (-self.priority if line is None else line, self.arrival, self.uid))


class Attempt(Value, frozen=True, kw_only=True, array_like=True):
    """
    A past attempt: one time that the job was in progress. Consecutive releases are one attempt.

    Records have an attempt as the array of these fields.
    """

    #: The name the worker gave, if any; for consecutive releases, the last worker's.
    worker: str | None
    #: When the job was claimed; for consecutive releases, the time of the first claim.
    started: int
    #: When the attempt ended; for consecutive releases, the time of the last one.
    ended: int
    #: "complete", "failed", "timeout" or "released".
    outcome: str
    #: The error that the worker reported, if any.
    error: str | None = None
    #: The number of releases; 1 for any other outcome.
    times: int = 1
    #: The fingerprint that the worker sent with its error, if any; see jobengine.core.failures.
    fingerprint: str | None = None


class Notes(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What workers and clients report about a job; most jobs have none."""

    #: The progress, 0 to 100, or None if none was reported.
    progress: int | None = None
    #: JSON text, or None.
    result: bytes | None = None
    #: The latest error, or None.
    error: str | None = None
    #: Whether cancellation was requested; the worker learns of it from its next update.
    cancel_requested: bool = False
    #: The last attempts that have ended, oldest first; at most HISTORY_LENGTH.
    history: tuple[Attempt, ...] = ()
    #: Whether the last attempt, releases aside, failed or timed out, and the job is tried again.
    retrying: bool = False
    #: Whether the job failed because it was cancelled.
    cancelled: bool = False
    #: The fingerprint that a worker sent with the latest error, if any; see jobengine.core.failures.
    fingerprint: str | None = None
    #: Whether the job is finished, and another job has its unique key now.
    key_passed_on: bool = False
    #: Whether a failed job is to be moved to the dead-letter queue (DUE), or why it stays; empty for all other jobs.
    #: See jobengine.core.dead_letters.
    dead_letter: str = ""


#: The notes of a job without any report.
NO_NOTES: Final = Notes()


class Standing(Value, frozen=True, kw_only=True, omit_defaults=True):
    """The changing part of a job: where the job is in its life, who holds it, and what was reported about it."""

    #: Where the job is in its life.
    state: State
    #: When the job last changed.
    updated: int
    #: How often the job was claimed.
    attempts: int = 0
    #: When the job was claimed last; 0 if never.
    claimed: int = 0
    #: The token of the job's holder or, once the job has finished, of its last holder.
    lease: str | None = None
    #: The holder's name.
    worker: str | None = None
    #: Milliseconds by which a deadline comes later. A lease ends at `updated` plus the time-out plus `shift`. The
    #: retention of a finished job that others waited for begins at `updated` plus `shift`.
    shift: int = 0
    #: Queued, but not claimable before this elapsed time; 0 is at once.
    ready_at: int = 0
    #: Queued, but not claimable before this time of the wall clock, in milliseconds since the Unix epoch; 0 is at once.
    not_before: int = 0
    #: One character for each dependency (see core.dependencies), while the job waits for any, or if it has failed
    #: because of one; otherwise empty.
    ended: str = ""
    #: What workers and clients have reported.
    notes: Notes = NO_NOTES


class Job(Value, frozen=True):
    """A job at one moment: its spec and its standing."""

    spec: Spec
    standing: Standing

    @property
    def state(self) -> State:
        """Where the job is in its life."""
        return self.standing.state

    @property
    def size(self) -> int:
        """The number of bytes of the job's content and result."""
        return len(self.spec.content) + len(self.standing.notes.result or b"")

    @property
    def updated(self) -> int:
        """When the job last changed."""
        return self.standing.updated

    @property
    def ready(self) -> bool:
        """Whether the job can be claimed."""
        standing = self.standing
        return standing.state is QUEUED and not standing.ready_at and not standing.not_before and not standing.ended

    @property
    def waits(self) -> bool:
        """Whether the job waits for other jobs, or for a batch."""
        return self.standing.state is QUEUED and self.standing.ended != ""

    @property
    def retrying(self) -> bool:
        """Whether the job is queued again after an attempt that failed or timed out."""
        standing = self.standing
        return standing.state is QUEUED and standing.notes.retrying

    @property
    def cancelled(self) -> bool:
        """Whether the job failed because it was cancelled."""
        return self.standing.notes.cancelled

    @property
    def lease_expires(self) -> int | None:
        """When the job times out unless its holder updates it; None if never, or if nobody holds the job."""
        standing, seconds = self.standing, self.spec.timeout_seconds
        if standing.state is not INPROGRESS or not seconds:
            return None
        return standing.updated + seconds * SECOND + standing.shift

    @property
    def deadline(self) -> int | None:
        """The elapsed time at which this job changes by itself, or None."""
        return deadline_of(self.spec, self.standing)

    @property
    def wall_deadline(self) -> int | None:
        """The time of the wall clock, in milliseconds, at which this job changes by itself, or None."""
        standing = self.standing
        if standing.state is not QUEUED:
            return None
        gone, ready = self.spec.timeout_time * SECOND, standing.not_before
        return min(gone, ready) if gone and ready else gone or ready or None


def deadline_of(spec: Spec, standing: Standing) -> int | None:
    """Job.deadline as a function, which takes half the time of the property."""
    state = standing.state
    if state is QUEUED:
        return standing.ready_at or None
    if state is INPROGRESS:
        seconds = spec.timeout_seconds
        return standing.updated + seconds * SECOND + standing.shift if seconds else None
    if state is COMPLETE:
        return standing.updated + standing.shift + spec.keep.minutes * MINUTE
    if standing.notes.dead_letter == DUE:
        return standing.updated
    return standing.updated + standing.shift + spec.keep.failed_minutes * MINUTE


@frozen(kw_only=True)
class AccessKey:
    """A key that opens a queue for one role."""

    #: The id by which the owner names the key; it reveals nothing of the key.
    id: str
    #: What the key may do.
    role: Role
    #: Keyed digest of the key, as hexadecimal text.
    digest: str = field(repr=False)
    #: When it was added.
    created: int


@frozen(kw_only=True)
class OldKey:
    """The owner's previous key, which is still valid for a while."""

    #: Keyed digest of the key, as hexadecimal text.
    digest: str = field(repr=False)
    #: When the key ceases to be valid.
    until: int


@frozen(kw_only=True)
class Queue:
    """A queue as its owner has configured it, without its jobs."""

    #: Unique among all queues.
    name: str
    #: Random text that salts the digests, and tells the queue from an earlier one of the same name.
    salt: str = field(repr=False)
    #: Keyed digest of the owner's access key, as text (see jobengine.core.access).
    digest: str = field(repr=False)
    #: When the queue was created.
    created: int
    #: Whether claiming jobs is refused.
    paused: bool = False
    #: Whether adding jobs is refused.
    draining: bool = False
    #: Whether an update of a job in progress must send its lease.
    require_lease: bool = False
    #: The most jobs that it may hold, of every state; 0 is no limit.
    max_jobs: int = 0
    #: Defaults for new jobs; None for the server's.
    defaults: Defaults | None = None
    #: Keys beside the owner's.
    keys: tuple[AccessKey, ...] = ()
    #: The owner's previous key, if a rotation kept it valid for a while; that time may be over.
    old_key: OldKey | None = None
    #: Limits and the order of groups; None if the queue has neither, nor a group with settings or a hold of its own.
    flow: Flow | None = None
    #: The longest that a job should wait, in seconds; `workers_wanted` is computed from it. None is no aim.
    target_wait_seconds: int | None = None
    #: Priority ageing. None if the queue has none; after ageing is removed, an Order stays until all jobs have moved to
    #: their new places.
    order: Order | None = None
    #: The queue to which failed jobs are moved, or None.
    dead_letter: DeadLetter | None = None


@frozen
class Grant:
    """The role that a key has in a queue."""

    #: What the key may do.
    role: Role
    #: The key's id; None for the owner's own key.
    key_id: str | None = None

    @property
    def is_producer(self) -> bool:
        """Whether the key may read only the jobs that it added."""
        return self.role is Role.PRODUCER


@frozen(kw_only=True)
class JobEvent:
    """A change of a job's state, or the decision that a failed job stays in its queue (`not_moved`)."""

    #: The id to pass to `watch` to resume after this event.
    id: str
    #: The job's uid.
    uid: str
    #: The job's former state, or None if the job is new.
    before: State | None
    #: The job's state, or None if the job was removed.
    state: State | None
    #: Milliseconds since the epoch.
    at: int
    #: The job's group, if it has one.
    group: str | None = None
    #: Why a failed job is not moved to the dead-letter queue, from jobengine.core.dead_letters; else None.
    not_moved: str | None = None


@frozen(eq=False)
class EventBatch:
    """Consecutive events of one queue, oldest first; all watchers share one batch."""

    #: At least one event.
    events: tuple[JobEvent, ...]
