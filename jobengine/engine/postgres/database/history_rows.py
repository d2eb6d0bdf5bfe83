"""The rows of the table `history`: what servers counted in periods of queues."""

from collections.abc import Iterable
from typing import Final, LiteralString

from psycopg import Connection

from ....core.activity import Unsaved
from ....core.history import HOURS, SPANS, KeptPeriod, Period
from .arrays import bigints
from .pipeline import Row, Statement

_WRITE: Final[LiteralString] = (
    "INSERT INTO history (queue_id, span, number, server, counted) "
    "SELECT n.queue_id, n.span, n.number, n.server, n.counted FROM (SELECT unnest(%s::bigint[]) AS queue_id, "
    "unnest(%s::bigint[]) AS span, unnest(%s::bigint[]) AS number, unnest(%s::bigint[]) AS server, "
    "unnest(%s::text[]) AS counted) n WHERE EXISTS (SELECT FROM queue q WHERE q.id = n.queue_id) ORDER BY 1, 2, 3 "
    "ON CONFLICT (queue_id, span, number, server) DO UPDATE SET counted = excluded.counted"
)
_READ: Final[LiteralString] = (
    "SELECT h.queue_id, h.server, h.span, h.number, h.counted FROM unnest((SELECT %s)::bigint[]) q (id), "
    "LATERAL (SELECT * FROM history h WHERE h.queue_id = q.id AND h.span <= %s) h"
)
#: Removes periods that are out of date; see Tidying.
OUTDATED: Final[LiteralString] = (
    "DELETE FROM history WHERE (queue_id, span, number, server) IN (SELECT queue_id, span, number, server FROM history "
    "WHERE span = %s AND number <= %s LIMIT %s FOR UPDATE SKIP LOCKED)"
)


def kept_of(connection: "Connection[Row]", queue_id: int) -> list[KeptPeriod]:
    """All kept periods of a queue."""
    rows = connection.execute("SELECT server, span, number, counted FROM history WHERE queue_id = %s", [queue_id])
    return [KeptPeriod(server, Period(*its)) for server, *its in rows]


def periods_of(queue_ids: list[int], *, hours: bool) -> Statement:
    """The statement that reads the kept periods of queues; without `hours` only seconds and minutes."""
    return Statement(_READ, [bigints(queue_ids), HOURS if hours else HOURS - 1])


def write_periods(connection: "Connection[Row]", server: int, counted: Iterable[tuple[int, Unsaved]]) -> None:
    """Write periods by the number of their queue; those of queues that are gone are left out."""
    rows = [(queue_id, one.span, one.number, server, one.text) for queue_id, its in counted for one in its]
    if rows:
        connection.execute(_WRITE, [list(column) for column in zip(*rows, strict=True)])


def outdated(elapsed: int) -> list[tuple[int, int]]:
    """The spans, each with the number of the last period that is out of date."""
    return [(span, elapsed // one.width - one.kept) for span, one in enumerate(SPANS)]
