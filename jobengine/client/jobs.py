"""Encodes new jobs, changes and filters for the wire."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Final, Literal, Protocol, TypedDict, Unpack

from msgspec.json import encode as encode_fast

from .did_you_mean import unknown
from .encoding import encode_text, new_uid
from .unique_keys import Debounce, DebounceOptions, Unique, UniqueOptions, debounce_value, unique_value

#: The longest error that the server accepts, in characters; of a longer one only the end, with the reason, is sent.
ERROR_LENGTH: Final = 4096
#: Seconds, or a timedelta.
Span = float | timedelta
#: What a Span may be, in errors.
_SECONDS: Final = "a timedelta or a number of seconds"
#: Unix seconds, or a datetime; without a zone it is local time.
Moment = float | datetime


#: The time by which jobs are sorted; with a "-", newest first.
JobOrder = Literal["created", "-created", "updated", "-updated"]


#: What becomes of a job when another job, for which it waits, fails or is removed.
OnDependencyFailure = Literal["fail", "run", "wait"]


class HasUid(Protocol):
    """A job: a Job, a NewJob or a ClaimedJob."""

    @property
    def uid(self) -> str:
        """The job's uid."""


#: A job to wait for, or its uid; if it is in another queue, a tuple of that queue's name and the job or its uid.
Dependency = str | HasUid | tuple[str, "str | HasUid"]


class JobOptions(TypedDict, total=False):
    """The options of a new job."""

    #: Jobs with a higher priority are claimed first; default 0.
    priority: int
    #: Minutes for which the finished job is kept.
    keep_minutes: Span
    #: Minutes without an update after which an attempt in progress fails.
    timeout_minutes: Span
    #: Seconds without an update after which an attempt in progress fails.
    timeout_seconds: Span
    #: When the job is deleted if it is still queued.
    timeout_time: Moment
    #: Words by which to find and claim the job.
    tags: Sequence[str]
    #: The most attempts.
    max_attempts: int
    #: Seconds before the second attempt; doubled for each further one.
    retry_delay_seconds: Span
    #: While a job with this key is queued or in progress, an add answers with that job.
    unique_key: str
    #: Seconds from now during which the job can't be claimed.
    delay_seconds: Span
    #: The earliest time at which the job can be claimed.
    not_before: Moment
    #: Identifies the job: a UUID as text; by default a new one is made.
    uid: str
    #: A JSON object that is stored unchanged.
    meta: Mapping[str, Any]
    #: The trace that the job belongs to (W3C Trace Context).
    traceparent: str
    #: The job's group; a queue may have limits and an order for groups.
    group: str
    #: The jobs to wait for, at most 100: the job can be claimed once all of them are complete.
    depends_on: Sequence[Dependency]
    #: What the job does if a job in `depends_on` fails or is removed: fail too (default), run once all are finished, or
    #: wait.
    on_dependency_failure: OnDependencyFailure
    #: The batch that the job belongs to.
    batch: str
    #: A unique key with rules: how long the job holds the key, and whether the add replaces a queued job.
    #: `unique_key` is the short form.
    unique: str | UniqueOptions | Unique
    #: Seconds from the latest add with the same unique key until the job can be claimed; each add replaces the job.
    debounce: Span | DebounceOptions | Debounce


class JobChanges(TypedDict, total=False):
    """Changes of a job; omitted fields stay unchanged."""

    #: queued, inprogress, complete or failed.
    new_status: str
    #: Whether the job may be retried, with new_status "failed"; default true.
    retry: bool
    #: The progress in per cent.
    progress: int
    #: The result; any JSON.
    result: Any
    #: The error text.
    error: str
    #: The name under which the error is counted, instead of a fingerprint of its text: 1 to 64 letters, digits and
    #: "._:-".
    fingerprint: str
    priority: int
    content: Mapping[str, Any]
    tags: Sequence[str]
    timeout_time: Moment
    #: Seconds from now during which the job can't be claimed.
    delay_seconds: Span
    #: The new group of a job that is not in progress; an empty text removes it from its group.
    group: str
    #: Seconds from now during which no job of its group can be claimed or, if it has no group, no job of the queue;
    #: with new_status queued or failed.
    hold_seconds: Span
    #: Only an empty list is allowed: it removes all dependencies of a job that is not in progress.
    depends_on: Sequence[Dependency]
    #: The lease of the claim.
    lease: str


