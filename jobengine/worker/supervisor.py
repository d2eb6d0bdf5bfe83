"""
Decides what a worker does next: what to claim, which leases to extend, what to report. Pure: time is passed in.

Its methods record what has happened, and `plan` returns the orders that follow. A source is a group of queues with the
same key: a claim is for one source. All times are seconds on a monotonic clock.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from ..client.errors import (
    AccessDenied,
    BadRequest,
    Conflict,
    Forbidden,
    JobEngineError,
    JobNotFound,
    OutcomeUnknown,
    QueueNotFound,
)
from ..client.jobs import JobChanges
from ..client.leases import Beats
from ..client.retrying import Patience
from .ahead import Backlog, Pace
from .orders import Abort, Beat, Claim, Claimed, Ended, Hold, Interrupt, Order, Report, Start
from .outcomes import failure

__all__ = ["Supervisor"]

#: The most seconds between attempts while the server can't be reached, if the worker holds no job.
_LONGEST_PAUSE: Final = 60.0
#: Seconds between requests with progress.
_PROGRESS: Final = 0.5
#: Seconds for which a source that was empty is not asked again, while the worker is busy with others.
_TRUST: Final = 1.0
#: Seconds to wait after the server refused a key or a queue: 10 failed keys a minute throttle the whole address.
_REFUSED: Final = 30.0
#: Seconds for the last reports: after the grace, and after an immediate end.
_LAST_WORDS: Final = 5.0
_LAST_WORD: Final = 1.0
#: The most outcomes in one request.
_MOST: Final = 1_000
#: The most reports under way for a source: while one is written to disk, the next is made and read.
_REPORTS: Final = 2
#: While more jobs than this wait to be started, outcomes are gathered. Without that, two small reports would be under
#: way, and later outcomes would wait for them: 40,000 jobs that do nothing took 1,250 reports, and take 90 with it.
_MANY: Final = 32
#: Outcomes are gathered until they are this share of the held jobs, so that the other jobs last until more are claimed;
#: or for this many seconds.
_SHARE: Final = 0.5
_GATHER: Final = 0.02
#: The outcome of a job whose heartbeats are less than this many seconds apart is not gathered: its lease may end soon.
_SHORT: Final = 1.0
_REFUSALS: Final = (BadRequest, AccessDenied, Forbidden, QueueNotFound)
_RELEASE: Final[JobChanges] = {"new_status": "queued"}
_CANCELLED: Final = failure("cancelled", retry=False)


class _Pauses:
    """Pauses between attempts while the server can't be reached."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._patience = Patience(float("inf"), random)

    def next(self, now: float, error: JobEngineError, holds: Iterable[Hold]) -> float:
        """Seconds until the next attempt, short enough that the leases of the holds do not expire."""
        most = min([hold.beat_seconds for hold in holds], default=_LONGEST_PAUSE)
        least = _REFUSED if isinstance(error, _REFUSALS) else error.retry_after or 0
        pause = self._patience.delay(now)
        assert pause is not None  # there is no deadline
        return max(min(pause, most), least * (1 + self._random() / 10))


class _Source:
    """Queues with the same key."""

    def __init__(self, number: int) -> None:
        self.number = number
        #: Jobs whose outcomes are not reported yet.
        self.done: list[Hold] = []
        #: When they are reported at the latest, if they are gathered; below, whether one must be reported at once.
        self.gathers_until: float | None = None
        self.is_urgent = False
        #: How many reports are under way, and the most jobs that they may return.
        self.reports = 0
        self.expected = 0
        #: The most jobs that the claim under way may return; 0 without a claim.
        self.asking = 0
        #: Whether that claim waits for jobs; below, whether it was aborted.
        self.waiting = False
        self.aborting = False
        #: Whether the last claim got fewer jobs than it asked for; below, when.
        self.empty = False
        self.looked_at = float("-inf")
        #: Whether it has ever answered a claim.
        self.known = False
        #: Nothing is sent before this time.
        self.not_before = float("-inf")
        self.pauses: _Pauses | None = None

    def add(self, hold: Hold) -> None:
        """Keep an outcome until it is reported."""
        self.done.append(hold)
        self.is_urgent = self.is_urgent or _is_urgent(hold)

    def take(self) -> tuple[Hold, ...]:
        """Take the outcomes for one report."""
        holds, self.done = tuple(self.done[:_MOST]), self.done[_MOST:]
        self.gathers_until, self.is_urgent = None, any(map(_is_urgent, self.done))
        return holds

    def rest(self, now: float, error: JobEngineError, random: Callable[[], float]) -> None:
        """Send nothing for a while: longer each time, but short enough that no lease expires."""
        self.pauses = self.pauses or _Pauses(random)
        self.not_before = now + self.pauses.next(now, error, self.done)

    def begin_claim(self, count: int, *, waiting: bool) -> None:
        """A claim was sent."""
        self.asking, self.waiting, self.aborting = count, waiting, False

    def is_asked(self) -> bool:
        """Whether a request is under way that may bring jobs and that the server answers at once."""
        return bool(self.expected or (self.asking and not self.waiting))

    def answered(self) -> None:
        """The server has answered."""
        self.pauses, self.not_before = None, float("-inf")


