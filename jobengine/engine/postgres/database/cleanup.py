"""Removes the rows of deleted queues, unused unique keys, old events and old lanes, some rows at a time."""

from typing import Final

from attrs import define, field
from psycopg import Connection

from ..sql import named
from .history_rows import outdated
from .pipeline import Row

#: Rows that are removed from a table at a time.
_SLICE: Final = 1_000
#: After a slice with this many unused keys, the next slice follows immediately.
_MANY: Final = 100
#: Once a queue was deleted this many milliseconds ago, no running transaction can still have read it.
_UNSEEN: Final = 60_000
#: Milliseconds for which events are kept.
_EVENTS: Final = 600_000
#: Milliseconds for which the last batch number of a lane is kept.
_LANES: Final = 86_400_000

#: The statements `delete_gone_…`, by the rest of their names: each removes some rows of a deleted queue.
_GONE: Final = (
    "jobs",
    "dependencies",
    "batches",
    "history",
    "items",
    "groups",
    "tags",
    "failures",
    "keys",
    "events",
    "counts",
)
_DELETE_GONE: Final = [named(f"delete_gone_{rows}") for rows in _GONE]
_LOCK_GONE_QUEUE: Final = named("lock_gone_queue")
_FORGET_GONE_QUEUE: Final = named("forget_gone_queue")
_FORGET_OLD_EVENTS: Final = named("forget_old_events")
_DELETE_OLD_EVENTS: Final = named("delete_old_events")
_DELETE_OLD_BATCHES: Final = named("delete_old_batches")
_FIND_KEY_SLICE_END: Final = named("find_key_slice_end")
_DELETE_UNUSED_KEYS: Final = named("delete_unused_keys")
_DELETE_OLD_PERIODS: Final = named("delete_old_periods")
_OLDEST_SNAPSHOT: Final = named("oldest_snapshot")


_FIRST: Final = (-1, b"")
_LAST: Final = ((1 << 63) - 1, b"")


@define
class Tidying:
    """Removes outdated rows of each table, some at a time, and unused unique keys slice by slice."""

    #: The last unique key that was checked.
    _key: tuple[int, bytes] = field(default=_FIRST, init=False)

    def tidy(self, connection: "Connection[Row]", elapsed: int, wall: int) -> bool:
        """Remove some rows; returns whether to continue immediately."""
        with connection.transaction():
            _FORGET_OLD_EVENTS.execute(connection, before=wall - _EVENTS)
            _DELETE_OLD_EVENTS.execute(connection)
        # In a separate transaction, because batches lock their lane first and queues last.
        _DELETE_OLD_BATCHES.execute(connection, before=wall - _LANES)
        for span, number in outdated(elapsed):
            _DELETE_OLD_PERIODS.execute(connection, span=span, number=number, most=_SLICE)
        removed = self._tidy_keys(connection)
        with connection.transaction():
            gone = _LOCK_GONE_QUEUE.execute(connection).fetchone()
            more = gone is not None and _tidy_queue(connection, gone[0], is_unseen=gone[1] < wall - _UNSEEN)
        return more or removed >= _MANY

    def _tidy_keys(self, connection: "Connection[Row]") -> int:
        """Remove the unused keys in the next slice of the unique keys; returns their number."""
        with connection.transaction():
            queue_id, key = self._key
            found = _FIND_KEY_SLICE_END.execute(connection, queue_id=queue_id, key=key, skipped=_SLICE - 1)
            end = found.fetchone()
            last_queue_id, last_key = end or _LAST
            removed = _DELETE_UNUSED_KEYS.execute(
                connection, queue_id=queue_id, key=key, last_queue_id=last_queue_id, last_key=last_key
            ).rowcount
        self._key = _FIRST if end is None else (end[0], end[1])
        return removed


def _tidy_queue(connection: "Connection[Row]", queue_id: int, *, is_unseen: bool) -> bool:
    removed = [one.execute(connection, queue_id=queue_id, most=_SLICE).rowcount for one in _DELETE_GONE]
    if max(removed) == _SLICE:
        return True
    return is_unseen and _FORGET_GONE_QUEUE.execute(connection, queue_id=queue_id).rowcount == 1


def oldest_snapshot(connection: "Connection[Row]") -> float:
    """
    The seconds for which the database's oldest snapshot has been open; 0 if there is none. Without the role
    pg_read_all_stats, only snapshots of the same user and prepared transactions are visible.
    """
    row = _OLDEST_SNAPSHOT.execute(connection).fetchone()
    return 0.0 if row is None else float(row[0])