class JobFilter(TypedDict, total=False):
    """A filter for jobs: all of its conditions must match."""

    #: queued, inprogress, complete or failed.
    state: str
    #: A tag of the job.
    tag: str
    #: The job's group.
    group: str
    #: The job's batch.
    batch: str
    #: A text in the job's content.
    q: str
    #: The worker that holds the job, or held it last.
    worker: str
    #: A text in the job's error.
    error: str
    #: The fingerprint of the job's latest error.
    fingerprint: str
    #: The name of the queue from which the job was last moved.
    moved_from: str
    #: Seconds: the job was added at least that long ago.
    older_than: Span
    #: Seconds: the job was last updated at least that long ago.
    updated_before: Span
    #: True selects jobs that are queued again after an attempt that failed or timed out; False all other jobs.
    retrying: bool
    #: True selects jobs that failed because they were cancelled; False all other jobs.
    cancelled: bool


class NewJob:
    """A job to add, with its own options. Other new jobs may name it in `depends_on`."""

    __slots__ = ("_sent", "content", "options")

    def __init__(self, content: Mapping[str, Any], **options: Unpack[JobOptions]) -> None:
        self.content = content
        self.options = options
        #: The uid of the last add. Until a uid is fixed, each add makes another job.
        self._sent: str | None = None
        if "depends_on" in options:
            # Encode the dependencies now, so that jobs named in them get their uids before they are sent.
            options["depends_on"] = dependencies(options["depends_on"])

    @property
    def uid(self) -> str:
        """The job's uid: the given one, or that of the last add, or a new one. Reading it fixes it for later adds."""
        uid = self.options["uid"] = self.options.get("uid") or self._sent or new_uid()
        return uid

    def __repr__(self) -> str:
        return f"NewJob({', '.join(f'{name}={value!r}' for name, value in self.options.items())})"


def written_new(job: NewJob, usual: Mapping[str, Any]) -> bytes:
    """A NewJob as JSON, to be sent now; `usual` has values for the options that the job lacks."""
    return job_json(job.content, {**usual, **_with_uid(job)})


def _with_uid(job: NewJob) -> dict[str, Any]:
    """The options of a job that is sent now, with a uid."""
    job._sent = job.options.get("uid") or new_uid()
    return {**job.options, "uid": job._sent}


def given(**values: Any) -> dict[str, Any]:
    """The arguments that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def uid_text(uid: str) -> str:
    """The uid of a job; raises TypeError for any value but a text, such as a job."""
    if not isinstance(uid, str):
        raise TypeError(f"this call needs a job's uid, a text such as job.uid, not {type(uid).__name__}")
    return uid


def exact_seconds(value: Span) -> float:
    """The seconds of a time-out; raises TypeError."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if not isinstance(value, int | float):
        raise TypeError(f"a time-out must be {_SECONDS}, not {type(value).__name__}")
    return value


def whole_seconds(value: Span) -> int:
    """The seconds, rounded up; raises TypeError."""
    if isinstance(value, timedelta):
        return ceil(value.total_seconds())
    return _rounded_up(value, _SECONDS)


def whole_minutes(value: Span) -> int:
    """The minutes, rounded up; raises TypeError."""
    if isinstance(value, timedelta):
        return ceil(value.total_seconds() / 60)
    return _rounded_up(value, "a timedelta or a number of minutes")


def unix(value: Moment) -> int:
    """The Unix seconds, rounded up; raises TypeError."""
    if isinstance(value, datetime):
        return ceil(value.timestamp())
    return _rounded_up(value, "a datetime or a number of Unix seconds")


def _rounded_up(value: float, kinds: str) -> int:
    try:
        return ceil(value)
    except TypeError:
        raise TypeError(f"must be {kinds}, not {type(value).__name__}") from None


def words(value: Sequence[str]) -> list[str]:
    """The tags as a list; raises TypeError."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError("tags must be a list of words, not one text")
    return list(value)


def dependencies(value: Sequence[Any]) -> list[Any]:
    """The jobs to wait for, in their wire form; raises TypeError."""
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable) or _is_one_of_another_queue(value):
        raise TypeError('depends_on must be a list of jobs, such as [job] or [("queue", uid)]')
    return list(map(_dependency, value))


def _is_one_of_another_queue(value: Any) -> bool:
    """Whether a value is a pair of a queue's name and a job, in place of a list. A uid is longer than most names."""
    first = value[0] if isinstance(value, tuple) and len(value) == 2 else None
    return isinstance(first, str) and len(first) != _UID_LENGTH


