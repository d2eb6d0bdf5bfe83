"""Converts jobs in bodies to the core's NewJob."""

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct, ValidationError
from msgspec.json import Decoder
from msgspec.structs import replace

from ..core.commands import NewJob
from ..core.dependencies import Awaited, OnDependencyFailure
from ..core.model import NO_CONTEXT, Context
from . import bodies
from .bodies import NOTHING
from .json_values import META_LENGTH, json_object, unique, unix_time
from .request_head import BadInput, one_of, trace_of
from .unique_keys import with_rule


class _ShownDependency(Struct, gc=False):
    """A dependency of a claimed job in an answer: the only field that every one has."""

    state: str


_read_shown: Final = Decoder(list[_ShownDependency] | None).decode
#: The texts of a missing or null `meta`.
_NO_META: Final = (b"", b"null")


def new_jobs(
    sent: Sequence[bodies.NewJob], queue: str, most: int, place: str, batch: str | None = None
) -> list[NewJob]:
    """The jobs of a list; `place` is the list's name in errors. Raises BadInput."""
    jobs: list[NewJob] = []
    try:
        for job in sent:
            jobs.append(new_job(job, queue, most, batch))
    except BadInput as error:
        raise BadInput(f"{place}[{len(jobs)}]{error}") from None
    return jobs


def new_job(sent: bodies.NewJob, queue: str, most: int, batch: str | None = None) -> NewJob:
    """
    A job to be added to `queue`, with at most `most` bytes of content; without a `batch` field it is in `batch`.

    Raises BadInput, with a text that continues the sentence after the job's place.
    """
    if sent.dependencies is not NOTHING:
        _check_shown(sent)
    job = NewJob(
        content=json_object(sent.content, ".content", most),
        priority=sent.priority or 0,
        keep_minutes=sent.keep_minutes,
        timeout_seconds=sent.timeout_seconds if sent.timeout_minutes is None else _timeout(sent, sent.timeout_minutes),
        timeout_time=unix_time(sent.timeout_time, ".timeout_time") if sent.timeout_time else 0,
        tags=unique(sent.tags) if sent.tags else (),
        max_attempts=sent.max_attempts,
        retry_delay_seconds=sent.retry_delay_seconds,
        unique_key=sent.unique_key,
        delay_seconds=sent.delay_seconds or 0,
        not_before=unix_time(sent.not_before, ".not_before") if sent.not_before else 0,
        uid=sent.uid,
        context=NO_CONTEXT if sent.meta is NOTHING and sent.traceparent is None else _context(sent),
        group=sent.group,
        batch=sent.batch or batch,
    )
    # Nearly all jobs lack the fields below. The call above has 15 keywords: with more it is slow on CPython 3.11.
    if sent.depends_on is not None or sent.on_dependency_failure is not None:
        job = _linked(job, sent, queue)
    return job if sent.unique is None and sent.debounce is None else with_rule(job, sent)


def _linked(job: NewJob, sent: bodies.NewJob, queue: str) -> NewJob:
    """The job with its dependencies; raises BadInput."""
    return replace(
        job,
        depends_on=tuple(_awaited(sent, queue)),
        on_dependency_failure=on_failure_of(sent.on_dependency_failure, ".") or OnDependencyFailure.FAIL,
    )


def on_failure_of(value: str | None, place: str = "") -> OnDependencyFailure | None:
    """What becomes of a job when a job that it depends on fails; raises BadInput."""
    return None if value is None else one_of(OnDependencyFailure, value, f"{place}on_dependency_failure")


def _check_shown(sent: bodies.NewJob) -> None:
    """Raise BadInput unless `dependencies` was copied from an answer; a copied one is ignored."""
    try:
        _read_shown(sent.dependencies)
    except ValidationError:
        raise BadInput(".dependencies is only in answers. Did you mean 'depends_on'?") from None


def _awaited(sent: bodies.NewJob, queue: str) -> Iterator[Awaited]:
    """The jobs on which a job of `queue` depends; raises BadInput if one is repeated."""
    found = set[Awaited]()
    for index, one in enumerate(sent.depends_on or ()):
        awaited = (queue, one) if isinstance(one, str) else (one.queue_name, one.uid)
        if awaited in found:
            raise BadInput(f".depends_on[{index}] repeats the job {awaited[1]}: name each job once.")
        found.add(awaited)
        yield awaited


def _context(sent: bodies.NewJob) -> Context:
    if sent.traceparent is None and bytes(sent.meta) in _NO_META:
        return NO_CONTEXT
    return Context(
        meta=None if bytes(sent.meta) in _NO_META else json_object(sent.meta, ".meta", META_LENGTH).decode(),
        traceparent=None if sent.traceparent is None else trace_of(sent.traceparent, ".traceparent"),
    )


def _timeout(sent: bodies.NewJob, minutes: int) -> int:
    """The time-out in seconds. A job copied from an answer has it in minutes too: both must agree."""
    seconds = sent.timeout_seconds
    if seconds is None:
        return minutes * 60
    if minutes != -(-seconds // 60):
        raise BadInput(": timeout_minutes and timeout_seconds differ; send one of them.")
    return seconds
