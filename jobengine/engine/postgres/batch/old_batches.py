"""Removes batches that ended some time ago and have no jobs any more, some at a time."""

from typing import Final

from psycopg import Connection

from ..database.arrays import bigints, byteas
from ..database.connection import together
from ..database.pipeline import Row
from ..sql import named

#: Batches that are examined in one transaction.
_SLICE: Final = 100
#: A batch that still has jobs is examined again after this many milliseconds.
_LATER: Final = 60_000
_FIND_OLD_BATCHES: Final = named("find_old_batches")
_MAKE_KEYS: Final = named("make_keys")
_LOCK_FREE_KEYS: Final = named("lock_free_keys")
_DELETE_OLD_BATCH: Final = named("delete_old_batch")
_DELETE_LOST_BATCH_COUNTS: Final = named("delete_lost_batch_counts")
_POSTPONE_OLD_BATCH: Final = named("postpone_old_batch")


def tidy_batches(connection: "Connection[Row]", elapsed: int) -> bool:
    """Remove some batches; returns whether more may follow."""
    with connection.transaction():
        found = _FIND_OLD_BATCHES.execute(connection, elapsed=elapsed, most=_SLICE).fetchall()
        if not found:
            return False
        ids, keys = zip(*sorted(found), strict=True)
        columns = {"queue_ids": bigints(ids), "keys": byteas(keys)}
        _, locked = together(connection, _MAKE_KEYS(**columns), _LOCK_FREE_KEYS(**columns))
        for queue_id, key in locked:
            together(
                connection,
                _DELETE_OLD_BATCH(queue_id=queue_id, key=key, elapsed=elapsed),
                _DELETE_LOST_BATCH_COUNTS(queue_id=queue_id, key=key),
                _POSTPONE_OLD_BATCH(queue_id=queue_id, key=key, elapsed=elapsed, later=elapsed + _LATER),
            )
    return len(locked) == _SLICE
