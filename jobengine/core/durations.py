"""
Counts durations in buckets, which can be added up, and computes percentiles from them.

From 3 ms on, each bound is at most a third above the one before, so a percentile is wrong by a quarter at most.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Final

_STEPS: Final = (10, 12, 16, 20, 25, 30, 40, 50, 60, 80)
#: The upper bounds of the buckets in milliseconds: 0, 1, 2 and so on to more than a month; one more bucket takes longer
#: durations.
BOUNDS: Final[tuple[int, ...]] = tuple(
    sorted({*range(10), *(step * 10**power for power in range(9) for step in _STEPS), 3_600_000, 86_400_000})
)
#: The bounds that Prometheus gets, in milliseconds; each is one of BOUNDS.
EXPORTED: Final = (10, 50, 100, 500, 1_000, 5_000, 10_000, 60_000, 300_000, 3_600_000, 86_400_000)
_EXPORTED_AT: Final = tuple(BOUNDS.index(bound) for bound in EXPORTED)
_PAIR: Final = "*"


def spread(durations: Iterable[int]) -> Counter[int]:
    """How many of these durations, in milliseconds, each bucket has, by its index in BOUNDS."""
    found: Counter[int] = Counter()
    # Jobs that were claimed together have often waited for the same time.
    for duration, count in Counter(durations).items():
        found[bisect_left(BOUNDS, duration)] += count
    return found


def percentile(buckets: Mapping[int, int], share: int) -> int | None:
    """The percentile in milliseconds: `share` percent of the durations are below it. None without durations."""
    total = sum(buckets.values())
    if not total:
        return None
    rank, below = min(total - 1, total * share // 100), 0
    for bucket in sorted(buckets):
        count = buckets[bucket]
        if below + count > rank:
            return _within(bucket, (rank - below + 1) / count)
        below += count
    raise AssertionError("the rank is in no bucket")


def _within(bucket: int, share: float) -> int:
    """The value within a bucket, in milliseconds, that this share of the bucket's durations does not exceed."""
    if bucket >= len(BOUNDS):
        return BOUNDS[-1]
    lower = BOUNDS[bucket - 1] if bucket else 0
    return round(lower + (BOUNDS[bucket] - lower) * share)


def cumulated(buckets: Mapping[int, int]) -> list[int]:
    """For each bound of EXPORTED, how many durations are not longer; then the number of all durations."""
    sums = list(accumulate(buckets.get(bucket, 0) for bucket in range(len(BOUNDS) + 1)))
    return [*(sums[at] for at in _EXPORTED_AT), sums[-1]]


def spread_text(buckets: Mapping[int, int]) -> str:
    """Buckets as text, such as `7*2 9*1`."""
    return " ".join([f"{bucket}{_PAIR}{count}" for bucket, count in sorted(buckets.items())])


def read_spread(text: str) -> dict[int, int]:
    """Buckets from their text; raises ValueError."""
    pairs = (pair.split(_PAIR) for pair in text.split())
    read = {int(bucket): int(count) for bucket, count in pairs}
    if any(not 0 <= bucket <= len(BOUNDS) or count < 0 for bucket, count in read.items()):
        raise ValueError(text)
    return read
