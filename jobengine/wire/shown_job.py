"""
A job in the API's answers.

The class ShownJob is the table of a job's fields. Each line has a field's name, type, source and default; a field at
its default is left out. A test compares the table with requests, records and api_schema.yml.
"""

from collections.abc import Callable, Sequence, Set
from typing import Annotated, Any, Final, get_type_hints

import msgspec
from attrs import frozen
from msgspec import Raw, defstruct
from msgspec.structs import fields, replace

from ..core.commands import Added
from ..core.dead_letters import DUE
from ..core.dependencies import Dependencies, batch_in
from ..core.failures import fingerprint_of, fingerprint_of_attempt
from ..core.model import (
    COMPLETE,
    FAILED,
    INPROGRESS,
    NO_CONTEXT,
    NO_NOTES,
    NO_RARE,
    QUEUED,
    SECOND,
    Attempt,
    Job,
    Rare,
    Standing,
    State,
    deadline_of,
)
from ..core.values import Value
from .unique_keys import ShownDebounce, ShownUnique, shown_debounce, shown_unique

to_json: Final = msgspec.json.Encoder().encode

#: The largest integer that clients with 64-bit integers can read.
_LARGEST: Final = (1 << 63) - 1


@frozen
class From:
    """
    The source of a field: a Python expression; its variables are the parameters of the function
    that `_maker` makes.
    """

    expression: str


def _seconds(name: str) -> str:
    """
    An expression that converts `name`, a time in milliseconds or None, to seconds, at most _LARGEST. Avoids `min`,
    which is slow.
    """
    return f"None if {name} is None else {name} // 1000 if {name} < TOO_LATE else LARGEST"


class ShownAttempt(Value, frozen=True, omit_defaults=True):
    """An attempt as the API shows it."""

    started: int
    ended: int
    outcome: str
    worker: str | None = None
    error: str | None = None
    times: int = 1
    fingerprint: str | None = None


class ShownDependency(Value, frozen=True):
    """A job of another queue, on which a job depends."""

    queue_name: str
    uid: str


class ShownMovedFrom(Value, frozen=True):
    """Where a job was before its last move."""

    queue_name: str
    at: int


class ShownJob(Value, frozen=True, omit_defaults=True):
    """A job as the API shows it. Fields that the first version did not have are left out at their defaults."""

    uid: Annotated[str, From("spec.uid")]
    priority: Annotated[int, From("spec.priority")]
    keep_minutes: Annotated[int, From("spec.keep.minutes")]
    timeout_minutes: Annotated[int, From("-(-spec.timeout_seconds // 60)")]
    created: Annotated[int, From("spec.created // 1000")]
    last_updated: Annotated[int, From("standing.updated // 1000")]
    timeout_time: Annotated[int, From("spec.timeout_time")]
    content: Annotated[Raw, From("Raw(spec.content)")]
    state: Annotated[str, From("state")]
    timeout_seconds: Annotated[int, From("spec.timeout_seconds if spec.timeout_seconds < LARGEST else LARGEST")]
    tags: Annotated[tuple[str, ...], From("spec.tags")] = ()
    max_attempts: Annotated[int, From("spec.max_attempts")] = 1
    retry_delay_seconds: Annotated[int, From("spec.retry_delay_seconds")] = 0
    attempts: Annotated[int, From("standing.attempts")] = 0
    worker: Annotated[str | None, From("standing.worker")] = None
    lease_expires: Annotated[int | None, From(_seconds("expires"))] = None
    started: Annotated[int, From("standing.claimed // 1000 if state is INPROGRESS else 0")] = 0
    not_before: Annotated[int, From("not_before(standing) if standing.ready_at or standing.not_before else 0")] = 0
    progress: Annotated[int | None, From("notes.progress")] = None
    result: Annotated[Raw | None, From("None if notes.result is None else Raw(notes.result)")] = None
    error: Annotated[str | None, From("notes.error")] = None
    cancel_requested: Annotated[bool | None, From("notes.cancel_requested if state is INPROGRESS else None")] = None
    cancelled: Annotated[bool, From("notes.cancelled")] = False
    fingerprint: Annotated[
        str | None,
        From(
            "None if notes is NO_NOTES and state is not FAILED"
            " else notes.fingerprint if updated or state is COMPLETE else fingerprint_of(standing)"
        ),
    ] = None
    history: Annotated[tuple[ShownAttempt, ...], From("history(notes.history, updated) if notes.history else ()")] = ()
    removed_at: Annotated[int | None, From(_seconds("removed"))] = None
    lease: Annotated[str | None, From("lease")] = None
    queue_name: Annotated[str | None, From("queue")] = None
    group: Annotated[str | None, From("rare.group")] = None
    # Few jobs have these fields: they come last, so that other jobs are made without them. Most jobs of a batch have
    # only `batch`.
    batch: Annotated[str | None, From("rare.batch")] = None
    unique_key: Annotated[str | None, From("rare.unique_key if rare.unique is None else None")] = None
    meta: Annotated[Raw | None, From("None if rare.context.meta is None else Raw(rare.context.meta)")] = None
    traceparent: Annotated[str | None, From("rare.context.traceparent")] = None
    depends_on: Annotated[
        tuple[str | ShownDependency, ...], From("depends_on(rare.dependencies, home) if rare.dependencies else ()")
    ] = ()
    on_dependency_failure: Annotated[
        str, From("rare.dependencies.on_failure.value if rare.dependencies else 'fail'")
    ] = "fail"
    moved_from: Annotated[
        ShownMovedFrom | None,
        From("None if rare.moved_from is None else moved_from(rare.moved_from.queue, rare.moved_from.at // 1000)"),
    ] = None
    not_moved: Annotated[str, From("'' if notes.dead_letter == DUE else notes.dead_letter")] = ""
    waiting: Annotated[bool, From("standing.ended != '' and state is QUEUED")] = False
    unique: Annotated[ShownUnique | None, From("unique(rare)")] = None
    debounce: Annotated[ShownDebounce | None, From("debounce(rare)")] = None
    #: Only in the answer to an add; see added_value.
    replaced: Annotated[bool, From("False")] = False


