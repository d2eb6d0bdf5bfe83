"""Decodes request bodies into commands."""

import re
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from itertools import chain, count
from typing import Any, Final, TypeVar

import msgspec
from attrs import evolve, frozen
from msgspec import UNSET, UnsetType
from msgspec.structs import asdict, replace

from ..core import commands as c
from ..core.fingerprints import FINGERPRINT
from ..core.flow import NO_LIMITS, GroupOrder, Limits, OnFailure, Rate
from ..core.model import Defaults, Role, State
from ..core.schedules import Edge
from ..timetable import TIMETABLE
from . import bodies
from .batches import changed_batch, then_of
from .bodies import MOST_JOBS, NOTHING
from .decoding import decode
from .json_values import bounded, json_object, unique, unix_time
from .long_bodies import Bounds, Pause, checked, read_in_pieces
from .moves import dead_letter_sent, move_of, pace_of
from .new_jobs import new_job, new_jobs, on_failure_of
from .origins import origin_of
from .request_head import BadInput, SentFilter, one_of, shortened, some_or_all, state_of
from .schedules import changed_settings, settings_of, time_sent
from .strict_json import MOST_VALUES

#: Texts that a header carries unchanged: no control characters, no space at either end (RFC 9110, 5.5).
_HEADER_SAFE: Final = re.compile(r"[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?")
_V1_UPDATE: Final = frozenset({"queue_name", "uid", "new_status"})

#: The caller's key, as fields of a command: `access_key` or `admin`.
Access = Mapping[str, Any]

T = TypeVar("T", bound=msgspec.Struct)
E = TypeVar("E", bound=StrEnum)


def _decoder(kind: type[T]) -> "msgspec.json.Decoder[T]":
    return msgspec.json.Decoder(kind)


