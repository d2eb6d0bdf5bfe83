"""The rules for changing a job: leases, state transitions, retries, cancelling."""

from collections.abc import Sequence
from hmac import compare_digest
from typing import Final
from zlib import crc32

from msgspec.structs import replace

from .ageing import line_of
from .dead_letters import BATCH, DUE, HOLDS_GROUP
from .dependencies import (
    MET,
    MOST_DEPENDENCIES,
    NOT_YET,
    UNMET,
    WAITED_FOR,
    Awaited,
    Dependencies,
    OnDependencyFailure,
    waits_for,
)
from .errors import ClaimRequired, GroupInUse, LeaseLost, LeaseRequired, NothingAwaited, NotInProgress
from .facts import Fact, JobAdded, JobChanged
from .model import (
    COMPLETE,
    DAY,
    FINISHED,
    HISTORY_LENGTH,
    INPROGRESS,
    NO_NOTES,
    SECOND,
    Attempt,
    Job,
    Notes,
    Queue,
    Rare,
    Spec,
    Standing,
    State,
)
from .values import Value

#: The error of a queued job that was cancelled.
_CANCELLED: Final = "cancelled"
#: The error of a job whose lease expired.
_TIMED_OUT: Final = "timed out"
#: The outcome of an attempt that its holder gave back.
_RELEASED: Final = "released"
#: The largest random change of a delay before an attempt, in parts of 10,000.
_JITTER: Final = 1_000
_32_BITS: Final = 0xFFFFFFFF
#: The spec's fields in an update that changes none of them.
_UNCHANGED: Final = (None, None, None, None, None, False)


class Changes(Value, frozen=True, kw_only=True):
    """The changes of an update; None leaves a field unchanged."""

    #: The new state; a failure with attempts left becomes queued.
    state: State | None = None
    #: Whether a job that fails may be tried again.
    retry: bool = True
    #: Request cancellation: a queued job fails; the worker of a job in progress learns of it from its next update.
    cancel: bool = False
    #: See Notes.
    progress: int | None = None
    result: bytes | None = None
    error: str | None = None
    #: The worker's own fingerprint of the error; None computes it.
    fingerprint: str | None = None
    #: See Spec.
    priority: int | None = None
    content: bytes | None = None
    tags: tuple[str, ...] | None = None
    timeout_time: int | None = None
    #: Seconds until the job can be claimed, if it is queued.
    delay_seconds: int | None = None
    #: The group of a job that is not in progress; "" takes it out of its group.
    group: str | None = None
    #: Seconds for which the job's group is held, or the queue for a job without a group; see jobengine.core.flow.
    hold_seconds: int | None = None
    #: Drop the dependencies of a job that is not in progress: it waits for nothing any more.
    without_dependencies: bool = False

    @property
    def of_groups(self) -> bool:
        """Whether the changes are about groups too."""
        return self.hold_seconds is not None or self.group is not None

    @property
    def may_move(self) -> bool:
        """Whether the job's place in line may change: its priority changes, or the job may be queued."""
        return self.priority is not None or self.state not in (None, COMPLETE)


def update(
    queue: Queue, job: Job, changes: Changes, now: int, *, lease: str | None = None, by_owner: bool = False
) -> tuple[Fact | None, Job]:
    """
    The fact that changes `job`, or None if nothing changes, and the job afterwards.

    `by_owner` skips the lease check. Raises LeaseLost, LeaseRequired, ClaimRequired, GroupInUse or NothingAwaited.
    """
    if lease is not None and _repeats(job, changes, lease):
        return None, job
    if not by_owner:
        _check_lease(queue, job, changes, lease)
    spec, standing = _spec(queue, job, changes), _with_notes(job.standing, changes)
    if changes.without_dependencies:
        standing = replace(standing, ended="")
    # Most updates change neither spec nor notes: then no new Job is made.
    with_notes = job if spec is job.spec and standing is job.standing else Job(spec, standing)
    updated = Job(spec, _moved(with_notes, changes, now, by_holder=lease is not None))
    if queue.dead_letter is not None and (changes.state is State.FAILED or job.standing.state is not State.FAILED):
        # A job that had failed before stays in its queue, unless this update makes it fail again.
        updated = Job(spec, to_dead_letters(queue, updated))
    if spec is not job.spec:
        return JobAdded(queue.name, updated), updated
    return JobChanged(queue.name, spec.uid, updated.standing), updated


