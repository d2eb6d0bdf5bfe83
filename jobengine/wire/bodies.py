"""The bodies of requests: their fields, and the types and bounds of each."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final

from msgspec import UNSET, Meta, Raw, UnsetType, field

from ..core.ageing import SecondsPerPriority
from ..core.batches import NAME_LENGTH as BATCH_LENGTH
from ..core.dependencies import MOST_DEPENDENCIES
from ..core.flow import GROUP_LENGTH, GroupName, Number, Weight, Window
from ..core.schedules import NAME_LENGTH as SCHEDULE_LENGTH
from ..core.unique_rule import Hold, Pause
from ..core.values import Value
from .advice import (
    FOR_ADD_JOBS,
    FOR_BATCH,
    FOR_CHANGE_QUEUE,
    FOR_NEW_JOB,
    FOR_SCHEDULE,
    FOR_SCHEDULED_JOB,
    FOR_UPDATE,
    FOR_UPDATE_JOB,
    FOR_UPDATE_JOBS,
    for_add_job,
    for_new_queue,
)
from .origins import OriginText
from .request_head import MAX_WAIT, SentFilter, Text
from .time_text import LAST_SECOND
from .unknown_fields import Ignored

NAME_LENGTH: Final = 256
KEY_LENGTH: Final = 1024
#: The most characters of `error`. Kept short: a job's record may have the errors of 20 attempts.
ERROR_LENGTH: Final = 4096
MOST_JOBS: Final = 10_000
MOST_CLAIMS: Final = 1_000
MOST_MOVES: Final = 1_000

Name = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)]
Key = Annotated[str, Meta(min_length=1, max_length=KEY_LENGTH)]
Count = Annotated[int, Meta(ge=0)]
#: Seconds, at most 30 days.
Overlap = Annotated[int, Meta(ge=0, le=2_592_000)]
Tags = Annotated[tuple[Name, ...], Meta(max_length=20)]
Uid = Annotated[str, Meta(pattern="^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\\Z")]
Attempts = Annotated[int, Meta(ge=1)]
BatchName = Annotated[str, Meta(min_length=1, max_length=BATCH_LENGTH)]
#: A Unix second up to the year 9999.
Moment = Annotated[int, Meta(ge=0, le=LAST_SECOND)]
#: Seconds, at most 1,000 years: the end of a longer delay may be a time that no calendar has.
Delay = Annotated[int, Meta(ge=0, le=31_536_000_000)]

#: The value of a raw field that was not sent.
NOTHING: Final = Raw()


class Fields(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object in a body; unknown fields are errors."""

    #: Advice for unknown and missing fields, by name.
    advice: ClassVar[Mapping[str, str]] = {}


class Defaults(Fields, frozen=True, kw_only=True):
    """Defaults of a queue for new jobs."""

    keep_minutes: Count | None = None
    keep_failed_minutes: Count | None = None
    timeout_seconds: Count | None = None
    max_attempts: Attempts | None = None
    retry_delay_seconds: Count | None = None


class Rate(Fields, frozen=True, kw_only=True):
    """A rate limit: at most `count` jobs in `seconds`."""

    count: Number
    seconds: Window


class Limits(Fields, frozen=True, kw_only=True):
    """Limits of a queue or of each group."""

    in_progress: Number | None = None
    rate: Rate | None = None


class Order(Fields, frozen=True, kw_only=True):
    """The order of a queue's jobs."""

    seconds_per_priority: SecondsPerPriority


class DeadLetter(Fields, frozen=True, kw_only=True):
    """The dead-letter queue of a queue."""

    queue_name: Text
    keep_minutes: Count | None = None


class ChangeQueue(Fields, frozen=True, kw_only=True):
    """Changes of a queue."""

    advice = FOR_CHANGE_QUEUE

    name: Text
    paused: bool | None = None
    draining: bool | None = None
    require_lease: bool | None = None
    max_jobs: Count | UnsetType | None = UNSET
    defaults: Defaults | UnsetType | None = UNSET
    limits: Limits | UnsetType | None = UNSET
    group_limits: Limits | UnsetType | None = UNSET
    group_order: Text | None = None
    group_on_failure: Text | None = None
    target_wait_seconds: Window | UnsetType | None = UNSET
    order: Order | UnsetType | None = UNSET
    dead_letter: DeadLetter | UnsetType | None = UNSET
    held_until: Moment | None = None
    new_access_key: Key | None = None
    old_key_seconds: Overlap | None = None


class NewQueue(Fields, frozen=True, kw_only=True):
    """A queue to be created."""

    advice = for_new_queue(ChangeQueue.__struct_fields__)

    name: Name
    access_key: Key


