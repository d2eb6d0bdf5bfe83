"""Finds what keeps the database from removing old rows."""

from typing import Final, LiteralString

from psycopg import Connection

from .connection import Row

__all__ = ["oldest_snapshot"]

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