def in_line(queue: Queue, spec: Spec) -> Spec:
    """The spec of a job with its place by the queue's present order; the same object if its place is right already."""
    line = line_of(queue.order, spec.priority, spec.created)
    return spec if line == spec.rare.line else replace(spec, rare=replace(spec.rare, line=line))


def waiting_for(
    queue: Queue,
    job: Job,
    children: Sequence[Awaited],
    on_failure: OnDependencyFailure | None,
    now: int,
    *,
    lease: str | None,
) -> Job:
    """
    A job in progress that gives up its lease and waits for `children`; its next claim continues the attempt. If its
    cancellation was requested, it fails instead.

    Raises LeaseLost, LeaseRequired or NotInProgress.
    """
    changes = Changes(state=State.QUEUED)
    _check_lease(queue, job, changes, lease)
    if job.standing.state is not INPROGRESS:
        raise NotInProgress(job.state, job.standing.worker)
    standing, old = _requeued(job, changes, now, by_holder=True), job.spec.rare.dependencies or Dependencies(())
    if standing.state is not State.QUEUED:
        return Job(job.spec, standing)
    # If there would be too many dependencies, the oldest, which are met, are dropped.
    on = (*old.on, *children)[-MOST_DEPENDENCIES:]
    dependencies = Dependencies(on, old.on_failure if on_failure is None else on_failure)
    spec = replace(job.spec, rare=replace(job.spec.rare, dependencies=dependencies))
    ended = MET * len(old.on) + NOT_YET * len(children)
    return Job(spec, replace(standing, ended=ended[-MOST_DEPENDENCIES:]))


def replaced(job: Job, spec: Spec, ready_at: int, not_before: int, now: int) -> Job:
    """
    A queued job that starts over with another spec, as if it was added now; only its history stays.

    It still waits for the jobs on which it depends.
    """
    old = job.standing
    notes = Notes(history=old.notes.history) if old.notes.history else NO_NOTES
    standing = Standing(
        state=State.QUEUED, updated=now, ready_at=ready_at, not_before=not_before, ended=old.ended, notes=notes
    )
    return Job(spec, standing)


def without_key(job: Job) -> Standing:
    """The standing of a finished job whose unique key another job takes over."""
    return replace(job.standing, notes=replace(job.standing.notes, key_passed_on=True))


def timed_out(queue: Queue, job: Job, now: int) -> Standing:
    """The standing of a job whose lease has run out: queued again if it has attempts left, failed otherwise."""
    standing = _failed(job, now, outcome="timeout", error=_TIMED_OUT, retry=True)
    return standing if queue.dead_letter is None else to_dead_letters(queue, Job(job.spec, standing))


def to_dead_letters(queue: Queue, job: Job) -> Standing:
    """
    The standing of a job that was just changed, in a queue with a dead-letter queue: if it has failed, its notes get
    DUE or the reason why it stays; not if it was cancelled or has failed because of another job.
    """
    standing, rare, flow = job.standing, job.spec.rare, queue.flow
    if standing.state is not State.FAILED or standing.notes.cancelled or standing.ended:
        return standing
    reason = DUE
    if rare.batch is not None:
        reason = BATCH
    elif flow is not None and flow.holds_failed and rare.group is not None:
        reason = HOLDS_GROUP
    return replace(standing, notes=replace(standing.notes, dead_letter=reason))


