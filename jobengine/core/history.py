"""
The history of a queue: counts for each of the last 60 seconds, 60 minutes and 168 hours.

Periods are counted by elapsed time, so setting the wall clock moves none of them. A stored period is a line of text,
since a queue may have some hundreds.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from attrs import define, field, frozen

from .durations import percentile, read_spread, spread_text
from .model import MINUTE, SECOND
from .values import Value

#: The counters of each period.
COUNTED: Final = ("added", "claimed", "complete", "failed", "attempts_failed", "cancelled")


@frozen
class Span:
    """Periods of one length."""

    #: Milliseconds.
    width: int
    #: How many periods are kept, including the present one.
    kept: int
    #: Whether each period has waiting and running times.
    has_times: bool


#: The spans; SECONDS, MINUTES and HOURS are their indexes.
SPANS: Final = (Span(SECOND, 60, False), Span(MINUTE, 60, True), Span(60 * MINUTE, 168, True))
SECONDS, MINUTES, HOURS = range(3)


#: About how many bytes a period takes in a record, without its text.
_PERIOD_BYTES: Final = 16


class Period(Value, frozen=True):
    """The stored counts of one period."""

    #: See SPANS.
    span: int
    #: Elapsed time at the period's beginning, divided by the span's width.
    number: int
    #: See Tally.text.
    text: str


class KeptPeriod(Value, frozen=True):
    """A period, and the number of the server that counted it; 0 where only one server counts."""

    source: int
    period: Period


@define
class Tally:
    """The counts of a period, by one server or several."""

    counts: Counter[str] = field(factory=Counter)
    #: Times from ready to claimed, and from claimed to the end of the attempt: counts by bucket; see durations.
    wait: Counter[int] = field(factory=Counter)
    run: Counter[int] = field(factory=Counter)

    def add(self, other: "Tally", *, times: bool = True) -> None:
        """Add the counts of another tally, and its times if `times`."""
        self.counts.update(other.counts)
        if times:
            self.wait.update(other.wait)
            self.run.update(other.run)

    def text(self) -> str:
        """The tally as text: the counts in the order of COUNTED, the waiting times and the running times."""
        counts = ",".join([str(self.counts[what]) for what in COUNTED])
        return f"{counts}|{spread_text(self.wait)}|{spread_text(self.run)}"


def read_tally(text: str) -> Tally:
    """A tally from its text; raises ValueError."""
    counts, wait, run = text.split("|")
    numbers = [int(number) for number in counts.split(",")]
    if len(numbers) != len(COUNTED) or min(numbers) < 0:
        raise ValueError(text)
    return Tally(
        Counter(dict(zip(COUNTED, numbers, strict=True))), Counter(read_spread(wait)), Counter(read_spread(run))
    )


class KeptPeriods:
    """The stored periods of one queue: the newest of each span."""

    def __init__(self) -> None:
        #: The texts of periods, by number, for each span.
        self._texts: list[dict[int, str]] = [{} for _ in SPANS]
        #: About how many bytes all these periods take in a record.
        self.size = 0

    def put(self, periods: Iterable[Period]) -> None:
        """Store periods in place of earlier versions; drop outdated ones."""
        for one in periods:
            texts = self._texts[one.span]
            newest = max(texts, default=one.number)
            outdated = max(newest, one.number) - SPANS[one.span].kept
            if one.number > newest:
                for number in [number for number in texts if number <= outdated]:
                    self.size -= len(texts.pop(number)) + _PERIOD_BYTES
            if one.number > outdated:
                old = texts.pop(one.number, None)
                self.size -= 0 if old is None else len(old) + _PERIOD_BYTES
                texts[one.number] = one.text
                self.size += len(one.text) + _PERIOD_BYTES

    def get(self, span: int, number: int) -> str | None:
        """The stored counts of a period, as text; None if there are none."""
        return self._texts[span].get(number)

    def all(self) -> Iterator[Period]:
        """All stored periods, by span and number."""
        for span, texts in enumerate(self._texts):
            for number in sorted(texts):
                yield Period(span, number, texts[number])


@frozen(kw_only=True)
class QueueHistory:
    """
    The minutes of the last hour and the hours of the last week, oldest first; the last of each is not over.

    The keys are the counters in COUNTED, with numbers, and wait_p50, wait_p99, run_p50 and run_p99, with milliseconds
    or None.
    """

    minutes: Mapping[str, Sequence[int | None]]
    hours: Mapping[str, Sequence[int | None]]


def history_of(tallies: Mapping[tuple[int, int], Tally], now: int) -> QueueHistory:
    """The history at `now`, from the tallies by span and number."""
    return QueueHistory(minutes=_columns(tallies, MINUTES, now), hours=_columns(tallies, HOURS, now))


def _columns(tallies: Mapping[tuple[int, int], Tally], span: int, now: int) -> dict[str, list[int | None]]:
    last = now // SPANS[span].width
    numbers = range(last - SPANS[span].kept + 1, last + 1)
    found = [tallies.get((span, number)) or Tally() for number in numbers]
    columns: dict[str, list[int | None]] = {what: [one.counts[what] for one in found] for what in COUNTED}
    for share in (50, 99):
        columns[f"wait_p{share}"] = [percentile(one.wait, share) for one in found]
        columns[f"run_p{share}"] = [percentile(one.run, share) for one in found]
    return columns


def totals_of(tallies: Mapping[tuple[int, int], Tally], span: int, now: int) -> dict[str, int]:
    """The total of each counter over the kept periods of a span; the last one contains `now`."""
    last = now // SPANS[span].width
    totals: Counter[str] = Counter()
    for number in range(last - SPANS[span].kept + 1, last + 1):
        tally = tallies.get((span, number))
        if tally is not None:
            totals.update(tally.counts)
    return {what: totals[what] for what in COUNTED}


def merged(kept: Iterable[KeptPeriod], own: int, live: Mapping[tuple[int, int], Tally]) -> dict[tuple[int, int], Tally]:
    """
    The counts of all servers, by span and number. For the server `own`, counts in `live` replace stored ones.

    A period that can't be read is skipped: it is of a newer version, or damaged.
    """
    found: defaultdict[tuple[int, int], Tally] = defaultdict(Tally)
    for one in kept:
        place = (one.period.span, one.period.number)
        if one.source == own and place in live:
            continue
        try:
            found[place].add(read_tally(one.period.text))
        except ValueError:
            continue
    for place, tally in live.items():
        found[place].add(tally)
    return found
