"""
Recent activity of each queue: counts over the last minute and hour, waiting and running times.

Every change is noted as it is applied. This is kept in memory only and starts from zero after a restart.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import define, field

from .model import COMPLETE, INPROGRESS, MINUTE, QUEUED, SECOND, Job, Recent, Standing, Times
from .state import JobSwap

__all__ = ["Activity"]

#: How many of the latest waiting times, and running times, are kept of each queue.
_SAMPLES: Final = 1_000
#: The kinds of changes that are counted.
_COUNTED: Final = ("added", "claimed", "complete", "failed", "timed_out")
#: The counts to show for the last minute and hour.
_SHOWN: Final = ("added", "claimed", "complete", "failed")


@define
class _Window:
    """Counts over the last `buckets` times `width` milliseconds."""

    width: int
    buckets: int
    _counts: deque[tuple[int, Counter[str]]] = field(factory=deque)

    def add(self, counts: Mapping[str, int], at: int) -> None:
        """Add counts of the time `at`, which is not before that of earlier ones."""
        number = at // self.width
        if not self._counts or self._counts[-1][0] != number:
            self._counts.append((number, Counter()))
            self._forget(number)
        self._counts[-1][1].update(counts)

    def totals(self, now: int) -> Counter[str]:
        """The counts of all buckets together."""
        self._forget(now // self.width)
        total: Counter[str] = Counter()
        for _, counts in self._counts:
            total.update(counts)
        return total

    def series(self, now: int) -> dict[str, list[int]]:
        """The counts of each bucket, oldest first; the last bucket is not over."""
        first = now // self.width - self.buckets + 1
        self._forget(now // self.width)
        series = {what: [0] * self.buckets for what in _SHOWN}
        for number, counts in self._counts:
            for what, bucket in series.items():
                bucket[number - first] = counts[what]
        return series

    def _forget(self, number: int) -> None:
        while self._counts and self._counts[0][0] <= number - self.buckets:
            self._counts.popleft()


@define
class _QueueActivity:
    minute: _Window = field(factory=lambda: _Window(SECOND, 60))
    hour: _Window = field(factory=lambda: _Window(MINUTE, 60))
    #: Counts since the start.
    totals: Counter[str] = field(factory=Counter)
    wait: deque[int] = field(factory=lambda: deque(maxlen=_SAMPLES))
    run: deque[int] = field(factory=lambda: deque(maxlen=_SAMPLES))
    #: When the delay of a queued job ended, by uid.
    ready_since: dict[str, int] = field(factory=dict)
    #: The counts of one second that are not in the windows and totals yet, and when it ends.
    _newest: Counter[str] = field(factory=Counter)
    _end: int = 0

    def gather(self) -> None:
        """Add the newest counts to the windows and totals; call it before these are read."""
        if self._newest:
            at = self._end - 1
            self.minute.add(self._newest, at)
            self.hour.add(self._newest, at)
            self.totals.update(self._newest)
            self._newest.clear()

    def note(self, swaps: Sequence[JobSwap], now: int, steady: int) -> None:
        """Note the times of changes, and count them."""
        if steady >= self._end:
            self.gather()
            self._end = (steady // SECOND + 1) * SECOND
        counts = self._newest
        for swap in swaps:
            old, new = swap.old, swap.new
            if old is None or new is None:
                what = self._came_or_went(old, new)
            else:
                was, standing = old.standing, new.standing
                if was is standing:
                    continue
                what = self._moved(was, standing, swap.uid, now)
                if what is not COMPLETE and was.state is INPROGRESS and _timed_out(standing):
                    counts["timed_out"] += 1
            if what is not None:
                counts[what] += 1

    def _came_or_went(self, old: Job | None, new: Job | None) -> str | None:
        if old is not None:
            self.ready_since.pop(old.spec.uid, None)
        return None if new is None else "added"

    def _moved(self, was: Standing, standing: Standing, uid: str, now: int) -> str | None:
        """What a change of a job is counted as, if anything."""
        state = standing.state
        if state is QUEUED and _delayed(was) and not _delayed(standing):
            # The claim computes the waiting time from it, and drops it.
            self.ready_since[uid] = now
        elif self.ready_since and state is not INPROGRESS:
            self.ready_since.pop(uid, None)
        if state is was.state:
            return None
        if was.state is INPROGRESS and was.claimed:
            self.run.append(max(0, now - was.claimed))
        if state is INPROGRESS:
            self.wait.append(max(0, now - self.ready_since.pop(uid, was.updated)))
            return "claimed"
        return None if state is QUEUED else state


@define
class Activity:
    """The activity of all queues, by name."""

    _queues: dict[str, _QueueActivity] = field(factory=dict)

    def note(self, name: str, swaps: Sequence[JobSwap], now: int, steady: int) -> None:
        """
        Count changes of jobs in a queue.

        `steady` is the monotonic clock in milliseconds, by which counts age; `now` is elapsed time.
        """
        activity = self._queues.get(name)
        if activity is None:
            activity = self._queues[name] = _QueueActivity()
        activity.note(swaps, now, steady)

    def forget_delays(self, name: str, most: int) -> None:
        """Forget when the delays of a queue's jobs ended, if it has more than `most` of these times."""
        times = self._queues[name].ready_since
        if len(times) > most:
            times.clear()

    def forget(self, name: str) -> None:
        """Drop the activity of a deleted queue."""
        self._queues.pop(name, None)

    def totals(self, name: str) -> Mapping[str, int]:
        """Counts of one queue since the start: jobs added, claimed and so on."""
        activity = self._queues.get(name) or _QueueActivity()
        activity.gather()
        return {what: activity.totals[what] for what in _COUNTED}

    def recent(self, name: str, steady: int) -> Recent:
        """Recent activity of one queue."""
        activity = self._queues.get(name) or _QueueActivity()
        activity.gather()
        return Recent(
            last_minute=_shown(activity.minute.totals(steady)),
            last_hour=_shown(activity.hour.totals(steady)),
            minutes=activity.hour.series(steady),
            wait=_times(activity.wait),
            run=_times(activity.run),
        )


def _delayed(standing: Standing) -> bool:
    return bool(standing.ready_at or standing.not_before)


def _timed_out(standing: Standing) -> bool:
    """Whether a job that was in progress is not any more because it timed out."""
    history = standing.notes.history
    return standing.state is not INPROGRESS and bool(history) and history[-1].outcome == "timeout"


def _shown(totals: Counter[str]) -> dict[str, int]:
    return {what: totals[what] for what in _SHOWN}


def _times(samples: Sequence[int]) -> Times:
    if not samples:
        return Times()
    ordered = sorted(samples)
    p50, p90, p99 = (ordered[min(len(ordered) - 1, len(ordered) * share // 100)] for share in (50, 90, 99))
    return Times(p50=p50, p90=p90, p99=p99)
