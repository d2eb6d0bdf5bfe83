"""The jobs of the plain model, and their changes."""

import zlib
from collections import Counter
from typing import Any

from attrs import define, field, frozen

DAY = 86_400_000
FINISHED = ("complete", "failed")


@frozen(kw_only=True)
class Rule:
    """What a job's unique key means."""

    until: str = "finished"
    seconds: int = 0
    if_queued: str = "keep"
    if_running: str = "keep"
    #: Debounce: the seconds from the latest add, and the most seconds from the first add.
    debounce: tuple[int, int] | None = None


@define(kw_only=True)
class Asked:
    """A job to add."""

    content: bytes = b"{}"
    priority: int = 0
    keep: int | None = None
    timeout: int | None = None
    until: int = 0
    tags: tuple[str, ...] = ()
    max_attempts: int | None = None
    retry_delay: int | None = None
    unique_key: str | None = None
    delay: int = 0
    not_before: int = 0
    uid: str | None = None
    once: str | None = None
    group: str | None = None
    rule: Rule = Rule()


@define(kw_only=True, eq=False)
class Job:
    """A job. The engine has chosen `uid` and `lease`."""

    uid: str | None
    arrival: int
    content: bytes
    priority: int
    keep: int
    keep_failed: int
    timeout: int
    until: int
    tags: tuple[str, ...]
    max_attempts: int
    retry_delay: int
    unique_key: str | None
    group: str | None
    author: str | None
    created: int
    updated: int
    rule: Rule = Rule()
    #: Whether another job took its unique key after it was finished.
    key_lost: bool = False
    #: The request that added the job; None if the job has neither a uid nor an Idempotency-Key of the client.
    asked: Asked | None = None
    state: str = "queued"
    attempts: int = 0
    claimed: int = 0
    lease: str | None = None
    #: Whether the job was put in progress by a claim, so that its holder has a lease.
    leased: bool = False
    worker: str | None = None
    #: When its present lease began.
    held_from: int = 0
    #: When the job's delay ends and, in the next line, the wall clock time (`not_before`) for which it waits.
    ready_at: int = 0
    not_before: int = 0
    progress: int | None = None
    result: bytes | None = None
    error: str | None = None
    cancel: bool = False
    #: Whether the job was cancelled and, in the next line, whether its last attempt failed, not counting releases.
    cancelled: bool = False
    retrying: bool = False
    history: list[tuple[str | None, int, int, str, str | None, int]] = field(factory=list)
    #: Its place in line, if its queue had priority ageing when it got its place.
    line: int | None = None
    #: Its former queue and when it was moved, and `keep_failed` there, if its dead-letter queue has changed it.
    moved_from: tuple[str, int] | None = None
    keep_before: int | None = None
    #: Its group, in a queue to which it was moved and which knows no groups.
    lost_group: str | None = None
    #: Whether it has just failed with no attempts left and, in the next line, why it was not moved then.
    has_failed: bool = False
    not_moved: str = ""

    @property
    def shown_group(self) -> str | None:
        return self.group or self.lost_group

    @property
    def place(self) -> tuple[int, int]:
        """Its place in execution order."""
        return -self.priority if self.line is None else self.line, self.arrival

    def holds_key(self, now: int) -> bool:
        """Whether an add with its unique key finds this job instead of adding another."""
        if self.state == "queued":
            return True
        if self.state == "inprogress":
            return self.rule.until == "finished"
        # Without these seconds it is free at once, also if the clock was set back since.
        return self.rule.seconds > 0 and not self.key_lost and now < self.updated + self.rule.seconds * 1000

    @property
    def is_ready(self) -> bool:
        """Whether the job is queued and no delay holds it."""
        return self.state == "queued" and not (self.ready_at or self.not_before)

    @property
    def is_failure(self) -> bool:
        """Whether the job has failed without being cancelled, or is tried again after a failure."""
        return (self.state == "failed" and not self.cancelled) or (self.state == "queued" and self.retrying)


def delay_after(job: Job) -> int:
    """The delay after the last attempt: varied by up to 10 % by a checksum of the uid, and at most a day."""
    delay = min(job.retry_delay * 1000 * 2 ** (job.attempts - 1), DAY)
    delay += delay * (zlib.crc32((job.uid or "").encode(), job.attempts) % 2001 - 1000) // 10_000
    return min(delay, 2 * DAY - delay)


def only_state(which: dict[str, Any]) -> str | None:
    """The only state in which jobs can match a filter; None if there are several."""
    return which["state"] or ("queued" if which["retrying"] else "failed" if which["cancelled"] else None)