_new_queue: Final = _decoder(bodies.NewQueue)
_change_queue: Final = _decoder(bodies.ChangeQueue)
_group: Final = _decoder(bodies.Group)
_add_key: Final = _decoder(bodies.AddKey)
_add_job: Final = _decoder(bodies.AddJob)
_add_jobs: Final = _decoder(bodies.AddJobs)
_update_job: Final = _decoder(bodies.ChangeJob)
_update_jobs: Final = _decoder(bodies.UpdateJobs)
_claim: Final = _decoder(bodies.Claim)
_set_schedule: Final = _decoder(bodies.SetSchedule)
_change_schedule: Final = _decoder(bodies.ChangeSchedule)
_run_schedule: Final = _decoder(bodies.RunSchedule)
_set_batch: Final = _decoder(bodies.SetBatch)
_change_batch: Final = _decoder(bodies.ChangeBatch)


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
        """Return the body of a call without a list of jobs; a long body is checked in steps, with a `pause` between."""
        return checked(body, self.max_depth, pause)

    def create_queue(self, body: bytes, admin: bool) -> c.CreateQueue:
        """The command in the body of PUT /api/v1/queue."""
        sent, _ = self._decode(body, _new_queue, v1=True)
        key = _header_safe(sent.access_key)
        return c.CreateQueue(queue=sent.name, access_key=key, admin=admin, max_queues=self.max_queues)

    def change_queue(self, body: bytes, access: Access) -> c.ChangeQueue:
        """The command in the body of POST /api/v1/queue."""
        sent, _ = self._decode(body, _change_queue)
        if sent.old_key_seconds is not None and sent.new_access_key is None:
            raise BadInput("Send new_access_key with old_key_seconds, the time for which the old key stays valid.")
        return c.ChangeQueue(
            queue=sent.name,
            **access,
            paused=sent.paused,
            draining=sent.draining,
            require_lease=sent.require_lease,
            max_jobs=None if sent.max_jobs is UNSET else sent.max_jobs or 0,
            defaults=UNSET if sent.defaults is UNSET else self._filled(sent.defaults),
            limits=_limits(sent.limits),
            group_limits=_limits(sent.group_limits),
            group_order=_given(GroupOrder, sent.group_order, "group_order"),
            group_on_failure=_given(OnFailure, sent.group_on_failure, "group_on_failure"),
            target_wait_seconds=sent.target_wait_seconds,
            seconds_per_priority=sent.order.seconds_per_priority
            if isinstance(sent.order, bodies.Order)
            else sent.order,
            dead_letter=dead_letter_sent(sent.dead_letter),
            held_until=_held_until(sent.held_until),
            new_access_key=None if sent.new_access_key is None else _header_safe(sent.new_access_key),
            old_key_seconds=sent.old_key_seconds or 0,
        )

    def change_group(self, body: bytes, access: Access) -> c.ChangeGroup:
        """The command in the body of PUT /api/v1/group."""
        sent, _ = self._decode(body, _group)
        if sent == bodies.Group(queue_name=sent.queue_name, group=sent.group):
            raise BadInput("The request changes nothing: send in_progress, rate, weight, paused or held_until.")
        return c.ChangeGroup(
            queue=sent.queue_name,
            **access,
            group=sent.group,
            in_progress=sent.in_progress,
            rate=_rate(sent.rate) if isinstance(sent.rate, bodies.Rate) else sent.rate,
            group_weight=UNSET if sent.weight is None else sent.weight,
            paused=UNSET if sent.paused is None else sent.paused,
            held_until=_held_until(sent.held_until),
        )

    def add_key(self, body: bytes, access: Access) -> c.AddKey:
        """The command in the body of PUT /api/v1/queue/key."""
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
        """The command in the body of PUT /api/v1/job; a job without `traceparent` gets `trace`, the request's trace."""
        sent, _ = self._decode(body, _add_job, v1=True)
        try:
            job = new_job(sent.job, sent.queue_name, self.max_job_bytes)
        except BadInput as error:
            raise BadInput(f"job{error}") from None
        if idempotency_key is not None:
            if job.uid is not None:
                raise BadInput("Send a uid or the header Idempotency-Key, not both.")
            job = replace(job, idempotency_key=idempotency_key)
        if trace is not None and job.context.traceparent is None:
            job = replace(job, context=replace(job.context, traceparent=trace))
        return self._adding(sent.queue_name, access, (job,), many=False)

    async def add_jobs(
        self,
        body: bytes,
        access: Access,
        pause: Pause,
        most_values: int = MOST_VALUES,
        idempotency_key: str | None = None,
    ) -> c.AddJobs:
        """
        The command in a body of PUT /api/v1/jobs (at most `most_values` values); a long one is read in pieces.

        With an `idempotency_key` each job without a uid gets a key of its own, from the key and its index.
        """
        bounds = self._bounds(most_values)
        # No header contains a line feed, so that no key of another request can equal one of these.
        keys = None if idempotency_key is None else (f"{idempotency_key}\n{index}" for index in count())
        first, *others = await read_in_pieces(lambda piece: self._add_some(piece, access, keys), body, bounds, pause)
        return replace(first, jobs=tuple(chain(first.jobs, *(piece.jobs for piece in others)))) if others else first

    def _add_some(self, body: bytes, access: Access, keys: Iterator[str] | None) -> c.AddJobs:
        sent, _ = self._decode(body, _add_jobs)
        jobs = new_jobs(sent.jobs, sent.queue_name, self.max_job_bytes, "jobs", sent.batch)
        if keys is not None:
            keyed = zip(jobs, keys, strict=False)
            jobs = [replace(job, idempotency_key=key) if job.uid is None else job for job, key in keyed]
        return self._adding(sent.queue_name, access, tuple(jobs), many=True)

    def update_job(self, body: bytes, access: Access) -> tuple[c.UpdateJob | c.WaitFor, bool]:
        """The command in the body of POST /api/v1/job, and whether the body has the form of the API's first version."""
        sent, fields = self._decode(body, _update_job, v1=True)
        if sent.wait_for is not None:
            return self._waiting(sent, sent.wait_for, access), False
        if sent.on_dependency_failure is not None:
            raise BadInput("on_dependency_failure can be sent only with wait_for, or with a new job.")
        changes = _changed_by_holder(sent, self.max_job_bytes)
        command = c.UpdateJob(queue=sent.queue_name, **access, uid=sent.uid, changes=changes, lease=sent.lease)
        return command, _V1_UPDATE.issuperset(fields)

    def _waiting(self, sent: bodies.ChangeJob, children: Sequence[bodies.NewJob], access: Access) -> c.WaitFor:
        if sent.hold_seconds is not None or _read_changes(sent, self.max_job_bytes) != c.Changes(state=State.QUEUED):
            raise BadInput("wait_for can be sent only with new_status queued, and without other changes.")
        return c.WaitFor(
            queue=sent.queue_name,
            **access,
            uid=sent.uid,
            lease=sent.lease,
            jobs=tuple(new_jobs(children, sent.queue_name, self.max_job_bytes, "wait_for")),
            on_dependency_failure=on_failure_of(sent.on_dependency_failure),
            defaults=self.defaults,
        )

    async def update_jobs(
        self, body: bytes, access: Access, pause: Pause, most_values: int = MOST_VALUES
    ) -> c.UpdateJobs | c.UpdateMatching | c.MoveMatching:
        """The command in a body of POST /api/v1/jobs (at most `most_values` values); a long one is read in pieces."""
        bounds = self._bounds(most_values)
        pieces = await read_in_pieces(lambda piece: self._update_some(piece, access), body, bounds, pause)
        updates = [piece for piece in pieces if isinstance(piece, c.UpdateJobs)]
        if len(updates) < 2:
            return pieces[0]
        return replace(updates[0], updates=tuple(chain.from_iterable(piece.updates for piece in updates)))

    def _update_some(self, body: bytes, access: Access) -> c.UpdateJobs | c.UpdateMatching | c.MoveMatching:
        sent, _ = self._decode(body, _update_jobs)
        if sent.updates is not None:
            return self._update_each(sent, sent.updates, access)
        if sent.move_to is not None:
            return move_of(sent, sent.move_to, _read_changes(sent, self.max_job_bytes), access)
        if sent.uids is not None:
            raise BadInput("uids can be sent only with move_to; to change jobs by their uids, send updates.")
        wanted = some_or_all((sent.filter or SentFilter()).made(), every=bool(sent.all))
        changes = _changes(sent, self.max_job_bytes)
        return c.UpdateMatching(
            queue=sent.queue_name,
            **access,
            filter=wanted,
            changes=changes,
            pace=pace_of(sent, changes),
            dry_run=bool(sent.dry_run),
        )

    def _update_each(self, sent: bodies.UpdateJobs, updates: list[bodies.Update], access: Access) -> c.UpdateJobs:
        if sent.filter is not None or sent.all:
            raise BadInput("Send either updates, one for each job, or a filter and changes for all matching jobs.")
        if sent.move_to is not None or sent.uids is not None or sent.per_second is not None:
            raise BadInput("move_to, uids and per_second can't be combined with updates.")
        if sent.dry_run or _read_changes(sent, self.max_job_bytes) != _NO_CHANGES:
            raise BadInput("updates can't be combined with changes or dry_run: put the changes into each update.")
        read = [_update(item, index, self.max_job_bytes) for index, item in enumerate(updates)]
        return c.UpdateJobs(queue=sent.queue_name, **access, updates=tuple(read))

    def claim(self, body: bytes, access: Access) -> tuple[c.Claims, bool]:
        """The command in the body of POST /api/v1/job/next, and whether it requests the results of dependencies."""
        sent, _ = self._decode(body, _claim)
        claims = c.Claims(
            queues=tuple(dict.fromkeys(sent.queue_names)),
            **access,
            count=sent.count or 1,
            wait=shortened(sent.wait or 0),
            worker=sent.worker,
            tags=unique(sent.tags),
            updates=self._with_claim(sent.updates) if sent.updates else (),
            origin=origin_of(sent.host, sent.pid, sent.client),
        )
        return claims, bool(sent.with_results)

    def _with_claim(self, sent: Sequence[bodies.UpdateJob]) -> tuple[c.QueueUpdate, ...]:
        """The updates in a claim request, which are made before the claim."""
        updates = [_update(item, index, self.max_job_bytes) for index, item in enumerate(sent)]
        return tuple(c.QueueUpdate(item.queue_name, update) for item, update in zip(sent, updates, strict=True))

    def set_schedule(self, body: bytes, access: Access) -> c.SetSchedule:
        """The command in the body of PUT /api/v1/schedule."""
        sent, _ = self._decode(body, _set_schedule)
        settings = settings_of(sent)
        return c.SetSchedule(
            queue=sent.queue_name,
            **access,
            name=sent.name,
            settings=settings,
            paused=sent.paused,
            dry_run=bool(sent.dry_run),
            edge=self._edge,
        )

    def change_schedule(self, body: bytes, access: Access) -> c.ChangeSchedule:
        """The command in the body of POST /api/v1/schedule."""
        sent, _ = self._decode(body, _change_schedule)
        changes = changed_settings(sent)
        if not changes and sent.paused is None:
            raise BadInput("The request changes nothing: send paused, cron or another setting.")
        return c.ChangeSchedule(
            queue=sent.queue_name, **access, name=sent.name, paused=sent.paused, edge=self._edge, **changes
        )

    def run_schedule(
        self, body: bytes, access: Access, idempotency_key: str | None = None
    ) -> c.RunSchedule | c.Backfill:
        """The command in the body of POST /api/v1/schedule/run: one run now, or a backfill."""
        sent, _ = self._decode(body, _run_schedule)
        of = {"queue": sent.queue_name, **access, "name": sent.name, "edge": self._edge}
        if sent.from_ is None and sent.until is None:
            if sent.dry_run:
                raise BadInput("dry_run is for a backfill: send from and until too.")
            # As in add_jobs, a line feed keeps the keys of the calls apart.
            key = None if idempotency_key is None else f"{idempotency_key}\nrun {sent.name}"
            return c.RunSchedule(**of, idempotency_key=key)
        if sent.from_ is None or sent.until is None:
            raise BadInput("A backfill needs both from and until.")
        first, last = time_sent(sent.from_, "from"), time_sent(sent.until, "until")
        if first > last:
            raise BadInput("from must not be after until.")
        return c.Backfill(**of, first=first, last=last, dry_run=bool(sent.dry_run))

    def set_batch(self, body: bytes, access: Access) -> c.SetBatch:
        """The command in the body of PUT /api/v1/batch."""
        sent, _ = self._decode(body, _set_batch)
        then, defaults = then_of(sent, self.max_job_bytes), self.defaults
        return c.SetBatch(queue=sent.queue_name, **access, name=sent.name, then=then, defaults=defaults)

    def change_batch(self, body: bytes, access: Access) -> tuple[c.CloseBatch | c.ReadBatch, c.UpdateMatching | None]:
        """The commands in the body of POST /api/v1/batch: one for the batch, and one for the batch's jobs or None."""
        sent, _ = self._decode(body, _change_batch)
        return changed_batch(sent, access)

    @property
    def _edge(self) -> Edge:
        return Edge(self.defaults, TIMETABLE)

    def _bounds(self, most_values: int) -> Bounds:
        return Bounds(items=MOST_JOBS, values=most_values, content_bytes=self.max_job_bytes)

    def _filled(self, sent: bodies.Defaults | None) -> Defaults | None:
        """A queue's defaults; values that were not sent are the server's present ones. None if nothing was sent."""
        given = {} if sent is None else {name: value for name, value in asdict(sent).items() if value is not None}
        return evolve(self.defaults, **given) if given else None

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


