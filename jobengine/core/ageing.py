"""
Priority ageing: an order of jobs in which one step of priority is worth some seconds of age, so that no job starves.

A job's place in line is fixed when it is added: its creation time, earlier by that many seconds for each step of
priority. When the setting changes, the unfinished jobs are moved to their new places in slices (commands.MoveInLine).
"""

from typing import Annotated, Final

from msgspec import Meta

from .values import Value

_SECOND: Final = 1_000
#: The most seconds that a step of priority may be worth: a year.
_YEAR: Final = 31_536_000
#: Places in line lie between this number and its negative, so that they fit columns of 64 bits.
_FARTHEST: Final = 1 << 62

SecondsPerPriority = Annotated[int, Meta(ge=1, le=_YEAR)]


class Order(Value, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The order of a queue's jobs; a queue whose jobs are claimed strictly by priority has none."""

    #: How many seconds of age a step of priority is worth; None if ageing was removed, and jobs are still being moved.
    seconds_per_priority: SecondsPerPriority | None = None
    #: When the order was changed last, in elapsed milliseconds, while jobs may still have their old places; 0 once all
    #: have moved.
    changed: Annotated[int, Meta(ge=0)] = 0


def line_of(order: Order | None, priority: int, created: int) -> int | None:
    """A job's place in line; None in a queue whose jobs are ordered by priority."""
    if order is None or order.seconds_per_priority is None:
        return None
    line = created - priority * order.seconds_per_priority * _SECOND
    return max(-_FARTHEST, min(line, _FARTHEST))


def changed_order(order: Order | None, seconds: int | None, now: int) -> Order | None:
    """`order`, with a step of priority worth this many seconds; the same object if nothing changes."""
    if seconds == (None if order is None else order.seconds_per_priority):
        return order
    return Order(seconds_per_priority=seconds, changed=max(now, 1 if order is None else order.changed + 1))


def settled(order: Order) -> Order | None:
    """The order once all jobs have moved."""
    if order.seconds_per_priority is None:
        return None
    return Order(seconds_per_priority=order.seconds_per_priority)