def _dependency(value: Any) -> Any:
    if isinstance(value, tuple):
        queue, job = value
        return {"queue_name": queue, "uid": _uid_of(job)}
    # Only jobs from a claim have the name of their queue.
    raw = getattr(value, "raw", None)
    queue = raw.get("queue_name") if isinstance(raw, Mapping) else None
    uid = _uid_of(value)
    return uid if queue is None else {"queue_name": queue, "uid": uid}


def _uid_of(value: Any) -> Any:
    """The uid of a job; a value in wire form is returned unchanged."""
    if isinstance(value, str | dict):
        return value
    uid = getattr(value, "uid", None)
    if not isinstance(uid, str):
        raise TypeError(f"depends_on must name jobs or their uids, not {type(value).__name__}")
    return uid


def chained(jobs: Iterable[Mapping[str, Any] | NewJob], options: Mapping[str, Any]) -> list[NewJob]:
    """New jobs, each of which also depends on the one before; `options` are for all of them. Raises TypeError."""
    made: list[NewJob] = []
    for job in jobs:
        if not isinstance(job, Mapping | NewJob):
            kind = type(job).__name__
            raise TypeError(f"write chain(first, second) or chain(*jobs): a job is a dict or a NewJob, not {kind}")
        new = job if isinstance(job, NewJob) else NewJob(job)
        own: dict[str, Any] = {**options, **new.options, "uid": new.uid}
        if made:
            own["depends_on"] = [*dependencies(own.get("depends_on", ())), made[-1].uid]
        made.append(NewJob(new.content, **own))
    return made


#: Encoders of the options that have another type in JSON.
_WRITE: Final[Mapping[str, Callable[[Any], Any]]] = {
    "keep_minutes": whole_minutes,
    "timeout_minutes": whole_minutes,
    "timeout_seconds": whole_seconds,
    "timeout_time": unix,
    "tags": words,
    "retry_delay_seconds": whole_seconds,
    "delay_seconds": whole_seconds,
    "hold_seconds": whole_seconds,
    "not_before": unix,
    "older_than": whole_seconds,
    "updated_before": whole_seconds,
    "depends_on": dependencies,
    "unique": unique_value,
    "debounce": debounce_value,
}
_UID_LENGTH: Final = 36
_OPTIONS: Final = JobOptions.__optional_keys__
_CHANGES: Final = JobChanges.__optional_keys__
_FILTERS: Final = JobFilter.__optional_keys__
_NULLABLE: Final = frozenset({"result"})
#: The fields of the usual update by a worker. All are texts, so the fast encoder is safe: it writes NaN as null.
_ONLY_WORDS: Final = frozenset({"new_status", "lease"})


def job_json(content: Mapping[str, Any], options: Mapping[str, Any]) -> bytes:
    """A new job as JSON, always with a uid: then it is safe to send the same bytes again."""
    return written_job(content, written_options(options))


def written_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of new jobs, in their JSON form; raises TypeError."""
    return written(options, _OPTIONS)


def written_job(content: Mapping[str, Any], options: Mapping[str, Any]) -> bytes:
    """Like `job_json`, with options from `written_options`."""
    return _encoded({"uid": new_uid(), **options, "content": written_content(content)})


def _encoded(value: dict[str, Any]) -> bytes:
    """A job or an update as JSON; a TypeError or ValueError names the part that JSON can't represent."""
    try:
        text = encode_text(value)
    except (TypeError, ValueError, RecursionError) as error:
        from .json_faults import fault_of  # only needed after a mistake

        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"JSON can't represent this: {fault_of(value) or error}") from None
    return text.encode()


def waiting_value(jobs: Iterable[Mapping[str, Any] | NewJob], on_failure: OnDependencyFailure | None) -> dict[str, Any]:
    """The changes of a job that waits for new jobs, as a JSON object; raises TypeError."""
    if isinstance(jobs, Mapping | NewJob):
        raise TypeError("wait_for needs a list of jobs")
    made = [job if isinstance(job, NewJob) else NewJob(job) for job in jobs]
    children = [{**written_options(_with_uid(job)), "content": written_content(job.content)} for job in made]
    value: dict[str, Any] = {"new_status": "queued", "wait_for": children}
    return value if on_failure is None else {**value, "on_dependency_failure": on_failure}