class AddKey(Fields, frozen=True, kw_only=True):
    """A key with a role to be added."""

    queue_name: Text
    role: str
    access_key: Key


class Group(Fields, frozen=True, kw_only=True):
    """A group's own settings."""

    queue_name: Text
    group: GroupName
    in_progress: Number | UnsetType | None = UNSET
    rate: Rate | UnsetType | None = UNSET
    weight: Weight | None = None
    paused: bool | None = None
    held_until: Moment | None = None


class Dependency(Fields, frozen=True, kw_only=True):
    """A job of another queue."""

    queue_name: Text
    uid: Uid


class Unique(Fields, frozen=True, kw_only=True):
    """A unique key, and what it means; see jobengine.core.unique_rule."""

    key: Name
    until: Text | None = None
    seconds: Hold | None = None
    if_queued: Text | None = None
    if_running: Text | None = None


class Debounce(Fields, frozen=True, kw_only=True):
    """How adds with the same unique key delay a job."""

    seconds: Pause
    at_most_seconds: Pause | None = None


class NewJob(Fields, frozen=True, kw_only=True):
    """A job to be added."""

    advice = FOR_NEW_JOB

    content: Raw
    priority: int | None = None
    keep_minutes: Count | None = None
    timeout_minutes: Count | None = None
    timeout_seconds: Count | None = None
    timeout_time: Count | None = None
    tags: Tags | None = None
    max_attempts: Attempts | None = None
    retry_delay_seconds: Count | None = None
    unique_key: Name | None = None
    delay_seconds: Delay | None = None
    not_before: Moment | None = None
    uid: Uid | None = None
    meta: Raw = NOTHING
    traceparent: str | None = None
    group: GroupName | None = None
    depends_on: Annotated[list[Uid | Dependency], Meta(max_length=MOST_DEPENDENCIES)] | None = None
    on_dependency_failure: Text | None = None
    batch: BatchName | None = None
    unique: Unique | None = None
    debounce: Debounce | None = None
    # Ignored, so that a job from an answer can be sent back unchanged to add it again.
    created: Ignored = NOTHING
    last_updated: Ignored = NOTHING
    state: Ignored = NOTHING
    attempts: Ignored = NOTHING
    worker: Ignored = NOTHING
    lease: Ignored = NOTHING
    lease_expires: Ignored = NOTHING
    started: Ignored = NOTHING
    progress: Ignored = NOTHING
    result: Ignored = NOTHING
    error: Ignored = NOTHING
    cancel_requested: Ignored = NOTHING
    cancelled: Ignored = NOTHING
    fingerprint: Ignored = NOTHING
    history: Ignored = NOTHING
    removed_at: Ignored = NOTHING
    waiting: Ignored = NOTHING
    queue_name: Ignored = NOTHING
    dependencies: Ignored = NOTHING
    results_left_out: Ignored = NOTHING
    replaced: Ignored = NOTHING
    moved_from: Ignored = NOTHING
    not_moved: Ignored = NOTHING


class AddJob(Fields, frozen=True, kw_only=True):
    """One job and its queue."""

    advice = for_add_job(NewJob.__struct_fields__)

    queue_name: Text
    job: NewJob


class AddJobs(Fields, frozen=True, kw_only=True):
    """Several jobs and their queue."""

    advice = FOR_ADD_JOBS

    queue_name: Text
    jobs: Annotated[list[NewJob], Meta(min_length=1, max_length=MOST_JOBS)]
    #: The batch of the jobs that have no `batch` field.
    batch: BatchName | None = None


class Changes(Fields, frozen=True, kw_only=True):
    """The changes of a job."""

    new_status: Text | None = None
    retry: bool | None = None
    cancel: bool | None = None
    progress: Annotated[int, Meta(ge=0, le=100)] | None = None
    result: Raw = NOTHING
    error: Annotated[str, Meta(max_length=ERROR_LENGTH)] | None = None
    #: A fingerprint; requests.own_fingerprint checks it.
    fingerprint: str | None = None
    priority: int | None = None
    content: Raw = NOTHING
    tags: Tags | None = None
    timeout_time: Count | None = None
    delay_seconds: Delay | None = None
    group: Annotated[str, Meta(max_length=GROUP_LENGTH)] | None = None
    #: Only an empty list is allowed: it removes all dependencies.
    depends_on: Annotated[list[Raw], Meta(max_length=0)] | None = None


class Update(Changes, frozen=True, kw_only=True):
    """An update of one job."""

    advice = FOR_UPDATE

    uid: Text
    lease: Text | None = None
    hold_seconds: Window | None = None