def removal(job: Job) -> int:
    """When a finished job is removed."""
    return job.updated + (job.keep if job.state == "complete" else job.keep_failed) * 60_000


def shown(job: Job, ahead: int) -> dict[str, Any]:
    """A job as callers see it; `ahead` turns elapsed time into wall-clock time."""
    leased = job.state == "inprogress" and job.timeout
    return {
        "uid": job.uid,
        "content": job.content,
        "priority": job.priority,
        "keep": job.keep,
        "keep_failed": job.keep_failed,
        "removed_at": removal(job) + ahead if job.state in FINISHED and not job.has_failed else None,
        "timeout": job.timeout,
        "until": job.until,
        "tags": job.tags,
        "max_attempts": job.max_attempts,
        "retry_delay": job.retry_delay,
        "unique_key": job.unique_key,
        "rule": job.rule,
        "group": job.shown_group,
        "moved_from": job.moved_from and (job.moved_from[0], job.moved_from[1] + ahead),
        "not_moved": job.not_moved,
        "created": job.created + ahead,
        "updated": job.updated + ahead,
        "state": job.state,
        "attempts": job.attempts,
        "worker": job.worker,
        "started": job.claimed + ahead if job.state == "inprogress" else None,
        "lease_expires": job.held_from + ahead + job.timeout * 1000 if leased else None,
        "ready_at": job.ready_at and job.ready_at + ahead,
        "not_before": job.not_before,
        "progress": job.progress,
        "result": job.result,
        "error": job.error,
        "cancel": job.cancel,
        "cancelled": job.cancelled,
        "history": [
            (worker, started + ahead, ended + ahead, outcome, error, times)
            for worker, started, ended, outcome, error, times in job.history
        ],
    }


