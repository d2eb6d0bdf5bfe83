"""Finds the schedules whose time has come, after a sweep."""

from contextlib import suppress
from typing import Final

from attrs import evolve
from psycopg import Connection

from ....storage.errors import Damaged
from ..database.item_rows import item_of
from ..database.pipeline import Row
from ..database.rows import Rows
from ..sql import named
from .begin import Now
from .decide import Result

#: The most schedules that are fired after a sweep.
_MOST: Final = 200
_DUE_SCHEDULES: Final = named("due_schedules")


def with_firings(result: Result, connection: "Connection[Row]", rows: Rows, now: Now) -> Result:
    """
    The result of a sweep with the first due schedules, and with the time at which the next of the others fires.

    Schedules of damaged queues, and damaged ones, are left out.
    """
    firings, soonest = [], [one for one in (result.soonest, now.soonest) if one is not None]
    for queue_id, key, sealed, number, *queue, fires in _DUE_SCHEDULES.execute(connection, wall=now.wall, most=_MOST):
        if key is None:
            soonest.append(fires - now.ahead)
            continue
        with suppress(Damaged):
            item = item_of(rows, rows.queue(number, *queue), (queue_id, key, sealed))
            firings.append((item.queue, item.name))
    return evolve(result, soonest=min(soonest, default=None), firings=firings)
