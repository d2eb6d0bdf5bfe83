"""
Facts as records, and back.

A record is one line of JSON, `[kind, version, field …]`; for a fact with content, a line feed and the content follow.
Each kind has its own version, and every released version keeps its reader here. Rare fields are in an object at the
end, which has only those that differ from their defaults.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

from attrs import asdict
from msgspec import UNSET, Struct, UnsetType, convert
from msgspec.json import Decoder, Encoder

from .ageing import Order
from .dead_letters import DeadLetter, MovedFrom
from .dependencies import Awaited, Dependencies, OnDependencyFailure
from .facts import (
    ClockSet,
    Fact,
    ItemSet,
    JobAdded,
    JobChanged,
    JobRemoved,
    PeriodsCounted,
    QueueChanged,
    QueueCreated,
    QueueDeleted,
)
from .flow import Flow
from .history import Period
from .model import (
    NO_NOTES,
    NO_RARE,
    AccessKey,
    Attempt,
    Context,
    Defaults,
    Job,
    Notes,
    OldKey,
    Queue,
    Rare,
    Role,
    Spec,
    Standing,
    State,
    shared_rare,
)
from .record_fields import NotesExtras, QueueExtras, SpecExtras, StandingExtras
from .retention import Retention, retention
from .unique_rule import UniqueRule


class UnknownRecord(ValueError):
    """A record of a kind or version that is not known here: a newer JobEngine wrote it."""


_line: Final = Encoder().encode
_read_line: Final = Decoder(list[Any]).decode


# Writing: always the newest version of a kind

#: The newest version of the records of queues.
_QUEUE: Final = 7
#: The newest version of the records of jobs.
_JOB: Final = 7
#: The kinds whose newest version is not 1.
_NEWEST: Final = {"queue-created": _QUEUE, "queue-changed": _QUEUE, "job-added": _JOB, "job-changed": _JOB}

#: Most jobs have no rare field.
_NO_SPEC_EXTRAS: Final = SpecExtras()
#: Most standings have no rare field.
_NO_MORE: Final = StandingExtras()


def _queue_line(kind: str, queue: Queue) -> bytes:
    old_key = queue.old_key
    more = QueueExtras(
        paused=queue.paused,
        draining=queue.draining,
        require_lease=queue.require_lease,
        max_jobs=queue.max_jobs,
        defaults=None if queue.defaults is None else _defaults(queue.defaults),
        keys=tuple((key.id, key.role, key.digest, key.created) for key in queue.keys),
        old_key=None if old_key is None else (old_key.digest, old_key.until),
        flow=queue.flow,
        target_wait_seconds=queue.target_wait_seconds,
        order=queue.order,
        dead_letter=queue.dead_letter,
    )
    return _line((kind, _QUEUE, queue.name, queue.salt, queue.digest, queue.created, more))


def _defaults(defaults: Defaults) -> dict[str, int]:
    return {name: value for name, value in asdict(defaults).items() if value is not None}


def _notes(notes: Notes) -> NotesExtras | UnsetType:
    # Most notes have a history, so they differ from NO_NOTES: no comparison is needed.
    if not notes.history and notes == NO_NOTES:
        return UNSET
    # Attempts are encoded as AttemptFields are.
    history: Any = notes.history
    return NotesExtras(
        notes.progress,
        notes.error,
        notes.cancel_requested,
        UNSET if notes.result is None else notes.result.decode(),
        history or UNSET,
        notes.retrying,
        notes.cancelled,
        notes.fingerprint,
        notes.key_passed_on,
        notes.dead_letter,
    )


def _standing(standing: Standing) -> tuple[Any, ...]:
    more, notes = _NO_MORE, standing.notes
    if notes is not NO_NOTES or standing.ready_at or standing.not_before or standing.shift or standing.ended:
        shown = UNSET if notes is NO_NOTES else _notes(notes)
        more = StandingExtras(standing.shift, standing.ready_at, standing.not_before, shown, standing.ended)
    return (
        standing.state,
        standing.updated,
        standing.attempts,
        standing.claimed,
        standing.lease,
        standing.worker,
        more,
    )


def _encode_job_added(fact: JobAdded) -> bytes:
    spec = fact.job.spec
    keep = spec.keep
    spec_fields = (spec.uid, spec.priority, spec.arrival, keep.minutes, keep.failed_minutes)
    limits = (spec.timeout_seconds, spec.timeout_time, spec.created)
    more, rare = _NO_SPEC_EXTRAS, spec.rare
    if rare is not NO_RARE or spec.tags or spec.max_attempts != 1 or spec.retry_delay_seconds:
        more = SpecExtras(
            spec.tags,
            spec.max_attempts,
            spec.retry_delay_seconds,
            rare.unique_key,
            rare.request_digest,
            rare.author,
            rare.context,
            rare.group,
            rare.batch,
            None if rare.dependencies is None else (rare.dependencies.on_failure, rare.dependencies.on),
            rare.unique,
            rare.line,
            rare.moved_from,
        )
    line = _line(("job-added", _JOB, fact.queue, *spec_fields, *limits, more, *_standing(fact.job.standing)))
    return line + b"\n" + spec.content


def _encode_job_changed(fact: JobChanged) -> bytes:
    return _line(("job-changed", _JOB, fact.queue, fact.uid, *_standing(fact.standing)))


_ENCODERS: Final[dict[type, Callable[[Any], bytes]]] = {
    ClockSet: lambda fact: _line(("clock-set", 1, fact.ahead)),
    QueueCreated: lambda fact: _queue_line("queue-created", fact.queue),
    QueueChanged: lambda fact: _queue_line("queue-changed", fact.queue),
    QueueDeleted: lambda fact: _line(("queue-deleted", 1, fact.name)),
    JobAdded: _encode_job_added,
    JobChanged: _encode_job_changed,
    JobRemoved: lambda fact: _line(("job-removed", 1, fact.queue, fact.uid)),
    ItemSet: lambda fact: _line(("item-set", 1, fact.queue, fact.kind, fact.name, fact.value)),
    PeriodsCounted: lambda fact: _line(
        ("periods-counted", 1, fact.queue, [(one.span, one.number, one.text) for one in fact.periods])
    ),
}


def encode(fact: Fact) -> bytes:
    """The record of a fact, in the newest version of its kind."""
    return _ENCODERS[type(fact)](fact)


def encode_all(facts: Iterable[Fact]) -> list[bytes]:
    """The records of facts; faster than `encode` for each."""
    return [_ENCODERS[type(fact)](fact) for fact in facts]


# Reading: every version

T = TypeVar("T")
_STATES: Final = {state.value: state for state in State}


@lru_cache(maxsize=4096, typed=True)
def _shared(value: T) -> T:
    """
    Intern a value: equal values that come soon after one another become one object.

    Without this, times, tags and workers from recovery would take 170 bytes a job. Jobs that were just added share them
    anyway.
    """
    return value


@lru_cache(maxsize=4096)
def _bare(
    state: str,
    updated: int,
    attempts: int,
    claimed: int,
    keep: int,
    keep_failed: int,
    timeout: int,
    timeout_time: int,
    created: int,
) -> tuple[Standing, Retention, tuple[int, int, int]]:
    """The retention, the times, and a standing without notes: one object for all jobs that were added at once."""
    standing = Standing(state=_STATES[state], updated=updated, attempts=attempts, claimed=claimed)
    return standing, retention(keep, keep_failed), (timeout, timeout_time, created)


def _read_queue(written: list[Any]) -> Queue:
    name, salt, digest, created, more = written
    defaults = more.pop("defaults", None)
    keys = [AccessKey(id=i, role=Role(r), digest=d, created=c) for i, r, d, c in more.pop("keys", ())]
    old_key = more.pop("old_key", None)
    flow, order, dead_letter = (more.pop(name, None) for name in ("flow", "order", "dead_letter"))
    return Queue(
        name=name,
        salt=salt,
        digest=digest,
        created=created,
        # Records up to version 4 have no keep_failed_minutes.
        defaults=None if defaults is None else Defaults(**{"keep_failed_minutes": None, **defaults}),
        keys=tuple(keys),
        old_key=None if old_key is None else OldKey(digest=old_key[0], until=old_key[1]),
        flow=None if flow is None else convert(flow, Flow),
        order=None if order is None else convert(order, Order),
        dead_letter=None if dead_letter is None else convert(dead_letter, DeadLetter),
        **more,
    )


def _read_notes(written: dict[str, Any] | None) -> Notes:
    if written is None:
        return NO_NOTES
    result = written.pop("result", None)
    history = tuple([_read_attempt(*one) for one in written.pop("history", ())])
    fingerprint = _shared(written.pop("fingerprint", None))
    result = None if result is None else result.encode()
    return Notes(result=result, history=history, fingerprint=fingerprint, **written)


def _read_attempt(
    worker: str | None,
    started: int,
    ended: int,
    outcome: str,
    error: str | None,
    times: int = 1,
    fingerprint: str | None = None,
) -> Attempt:
    return Attempt(
        worker=worker,
        started=started,
        ended=ended,
        outcome=outcome,
        error=error,
        times=times,
        fingerprint=_shared(fingerprint),
    )


def _read_standing(written: list[Any]) -> Standing:
    state, updated, attempts, claimed, lease, worker, more = written
    return Standing(
        state=_STATES[state],
        updated=_shared(updated),
        attempts=attempts,
        claimed=_shared(claimed),
        lease=lease,
        worker=_shared(worker),
        notes=_read_notes(more.pop("notes", None)),
        **more,
    )


def _read_job_added(written: list[Any], content: bytes) -> JobAdded:
    queue, uid, priority, arrival, keep, keep_failed, timeout, timeout_time, created, more, *standing = written
    parts = read_parts(keep, keep_failed, timeout, timeout_time, created, *standing)
    return JobAdded(queue, made_job(uid, priority, arrival, content, parts, read_extras(more)))


#: What jobs that were added together have in common: standing, retention, time-out, timeout_time and creation time.
Parts = tuple[Standing, Retention, int, int, int]
#: A job's tags, max_attempts, retry_delay_seconds, and rare fields.
Extras = tuple[tuple[str, ...], int, int, Rare]
NO_EXTRAS: Final[Extras] = ((), 1, 0, NO_RARE)


def made_job(uid: str, priority: int, arrival: int, content: bytes, parts: Parts, extras: Extras) -> Job:
    """A job with these fields."""
    standing, keep, timeout, timeout_time, created = parts
    tags, max_attempts, retry_delay, rare = extras
    spec = Spec(
        uid=uid,
        priority=priority,
        arrival=arrival,
        keep=keep,
        timeout_seconds=timeout,
        timeout_time=timeout_time,
        content=content,
        created=created,
        tags=tags,
        max_attempts=max_attempts,
        retry_delay_seconds=retry_delay,
        rare=rare,
    )
    return Job(spec, standing)


def read_parts(
    keep: int,
    keep_failed: int,
    timeout: int,
    timeout_time: int,
    created: int,
    state: str,
    updated: int,
    attempts: int,
    claimed: int,
    lease: str | None,
    worker: str | None,
    more: dict[str, Any],
) -> Parts:
    """The parts of a job with these fields in its record. Takes the notes out of `more`."""
    if lease is not None or worker is not None or more:
        standing = _read_standing([state, updated, attempts, claimed, lease, worker, more])
        return standing, retention(keep, keep_failed), _shared(timeout), _shared(timeout_time), _shared(created)
    # Nearly all standings are read by this branch.
    bare, kept, times = _bare(state, updated, attempts, claimed, keep, keep_failed, timeout, timeout_time, created)
    return (bare, kept, *times)


def read_extras(more: dict[str, Any]) -> Extras:
    """The extras that are written as `more`; jobs with the same group, author and batch share one Rare."""
    if not more:
        return NO_EXTRAS
    if _SHARED.issuperset(more):
        return (), 1, 0, shared_rare(more.get("author"), more.get("group"), more.get("batch"))
    tags = _shared(tuple(more.get("tags", ())))
    return tags, more.get("max_attempts", 1), more.get("retry_delay_seconds", 0), _read_rare(more)


#: Jobs that have no rare fields but these share one Rare if the values are equal; see shared_rare.
_SHARED: Final = frozenset({"author", "group", "batch"})
#: The fields of Rare, and their names in records.
_WRITTEN: Final = {name: name for name in Rare.__struct_fields__} | {"request_digest": "fingerprint"}


def _read_rare(more: dict[str, Any]) -> Rare:
    written = {name: more[key] for name, key in _WRITTEN.items() if key in more}
    if not written:
        return NO_RARE
    if "context" in written:
        written["context"] = Context(**written["context"])
    if "dependencies" in written:
        on_failure, on = written["dependencies"]
        written["dependencies"] = Dependencies(tuple(map(_awaited, on)), OnDependencyFailure(on_failure))
    if "unique" in written:
        written["unique"] = convert(written["unique"], UniqueRule)
    if "moved_from" in written:
        written["moved_from"] = convert(written["moved_from"], MovedFrom)
    # A job with only shared rare fields comes here if it has tags or several attempts.
    return shared_rare(**written) if _SHARED.issuperset(written) else Rare(**written)


def _awaited(pair: list[str]) -> Awaited:
    """A dependency from a record; equal names of queues share one object."""
    return _shared(pair[0]), pair[1]


def _read_job_added_2(written: list[Any], content: bytes) -> JobAdded:
    """Read a record of version 2 or 3, in which a failed job is kept as long as a complete one."""
    return _read_job_added([*written[:5], written[4], *written[5:]], content)


def _read_job_added_1(written: list[Any], content: bytes) -> JobAdded:
    queue, uid, priority, arrival, keep, timeout_minutes, timeout_time, created, state, updated = written
    spec_fields = [queue, uid, priority, arrival, keep, timeout_minutes * 60, timeout_time, created, {}]
    return _read_job_added_2([*spec_fields, *_standing_1(state, updated)], content)


def _standing_1(state: str, updated: int) -> list[Any]:
    """A standing from version 1, which did not count attempts: a job that is not queued has had one attempt."""
    return [state, updated, 0 if state == State.QUEUED else 1, 0, None, None, {}]


def _read_job_changed(written: list[Any], _content: bytes) -> JobChanged:
    queue, uid, *standing = written
    return JobChanged(queue, uid, _read_standing(standing))


def _read_queue_created(written: list[Any], _content: bytes) -> QueueCreated:
    return QueueCreated(_read_queue(written))


def _read_queue_changed(written: list[Any], _content: bytes) -> QueueChanged:
    return QueueChanged(_read_queue(written))


# Within each `range`, a new version only added optional fields, so all of its versions are read in the same way.
_DECODERS: Final[dict[tuple[str, int], Callable[[list[Any], bytes], Fact]]] = {
    ("clock-set", 1): lambda written, _: ClockSet(*written),
    ("queue-created", 1): lambda written, _: QueueCreated(_read_queue([*written, {}])),
    ("queue-deleted", 1): lambda written, _: QueueDeleted(*written),
    ("job-added", 1): _read_job_added_1,
    ("job-added", 2): _read_job_added_2,
    ("job-added", 3): _read_job_added_2,
    ("job-changed", 1): lambda written, _: _read_job_changed([*written[:2], *_standing_1(*written[2:])], b""),
    ("job-removed", 1): lambda written, _: JobRemoved(*written),
    ("item-set", 1): lambda written, _: ItemSet(*written),
    ("periods-counted", 1): lambda written, _: PeriodsCounted(written[0], tuple(Period(*one) for one in written[1])),
    **{("queue-created", version): _read_queue_created for version in range(2, _QUEUE + 1)},
    **{("queue-changed", version): _read_queue_changed for version in range(2, _QUEUE + 1)},
    **{("job-added", version): _read_job_added for version in range(4, _JOB + 1)},
    **{("job-changed", version): _read_job_changed for version in range(2, _JOB + 1)},
}


class Head(Struct, array_like=True):
    """The first fields of a record, the same in every version; `uid` has a meaning only for jobs."""

    kind: str
    version: int
    #: A number in "clock-set".
    queue: Any
    uid: Any = None


_read_head: Final = Decoder(Head).decode
#: The start of each record of an added job.
JOB_ADDED: Final = b'["job-added",'


def is_job_added(record: bytes) -> bool:
    """Whether the record is a "job-added", which has the whole job."""
    return record.startswith(JOB_ADDED)


def head_of(record: bytes) -> Head:
    """The first fields of a record, which is faster than decoding all of it; raises UnknownRecord."""
    head = _read_head(record.partition(b"\n")[0])
    if (head.kind, head.version) not in _DECODERS:
        raise UnknownRecord(f"record {head.kind!r} of version {head.version}")
    return head


def decode(record: bytes) -> Fact:
    """
    The fact of a record, of any released version.

    Raises UnknownRecord for a kind or version that is not known here.
    """
    line, _, content = record.partition(b"\n")
    kind, version, *written = _read_line(line)
    read = _DECODERS.get((kind, version))
    if read is None:
        raise UnknownRecord(f"record {kind!r} of version {version}")
    return read(written, content)


def fields_of(record: bytes) -> tuple[list[Any], bytes]:
    """
    The fields of a record about a queue or job, as in its newest version, and the content that follows them, if any.

    Raises UnknownRecord.
    """
    line, _, content = record.partition(b"\n")
    kind, version, *fields = _read_line(line)
    if version != _NEWEST.get(kind):
        return fields_of(encode(decode(record)))
    return fields, content


def record_of(kind: str, fields: Sequence[Any], content: bytes | None = None) -> bytes:
    """The record with these fields: the reverse of `fields_of`."""
    line = _line((kind, _NEWEST[kind], *fields))
    return line if content is None else line + b"\n" + content