def _limits(sent: "bodies.Limits | UnsetType | None") -> Limits | UnsetType | None:
    if not isinstance(sent, bodies.Limits):
        return sent
    limits = Limits(in_progress=sent.in_progress, rate=None if sent.rate is None else _rate(sent.rate))
    return None if limits == NO_LIMITS else limits


def _rate(sent: bodies.Rate) -> Rate:
    return Rate(sent.count, sent.seconds)


def _held_until(seconds: int | None) -> int | UnsetType:
    """The end of a hold; 0 ends it now."""
    if seconds is None:
        return UNSET
    return seconds and unix_time(seconds, "held_until")


def _given(kind: type[E], value: str | None, name: str) -> E | UnsetType:
    """The member of an enumeration with this value, or UNSET for None; raises BadInput."""
    return UNSET if value is None else one_of(kind, value, name)


def _update(sent: bodies.Update, index: int, most: int) -> c.JobUpdate:
    try:
        changes = _changed_by_holder(sent, most)
    except BadInput as error:
        raise BadInput(f"updates[{index}].{error}") from None
    return c.JobUpdate(uid=sent.uid, changes=changes, lease=sent.lease)


def _changed_by_holder(sent: bodies.Update, most: int) -> c.Changes:
    """The changes in an update of one job; with `hold_seconds` they hold the job's group."""
    changes = _changes(sent, most)
    if sent.hold_seconds is None:
        return changes
    if changes.state not in _MAY_HOLD:
        raise BadInput("hold_seconds can be sent only with new_status queued or failed.")
    return replace(changes, hold_seconds=sent.hold_seconds)


