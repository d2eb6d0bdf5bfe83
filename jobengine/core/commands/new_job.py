"""A job to be added, as it was requested, and the outcome."""

from functools import lru_cache
from hashlib import blake2b
from typing import Any

from msgspec import to_builtins

from ..dependencies import Awaited, OnDependencyFailure
from ..model import NO_CONTEXT, Context, Job
from ..unique_rule import UniqueRule
from ..values import Value
from ..wall_time import shown

__all__ = ["Added", "NewJob"]


class NewJob(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A job to be added; None stands for the default of the queue or the server."""

    #: See Spec.
    content: bytes
    priority: int = 0
    keep_minutes: int | None = None
    timeout_seconds: int | None = None
    timeout_time: int = 0
    tags: tuple[str, ...] = ()
    max_attempts: int | None = None
    retry_delay_seconds: int | None = None
    unique_key: str | None = None
    context: Context = NO_CONTEXT
    group: str | None = None
    batch: str | None = None
    #: See Dependencies.
    depends_on: tuple[Awaited, ...] = ()
    on_dependency_failure: OnDependencyFailure = OnDependencyFailure.FAIL
    #: Seconds until the job can be claimed.
    delay_seconds: int = 0
    #: The Unix time in seconds from which the job can be claimed; 0 is at once.
    not_before: int = 0
    #: The uid that the client chose; None if it chose none.
    uid: str | None = None
    #: The uid is derived from this key, so that the same key means the same job.
    idempotency_key: str | None = None
    #: How the job holds its unique key, and what the add does if another job holds it; None is PLAIN_RULE.
    unique: UniqueRule | None = None

    @property
    def names_others(self) -> bool:
        """Whether the job names something that may exist already: its uid or a key, a batch, or other jobs."""
        has_key = self.idempotency_key is not None or self.unique_key is not None
        return has_key or self.uid is not None or self.batch is not None or bool(self.depends_on)


class Added(Value, frozen=True):
    """The outcome of adding one job."""

    #: The job as it is now.
    job: Job
    #: Whether this request added the job; otherwise an earlier one did.
    new: bool
    #: Whether this request replaced what the queued job does.
    replaced: bool = False

    def at_wall_clock(self, ahead: int) -> "Added":
        return Added(shown(self.job, ahead), self.new, self.replaced)


def request_digest_of(request: NewJob) -> str:
    """
    A digest of everything a client requested; equal for equal requests.

    The trace is left out: a repeated request may have another trace context.
    """
    requested = (
        request.priority,
        request.keep_minutes,
        request.timeout_seconds,
        request.timeout_time,
        request.tags,
        request.max_attempts,
        request.retry_delay_seconds,
        request.unique_key,
        request.delay_seconds,
        request.not_before,
    )
    # Fields that older versions did not have are left out if they are not set, so that old digests stay valid.
    newer: tuple[Any, ...] = () if request.context.meta is None else (request.context.meta,)
    if request.group is not None:
        newer = (*newer, {"group": request.group})
    if request.batch is not None or request.depends_on:
        newer = (*newer, {"batch": request.batch}, request.depends_on, request.on_dependency_failure.value)
    if request.unique is not None:
        newer = (*newer, {"unique": to_builtins(request.unique)})
    text = _text_of(requested) if request.unique_key is None and not newer else repr([*requested, *newer]).encode()
    return blake2b(text + request.content, digest_size=16).hexdigest()


@lru_cache(maxsize=64)
def _text_of(requested: tuple[Any, ...]) -> bytes:
    """The text of values that many jobs share. With this cache a digest takes 0.7 microseconds, without it 1.3."""
    return repr(list(requested)).encode()