def queued_again(job: Job, now: int) -> Standing:
    """The standing of a moved job that was not in progress: a finished job is queued again with new attempts."""
    if job.standing.state not in FINISHED:
        return job.standing
    return _requeued(job, Changes(state=State.QUEUED), now, by_holder=False)


def retry_delay(spec: Spec, attempts: int) -> int:
    """
    Milliseconds to wait after this many attempts: the first delay, doubled each time, at most a day.

    The delay is up to 10 % longer or shorter, so that jobs which failed together are not retried together. The change
    comes from the uid and the attempt: the same job always gets the same delays, and no randomness is needed here.
    """
    # 2 ** 17 seconds are more than a day already.
    delay = min(spec.retry_delay_seconds * SECOND << min(attempts - 1, 17), DAY)
    if not delay:
        return 0
    per_myriad = crc32(spec.uid.encode(), attempts & _32_BITS) % (2 * _JITTER + 1) - _JITTER
    delay += delay * per_myriad // 10_000
    # A delay above a day is reflected below a day, since many delays of exactly a day would end together.
    return delay if delay <= DAY else 2 * DAY - delay


def _repeats(job: Job, changes: Changes, lease: str) -> bool:
    """Whether a holder repeats the update that finished the job: its answer may have been lost."""
    standing = job.standing
    return standing.state in FINISHED and changes.state is standing.state and _holds(standing, lease)


def _check_in_progress(job: Job, changes: Changes) -> None:
    if job.standing.state is not INPROGRESS:
        return
    if changes.group is not None:
        raise GroupInUse(job.state, job.standing.worker)
    if changes.without_dependencies:
        raise NothingAwaited(job.state, job.standing.worker)


def _check_lease(queue: Queue, job: Job, changes: Changes, lease: str | None) -> None:
    held = job.standing.state is INPROGRESS
    if lease is None:
        # A job that was put in progress without a claim has no lease to check.
        if queue.require_lease and held and job.standing.lease is not None and not changes.cancel:
            raise LeaseRequired(job.state, job.standing.worker)
        if queue.require_lease and changes.state is INPROGRESS and not held:
            raise ClaimRequired(job.state)
    elif not held or not _holds(job.standing, lease):
        raise LeaseLost(job.state, job.standing.worker)


def _holds(standing: Standing, lease: str) -> bool:
    return standing.lease is not None and compare_digest(standing.lease.encode(), lease.encode())


def _spec(queue: Queue, job: Job, changes: Changes) -> Spec:
    spec = job.spec
    changed = (
        changes.priority,
        changes.content,
        changes.tags,
        changes.timeout_time,
        changes.group,
        changes.without_dependencies,
    )
    if changed != _UNCHANGED:
        _check_in_progress(job, changes)
        spec = _with_changes(spec, changed)
    if (queue.order is not None or spec.rare.line is not None) and changes.may_move:
        return in_line(queue, spec)
    return spec


def _with_changes(
    spec: Spec, changed: tuple[int | None, bytes | None, tuple[str, ...] | None, int | None, str | None, bool]
) -> Spec:
    priority, content, tags, timeout_time, group, without_dependencies = changed
    rare = spec.rare if group is None else _with_group(spec.rare, group)
    return replace(
        spec,
        priority=spec.priority if priority is None else priority,
        content=spec.content if content is None else content,
        tags=spec.tags if tags is None else tags,
        timeout_time=spec.timeout_time if timeout_time is None else timeout_time,
        rare=replace(rare, dependencies=None) if without_dependencies else rare,
    )


def _with_group(rare: Rare, group: str) -> Rare:
    """The rare fields with `group`, or without a group if it is "". A group from before a move is forgotten."""
    origin = rare.moved_from
    if origin is not None and origin.group is not None:
        rare = replace(rare, moved_from=replace(origin, group=None))
    return replace(rare, group=group or None)


