"""Removes the rows of deleted queues, unused unique keys, old events and old lanes, some rows at a time."""

from typing import Final, LiteralString

from attrs import define, field
from psycopg import Connection

from .history_rows import OUTDATED, outdated
from .pipeline import Row

#: Rows that are removed from a table at a time.
_SLICE: Final = 1_000
#: If a slice had this many unused keys, the next one follows at once.
_MANY: Final = 100
#: Milliseconds after which no transaction that has seen a deleted queue is still under way.
_UNSEEN: Final = 60_000
#: Milliseconds for which events are kept, and for which the number of a connection's last batch is kept.
_EVENTS: Final = 600_000
_LANES: Final = 86_400_000

_GONE: Final[LiteralString] = "SELECT queue_id, at FROM gone ORDER BY at LIMIT 1 FOR UPDATE SKIP LOCKED"
#: Rows that are locked are left for later: a batch that began before the queue was deleted may wait for others of them.
_OF_QUEUE: Final[tuple[LiteralString, ...]] = (
    "DELETE FROM job WHERE (queue_id, uid) IN "
    "(SELECT queue_id, uid FROM job WHERE queue_id = %s LIMIT %s FOR UPDATE SKIP LOCKED)",
    "DELETE FROM history WHERE (queue_id, span, number, server) IN "
    "(SELECT queue_id, span, number, server FROM history WHERE queue_id = %s LIMIT %s FOR UPDATE SKIP LOCKED)",
    "DELETE FROM item WHERE (queue_id, key) IN "
    "(SELECT queue_id, key FROM item WHERE queue_id = %s LIMIT %s FOR UPDATE SKIP LOCKED)",
    "DELETE FROM tag WHERE (queue_id, tag, inv_prio, arrival, uid) IN "
    "(SELECT queue_id, tag, inv_prio, arrival, uid FROM tag WHERE queue_id = %s LIMIT %s FOR UPDATE SKIP LOCKED)",
    "DELETE FROM unique_key WHERE (queue_id, key) IN "
    "(SELECT queue_id, key FROM unique_key WHERE queue_id = %s LIMIT %s FOR UPDATE SKIP LOCKED)",
    "DELETE FROM event WHERE (queue_id, last) IN "
    "(SELECT queue_id, last FROM event WHERE queue_id = %s LIMIT %s FOR UPDATE SKIP LOCKED)",
    "DELETE FROM tally WHERE (queue_id, slot, place) IN "
    "(SELECT queue_id, slot, place FROM tally WHERE queue_id = %s LIMIT %s FOR UPDATE SKIP LOCKED)",
)
#: Not while rows are left, which were locked.
_FORGET: Final[LiteralString] = (
    "DELETE FROM gone g WHERE queue_id = %s AND NOT EXISTS (SELECT FROM job WHERE queue_id = g.queue_id) "
    "AND NOT EXISTS (SELECT FROM tag WHERE queue_id = g.queue_id) "
    "AND NOT EXISTS (SELECT FROM unique_key WHERE queue_id = g.queue_id) "
    "AND NOT EXISTS (SELECT FROM item WHERE queue_id = g.queue_id) "
    "AND NOT EXISTS (SELECT FROM history WHERE queue_id = g.queue_id) "
    "AND NOT EXISTS (SELECT FROM event WHERE queue_id = g.queue_id) "
    "AND NOT EXISTS (SELECT FROM tally WHERE queue_id = g.queue_id)"
)
#: First record which events are kept, so that a watcher that needs earlier ones learns that they are gone.
_EVENTS_FROM: Final[LiteralString] = (
    "UPDATE queue q SET events_from = o.last FROM (SELECT queue_id, max(last) AS last FROM event WHERE at < %s "
    "GROUP BY 1) o WHERE q.id = o.queue_id AND q.events_from < o.last"
)
_OLD_EVENTS: Final[LiteralString] = (
    "DELETE FROM event e USING queue q WHERE q.id = e.queue_id AND e.last <= q.events_from"
)
_OLD_LANES: Final[LiteralString] = "DELETE FROM last_batch WHERE at < %s"


#: The end of a slice of the unique keys.
_SLICE_OF_KEYS: Final[LiteralString] = (
    "SELECT queue_id, key FROM unique_key WHERE (queue_id, key) > (%s, %s) ORDER BY queue_id, key OFFSET %s LIMIT 1"
)
#: A key that is about to be used is locked, and is left alone. One that is used just after its removal is made again.
_UNUSED_KEYS: Final[LiteralString] = (
    "DELETE FROM unique_key WHERE (queue_id, key) IN (SELECT k.queue_id, k.key FROM unique_key k "
    "WHERE (k.queue_id, k.key) > (%s, %s) AND (k.queue_id, k.key) <= (%s, %s) AND NOT EXISTS "
    "(SELECT FROM job j WHERE j.queue_id = k.queue_id AND j.unique_key = k.key) FOR UPDATE OF k SKIP LOCKED)"
)
_FIRST: Final = (-1, b"")
_LAST: Final = ((1 << 63) - 1, b"")


@define
class Tidying:
    """Goes through the tables again and again."""

    #: The last unique key that was checked.
    _key: tuple[int, bytes] = field(default=_FIRST, init=False)

    def tidy(self, connection: "Connection[Row]", elapsed: int, wall: int) -> bool:
        """Remove some rows; returns whether to go on at once."""
        with connection.transaction():
            connection.execute(_EVENTS_FROM, [wall - _EVENTS])
            connection.execute(_OLD_EVENTS)
        # Alone, since batches lock their lane first and queues last.
        connection.execute(_OLD_LANES, [wall - _LANES])
        for span, number in outdated(elapsed):
            connection.execute(OUTDATED, [span, number, _SLICE])
        removed = self._tidy_keys(connection)
        with connection.transaction():
            gone = connection.execute(_GONE).fetchone()
            more = gone is not None and _tidy_queue(connection, gone[0], is_unseen=gone[1] < wall - _UNSEEN)
        return more or removed >= _MANY

    def _tidy_keys(self, connection: "Connection[Row]") -> int:
        """Remove the unused ones of a slice of the unique keys; returns how many."""
        with connection.transaction():
            end = connection.execute(_SLICE_OF_KEYS, [*self._key, _SLICE - 1]).fetchone()
            removed = connection.execute(_UNUSED_KEYS, [*self._key, *(end or _LAST)]).rowcount
        self._key = _FIRST if end is None else (end[0], end[1])
        return removed


def _tidy_queue(connection: "Connection[Row]", queue_id: int, *, is_unseen: bool) -> bool:
    removed = [connection.execute(text, [queue_id, _SLICE]).rowcount for text in _OF_QUEUE]
    if max(removed) == _SLICE:
        return True
    return is_unseen and connection.execute(_FORGET, [queue_id]).rowcount == 1


#: Rows that were changed or removed stay on disk while a transaction may still see them. A vacuum does not count.
_OLDEST: Final[LiteralString] = (
    "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(began)), 0)::float8 FROM (SELECT xact_start AS began "
    "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND "
    "(backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND backend_type <> 'autovacuum worker' "
    "UNION ALL SELECT prepared FROM pg_prepared_xacts WHERE database = current_database()) open"
)


def oldest_snapshot(connection: "Connection[Row]") -> float:
    """
    For how many seconds the oldest snapshot of this database has been open; 0 if there is none.

    Without the role pg_read_all_stats it sees only the snapshots of its own user, and prepared transactions.
    """
    row = connection.execute(_OLDEST).fetchone()
    return 0.0 if row is None else float(row[0])
