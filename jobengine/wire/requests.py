"""Decodes request bodies into commands."""

import re
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from itertools import chain
from typing import Annotated, Any, ClassVar, Final, TypeVar

import msgspec
from attrs import evolve, frozen
from msgspec import Meta, Raw
from msgspec.structs import asdict, replace

from ..core import commands as c
from ..core.model import NO_CONTEXT, Context, Defaults, Role, State
from ..core.values import Value
from .advice import FOR_ADD_JOBS, FOR_CHANGE_QUEUE, FOR_UPDATE, FOR_UPDATE_JOB, FOR_UPDATE_JOBS, for_add_job
from .decoding import decode
from .long_bodies import Bounds, Pause, checked, read_in_pieces
from .origins import OriginText, origin_of
from .request_head import MAX_WAIT, BadInput, SentFilter, Text, shortened, some_or_all, state_of, trace_of
from .strict_json import MOST_VALUES
from .unknown_fields import Ignored

_NAME_LENGTH: Final = 256
_KEY_LENGTH: Final = 1024
#: The most characters of `error`. Kept short: a job's record may have the errors of 20 attempts.
_ERROR_LENGTH: Final = 4096
#: The most bytes of `meta`.
_META_LENGTH: Final = 4096
_MOST_JOBS: Final = 10_000
_MOST_CLAIMS: Final = 1_000
#: Texts that a header carries unchanged: no control characters, no space at either end (RFC 9110, 5.5).
_HEADER_SAFE: Final = re.compile(r"[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?")
_V1_UPDATE: Final = frozenset({"queue_name", "uid", "new_status"})

#: The caller's key, as fields of a command: `access_key` or `admin`.
Access = Mapping[str, Any]

_Name = Annotated[str, Meta(min_length=1, max_length=_NAME_LENGTH)]
_Key = Annotated[str, Meta(min_length=1, max_length=_KEY_LENGTH)]
_Count = Annotated[int, Meta(ge=0)]
#: Seconds, at most 30 days.
_Overlap = Annotated[int, Meta(ge=0, le=2_592_000)]
_Tags = Annotated[tuple[_Name, ...], Meta(max_length=20)]
_Uid = Annotated[str, Meta(pattern="^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\\Z")]
_Attempts = Annotated[int, Meta(ge=1)]

#: The value of a raw field that was not sent.
_NOTHING: Final = Raw()

T = TypeVar("T", bound=msgspec.Struct)


