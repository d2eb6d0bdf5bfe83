"""
Decides what a worker does next: what to claim, which leases to extend, what to report. Pure: the caller passes in the
time.

Most methods of Supervisor record an event; `plan` then returns the resulting actions. A group is all queues with the
same key; each claim is for one group. All times are seconds on a monotonic clock.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Final

from ..client.errors import (
    AccessDenied,
    BadRequest,
    BatchNotFound,
    Conflict,
    Forbidden,
    JobEngineError,
    JobNotFound,
    LeaseLost,
    OutcomeUnknown,
    QueueNotFound,
)
from ..client.jobs import JobChanges
from ..client.leases import Beats
from .actions import Abort, Action, Beat, Claim, Claimed, Ended, Hold, Interrupt, Report, Start
from .outcomes import failure
from .prefetch import Backlog, Pace
from .queue_groups import MAX_ITEMS, REFUSALS, Pauses, QueueGroup

#: Seconds between two requests that send progress.
_PROGRESS: Final = 0.5
#: The seconds for which a worker does not claim from an empty group while it is busy with jobs of other groups.
_TRUST: Final = 1.0
#: With `until_empty`, a worker without jobs ends after this many seconds in which no claim succeeds.
GIVES_UP: Final = 60.0
#: Seconds for the last reports after the grace has passed.
_LAST_WORDS: Final = 5.0
#: Seconds for the last reports after a second signal.
_LAST_WORD: Final = 1.0
#: The most reports in flight for a group: the server handles one while another is written to disk.
_REPORTS: Final = 2
#: Outcomes are gathered into larger reports while more than this many jobs wait for a handler. For 40,000 empty jobs,
#: gathering reduced 1,250 reports to 90.
_MANY: Final = 32
#: A second report is sent while one is in flight only if it has more outcomes than this: a small one would cost more
#: than it saves. With empty jobs, second reports kept the server busy for 85 % of the time instead of 82.
_LARGE: Final = 32
#: Outcomes are gathered until this share of the held jobs has ended: the rest keeps the worker busy until more jobs are
#: claimed.
_SHARE: Final = 1 / 3
#: The most seconds for gathering outcomes.
_GATHER: Final = 0.02
_RELEASE: Final[JobChanges] = {"new_status": "queued"}
#: The note in the log about a job whose lease has ended, so that another worker may have claimed it.
_LOST: Final = "the lease was lost, so the outcome is discarded"
#: Errors about jobs that a handler wants to add and wait for: none was added, and the handler's job is still held.
_OF_CHILDREN: Final = (AccessDenied, BatchNotFound, Conflict, Forbidden, QueueNotFound)
_CANCELLED: Final = failure("cancelled", retry=False)


class Supervisor:
    """
    The decisions of one worker.

    The worker runs at most `concurrency` jobs at a time. It claims jobs ahead only if they will be started within 100
    ms at the present pace, and releases jobs that were not started within 0.5 s. `wait` is the most seconds for which
    the server may delay a claim. With `until_empty` the worker does not wait for jobs, and ends when no job is ready.
    """

    #: The number of jobs that are finished by accepted reports: complete, or failed with no attempts left.
    ended = 0
    #: The error that ends the worker: the server has refused its key or queue at the start, or no claim has succeeded
    #: for `gives_up_after` seconds.
    fatal: JobEngineError | None = None
    #: The time at which running jobs are released, while the worker is stopping.
    _deadline: float | None = None
    _last_words = _LAST_WORDS
    _let_go = False
    #: The number of ended handlers and of accepted reports, each of which may have made jobs ready; for `until_empty`.
    _endings = 0

    def __init__(
        self,
        groups: int,
        concurrency: int,
        *,
        wait: float,
        until_empty: bool = False,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._groups = [QueueGroup(number) for number in range(groups)]
        self._concurrency = concurrency
        self._wait = wait
        self._until_empty = until_empty
        self._random = random
        self._actions: list[Action] = []
        self._holds: set[Hold] = set()
        #: The number of running handlers.
        self._running = 0
        #: Whether any handler was running after the last plan.
        self._was_running = False
        self._pace = Pace()
        self._backlog = Backlog()
        #: The number of jobs whose outcomes are in flight in reports that also claim. These jobs do not count as held,
        #: to make room for new ones.
        self._leaving = 0
        self._beats: Beats[Hold] = Beats()
        self._beating = False
        self._beat_pauses: Pauses | None = None
        #: Jobs whose next heartbeat is sent at `_soon_at`, before its usual time.
        self._soon: dict[Hold, None] = {}
        self._soon_at = float("-inf")

    # Events

    def claimed(self, now: float, number: int, jobs: Sequence[Claimed]) -> None:
        """Record the jobs in the answer to a claim."""
        group = self._groups[number]
        requested, reserved = group.asking, not group.waiting
        group.asking, group.waiting = 0, False
        self._given(now, group, jobs, requested, group.endings, reserved=reserved)

    def claim_failed(self, now: float, number: int, error: JobEngineError) -> None:
        """Record that a claim was refused, or that its answer was lost."""
        group = self._groups[number]
        group.asking, group.waiting = 0, False
        if isinstance(error, REFUSALS) and not group.known:
            self.fatal = error
        failing = group.rest(now, error, self._random)
        if failing >= self.gives_up_after and not self._holds:
            self.fatal = error

    def aborted(self, now: float, number: int) -> None:
        """Record that a claim was aborted, as planned."""
        group = self._groups[number]
        group.asking, group.waiting, group.claimed_at = 0, False, now

    def finished(self, hold: Hold, changes: JobChanges) -> None:
        """Record that the handler of a job has ended with these changes."""
        self._running -= 1
        self._pace.count()
        if hold.changes is not None:
            return  # the job is already released
        self._beats.remove(hold)
        if hold.claimed.lost:
            self._end([hold], _LOST)
            return
        cancelled = hold.interrupted and changes["new_status"] == "complete"
        hold.changes = _CANCELLED if cancelled else hold.with_progress(changes)
        self._groups[hold.group].add(hold)
        if "hold_seconds" in changes:
            self._release_like(hold)
        self._may_find_jobs()  # the handler may have added some

    def progressed(self, hold: Hold) -> None:
        """Record that a handler has reported progress, which `hold` has already."""
        self._soon[hold] = None

    def reported(
        self, now: float, report: Report, errors: Sequence[JobEngineError | None], jobs: Sequence[Claimed] | None
    ) -> None:
        """Record the result of a report; `jobs` is None if it did not claim, and empty if its claim got no job."""
        group = self._groups[report.group]
        group.reports -= 1
        group.expected -= report.room
        self._leaving -= len(report.holds) if report.room else 0
        outcomes = list(zip(report.holds, errors, strict=True))
        is_latest = report.endings == self._endings
        if accepted := [hold for hold, error in outcomes if error is None]:
            self._end(accepted)
            self._may_find_jobs()  # other jobs may have waited for the reported ones
        unsent = [error for hold, error in outcomes if error is not None and self._is_unsent(hold, error)]
        if jobs is not None and report.room:
            self._given(now, group, jobs, report.room, self._endings if is_latest else report.endings)
        if unsent:
            group.rest(now, unsent[0], self._random)
        else:
            group.answered()

    def beaten(self, now: float, beat: Beat, errors: Sequence[JobEngineError | None]) -> None:
        """Record the results of heartbeats; `claimed` of each job is updated already."""
        self._beating = False
        failed = [error for error in errors if error is not None and not isinstance(error, Conflict | JobNotFound)]
        if failed:
            self._beat_pauses = self._beat_pauses or Pauses(self._random)
            self._soon.update(dict.fromkeys(beat.holds))
            self._soon_at = now + self._beat_pauses.next(now, failed[0], beat.holds)
        else:
            self._beat_pauses = None
        for hold in self._backlog.take_if(_is_unwanted):
            self._put_back(hold, _CANCELLED)
        for hold in beat.holds:
            if _is_unwanted(hold):
                self._interrupt(hold)

    def stop(self, now: float, grace: float) -> int:
        """
        Claim no more jobs, and release running jobs after `grace` seconds. Returns the number of running jobs. A second
        call releases them at once, and returns 0.
        """
        if self._deadline is None:
            self._deadline = now + grace
            return self._running
        self._deadline, self._last_words = min(self._deadline, now), _LAST_WORD
        return 0

    # Actions

    def plan(self, now: float) -> list[Action]:
        """The actions to carry out now; their requests count as in flight."""
        self._pace.measure(now, busy=self._was_running)
        if self._deadline is not None:
            self._wind_up(now, self._deadline)
        self._begin(now)
        for group in self._groups:
            if group.done and now >= group.not_before and self._is_due(now, group):
                self._report(now, group)
        if self._deadline is None:
            self._claim(now)
        if not self._beating:
            self._beat(now)
        self._was_running = self._running > 0
        actions, self._actions = self._actions, []
        return actions

    def next_at(self, now: float) -> float | None:
        """The time of the next plan if no event happens before; None if no plan is needed."""
        times = [group.not_before for group in self._groups if group.not_before > now]
        times += [at for group in self._groups if (at := self._gathered_at(group)) is not None and at > now]
        if not self._beating:
            times += [self._soon_at] if self._soon else []
            times += [at] if (at := self._beats.next_at()) is not None else []
        times += [at] if (at := self._backlog.next_at()) is not None else []
        if self._deadline is not None:
            times.append(self._deadline + (self._last_words if self._let_go else 0))
        return min(times, default=None)

    def over(self, now: float) -> bool:
        """
        Whether the worker may end: it holds no jobs and has no requests in flight, or the last seconds after a stop are
        over.
        """
        idle = not self._holds and not any(group.asking or group.reports for group in self._groups)
        if self._deadline is not None:
            return idle or now >= self._deadline + self._last_words
        return self._until_empty and idle and all(group.empty for group in self._groups)

    @property
    def gives_up_after(self) -> float:
        """The seconds for which claims may fail before the worker ends, if it holds no job."""
        return GIVES_UP if self._until_empty else inf

    @property
    def unsent(self) -> Iterable[Hold]:
        """Jobs that are still held."""
        return self._holds

    # Claiming

    def _may_find_jobs(self) -> None:
        """With `until_empty`, claim from each group again before the worker ends."""
        if self._until_empty:
            self._endings += 1
            for group in self._groups:
                group.empty = False

    def _given(
        self,
        now: float,
        group: QueueGroup,
        jobs: Sequence[Claimed],
        requested: int,
        endings: int,
        *,
        reserved: bool = True,
    ) -> None:
        """Take the jobs in an answer; `endings` is the value of `_endings` when their request was sent."""
        group.known, group.claimed_at = True, now
        group.empty = len(jobs) < requested and endings == self._endings
        group.answered()
        for job in jobs:
            self._take(now, Hold(job, group.number), reserved=reserved)

    def _take(self, now: float, hold: Hold, *, reserved: bool) -> None:
        surplus = not reserved and len(self._holds) >= self._concurrency
        self._holds.add(hold)
        if surplus or self._deadline is not None:
            self._put_back(hold, _RELEASE)
            return
        self._beats.add(hold, now, hold.beat_seconds)
        self._backlog.add(now, hold)

    def _begin(self, now: float) -> None:
        """Start as many handlers as allowed, and release jobs that have waited too long for a handler."""
        count = min(self._concurrency - self._running, len(self._backlog))
        if count > 0:
            self._running += count
            self._actions.append(Start([self._backlog.take() for _ in range(count)]))
        for hold in self._backlog.take_late(now):
            self._put_back(hold, _RELEASE)

    def _release_like(self, hold: Hold) -> None:
        """Release the jobs of the backlog whose group or queue was held by the handler of `hold`."""
        queue, group = hold.claimed.queue.name, hold.claimed.group

        def is_held(other: Hold) -> bool:
            """Whether the hold applies to this job too."""
            return other.claimed.queue.name == queue and group in (None, other.claimed.group)

        for other in self._backlog.take_if(is_held):
            self._put_back(other, _RELEASE)

    def _put_back(self, hold: Hold, changes: JobChanges) -> None:
        """Release a job whose handler is not running, by a report with `changes`."""
        self._beats.remove(hold)
        hold.changes = changes
        if hold.claimed.lost:
            self._end([hold], "the lease was lost")
        else:
            self._groups[hold.group].add(hold)

    def _room(self, *, ahead: int = 0, leaving: int = 0) -> int:
        """
        The number of jobs to claim, so that the worker holds as many as it can run, and `ahead` more.

        Jobs in a report do not count as held if the report also claims jobs; `leaving` is the number of jobs in the
        next such report.
        """
        staying = len(self._holds) - self._leaving - leaving
        coming = sum([group.coming for group in self._groups])
        return min(max(self._concurrency + ahead - staying - coming, 0), MAX_ITEMS)

    def _claim(self, now: float) -> None:
        if len(self._groups) > 1 or self._until_empty:
            self._claim_one_by_one(now)
        if not self._until_empty and not any(group.coming for group in self._groups):
            self._wait_for_jobs(now)

    def _claim_one_by_one(self, now: float) -> None:
        """While there is room, claim from one group after another, if the group may have jobs."""
        while self._room() and (group := self._next_group(now)) is not None:
            self._begin_claim(group, self._room(ahead=self._pace.ahead), 0)

    def _next_group(self, now: float) -> QueueGroup | None:
        """Of the groups that may have jobs, the one whose last claim is the oldest."""
        trust = float("inf") if self._until_empty else _TRUST
        stale = [
            group
            for group in self._groups
            if not group.asking
            and not group.expected
            and now >= group.not_before
            and (not group.empty or now - group.claimed_at >= trust)
        ]
        return min(stale, key=lambda group: group.claimed_at, default=None)

    def _wait_for_jobs(self, now: float) -> None:
        """Send each group a long poll for its share of the room, but at least one job. Surplus jobs are released."""
        room = self._room()
        for group in self._groups:
            if group.waiting and group.asking > room:
                self._abort(group)
            elif room and not group.asking and now >= group.not_before:
                self._begin_claim(group, max(room // len(self._groups), 1), self._wait)

    def _begin_claim(self, group: QueueGroup, count: int, wait: float) -> None:
        group.begin_claim(count, self._endings, waiting=wait > 0)
        self._actions.append(Claim(group.number, count, wait))

    def _abort(self, group: QueueGroup) -> None:
        if not group.aborting:
            group.aborting = True
            self._actions.append(Abort(group.number))

    # Reporting

    def _is_due(self, now: float, group: QueueGroup) -> bool:
        """Whether to report now, instead of gathering more outcomes first."""
        if group.gathers_until is None:
            group.gathers_until = now + _GATHER
        return _may_report(group) and (now >= group.gathers_until or not self._gathers(group))

    def _gathers(self, group: QueueGroup) -> bool:
        """
        Whether to gather more outcomes before the next report. False while the worker stops, because the backlog is
        empty then.
        """
        return (
            len(self._backlog) > _MANY
            and len(group.done) < min(len(self._holds) * _SHARE, MAX_ITEMS)
            and not group.is_urgent
            and group.pauses is None
            and self._beat_pauses is None
        )

    def _gathered_at(self, group: QueueGroup) -> float | None:
        return group.gathers_until if _may_report(group) else None

    def _report(self, now: float, group: QueueGroup) -> None:
        """Report outcomes and, if a claim is allowed, claim as many jobs as there is room for in the same request."""
        holds = group.take()
        group.reports += 1
        room = 0
        if self._claims_with_report(now, group):
            room = self._room(ahead=self._pace.ahead, leaving=len(holds))
        if room:
            group.expected += room
            self._leaving += len(holds)
        self._actions.append(Report(group.number, holds, room, self._endings))

    def _claims_with_report(self, now: float, group: QueueGroup) -> bool:
        """
        Whether a report may also claim jobs: if the group has no claim in flight and, among several groups, is the next
        to claim from.
        """
        if self._deadline is not None or group.asking:
            return False
        return len(self._groups) == 1 or self._next_group(now) is group

    def _is_unsent(self, hold: Hold, error: JobEngineError) -> bool:
        """Handle the error of a report; returns whether to repeat the same report."""
        assert hold.changes is not None
        if "wait_for" in hold.changes and isinstance(error, _OF_CHILDREN) and not isinstance(error, LeaseLost):
            self._refused(hold, error)
        elif isinstance(error, Conflict | JobNotFound | QueueNotFound):
            known = hold.uncertain and hold.changes["new_status"] != "complete"
            why = _LOST if isinstance(error, LeaseLost) else f"the outcome is discarded: {error.detail}"
            self._end([hold], "" if known else why)
        elif isinstance(error, BadRequest):
            self._refused(hold, error)
        else:
            hold.uncertain = hold.uncertain or isinstance(error, OutcomeUnknown)
            self._groups[hold.group].add(hold)
            return True
        return False

    def _refused(self, hold: Hold, error: JobEngineError) -> None:
        if hold.refused:
            self._end([hold], f"the server refuses the report: {error.detail}")
            return
        hold.refused = True
        hold.changes = failure(f"The server has refused the result: {error.detail}", retry=False)
        self._groups[hold.group].add(hold)

    def _end(self, holds: Sequence[Hold], note: str = "") -> None:
        self._holds.difference_update(holds)
        if self._soon:
            for hold in holds:
                self._soon.pop(hold, None)
        self.ended += 0 if note else sum([hold.is_final for hold in holds])
        self._actions.append(Ended(holds, note))

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
            self._actions.append(Beat(holds))

    def _interrupt(self, hold: Hold) -> None:
        if hold.claimed.lost:
            self._beats.remove(hold)
            self._soon.pop(hold, None)
        if not hold.interrupted and hold.changes is None:
            hold.interrupted = True
            self._actions.append(Interrupt(hold))

    def _wind_up(self, now: float, deadline: float) -> None:
        for group in self._groups:
            if group.waiting:
                self._abort(group)
        for hold in self._backlog.take_all():
            self._put_back(hold, _RELEASE)
        if now >= deadline and not self._let_go:
            self._let_go = True
            for hold in [hold for hold in self._holds if hold.changes is None]:
                self._interrupt(hold)
                self._put_back(hold, _RELEASE)
            for group in self._groups:
                group.not_before = now


def _may_report(group: QueueGroup) -> bool:
    return group.reports < _REPORTS + (len(group.done) > _LARGE)


def _is_unwanted(hold: Hold) -> bool:
    return hold.claimed.lost or bool(hold.claimed.cancel_requested)
