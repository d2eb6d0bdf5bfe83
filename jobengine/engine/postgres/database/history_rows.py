"""The rows of the table `history`: the servers' counts by queue and period."""

from collections.abc import Iterable
from typing import Final

from psycopg import Connection

from ....core.activity import Unsaved
from ....core.history import HOURS, SPANS, KeptPeriod, Period
from ..sql import named
from .arrays import bigints
from .pipeline import Row, Statement

_WRITE_PERIODS: Final = named("write_periods")
_READ_PERIODS: Final = named("read_periods")
_READ_QUEUE_PERIODS: Final = named("read_queue_periods")


def kept_of(connection: "Connection[Row]", queue_id: int) -> list[KeptPeriod]:
    """All stored periods of a queue."""
    rows = _READ_QUEUE_PERIODS.execute(connection, queue_id=queue_id)
    return [KeptPeriod(server, Period(*its)) for server, *its in rows]


def periods_of(queue_ids: list[int], *, hours: bool) -> Statement:
    """The statement that reads the stored periods of queues; without `hours` only seconds and minutes."""
    return _READ_PERIODS(queue_ids=bigints(queue_ids), span=HOURS if hours else HOURS - 1)


def write_periods(connection: "Connection[Row]", server: int, counted: Iterable[tuple[int, Unsaved]]) -> None:
    """Write periods by queue number; periods of deleted queues are left out."""
    rows = [(queue_id, one.span, one.number, server, one.text) for queue_id, its in counted for one in its]
    if rows:
        columns = map(list, zip(*rows, strict=True))
        _WRITE_PERIODS.execute(connection, **dict(zip(_WRITE_PERIODS.parameters, columns, strict=True)))


def outdated(elapsed: int) -> list[tuple[int, int]]:
    """All spans, each with the number of its latest period that is outdated."""
    return [(span, elapsed // one.width - one.kept) for span, one in enumerate(SPANS)]