def not_before_of(standing: Standing) -> int:
    """The Unix second from which a queued job can be claimed."""
    return min(-(-max(standing.ready_at, standing.not_before) // 1000), _LARGEST)


def _attempt(attempt: Attempt, updated: bool) -> ShownAttempt:
    started, ended = attempt.started // 1000, attempt.ended // 1000
    outcome, worker, error = attempt.outcome, attempt.worker, attempt.error
    fingerprint = attempt.fingerprint if updated or outcome == "complete" else fingerprint_of_attempt(attempt)
    return ShownAttempt(started, ended, outcome, worker, error, attempt.times, fingerprint)


def _history(attempts: Sequence[Attempt], updated: bool) -> tuple[ShownAttempt, ...]:
    if len(attempts) == 1:
        return (_attempt(attempts[0], updated),)
    return tuple([_attempt(one, updated) for one in attempts])


def _depends_on(dependencies: Dependencies, home: str) -> tuple[str | ShownDependency, ...]:
    """
    The jobs on which a job of the queue `home` depends. A batch is left out: only the job at its end waits for it, and
    the batch names this job.
    """
    return tuple(
        uid if queue == home else ShownDependency(queue, uid) for queue, uid in dependencies.on if not batch_in(uid)
    )


#: The names in the expressions of ShownJob.
_NAMES: Final[dict[str, Any]] = {
    "Raw": Raw,
    "INPROGRESS": INPROGRESS,
    "QUEUED": QUEUED,
    "COMPLETE": COMPLETE,
    "FAILED": FAILED,
    "LARGEST": _LARGEST,
    "TOO_LATE": (_LARGEST + 1) * SECOND,
    "history": _history,
    "depends_on": _depends_on,
    "not_before": not_before_of,
    "unique": shown_unique,
    "debounce": shown_debounce,
    "moved_from": ShownMovedFrom,
    "DUE": DUE,
    "NO_NOTES": NO_NOTES,
    "fingerprint_of": fingerprint_of,
}


def _maker(left_out: Set[str] = frozenset()) -> Callable[..., Any]:
    """
    Compile a function that makes a value like ShownJob, without the fields in `left_out`.

    The function passes the values by position, which takes 0.2 us (0.45 for more than 30 values) instead of 0.9 by
    name. Since it is generated, the order is always right. Each field that is left out saves 0.02 us.
    """
    types = get_type_hints(ShownJob, include_extras=True)
    kept = [one for one in fields(ShownJob) if one.name not in left_out]
    given = ", ".join(types[one.name].__metadata__[0].expression for one in kept)
    shape = [(one.name, one.type) if one.required else (one.name, one.type, one.default) for one in kept]
    named = {**_NAMES, "Shown": defstruct("ShownJob", shape, bases=(Value,), frozen=True, omit_defaults=True)}
    made: Callable[..., Any] = eval(  # noqa: S307  # its text comes from this file only
        f"lambda spec, rare, standing, state, notes, expires, removed, lease, queue, home, updated: Shown({given})",
        named,
    )
    return made


_ByState = dict[State, Callable[..., Any]]
_ORDER: Final = ShownJob.__struct_fields__
_OF_RARE: Final = frozenset(_ORDER[_ORDER.index("group") :])
#: The fields that only a job in progress has.
_WHILE_HELD: Final = frozenset({"lease_expires", "started", "cancel_requested"})
#: The fields that an unfinished job without notes lacks.
_AFTER_REPORTS: Final = frozenset({"progress", "result", "error", "cancelled", "fingerprint", "history", "removed_at"})


def _by_state(left_out: Set[str]) -> tuple[_ByState, _ByState]:
    """
    Two tables, by state, of functions that make a ShownJob without the fields in `left_out`: one for jobs with notes,
    one for jobs without notes.
    """
    shown = {state: _maker(left_out if state is INPROGRESS else left_out | _WHILE_HELD) for state in State}
    queued, held = _maker(left_out | _WHILE_HELD | _AFTER_REPORTS), _maker(left_out | _AFTER_REPORTS)
    return shown, {**shown, QUEUED: queued, INPROGRESS: held}


_shown, _shown_without_notes = _by_state(_OF_RARE)
_shown_with_group, _shown_with_group_only = _by_state(_OF_RARE - {"group"})
_shown_with_batch: Final = _maker(_OF_RARE - {"group", "batch"})
_shown_with_all: Final = _maker()


def added_value(added: Added, queue: str) -> Any:
    """A job of `queue` for the answer to its add, as a value for to_json."""
    if not added.replaced:
        return job_value(added.job, queue)
    return replace(job_value(added.job, queue), replaced=True)


def updated_value(job: Job, queue: str) -> Any:
    """
    A job of `queue` for the answer to its update, as a value for to_json. It has only the fingerprints that workers
    sent: making a fingerprint takes longer than the update, and whoever reports a failure knows its error.
    """
    return job_value(job, queue, updated=True)


def job_value(job: Job, queue: str, *, lease: bool = False, named: bool = False, updated: bool = False) -> Any:
    """
    A job of `queue` for an answer, as a value for to_json; the content keeps its exact bytes. `named` adds the queue's
    name, `lease` the lease, and `updated` leaves out fingerprints that no worker sent.
    """
    spec, standing = job.spec, job.standing
    state, notes, rare = standing.state, standing.notes, spec.rare
    expires = removed = None
    if state is INPROGRESS:
        expires = deadline_of(spec, standing)
    elif state is not QUEUED and notes.dead_letter != DUE:
        removed = deadline_of(spec, standing)
    token, name = standing.lease if lease else None, queue if named else None
    if rare is NO_RARE and not notes.dead_letter:
        make = (_shown_without_notes if notes is NO_NOTES else _shown)[state]
    elif notes.dead_letter or rare.moved_from is not None:
        make, rare = _shown_with_all, _with_group(rare)
    elif rare.unique_key is not None or rare.context is not NO_CONTEXT or rare.dependencies is not None:
        make = _shown_with_all
    elif rare.batch is None:
        make = (_shown_with_group_only if notes is NO_NOTES else _shown_with_group)[state]
    else:
        make = _shown_with_batch
    return make(spec, rare, standing, state, notes, expires, removed, token, name, queue, updated)


def _with_group(rare: Rare) -> Rare:
    """The rare fields with the job's group, even if the queue to which it was moved has no groups."""
    return rare if rare.group == rare.own_group else replace(rare, group=rare.own_group)


def job_json(job: Job, queue: str, *, lease: bool = False) -> bytes:
    """The JSON of a job of `queue`; `lease` adds the lease, for the caller that has just claimed the job."""
    return to_json(job_value(job, queue, lease=lease))


def is_cancelled(job: Job) -> bool:
    """Whether a job is in progress and its cancellation was requested."""
    return job.standing.state is INPROGRESS and job.standing.notes.cancel_requested