def _moved(job: Job, changes: Changes, now: int, *, by_holder: bool) -> Standing:
    standing = job.standing
    # Tested first, and by the constant, since most updates complete a job: see core.model.QUEUED.
    if changes.state is COMPLETE:
        return _complete(standing, changes, now)
    match changes.state:
        case State.QUEUED:
            return _requeued(job, changes, now, by_holder=by_holder)
        case State.INPROGRESS:
            return _held(job, changes, now)
        case State.FAILED:
            failed = _failed(job, now, outcome="failed", error=changes.error, retry=changes.retry)
            return _at(failed, _ready_at(changes, now)) if _delayed(failed, changes) else failed
    if changes.cancel:
        return _cancelled(job, now)
    if _delayed(standing, changes):
        return replace(_at(standing, _ready_at(changes, now)), updated=now)
    return replace(standing, updated=now, shift=0)


def _complete(standing: Standing, changes: Changes, now: int) -> Standing:
    """The standing of a job that an update completes; the errors of earlier attempts stay in the history."""
    notes = standing.notes
    history = notes.history if standing.state is not INPROGRESS else _remembered(standing, now, "complete", None)
    notes = replace(notes, error=changes.error, fingerprint=None, cancel_requested=False, history=history)
    if notes.retrying or notes.cancelled or notes.dead_letter:
        # `key_passed_on` stays: a unique key that another job has taken over is not given back.
        notes = replace(notes, retrying=False, cancelled=False, dead_letter="")
    return replace(standing, state=COMPLETE, updated=now, shift=0, ready_at=0, not_before=0, notes=notes)


def _with_notes(standing: Standing, changes: Changes) -> Standing:
    if changes.progress is None and changes.result is None and changes.error is None and changes.fingerprint is None:
        return standing
    notes = standing.notes
    reported = replace(
        notes,
        progress=notes.progress if changes.progress is None else changes.progress,
        result=notes.result if changes.result is None else changes.result,
        error=notes.error if changes.error is None else changes.error,
        fingerprint=_fingerprint(notes, changes),
    )
    return replace(standing, notes=reported)


def _fingerprint(notes: Notes, changes: Changes) -> str | None:
    """The fingerprint that the worker gave the latest error, after an update."""
    if changes.fingerprint is not None:
        return changes.fingerprint
    return notes.fingerprint if changes.error is None else None


def _delayed(standing: Standing, changes: Changes) -> bool:
    return changes.delay_seconds is not None and standing.state is State.QUEUED


def _ready_at(changes: Changes, now: int) -> int:
    return now + changes.delay_seconds * SECOND if changes.delay_seconds else 0


def _at(standing: Standing, ready_at: int) -> Standing:
    """The standing, delayed until `ready_at`, which replaces any other delay."""
    return replace(standing, ready_at=ready_at, not_before=0)


def _requeued(job: Job, changes: Changes, now: int, *, by_holder: bool) -> Standing:
    """
    The standing of a job that an update queues again: a finished job starts over, with no attempt counted.

    A release by the holder gives the attempt back.
    """
    standing, notes = job.standing, replace(job.standing.notes, cancel_requested=False)
    if standing.state is State.INPROGRESS:
        notes = replace(notes, history=_remembered(standing, now, _RELEASED, None))
        if standing.notes.cancel_requested:
            notes = replace(notes, error=_CANCELLED, fingerprint=None, retrying=False, cancelled=True)
            return replace(standing, state=State.FAILED, updated=now, lease=None, shift=0, notes=notes)
    if standing.state in FINISHED:
        attempts, notes = 0, _restarted(notes, changes)
    else:
        # `retrying` stays unchanged: a release reports nothing about the job.
        attempts = standing.attempts - by_holder
    ended = _still_awaited(job) if standing.ended else ""
    if ended:
        # Drop the error: it names the failed dependency for which the job waits again.
        notes = replace(notes, error=None, fingerprint=None)
    ready_at = _ready_at(changes, now)
    return Standing(state=State.QUEUED, updated=now, attempts=attempts, ready_at=ready_at, ended=ended, notes=notes)