class UpdateJob(Update, frozen=True, kw_only=True):
    """An update of one job, and its queue."""

    advice = FOR_UPDATE_JOB

    queue_name: Text


class ChangeJob(UpdateJob, frozen=True, kw_only=True):
    """An update of one job, or new jobs for which it waits."""

    wait_for: Annotated[list[NewJob], Meta(min_length=1, max_length=MOST_DEPENDENCIES)] | None = None
    on_dependency_failure: Text | None = None


class UpdateJobs(Changes, frozen=True, kw_only=True):
    """Updates of several jobs, or one change for all jobs that match a filter, or a move."""

    advice = FOR_UPDATE_JOBS

    queue_name: Text
    updates: Annotated[list[Update], Meta(min_length=1, max_length=MOST_JOBS)] | None = None
    filter: SentFilter | None = None
    all: bool | None = None
    dry_run: bool | None = None
    uids: Annotated[list[Uid], Meta(min_length=1, max_length=MOST_MOVES)] | None = None
    move_to: Text | None = None
    per_second: Annotated[float, Meta(ge=0.001, le=1_000_000)] | None = None


class Claim(Fields, frozen=True, kw_only=True):
    """A claim, and updates that are made before it."""

    queue_names: Annotated[list[Text], Meta(min_length=1, max_length=100)]
    count: Annotated[int, Meta(ge=1, le=MOST_CLAIMS)] | None = None
    wait: Annotated[float, Meta(ge=0, le=MAX_WAIT)] | None = None
    worker: Name | None = None
    host: OriginText | None = None
    pid: OriginText | None = None
    client: OriginText | None = None
    tags: Tags | None = None
    updates: Annotated[list[UpdateJob], Meta(max_length=MOST_CLAIMS)] | None = None
    with_results: bool | None = None


ScheduleName = Annotated[str, Meta(min_length=1, max_length=SCHEDULE_LENGTH)]
#: A cron line: longer ones could take long to read.
CronLine = Annotated[str, Meta(min_length=1, max_length=1000)]
#: Seconds, at most a year of 366 days.
Period = Annotated[int, Meta(ge=1, le=31_622_400)]
Age = Annotated[int, Meta(ge=0, le=31_622_400)]
#: A number of failures.
Failures = Annotated[int, Meta(ge=1, le=1_000)]


class ScheduledJob(Fields, frozen=True, kw_only=True):
    """The job that a schedule adds."""

    advice = FOR_SCHEDULED_JOB

    content: Raw
    priority: int | None = None
    keep_minutes: Count | None = None
    timeout_seconds: Count | None = None
    tags: Tags | None = None
    max_attempts: Attempts | None = None
    retry_delay_seconds: Count | None = None
    unique_key: Name | None = None
    meta: Raw = NOTHING
    group: GroupName | None = None
    delay_seconds: Delay | None = None


class _Schedule(Fields, frozen=True, kw_only=True):
    """The fields that SetSchedule and ChangeSchedule share."""

    advice = FOR_SCHEDULE

    queue_name: Text
    name: ScheduleName
    cron: CronLine | None = None
    every_seconds: Period | None = None
    timezone: Text | None = None
    if_running: Text | None = None
    missed: Text | None = None
    missed_seconds: Age | None = None
    paused: bool | None = None


class SetSchedule(_Schedule, frozen=True, kw_only=True):
    """A schedule to be created, or given other settings."""

    job: ScheduledJob
    pause_after_failures: Failures | None = None
    dry_run: bool | None = None


class ChangeSchedule(_Schedule, frozen=True, kw_only=True):
    """Changes of a schedule."""

    job: ScheduledJob | None = None
    pause_after_failures: Failures | UnsetType | None = UNSET


class RunSchedule(Fields, frozen=True, kw_only=True):
    """A request to run a schedule now, or to add the jobs of past times."""

    queue_name: Text
    name: ScheduleName
    from_: int | Text | None = field(default=None, name="from")
    until: int | Text | None = None
    dry_run: bool | None = None


class SetBatch(Fields, frozen=True, kw_only=True):
    """A batch to be created."""

    advice = FOR_BATCH

    queue_name: Text
    name: BatchName
    then: NewJob | None = None
    then_on: Text | None = None


class ChangeBatch(Fields, frozen=True, kw_only=True):
    """A batch to be closed, cancelled or retried."""

    advice = FOR_BATCH

    queue_name: Text
    name: BatchName
    open: bool | None = None
    cancel: bool | None = None
    retry: bool | None = None
