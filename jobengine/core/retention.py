"""How long finished jobs are kept."""

from functools import lru_cache

from .values import Value


class Retention(Value, frozen=True):
    """How long a finished job is kept; made by `retention`."""

    #: Minutes a complete job is kept; 0 removes it at once.
    minutes: int
    #: Minutes a failed job is kept.
    failed_minutes: int


@lru_cache(maxsize=1024)
def retention(minutes: int, failed_minutes: int) -> Retention:
    """A Retention with these times, cached so that most jobs share one object."""
    return Retention(minutes, failed_minutes)


def at_least(keep: Retention, seconds: int) -> Retention:
    """The retention, lengthened where it is shorter than a number of seconds."""
    minutes = -(-seconds // 60)
    if keep.minutes >= minutes and keep.failed_minutes >= minutes:
        return keep
    return retention(max(keep.minutes, minutes), max(keep.failed_minutes, minutes))