class Supervisor:
    """
    The decisions of one worker.

    It runs at most `concurrency` jobs at a time. It holds more only if jobs end so fast that these will be started
    within 100 ms, and releases those that were not started within 0.5 s. `wait` is the most seconds for which the
    server may delay a claim. With `until_empty` it does not wait for jobs, and ends when there are none.
    """

    #: The number of jobs that have ended, with any outcome.
    ended = 0
    #: Why the worker can't start: the server refuses its key or queue.
    fatal: JobEngineError | None = None
    #: When running jobs are released, if the worker is stopping.
    _deadline: float | None = None
    _last_words = _LAST_WORDS
    _let_go = False

    def __init__(
        self,
        sources: int,
        concurrency: int,
        *,
        wait: float,
        until_empty: bool = False,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._sources = [_Source(number) for number in range(sources)]
        self._concurrency = concurrency
        self._wait = wait
        self._until_empty = until_empty
        self._random = random
        self._orders: list[Order] = []
        self._holds: set[Hold] = set()
        #: The number of running handlers.
        self._running = 0
        self._pace = Pace()
        self._backlog = Backlog()
        #: Jobs in reports that also claim as many others.
        self._leaving = 0
        self._beats: Beats[Hold] = Beats()
        self._beating = False
        self._beat_pauses: _Pauses | None = None
        #: Jobs whose next heartbeat is sent at `_soon_at`, before its usual time.
        self._soon: dict[Hold, None] = {}
        self._soon_at = float("-inf")

    # Events

    def claimed(self, now: float, number: int, jobs: Sequence[Claimed]) -> None:
        """A claim was answered."""
        source = self._sources[number]
        asked, reserved = source.asking, not source.waiting
        source.asking, source.waiting = 0, False
        self._given(now, source, jobs, asked, reserved=reserved)

    def claim_failed(self, now: float, number: int, error: JobEngineError) -> None:
        """A claim was refused, or its answer was lost."""
        source = self._sources[number]
        source.asking, source.waiting = 0, False
        if isinstance(error, _REFUSALS) and not source.known:
            self.fatal = error
        source.rest(now, error, self._random)

    def aborted(self, now: float, number: int) -> None:
        """A claim was aborted, as ordered."""
        source = self._sources[number]
        source.asking, source.waiting, source.looked_at = 0, False, now

    def finished(self, hold: Hold, changes: JobChanges) -> None:
        """A handler has ended with these changes."""
        self._running -= 1
        self._pace.count()
        if hold.changes is not None:
            return  # the job was released before
        self._beats.remove(hold)
        if hold.claimed.lost:
            self._end([hold], "the lease was lost, so the outcome is discarded")
            return
        cancelled = hold.interrupted and changes["new_status"] == "complete"
        hold.changes = _CANCELLED if cancelled else changes
        self._sources[hold.source].add(hold)
        if self._until_empty:  # the handler may have added jobs
            for source in self._sources:
                source.empty = False

    def progressed(self, hold: Hold, percent: int) -> None:
        """A handler has reported its progress."""
        hold.progress = percent
        self._soon[hold] = None

    def reported(
        self, now: float, report: Report, errors: Sequence[JobEngineError | None], jobs: Sequence[Claimed] | None
    ) -> None:
        """A report was answered; `jobs` is None if it claimed nothing."""
        source = self._sources[report.source]
        source.reports -= 1
        source.expected -= report.room
        self._leaving -= len(report.holds) if report.room else 0
        outcomes = list(zip(report.holds, errors, strict=True))
        if accepted := [hold for hold, error in outcomes if error is None]:
            self._end(accepted)
        unsent = [error for hold, error in outcomes if error is not None and self._is_unsent(hold, error)]
        if jobs is not None and report.room:
            self._given(now, source, jobs, report.room)
        if unsent:
            source.rest(now, unsent[0], self._random)
        else:
            source.answered()

    def beaten(self, now: float, beat: Beat, errors: Sequence[JobEngineError | None]) -> None:
        """Heartbeats were answered; the jobs have the answers already."""
        self._beating = False
        failed = [error for error in errors if error is not None and not isinstance(error, Conflict | JobNotFound)]
        if failed:
            self._beat_pauses = self._beat_pauses or _Pauses(self._random)
            self._soon.update(dict.fromkeys(beat.holds))
            self._soon_at = now + self._beat_pauses.next(now, failed[0], beat.holds)
        else:
            self._beat_pauses = None
        for hold in self._backlog.take_if(_is_unwanted):
            self._put_back(hold, _CANCELLED)
        for hold in beat.holds:
            if _is_unwanted(hold):
                self._interrupt(hold)

    def stop(self, now: float, grace: float) -> None:
        """Claim nothing more, and release running jobs after `grace` seconds. The second call releases them at once."""
        if self._deadline is None:
            self._deadline = now + grace
        else:
            self._deadline, self._last_words = min(self._deadline, now), _LAST_WORD

    # Orders

    def plan(self, now: float) -> list[Order]:
        """The orders to carry out now; they count as under way."""
        self._pace.measure(now)
        if self._deadline is not None:
            self._wind_up(now, self._deadline)
        self._begin(now)
        for source in self._sources:
            if source.done and now >= source.not_before and self._is_due(now, source):
                self._report(now, source)
        if self._deadline is None:
            self._claim(now)
        if not self._beating:
            self._beat(now)
        orders, self._orders = self._orders, []
        return orders

    def next_at(self, now: float) -> float | None:
        """When `plan` is due if nothing happens before; None if it is not."""
        times = [source.not_before for source in self._sources if source.not_before > now]
        times += [at for source in self._sources if (at := self._gathered_at(source)) is not None and at > now]
        if not self._beating:
            times += [self._soon_at] if self._soon else []
            times += [at] if (at := self._beats.next_at()) is not None else []
        times += [at] if (at := self._backlog.next_at()) is not None else []
        if self._deadline is not None:
            times.append(self._deadline + (self._last_words if self._let_go else 0))
        return min(times, default=None)

    def over(self, now: float) -> bool:
        """Whether everything is done."""
        idle = not self._holds and not any(source.asking or source.reports for source in self._sources)
        if self._deadline is not None:
            return idle or now >= self._deadline + self._last_words
        return self._until_empty and idle and all(source.empty for source in self._sources)

    @property
    def unsent(self) -> Iterable[Hold]:
        """Jobs that are still held."""
        return self._holds

    # Claiming

    def _given(
        self, now: float, source: _Source, jobs: Sequence[Claimed], asked: int, *, reserved: bool = True
    ) -> None:
        """A request that asked for jobs was answered."""
        source.known, source.empty, source.looked_at = True, len(jobs) < asked, now
        source.answered()
        for job in jobs:
            self._take(now, Hold(job, source.number), reserved=reserved)

    def _take(self, now: float, hold: Hold, *, reserved: bool) -> None:
        surplus = not reserved and len(self._holds) >= self._concurrency
        self._holds.add(hold)
        if surplus or self._deadline is not None:
            self._put_back(hold, _RELEASE)
            return
        self._beats.add(hold, now, hold.beat_seconds)
        self._backlog.add(now, hold)

    def _begin(self, now: float) -> None:
        """Start as many handlers as allowed, and release jobs that have waited too long for one."""
        count = min(self._concurrency - self._running, len(self._backlog))
        if count > 0:
            self._running += count
            self._orders.append(Start([self._backlog.take() for _ in range(count)]))
        for hold in self._backlog.take_late(now):
            self._put_back(hold, _RELEASE)

    def _put_back(self, hold: Hold, changes: JobChanges) -> None:
        """Report a job whose handler is not running."""
        self._beats.remove(hold)
        hold.changes = changes
        if hold.claimed.lost:
            self._end([hold], "the lease was lost")
        else:
            self._sources[hold.source].add(hold)

    def _free(self, ahead: int = 0) -> int:
        """How many more jobs to claim, including `ahead` extra, besides those already asked for."""
        asked = sum(source.expected + (0 if source.waiting else source.asking) for source in self._sources)
        return self._concurrency + ahead - len(self._holds) + self._leaving - asked

    def _claim(self, now: float) -> None:
        if len(self._sources) > 1 or self._until_empty:
            while self._free() > 0 and (source := self._next_to_look_at(now)) is not None:
                self._ask(source, self._free(self._pace.ahead), 0)
        if not self._until_empty and not any(source.is_asked() for source in self._sources):
            self._wait_for_jobs(now)

    def _next_to_look_at(self, now: float) -> _Source | None:
        """The source that may have jobs and was asked longest ago."""
        trust = float("inf") if self._until_empty else _TRUST
        stale = [
            source
            for source in self._sources
            if not source.asking
            and not source.expected
            and now >= source.not_before
            and (not source.empty or now - source.looked_at >= trust)
        ]
        return min(stale, key=lambda source: source.looked_at, default=None)

    def _wait_for_jobs(self, now: float) -> None:
        free = self._free()
        for source in self._sources:
            if source.waiting and source.asking > free:
                self._abort(source)
            elif free > 0 and not source.asking and now >= source.not_before:
                self._ask(source, max(free // len(self._sources), 1), self._wait)

    def _ask(self, source: _Source, count: int, wait: float) -> None:
        source.begin_claim(count, waiting=wait > 0)
        self._orders.append(Claim(source.number, count, wait))

    def _abort(self, source: _Source) -> None:
        if not source.aborting:
            source.aborting = True
            self._orders.append(Abort(source.number))

    # Reporting

    def _is_due(self, now: float, source: _Source) -> bool:
        """Whether to report now, or to gather more outcomes first."""
        if source.gathers_until is None:
            source.gathers_until = now + _GATHER
        return source.reports < _REPORTS and (now >= source.gathers_until or not self._gathers(source))

    def _gathers(self, source: _Source) -> bool:
        """Whether outcomes may wait for others. When the worker stops they do not: then no jobs wait to be started."""
        return (
            len(self._backlog) > _MANY
            and len(source.done) < min(len(self._holds) * _SHARE, _MOST)
            and not source.is_urgent
            and source.pauses is None
            and self._beat_pauses is None
        )

    def _gathered_at(self, source: _Source) -> float | None:
        return source.gathers_until if source.reports < _REPORTS else None

    def _report(self, now: float, source: _Source) -> None:
        holds = source.take()
        source.reports += 1
        count = self._free(self._pace.ahead) + len(holds) if self._claims_with_report(now, source) else 0
        if count > 0:
            source.expected += count
            self._leaving += len(holds)
        self._orders.append(Report(source.number, holds, max(count, 0)))

    def _claims_with_report(self, now: float, source: _Source) -> bool:
        if self._deadline is not None or source.asking:
            return False
        return len(self._sources) == 1 or self._next_to_look_at(now) is source

    def _is_unsent(self, hold: Hold, error: JobEngineError) -> bool:
        """Whether to repeat the same report."""
        if isinstance(error, Conflict | JobNotFound | QueueNotFound):
            assert hold.changes is not None
            known = hold.uncertain and hold.changes["new_status"] != "complete"
            self._end([hold], "" if known else f"the outcome is discarded: {error.detail}")
        elif isinstance(error, BadRequest):
            self._refused(hold, error)
        else:
            hold.uncertain = hold.uncertain or isinstance(error, OutcomeUnknown)
            self._sources[hold.source].add(hold)
            return True
        return False

    def _refused(self, hold: Hold, error: JobEngineError) -> None:
        if hold.refused:
            self._end([hold], f"the server refuses the report: {error.detail}")
            return
        hold.refused = True
        hold.changes = failure(f"The server has refused the result: {error.detail}", retry=False)
        self._sources[hold.source].add(hold)

    def _end(self, holds: Sequence[Hold], note: str = "") -> None:
        self._holds.difference_update(holds)
        if self._soon:
            for hold in holds:
                self._soon.pop(hold, None)
        self.ended += len(holds)
        self._orders.append(Ended(holds, note))

    # Heartbeats and the end

    def _beat(self, now: float) -> None:
        due = dict.fromkeys(self._beats.due(now))
        if self._soon and now >= self._soon_at:
            due.update(self._soon)
            self._soon.clear()
            self._soon_at = now + _PROGRESS
        holds = tuple([hold for hold in due if hold.changes is None and hold in self._holds])
        if holds:
            self._beating = True
            self._orders.append(Beat(holds))

    def _interrupt(self, hold: Hold) -> None:
        if hold.claimed.lost:
            self._beats.remove(hold)
            self._soon.pop(hold, None)
        if not hold.interrupted and hold.changes is None:
            hold.interrupted = True
            self._orders.append(Interrupt(hold))

    def _wind_up(self, now: float, deadline: float) -> None:
        for source in self._sources:
            if source.waiting:
                self._abort(source)
        for hold in self._backlog.take_all():
            self._put_back(hold, _RELEASE)
        if now >= deadline and not self._let_go:
            self._let_go = True
            for hold in [hold for hold in self._holds if hold.changes is None]:
                self._interrupt(hold)
                self._put_back(hold, _RELEASE)
            for source in self._sources:
                source.not_before = now


def _is_unwanted(hold: Hold) -> bool:
    return hold.claimed.lost or bool(hold.claimed.cancel_requested)


def _is_urgent(hold: Hold) -> bool:
    """Whether to report it at once: another worker may claim a job that is released, or the lease is short."""
    assert hold.changes is not None
    return hold.changes["new_status"] == "queued" or hold.beat_seconds < _SHORT
