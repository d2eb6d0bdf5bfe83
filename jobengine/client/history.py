"""The history of a queue."""

from .answers import Answer, Field
from .values import Minutes


class Periods(Minutes):
    """Like Minutes, with percentiles of waiting and running times in seconds; None without data."""

    __slots__ = ()

    wait_p50 = Field[tuple[float | None, ...]]("wait_p50", tuple, ())
    wait_p99 = Field[tuple[float | None, ...]]("wait_p99", tuple, ())
    run_p50 = Field[tuple[float | None, ...]]("run_p50", tuple, ())
    run_p99 = Field[tuple[float | None, ...]]("run_p99", tuple, ())


class QueueHistory(Answer):
    """The counts of a queue by period, oldest first; the last minute and the last hour are not over."""

    __slots__ = ()

    #: The last 60 minutes, and the last 168 hours.
    minutes = Field[Periods]("minutes", Periods)
    hours = Field[Periods]("hours", Periods)
