"""Finds the schedules whose time has come, at the beginning of a sweep."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final, LiteralString

from ....storage.errors import Damaged
from ..database.item_rows import item_of
from ..database.pipeline import Row, Statement
from ..database.rows import Rows
from ..sql import named

#: The most schedules that are fired after a sweep.
_MOST: Final = 200
_DUE_SCHEDULES: Final = named("due_schedules")


def due_schedules(clock: LiteralString) -> Statement:
    """The statement that reads the first due schedules, and the firing time of the first schedule that is not due."""
    return _DUE_SCHEDULES.at(clock)(most=_MOST)


def read_due_schedules(rows: Rows, found: Sequence[Row]) -> tuple[Sequence[tuple[str, str]], int | None]:
    """
    Queue and name of each due schedule, and the next firing time of the other schedules, by the wall clock.

    Schedules of damaged queues, and damaged ones, are left out.
    """
    firings, soonest = [], None
    for queue_id, key, sealed, number, *queue, fires in found:
        if key is None:
            soonest = fires
            continue
        with suppress(Damaged):
            item = item_of(rows, rows.queue(number, *queue), (queue_id, key, sealed))
            firings.append((item.queue, item.name))
    return firings, soonest
