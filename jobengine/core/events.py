"""
The facts a journal is made of, and their encoding as records.

A fact is absolute: it says what is, not what to add or subtract, so applying it a second time changes nothing. That is
what lets a snapshot be taken in slices while the state goes on changing (docs/database-format.md).

A record is one line of JSON, `[kind, version, field …]`; for a fact with content, a line feed and the content follow.
Each kind has its own version, and every released version keeps its reader here.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from attrs import frozen

from .model import Job, Queue, Spec, State

__all__ = [
    "Fact",
    "JobAdded",
    "JobChanged",
    "JobRemoved",
    "QueueCreated",
    "QueueDeleted",
    "UnknownRecord",
    "decode",
    "encode",
]


@frozen
class QueueCreated:
    """A queue exists from now on, without jobs if it is new."""

    queue: Queue


@frozen
class QueueDeleted:
    """A queue and all its jobs are gone."""

    name: str


@frozen
class JobAdded:
    """A job is in a queue, just as it says."""

    queue: str
    job: Job


@frozen
class JobChanged:
    """A job was claimed, updated by a client, or ran out of time: this is its changing half now."""

    queue: str
    uid: str
    state: State
    #: Milliseconds since the epoch.
    updated: int


@frozen
class JobRemoved:
    """A job is gone: deleted by a client, or past its time."""

    queue: str
    uid: str


Fact = QueueCreated | QueueDeleted | JobAdded | JobChanged | JobRemoved


class UnknownRecord(ValueError):
    """A record that this version can't read; a newer one must have written it."""


_line: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def _encode_queue_created(fact: QueueCreated) -> bytes:
    queue = fact.queue
    return _line(["queue-created", 1, queue.name, queue.salt, queue.digest, queue.created]).encode()


def _encode_queue_deleted(fact: QueueDeleted) -> bytes:
    return _line(["queue-deleted", 1, fact.name]).encode()


def _encode_job_added(fact: JobAdded) -> bytes:
    job, spec = fact.job, fact.job.spec
    asked = [spec.uid, spec.priority, spec.arrival, spec.keep_minutes, spec.timeout_minutes, spec.timeout_time]
    line = _line(["job-added", 1, fact.queue, *asked, spec.created, job.state.value, job.updated])
    return line.encode() + b"\n" + spec.content


def _encode_job_changed(fact: JobChanged) -> bytes:
    return _line(["job-changed", 1, fact.queue, fact.uid, fact.state.value, fact.updated]).encode()


def _encode_job_removed(fact: JobRemoved) -> bytes:
    return _line(["job-removed", 1, fact.queue, fact.uid]).encode()


_ENCODERS: Final[dict[type, Callable[[Any], bytes]]] = {
    QueueCreated: _encode_queue_created,
    QueueDeleted: _encode_queue_deleted,
    JobAdded: _encode_job_added,
    JobChanged: _encode_job_changed,
    JobRemoved: _encode_job_removed,
}


def encode(fact: Fact) -> bytes:
    """The record of a fact, in the newest version of its kind."""
    return _ENCODERS[type(fact)](fact)


def _decode_job_added(fields: list[Any], content: bytes) -> JobAdded:
    queue, uid, priority, arrival, keep, timeout, timeout_time, created, state, updated = fields
    spec = Spec(
        uid=uid,
        priority=priority,
        arrival=arrival,
        keep_minutes=keep,
        timeout_minutes=timeout,
        timeout_time=timeout_time,
        content=content,
        created=created,
    )
    return JobAdded(queue, Job(spec=spec, state=State(state), updated=updated))


def _decode_queue_created(fields: list[Any], _content: bytes) -> QueueCreated:
    name, salt, digest, created = fields
    return QueueCreated(Queue(name=name, salt=salt, digest=digest, created=created))


def _decode_job_changed(fields: list[Any], _content: bytes) -> JobChanged:
    queue, uid, state, updated = fields
    return JobChanged(queue, uid, State(state), updated)


_DECODERS: Final[dict[tuple[str, int], Callable[[list[Any], bytes], Fact]]] = {
    ("queue-created", 1): _decode_queue_created,
    ("queue-deleted", 1): lambda fields, _content: QueueDeleted(*fields),
    ("job-added", 1): _decode_job_added,
    ("job-changed", 1): _decode_job_changed,
    ("job-removed", 1): lambda fields, _content: JobRemoved(*fields),
}


def decode(record: bytes) -> Fact:
    """
    The fact of a record, of any released version.

    Raises UnknownRecord for a kind or version that is not known here.
    """
    line, _, content = record.partition(b"\n")
    kind, version, *fields = json.loads(line)
    read = _DECODERS.get((kind, version))
    if read is None:
        raise UnknownRecord(f"record {kind!r} of version {version}")
    return read(fields, content)
