"""
Recent activity of each queue: counts of what happens, and how long jobs wait and run.

Changes are counted as they are applied. The counts of a period are gathered here until the engine has saved them (see
take_unsaved); callers pass saved periods to `recent` and `history`.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from attrs import define, field

from .dead_letters import DUE
from .durations import spread
from .effects import Effect, ItemEffect, JobEffect
from .history import (
    COUNTED,
    MINUTES,
    SECONDS,
    SPANS,
    KeptPeriod,
    Period,
    QueueHistory,
    Tally,
    history_of,
    merged,
    read_tally,
    totals_of,
)
from .model import COMPLETE, INPROGRESS, MINUTE, QUEUED, SECOND, Job, Standing, State
from .schedules import SCHEDULE, schedule_totals
from .stats import Recent, Spread, Times

#: How many of the latest waiting times, and running times, are kept per queue.
_SAMPLES: Final = 1_000
#: See core.model.QUEUED.
_FAILED: Final = State.FAILED
#: Outcomes of attempts that count as failed.
_FAILURES: Final = frozenset({"failed", "timeout"})
#: The counters whose totals since the start are kept.
_TOTALS: Final = (*COUNTED, "timed_out", "dead_lettered", "schedule_fired", "schedule_skipped")

#: Periods with their counts.
Unsaved = Sequence[Period]


def nothing_kept(_name: str, _span: int, _number: int) -> str | None:
    """The default for `Activity.find`, for an engine that saves periods elsewhere: always None."""
    return None


@define
class _Open:
    """The latest period of a span, and its counts so far."""

    number: int
    tally: Tally


@define
class _QueueActivity:
    #: Returns the saved text of a period, by span and number, or None: a period may have begun before the last start.
    find: Callable[[int, int], str | None]
    #: The last period of each span.
    last: list[_Open | None] = field(factory=lambda: [None] * len(SPANS))
    #: The unsaved periods, by span and number.
    unsaved: dict[tuple[int, int], Tally] = field(factory=dict)
    #: Counts since the start.
    totals: Counter[str] = field(factory=Counter)
    #: Waiting and running times since the start: counts by bucket, and totals.
    wait_total: Counter[int] = field(factory=Counter)
    run_total: Counter[int] = field(factory=Counter)
    wait_sum: int = 0
    run_sum: int = 0
    #: The latest waiting and running times.
    wait: deque[int] = field(factory=lambda: deque(maxlen=_SAMPLES))
    run: deque[int] = field(factory=lambda: deque(maxlen=_SAMPLES))
    #: When the delay of a queued job ended, by uid.
    ready_since: dict[str, int] = field(factory=dict)
    #: The counts, times and end of the latest second, which is not yet added to the periods and totals.
    _newest: Counter[str] = field(factory=Counter)
    _waits: list[int] = field(factory=list)
    _runs: list[int] = field(factory=list)
    _end: int = 0

    def gather(self) -> None:
        """Add the newest counts and times to the periods and totals; call it before these are read."""
        if not self._newest:
            return
        newest = Tally(self._newest, spread(self._waits), spread(self._runs))
        for span in range(len(SPANS)):
            self._tally(span, (self._end - 1) // SPANS[span].width).add(newest, times=SPANS[span].has_times)
        self.totals.update(newest.counts)
        self.wait_total.update(newest.wait)
        self.run_total.update(newest.run)
        self.wait_sum += sum(self._waits)
        self.run_sum += sum(self._runs)
        self.wait.extend(self._waits)
        self.run.extend(self._runs)
        self._newest, self._waits, self._runs = Counter(), [], []

    def _tally(self, span: int, number: int) -> Tally:
        """The tally of this period, or of a later one that has begun; marks it as unsaved."""
        last = self.last[span]
        if last is None or last.number < number:
            text = self.find(span, number)
            last = self.last[span] = _Open(number, Tally() if text is None else read_tally(text))
            outdated = number - SPANS[span].kept
            for place in [place for place in self.unsaved if place[0] == span and place[1] <= outdated]:
                del self.unsaved[place]
        self.unsaved[span, last.number] = last.tally
        return last.tally

    def live(self) -> dict[tuple[int, int], Tally]:
        """The periods whose counts here are newer than the saved ones."""
        self.gather()
        return {**self.unsaved, **{(span, one.number): one.tally for span, one in enumerate(self.last) if one}}

    def note(self, effects: Sequence[JobEffect], now: int, steady: int) -> None:
        """Count changes, and record waiting and running times; see Activity.note."""
        if steady >= self._end:
            self.gather()
            self._end = (steady // SECOND + 1) * SECOND
        counts = self._newest
        for effect in effects:
            old, new = effect.old, effect.new
            if old is None or new is None:
                what = self._came_or_went(old, new)
            else:
                was, standing = old.standing, new.standing
                if was is standing:
                    continue
                what = self._moved(was, standing, effect.uid, now)
                if what is not COMPLETE and was.state is INPROGRESS:
                    self._count_end(standing)
            if what is not None:
                counts[what] += 1

    def _came_or_went(self, old: Job | None, new: Job | None) -> str | None:
        if old is not None:
            self.ready_since.pop(old.spec.uid, None)
            if new is None and old.standing.notes.dead_letter == DUE:
                return "dead_lettered"
        return None if new is None else "added"

    def _moved(self, was: Standing, standing: Standing, uid: str, now: int) -> str | None:
        """The counter that a change of a job increments, or None."""
        state = standing.state
        if state is QUEUED and _delayed(was) and not _delayed(standing):
            # A claim of the job computes the waiting time from this entry, and drops it.
            self.ready_since[uid] = now
        elif self.ready_since and state is not INPROGRESS:
            self.ready_since.pop(uid, None)
        if state is was.state:
            return None
        if was.state is INPROGRESS and was.claimed:
            # `max` would take longer than the rest of this method.
            ran = now - was.claimed
            self._runs.append(ran if ran > 0 else 0)
        if state is INPROGRESS:
            waited = now - self.ready_since.pop(uid, was.updated)
            self._waits.append(waited if waited > 0 else 0)
            return "claimed"
        if state is _FAILED and standing.notes.cancelled:
            return "cancelled"
        return None if state is QUEUED else state

    def _count_end(self, standing: Standing) -> None:
        """Count an attempt that has just ended without completing the job; `standing` is how the job stands now."""
        notes = standing.notes
        if standing.state is INPROGRESS or not notes.history:
            return
        outcome = notes.history[-1].outcome
        if outcome == "timeout":
            self._newest["timed_out"] += 1
        if outcome in _FAILURES and not notes.cancelled:
            self._newest["attempts_failed"] += 1


@define
class Activity:
    """The activity of all queues of one server, by name."""

    #: Returns the text of a saved period, by queue, span and number, or None.
    find: Callable[[str, int, int], str | None] = nothing_kept
    #: The server's number; see KeptPeriod.
    source: int = 0
    _queues: dict[str, _QueueActivity] = field(factory=dict)
    #: The names of queues with unsaved periods.
    _changed: set[str] = field(factory=set)

    def note(self, name: str, effects: Sequence[JobEffect], now: int, steady: int) -> None:
        """
        Count changes of jobs in a queue.

        `steady`, in milliseconds of a clock that never goes back, is the time under which changes are counted. Waiting
        and running times are computed with `now`, the elapsed time.
        """
        activity = self._queues.get(name)
        if activity is None:
            activity = self._queues[name] = self._new(name)
        activity.note(effects, now, steady)
        self._changed.add(name)

    def note_firings(self, effects: Iterable[Effect]) -> None:
        """Count the fired and the skipped times of schedules."""
        for effect in effects:
            if isinstance(effect, ItemEffect) and effect.kind == SCHEDULE and effect.new is not None:
                old, new = schedule_totals(effect.old), schedule_totals(effect.new)
                if effect.queue not in self._queues:
                    self._queues[effect.queue] = self._new(effect.queue)
                counts = {"schedule_fired": new.fired - old.fired, "schedule_skipped": new.skipped - old.skipped}
                self._queues[effect.queue].totals.update(counts)

    def _new(self, name: str) -> _QueueActivity:
        return _QueueActivity(lambda span, number: self.find(name, span, number))

    def take_unsaved(self) -> dict[str, Unsaved]:
        """The periods that have changed since the last call, by queue; each replaces its saved version."""
        taken: dict[str, Unsaved] = {}
        for name in self._changed:
            activity = self._queues.get(name)
            if activity is None:
                continue
            activity.gather()
            taken[name] = [Period(*place, tally.text()) for place, tally in activity.unsaved.items()]
            activity.unsaved.clear()
        self._changed.clear()
        return taken

    def put_back(self, taken: Mapping[str, Unsaved]) -> None:
        """Mark periods as unsaved again, after saving them has failed."""
        for name, periods in taken.items():
            activity = self._queues.get(name)
            if activity is not None:
                old = {(one.span, one.number): read_tally(one.text) for one in periods}
                activity.unsaved = {**old, **activity.live()}
                self._changed.add(name)

    def forget_delays(self, name: str, most: int) -> None:
        """Drop the times at which delays of a queue's jobs ended, if more than `most` are recorded."""
        times = self._queues[name].ready_since
        if len(times) > most:
            times.clear()

    def forget(self, name: str) -> None:
        """Drop the activity of a deleted queue."""
        self._queues.pop(name, None)
        self._changed.discard(name)

    def totals(self, name: str) -> Mapping[str, int]:
        """Counts of one queue since the start: jobs added, claimed and so on."""
        activity = self._of(name)
        return {what: activity.totals[what] for what in _TOTALS}

    def times(self, name: str) -> tuple[Spread, Spread]:
        """Waiting and running times of one queue since the start."""
        activity = self._of(name)
        return (
            Spread(buckets=dict(activity.wait_total), total=activity.wait_sum),
            Spread(buckets=dict(activity.run_total), total=activity.run_sum),
        )

    def recent(self, name: str, now: int, kept: Iterable[KeptPeriod] = ()) -> Recent:
        """Recent activity of one queue up to the elapsed time `now`; `kept` are its saved seconds and minutes."""
        activity = self._of(name)
        tallies = merged(kept, self.source, activity.live())
        last = now // MINUTE
        minutes = [tallies.get((MINUTES, number)) or Tally() for number in range(last - 59, last + 1)]
        return Recent(
            last_minute=totals_of(tallies, SECONDS, now),
            last_hour=totals_of(tallies, MINUTES, now),
            minutes={what: [one.counts[what] for one in minutes] for what in COUNTED},
            wait=_times(activity.wait),
            run=_times(activity.run),
        )

    def history(self, name: str, now: int, kept: Iterable[KeptPeriod] = ()) -> QueueHistory:
        """The history of one queue up to the elapsed time `now`; `kept` are its saved periods."""
        return history_of(merged(kept, self.source, self._of(name).live()), now)

    def _of(self, name: str) -> _QueueActivity:
        activity = self._queues.get(name) or self._new(name)
        activity.gather()
        return activity


def _delayed(standing: Standing) -> bool:
    return bool(standing.ready_at or standing.not_before or standing.ended)


def _times(samples: Sequence[int]) -> Times:
    if not samples:
        return Times()
    ordered = sorted(samples)
    p50, p90, p99 = (ordered[min(len(ordered) - 1, len(ordered) * share // 100)] for share in (50, 90, 99))
    return Times(p50=p50, p90=p90, p99=p99)