@define(eq=False)
class Lives:
    """The changes of a job, and the clocks; all in milliseconds."""

    #: The time of the monotonic clock.
    steady: int
    #: How far elapsed time and the wall clock are ahead of the monotonic clock.
    origin: int = 0
    wall_ahead: int = 0
    #: The number of changes of each kind.
    counted: Counter[str] = field(factory=Counter)
    #: Jobs that have ended since waiters were last answered: each with its final state, or None if it was deleted.
    _ended: list[tuple[Job, Any]] = field(factory=list)

    @property
    def now(self) -> int:
        """Elapsed time."""
        return self.steady + self.origin

    @property
    def wall(self) -> int:
        return self.steady + self.wall_ahead

    @property
    def ahead(self) -> int:
        """How far the wall clock is ahead of elapsed time."""
        return self.wall_ahead - self.origin

    def see(self, job: Job) -> dict[str, Any]:
        return shown(job, self.ahead)

    def delay(self, job: Job, asked: Asked) -> None:
        ready_at = self.now + asked.delay * 1000
        if asked.rule.debounce is not None:
            seconds, at_most = asked.rule.debounce
            ready_at = min(self.now + seconds * 1000, job.created + at_most * 1000)
        job.ready_at = ready_at if ready_at > self.now else 0
        job.not_before = asked.not_before * 1000 if asked.not_before * 1000 > self.wall else 0

    def replace(self, job: Job, asked: Asked) -> None:
        self.counted["replaced"] += 1
        job.content, job.priority, job.tags, job.rule = asked.content, asked.priority, asked.tags, asked.rule
        longest = -(-asked.rule.seconds // 60)
        job.keep, job.keep_failed = max(job.keep, longest), max(job.keep_failed, longest)
        job.updated, job.attempts, job.retrying = self.now, 0, False
        job.progress = job.result = job.error = None
        self.delay(job, asked)

    def with_key(self, jobs: list[Job], asked: Asked) -> tuple[Job | None, str]:
        """The job that answers an add instead of a new one, because it holds the unique key; "kept" or "replaced"."""
        holders = [job for job in jobs if job.unique_key == asked.unique_key and job.holds_key(self.now)]
        queued = [job for job in holders if job.state == "queued"]
        if queued and asked.rule.if_queued == "replace":
            return queued[-1], "replaced"
        if asked.rule.if_running == "add":
            holders = [job for job in holders if job.state != "inprogress"]
        holders.sort(key=lambda job: job.state in FINISHED)
        self.counted["key held"] += bool(holders) and holders[0].state in FINISHED
        return (holders[0], "kept") if holders else (None, "")

    def take_key(self, jobs: list[Job], key: str) -> None:
        """Mark the finished jobs that no longer hold a unique key as having lost it."""
        for job in jobs:
            if job.unique_key == key and job.state in FINISHED and not job.holds_key(self.now):
                job.key_lost = True

    def _finish(self, job: Job, state: str) -> None:
        job.state = state
        self._ended.append((job, self.see(job)))

    def _change(self, job: Job, changes: dict[str, Any]) -> None:
        if job.state in FINISHED and changes.get("state") in ("queued", "inprogress"):
            job.progress = job.result = None
        for name in ("priority", "content", "tags", "until", "progress", "result", "error"):
            if changes.get(name) is not None:
                setattr(job, name, changes[name])
        if changes.get("group") is not None:
            job.group, job.lost_group = changes["group"] or None, None
        state, delay = changes.get("state"), changes.get("delay")
        ready_at = self.now + delay * 1000 if delay else 0
        if state is not None:
            self._move(job, state, changes, ready_at)
        elif changes.get("cancel"):
            self._cancel(job)
        else:
            job.updated = job.held_from = self.now
            if delay is not None and job.state == "queued":
                job.ready_at, job.not_before = ready_at, 0

    def _move(self, job: Job, state: str, changes: dict[str, Any], ready_at: int) -> None:
        if state == "queued":
            self._requeue(job, ready_at, given_back=changes.get("released", False))
        elif state == "inprogress":
            self._hold(job)
        elif state == "complete":
            if job.state == "inprogress":
                self.counted["complete"] += 1
                self._remember(job, "complete", None)
            job.updated, job.ready_at, job.not_before = self.now, 0, 0
            job.error, job.cancel = changes.get("error"), False
            job.retrying = job.cancelled = job.has_failed = False
            job.not_moved = ""
            self._finish(job, "complete")
        else:
            self._fail(job, "failed", changes.get("error"), retry=changes.get("retry", True))
            if job.state == "queued" and changes.get("delay") is not None:
                job.ready_at, job.not_before = ready_at, 0

    def _requeue(self, job: Job, ready_at: int, *, given_back: bool) -> None:
        if job.state == "inprogress":
            self.counted["released"] += 1
            self._remember(job, "released", None)
            if job.cancel:
                job.updated, job.lease, job.error, job.cancel = self.now, None, "cancelled", False
                job.retrying, job.cancelled = False, True
                self._finish(job, "failed")
                return
        job.attempts = 0 if job.state in FINISHED else job.attempts - given_back
        self._restart(job)
        self._queue_again(job, ready_at)

    def _hold(self, job: Job) -> None:
        self._restart(job)
        if job.state != "inprogress":
            job.attempts, job.claimed = job.attempts + 1, self.now
            job.lease, job.leased, job.worker, job.ready_at, job.not_before = None, False, None, 0, 0
        job.state, job.updated, job.held_from = "inprogress", self.now, self.now

    def _fail(self, job: Job, outcome: str, error: str | None, *, retry: bool) -> None:
        if job.state != "inprogress":
            job.updated, job.ready_at, job.not_before, job.retrying = self.now, 0, 0, False
            job.has_failed = not job.cancelled
            self._finish(job, "failed")
            return
        self.counted[outcome] += 1
        self._remember(job, outcome, error)
        job.error = job.error if error is None else error
        cancelled, job.cancel = job.cancel, False
        job.cancelled = cancelled
        job.retrying = retry and job.attempts < job.max_attempts and not cancelled
        if job.retrying:
            self.counted["tried again"] += 1
            delay = delay_after(job)
            self._queue_again(job, self.now + delay if delay else 0)
            return
        job.updated = self.now
        job.lease = job.lease if outcome == "failed" else None
        job.has_failed = not cancelled
        self._finish(job, "failed")

    def _cancel(self, job: Job) -> None:
        if job.state == "queued":
            job.updated, job.ready_at, job.not_before, job.error = self.now, 0, 0, "cancelled"
            job.retrying, job.cancelled = False, True
            self._finish(job, "failed")
        elif job.state == "inprogress":
            self.counted["cancelled"] += 1
            job.updated, job.cancel = self.now, True

    def _queue_again(self, job: Job, ready_at: int) -> None:
        job.state, job.updated, job.ready_at, job.not_before = "queued", self.now, ready_at, 0
        job.claimed, job.lease, job.leased, job.worker, job.cancel = 0, None, False, None, False

    def _restart(self, job: Job) -> None:
        if job.state in FINISHED:
            job.retrying = job.cancelled = job.key_lost = job.has_failed = False
            job.not_moved = ""

    def _remember(self, job: Job, outcome: str, error: str | None) -> None:
        before, started, times = job.history, job.claimed, 1
        if outcome == "released" and before and before[-1][3] == "released":
            started, times = before[-1][1], before[-1][5] + 1
            before = before[:-1]
        job.history = [*before, (job.worker, started, self.now, outcome, error, times)][-20:]