def _changes(sent: bodies.Changes, most: int) -> c.Changes:
    changes = _read_changes(sent, most)
    if changes == _NO_CHANGES:
        raise BadInput("The update changes nothing: send new_status or another change.")
    if changes.cancel and changes != c.Changes(cancel=True):
        raise BadInput("cancel can't be combined with other changes.")
    if changes.delay_seconds is not None and changes.state in _NEVER_DELAYED:
        raise BadInput("delay_seconds can't be combined with new_status inprogress or complete.")
    return changes


@lru_cache(maxsize=512)
def own_fingerprint(sent: str) -> str:
    """
    Check a fingerprint from a worker; equal fingerprints are returned as one object. Raises BadInput.

    Cached, since a queue has few different fingerprints. A pattern in the type of the body would check the fingerprint
    of each update, which takes 2 % of the update's time.
    """
    if not _FINGERPRINT.match(sent):
        raise BadInput("fingerprint must have 1 to 64 characters: letters, digits, dots, underscores, colons, hyphens.")
    return sent


def _read_changes(sent: bodies.Changes, most: int) -> c.Changes:
    return c.Changes(
        state=None if sent.new_status is None else state_of(sent.new_status, "new_status"),
        retry=sent.retry is not False,
        cancel=bool(sent.cancel),
        progress=sent.progress,
        result=None if sent.result is NOTHING else bounded(sent.result, "result", most),
        error=sent.error,
        fingerprint=None if sent.fingerprint is None else own_fingerprint(sent.fingerprint),
        priority=sent.priority,
        content=None if sent.content is NOTHING else json_object(sent.content, "content", most),
        tags=None if sent.tags is None else unique(sent.tags),
        timeout_time=sent.timeout_time and unix_time(sent.timeout_time, "timeout_time"),
        delay_seconds=sent.delay_seconds,
        group=sent.group,
        without_dependencies=sent.depends_on is not None,
    )


_NO_CHANGES: Final = c.Changes()
_FINGERPRINT: Final = re.compile(FINGERPRINT)
#: States without a delay. FAILED is not among them: a failed job is queued again if it has attempts left.
_NEVER_DELAYED: Final = frozenset({State.INPROGRESS, State.COMPLETE})
#: States in which a job no longer runs, though its work is not done.
_MAY_HOLD: Final = frozenset({State.QUEUED, State.FAILED})


def _header_safe(key: str) -> bytes:
    if not _HEADER_SAFE.fullmatch(key):
        raise BadInput(
            "The access key can't be sent in a header: remove control characters, and spaces at its beginning or end."
        )
    return key.encode()