def _still_awaited(job: Job) -> str:
    """`Standing.ended` of a job that is queued again: the job waits for the retry of a dependency that has failed."""
    ended, dependencies = job.standing.ended, job.spec.rare.dependencies
    if dependencies is not None and dependencies.on_failure is not OnDependencyFailure.RUN:
        ended = ended.replace(UNMET, WAITED_FOR)
    return ended if waits_for(ended) else ""


def _held(job: Job, changes: Changes, now: int) -> Standing:
    """The standing of a job that an update keeps in progress, or puts there without a claim; its time-out restarts."""
    standing = job.standing
    if standing.state is State.INPROGRESS:
        return replace(standing, updated=now, shift=0)
    attempts = standing.attempts + 1
    notes = _restarted(standing.notes, changes) if standing.state in FINISHED else standing.notes
    return Standing(state=State.INPROGRESS, updated=now, attempts=attempts, claimed=now, notes=notes)


def _failed(job: Job, now: int, *, outcome: str, error: str | None, retry: bool) -> Standing:
    spec, standing = job.spec, job.standing
    if standing.state is not State.INPROGRESS:
        notes = replace(standing.notes, retrying=False) if standing.notes.retrying else standing.notes
        return replace(standing, state=State.FAILED, updated=now, ready_at=0, not_before=0, notes=notes)
    cancelled = standing.notes.cancel_requested
    retrying = retry and standing.attempts < spec.max_attempts and not cancelled
    own = standing.notes.fingerprint if outcome == "failed" else None
    notes = replace(
        standing.notes,
        history=_remembered(standing, now, outcome, error, own),
        fingerprint=None if cancelled else own,
        error=error if error is not None else standing.notes.error,
        cancel_requested=False,
        retrying=retrying,
        cancelled=cancelled,
    )
    if retrying:
        delay = retry_delay(spec, standing.attempts)
        ready_at = now + delay if delay else 0
        return Standing(state=State.QUEUED, updated=now, attempts=standing.attempts, ready_at=ready_at, notes=notes)
    # A time-out ends the lease. A reported failure keeps it, so that the holder can repeat the report.
    lease = standing.lease if outcome == "failed" else None
    return replace(standing, state=State.FAILED, updated=now, lease=lease, shift=0, notes=notes)


def _cancelled(job: Job, now: int) -> Standing:
    standing = job.standing
    if standing.state is State.QUEUED:
        notes = replace(standing.notes, error=_CANCELLED, fingerprint=None, retrying=False, cancelled=True)
        return replace(standing, state=State.FAILED, updated=now, ready_at=0, not_before=0, notes=notes)
    if standing.state is State.INPROGRESS:
        # This update is not from the worker: the lease must keep its end.
        shift = standing.shift - (now - standing.updated)
        return replace(standing, updated=now, shift=shift, notes=replace(standing.notes, cancel_requested=True))
    return standing


def _restarted(notes: Notes, changes: Changes) -> Notes:
    """
    The notes of a finished job that starts over because a client changed it: the old outcome no longer counts, and
    progress and result are those of the change, or None. The last error and the history stay.
    """
    return replace(
        notes,
        progress=changes.progress,
        result=changes.result,
        retrying=False,
        cancelled=False,
        key_passed_on=False,
        dead_letter="",
    )


def _remembered(
    standing: Standing, now: int, outcome: str, error: str | None, fingerprint: str | None = None
) -> tuple[Attempt, ...]:
    """The history with the attempt that ends now; consecutive releases share an entry, so they displace no failure."""
    history = standing.notes.history
    if outcome == _RELEASED and history and history[-1].outcome == _RELEASED:
        latest = replace(history[-1], worker=standing.worker, ended=now, times=history[-1].times + 1)
        return (*history[:-1], latest)
    attempt = Attempt(
        worker=standing.worker,
        started=standing.claimed,
        ended=now,
        outcome=outcome,
        error=error,
        fingerprint=fingerprint,
    )
    return (*history, attempt)[-HISTORY_LENGTH:] if history else (attempt,)