class _Fields(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object in a body; unknown fields are errors."""

    #: See advice_of.
    advice: ClassVar[Mapping[str, str]] = {}


class _NewQueue(_Fields, frozen=True, kw_only=True):
    name: _Name
    access_key: _Key


class _Defaults(_Fields, frozen=True, kw_only=True):
    keep_minutes: _Count | None = None
    keep_failed_minutes: _Count | None = None
    timeout_seconds: _Count | None = None
    max_attempts: _Attempts | None = None
    retry_delay_seconds: _Count | None = None


class _ChangeQueue(_Fields, frozen=True, kw_only=True):
    advice = FOR_CHANGE_QUEUE

    name: Text
    paused: bool | None = None
    draining: bool | None = None
    require_lease: bool | None = None
    max_jobs: _Count | None = None
    defaults: _Defaults | None = None
    new_access_key: _Key | None = None
    old_key_seconds: _Overlap | None = None


class _AddKey(_Fields, frozen=True, kw_only=True):
    queue_name: Text
    role: str
    access_key: _Key


class _NewJob(_Fields, frozen=True, kw_only=True):
    content: Raw
    priority: int | None = None
    keep_minutes: _Count | None = None
    timeout_minutes: _Count | None = None
    timeout_seconds: _Count | None = None
    timeout_time: _Count | None = None
    tags: _Tags | None = None
    max_attempts: _Attempts | None = None
    retry_delay_seconds: _Count | None = None
    unique_key: _Name | None = None
    delay_seconds: _Count | None = None
    not_before: _Count | None = None
    uid: _Uid | None = None
    meta: Raw = _NOTHING
    traceparent: str | None = None
    # Ignored, so that a job from an answer can be sent back unchanged to add it again.
    created: Ignored = _NOTHING
    last_updated: Ignored = _NOTHING
    state: Ignored = _NOTHING
    attempts: Ignored = _NOTHING
    worker: Ignored = _NOTHING
    lease: Ignored = _NOTHING
    lease_expires: Ignored = _NOTHING
    started: Ignored = _NOTHING
    progress: Ignored = _NOTHING
    result: Ignored = _NOTHING
    error: Ignored = _NOTHING
    cancel_requested: Ignored = _NOTHING
    cancelled: Ignored = _NOTHING
    history: Ignored = _NOTHING
    removed_at: Ignored = _NOTHING
    queue_name: Ignored = _NOTHING


class _AddJob(_Fields, frozen=True, kw_only=True):
    advice = for_add_job(_NewJob.__struct_fields__)

    queue_name: Text
    job: _NewJob


class _AddJobs(_Fields, frozen=True, kw_only=True):
    advice = FOR_ADD_JOBS

    queue_name: Text
    jobs: Annotated[list[_NewJob], Meta(min_length=1, max_length=_MOST_JOBS)]


class _Changes(_Fields, frozen=True, kw_only=True):
    new_status: Text | None = None
    retry: bool | None = None
    cancel: bool | None = None
    progress: Annotated[int, Meta(ge=0, le=100)] | None = None
    result: Raw = _NOTHING
    error: Annotated[str, Meta(max_length=_ERROR_LENGTH)] | None = None
    priority: int | None = None
    content: Raw = _NOTHING
    tags: _Tags | None = None
    timeout_time: _Count | None = None
    delay_seconds: _Count | None = None


class _Update(_Changes, frozen=True, kw_only=True):
    advice = FOR_UPDATE

    uid: Text
    lease: Text | None = None


class _UpdateJob(_Update, frozen=True, kw_only=True):
    advice = FOR_UPDATE_JOB

    queue_name: Text


class _UpdateJobs(_Changes, frozen=True, kw_only=True):
    advice = FOR_UPDATE_JOBS

    queue_name: Text
    updates: Annotated[list[_Update], Meta(min_length=1, max_length=_MOST_JOBS)] | None = None
    filter: SentFilter | None = None
    all: bool | None = None
    dry_run: bool | None = None


class _Claim(_Fields, frozen=True, kw_only=True):
    queue_names: Annotated[list[Text], Meta(min_length=1, max_length=100)]
    count: Annotated[int, Meta(ge=1, le=_MOST_CLAIMS)] | None = None
    wait: Annotated[float, Meta(ge=0, le=MAX_WAIT)] | None = None
    worker: _Name | None = None
    host: OriginText | None = None
    pid: OriginText | None = None
    client: OriginText | None = None
    tags: _Tags | None = None
    updates: Annotated[list[_UpdateJob], Meta(max_length=_MOST_CLAIMS)] | None = None


def _decoder(kind: type[T]) -> "msgspec.json.Decoder[T]":
    return msgspec.json.Decoder(kind)


_new_queue: Final = _decoder(_NewQueue)
_change_queue: Final = _decoder(_ChangeQueue)
_add_key: Final = _decoder(_AddKey)
_add_job: Final = _decoder(_AddJob)
_add_jobs: Final = _decoder(_AddJobs)
_update_job: Final = _decoder(_UpdateJob)
_update_jobs: Final = _decoder(_UpdateJobs)
_claim: Final = _decoder(_Claim)


@frozen(kw_only=True)
class Wire:
    """Decodes bodies into commands, with the server's defaults and limits. Every method raises BadInput."""

    #: The defaults where neither the client nor the queue sets a value.
    defaults: Defaults = Defaults()
    #: The deepest nesting of JSON.
    max_depth: int = 32
    #: The most bytes of one job's content, and of its result.
    max_job_bytes: int = 1 << 20
    #: The most queues that callers without the admin key may create.
    max_queues: int = 1_000
    #: Whether calls of the first version ignore unknown fields and parameters.
    pass_unknown: bool = False

    def checked(self, body: bytes, pause: Pause) -> Coroutine[Any, Any, bytes]:
        """The body of a call without a list of jobs. A long body is checked in steps, with a `pause` between them."""
        return checked(body, self.max_depth, pause)

    def create_queue(self, body: bytes, admin: bool) -> c.CreateQueue:
        """The body of PUT /api/v1/queue."""
        sent, _ = self._decode(body, _new_queue, v1=True)
        key = _header_safe(sent.access_key)
        return c.CreateQueue(queue=sent.name, access_key=key, admin=admin, max_queues=self.max_queues)

    def change_queue(self, body: bytes, access: Access) -> c.ChangeQueue:
        """The body of POST /api/v1/queue."""
        sent, _ = self._decode(body, _change_queue)
        if sent.old_key_seconds is not None and sent.new_access_key is None:
            raise BadInput("old_key_seconds needs new_access_key: it says how long the old key stays valid.")
        return c.ChangeQueue(
            queue=sent.name,
            **access,
            paused=sent.paused,
            draining=sent.draining,
            require_lease=sent.require_lease,
            max_jobs=sent.max_jobs,
            defaults=None if sent.defaults is None else self._filled(sent.defaults),
            new_access_key=None if sent.new_access_key is None else _header_safe(sent.new_access_key),
            old_key_seconds=sent.old_key_seconds or 0,
        )

    def add_key(self, body: bytes, access: Access) -> c.AddKey:
        """The body of PUT /api/v1/queue/key."""
        sent, _ = self._decode(body, _add_key)
        try:
            role = Role(sent.role)
        except ValueError:
            role = Role.OWNER
        if role is Role.OWNER:
            raise BadInput("role must be one of producer, worker, viewer.")
        return c.AddKey(
            queue=sent.queue_name,
            **access,
            role=role,
            new_access_key=_header_safe(sent.access_key),
        )

    def add_job(
        self, body: bytes, access: Access, idempotency_key: str | None = None, trace: str | None = None
    ) -> c.AddJobs:
        """The body of PUT /api/v1/job. A job without a `traceparent` of its own gets `trace`, that of the request."""
        sent, _ = self._decode(body, _add_job, v1=True)
        try:
            job = _new_job(sent.job, self.max_job_bytes)
        except BadInput as error:
            raise BadInput(f"job{error}") from None
        if idempotency_key is not None:
            if job.uid is not None:
                raise BadInput("Send a uid or the header Idempotency-Key, not both.")
            job = replace(job, idempotency_key=idempotency_key)
        if trace is not None and job.context.traceparent is None:
            job = replace(job, context=replace(job.context, traceparent=trace))
        return self._adding(sent.queue_name, access, (job,), many=False)

    async def add_jobs(self, body: bytes, access: Access, pause: Pause, most_values: int = MOST_VALUES) -> c.AddJobs:
        """The body of PUT /api/v1/jobs, with at most `most_values` values. A long body is read in pieces."""
        bounds = self._bounds(most_values)
        first, *others = await read_in_pieces(lambda piece: self._add_some(piece, access), body, bounds, pause)
        return replace(first, jobs=tuple(chain(first.jobs, *(piece.jobs for piece in others)))) if others else first

    def _add_some(self, body: bytes, access: Access) -> c.AddJobs:
        sent, _ = self._decode(body, _add_jobs)
        jobs: list[c.NewJob] = []
        try:
            for job in sent.jobs:
                jobs.append(_new_job(job, self.max_job_bytes))
        except BadInput as error:
            raise BadInput(f"jobs[{len(jobs)}]{error}") from None
        return self._adding(sent.queue_name, access, tuple(jobs), many=True)

    def update_job(self, body: bytes, access: Access) -> tuple[c.UpdateJob, bool]:
        """The body of POST /api/v1/job, and whether the body has the form of the API's first version."""
        sent, fields = self._decode(body, _update_job, v1=True)
        changes = _changes(sent, self.max_job_bytes)
        command = c.UpdateJob(queue=sent.queue_name, **access, uid=sent.uid, changes=changes, lease=sent.lease)
        return command, _V1_UPDATE.issuperset(fields)

    async def update_jobs(
        self, body: bytes, access: Access, pause: Pause, most_values: int = MOST_VALUES
    ) -> c.UpdateJobs | c.UpdateMatching:
        """The body of POST /api/v1/jobs, with at most `most_values` values. A long body is read in pieces."""
        bounds = self._bounds(most_values)
        pieces = await read_in_pieces(lambda piece: self._update_some(piece, access), body, bounds, pause)
        updates = [piece for piece in pieces if isinstance(piece, c.UpdateJobs)]
        if len(updates) < 2:
            return pieces[0]
        return replace(updates[0], updates=tuple(chain.from_iterable(piece.updates for piece in updates)))

    def _update_some(self, body: bytes, access: Access) -> c.UpdateJobs | c.UpdateMatching:
        sent, _ = self._decode(body, _update_jobs)
        if sent.updates is not None:
            return self._update_each(sent, sent.updates, access)
        wanted = (sent.filter or SentFilter()).made()
        return c.UpdateMatching(
            queue=sent.queue_name,
            **access,
            filter=some_or_all(wanted, every=bool(sent.all)),
            changes=_changes(sent, self.max_job_bytes),
            dry_run=bool(sent.dry_run),
        )

    def _update_each(self, sent: _UpdateJobs, updates: list[_Update], access: Access) -> c.UpdateJobs:
        if sent.filter is not None or sent.all:
            raise BadInput("Send either updates, one for each job, or a filter and changes for all matching jobs.")
        if sent.dry_run or _read_changes(sent, self.max_job_bytes) != _NO_CHANGES:
            raise BadInput("updates can't be combined with changes or dry_run: put the changes into each update.")
        read = [_update(item, index, self.max_job_bytes) for index, item in enumerate(updates)]
        return c.UpdateJobs(queue=sent.queue_name, **access, updates=tuple(read))

    def claim(self, body: bytes, access: Access) -> c.Claims:
        """The body of POST /api/v1/job/next."""
        sent, _ = self._decode(body, _claim)
        return c.Claims(
            queues=tuple(dict.fromkeys(sent.queue_names)),
            **access,
            count=sent.count or 1,
            wait=shortened(sent.wait or 0),
            worker=sent.worker,
            tags=_unique(sent.tags),
            updates=self._with_claim(sent.updates) if sent.updates else (),
            origin=origin_of(sent.host, sent.pid, sent.client),
        )

    def _with_claim(self, sent: Sequence[_UpdateJob]) -> tuple[c.QueueUpdate, ...]:
        """The updates in a claim request, which are made before the claim."""
        updates = [_update(item, index, self.max_job_bytes) for index, item in enumerate(sent)]
        return tuple(c.QueueUpdate(item.queue_name, update) for item, update in zip(sent, updates, strict=True))

    def _bounds(self, most_values: int) -> Bounds:
        return Bounds(items=_MOST_JOBS, values=most_values, content_bytes=self.max_job_bytes)

    def _filled(self, sent: _Defaults) -> Defaults:
        """A queue's defaults; values that were not sent come from the server's defaults."""
        given = {name: value for name, value in asdict(sent).items() if value is not None}
        return evolve(self.defaults, **given)

    def _adding(self, queue: str, access: Access, jobs: tuple[c.NewJob, ...], *, many: bool) -> c.AddJobs:
        return c.AddJobs(
            queue=queue,
            **access,
            jobs=jobs,
            defaults=self.defaults,
            many=many,
        )

    def _decode(self, body: bytes, decoder: "msgspec.json.Decoder[T]", *, v1: bool = False) -> tuple[T, Iterable[str]]:
        """The decoded body, and the names of its fields. `v1`: the API's first version had the call."""
        return decode(body, decoder, self.max_depth, pass_unknown=v1 and self.pass_unknown)


def _new_job(sent: _NewJob, most: int) -> c.NewJob:
    """The new job; raises BadInput, with a text that continues the sentence after the job's place."""
    return c.NewJob(
        content=_object(sent.content, ".content", most),
        priority=sent.priority or 0,
        keep_minutes=sent.keep_minutes,
        timeout_seconds=sent.timeout_seconds if sent.timeout_minutes is None else _timeout(sent, sent.timeout_minutes),
        timeout_time=sent.timeout_time or 0,
        tags=_unique(sent.tags) if sent.tags else (),
        max_attempts=sent.max_attempts,
        retry_delay_seconds=sent.retry_delay_seconds,
        unique_key=sent.unique_key,
        delay_seconds=sent.delay_seconds or 0,
        not_before=sent.not_before or 0,
        uid=sent.uid,
        context=NO_CONTEXT if sent.meta is _NOTHING and sent.traceparent is None else _context(sent),
    )


def _context(sent: _NewJob) -> Context:
    if sent.traceparent is None and bytes(sent.meta) in _NO_META:
        return NO_CONTEXT
    return Context(
        meta=None if bytes(sent.meta) in _NO_META else _object(sent.meta, ".meta", _META_LENGTH).decode(),
        traceparent=None if sent.traceparent is None else trace_of(sent.traceparent, ".traceparent"),
    )


def _timeout(sent: _NewJob, minutes: int) -> int:
    """The time-out in seconds. A job from an answer has the time-out in minutes too, and must agree."""
    seconds = sent.timeout_seconds
    if seconds is None:
        return minutes * 60
    if minutes != -(-seconds // 60):
        raise BadInput(": timeout_minutes and timeout_seconds differ; send one of them.")
    return seconds


def _update(sent: _Update, index: int, most: int) -> c.JobUpdate:
    try:
        changes = _changes(sent, most)
    except BadInput as error:
        raise BadInput(f"updates[{index}].{error}") from None
    return c.JobUpdate(uid=sent.uid, changes=changes, lease=sent.lease)


def _changes(sent: _Changes, most: int) -> c.Changes:
    changes = _read_changes(sent, most)
    if changes == _NO_CHANGES:
        raise BadInput("The update changes nothing: send new_status or another change.")
    if changes.cancel and changes != c.Changes(cancel=True):
        raise BadInput("cancel can't be combined with other changes.")
    if changes.delay_seconds is not None and changes.state in _NEVER_DELAYED:
        raise BadInput("delay_seconds can't be combined with new_status inprogress or complete.")
    return changes


def _read_changes(sent: _Changes, most: int) -> c.Changes:
    return c.Changes(
        state=None if sent.new_status is None else state_of(sent.new_status, "new_status"),
        retry=sent.retry is not False,
        cancel=bool(sent.cancel),
        progress=sent.progress,
        result=None if sent.result is _NOTHING else _bounded(sent.result, "result", most),
        error=sent.error,
        priority=sent.priority,
        content=None if sent.content is _NOTHING else _object(sent.content, "content", most),
        tags=None if sent.tags is None else _unique(sent.tags),
        timeout_time=sent.timeout_time,
        delay_seconds=sent.delay_seconds,
    )


_NO_CHANGES: Final = c.Changes()
#: The texts of a missing or null `meta`.
_NO_META: Final = (b"", b"null")
#: States without a delay. FAILED is not among them: a failed job is queued again if it has attempts left.
_NEVER_DELAYED: Final = frozenset({State.INPROGRESS, State.COMPLETE})


def _bounded(raw: Raw, place: str, most: int) -> bytes:
    text = bytes(raw)
    if len(text) > most:
        raise BadInput(f"{place} is longer than {most} bytes.")
    return text


def _object(raw: Raw, place: str, most: int) -> bytes:
    text = bytes(raw)
    if not text.startswith(b"{") or len(text) > most:
        _bounded(raw, place, most)
        raise BadInput(f"{place} must be a JSON object.")
    return text


def _unique(tags: tuple[str, ...] | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tags)) if tags else ()


def _header_safe(key: str) -> bytes:
    if not _HEADER_SAFE.fullmatch(key):
        raise BadInput(
            "The access key can't be sent in a header: remove control characters, and spaces at its beginning or end."
        )
    return key.encode()