def changes_json(uid: str, changes: Mapping[str, Any]) -> bytes:
    """An entry of the list of updates in a request, as JSON; raises TypeError or ValueError."""
    if changes.keys() <= _ONLY_WORDS and None not in changes.values():
        return encode_fast({"uid": uid, **changes})
    return _encoded(changes_value(uid, changes))


def claimed_json(queue: str, uid: str, changes: Mapping[str, Any]) -> bytes:
    """Like `changes_json`, with the name of the job's queue: for an update that is sent with a claim."""
    if changes.keys() <= _ONLY_WORDS and None not in changes.values():
        return encode_fast({"queue_name": queue, "uid": uid, **changes})
    return _encoded({"queue_name": queue, **changes_value(uid, changes)})


def changes_value(uid: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the list of updates in a request, as a JSON object; raises TypeError."""
    return {"uid": uid, **changes_of_all(changes)}


def changes_of_all(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes for all jobs of a filter, as a JSON object; raises TypeError."""
    value = written(changes, _CHANGES, nullable=_NULLABLE)
    if "content" in value:
        value["content"] = written_content(value["content"])
    return value


def check_filter(filters: JobFilter, *, every: bool) -> None:
    """Raise TypeError unless either a filter or `every` is given; conditions that are None do not count."""
    if every == any(value is not None for value in filters.values()):
        filter_value(filters)  # an unknown condition is the likelier mistake
        raise TypeError("choose the jobs: a filter such as state or tag, or all=True for every job")


def chosen(filters: JobFilter, *, every: bool, dry_run: bool) -> dict[str, Any]:
    """The fields of a body that choose jobs to change; raises TypeError."""
    check_filter(filters, every=every)
    flags = {"all": every, "dry_run": dry_run}
    return {"filter": filter_value(filters), **{name: True for name, is_set in flags.items() if is_set}}


def chosen_to_move(uids: Iterable[str] | None, filters: JobFilter, *, every: bool, dry_run: bool) -> dict[str, Any]:
    """The fields of a body that choose jobs to move, by uid or as `chosen` does; raises TypeError."""
    if uids is None and (every or filters):
        return chosen(filters, every=every, dry_run=dry_run)
    if isinstance(uids, str):
        raise TypeError("uids must be a list of uids, not one text")
    listed = [uid_text(uid) for uid in uids or ()]
    if not listed or every or any(value is not None for value in filters.values()):
        filter_value(filters)
        raise TypeError("choose the jobs: uids, a filter such as state or tag, or all=True for every job")
    return {"uids": listed, **({"dry_run": True} if dry_run else {})}


def chosen_query(filters: JobFilter, *, every: bool, dry_run: bool) -> dict[str, str]:
    """Like `chosen`, as query parameters."""
    fields = chosen(filters, every=every, dry_run=dry_run)
    return {name: _in_query(value) for name, value in {**fields.pop("filter"), **fields}.items()}


def filter_value(filters: Mapping[str, Any]) -> dict[str, Any]:
    """A filter as a JSON object; raises TypeError for an unknown condition."""
    return written(filters, _FILTERS)


def filter_query(filters: Mapping[str, Any]) -> dict[str, str]:
    """A filter as query parameters; raises TypeError for an unknown condition."""
    return {name: _in_query(value) for name, value in filter_value(filters).items()}


def _in_query(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def written(
    given: Mapping[str, Any],
    known: AbstractSet[str],
    nullable: AbstractSet[str] = frozenset(),
    encoders: Mapping[str, Callable[[Any], Any]] = _WRITE,
) -> dict[str, Any]:
    """The values in their wire form; None is left out, except for `nullable` names. Raises TypeError."""
    if not given.keys() <= known:
        raise TypeError(unknown(next(iter(given.keys() - known)), known))
    found = {}
    for name, value in given.items():
        if value is not None or name in nullable:
            write = encoders.get(name)
            try:
                found[name] = value if write is None or value is None else write(value)
            except TypeError as error:
                raise error if name in str(error) else TypeError(f"{name}: {error}") from None
    return found


def written_content(content: Any) -> Any:
    """The content of a job as a dict; raises TypeError."""
    if isinstance(content, dict):
        return content
    if not isinstance(content, Mapping):
        raise TypeError(f"the content of a job must be a dict (a JSON object), not {type(content).__name__}")
    return dict(content)
