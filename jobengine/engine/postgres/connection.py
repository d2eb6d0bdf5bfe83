"""Connections to PostgreSQL, and statements that are sent to it together."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, LiteralString

from attrs import frozen
from psycopg import Connection, Cursor, InterfaceError, Notify, OperationalError, Pipeline, ProgrammingError
from psycopg.errors import DiskFull, InsufficientPrivilege
from psycopg.pq import PipelineStatus

from ...storage.errors import StorageError
from .arrays import register

__all__ = ["BadUrl", "Row", "Statement", "connected", "failures_told", "rights_told", "together"]

#: A row of an answer.
Row = tuple[Any, ...]

#: The schema, and plans that always use the indexes: a plan that was made for an empty table would otherwise go on
#: scanning the whole table when it is long.
_OPTIONS: Final = (
    "-c search_path=jobengine -c enable_seqscan=off -c enable_bitmapscan=off -c enable_hashjoin=off "
    "-c enable_mergejoin=off -c jit=off -c synchronous_commit="
)


class BadUrl(StorageError):
    """DATABASE_URL is not a connection string."""


@frozen
class Statement:
    """A statement and its parameters."""

    text: LiteralString
    values: Sequence[object] = ()


class _Counted(Connection[Row]):
    """A connection that tells of each round trip."""

    told: Callable[[], None]

    def execute(self, query: Any, params: Any = None, **how: Any) -> "Cursor[Row]":
        """See Connection."""
        if self.pgconn.pipeline_status == PipelineStatus.OFF:
            self.told()
        return super().execute(query, params, **how)

    @contextmanager
    def pipeline(self) -> Iterator[Pipeline]:
        """See Connection: all that is within goes in one round trip."""
        self.told()
        with super().pipeline() as pipeline:
            yield pipeline


def _nothing() -> None:
    pass


def connected(url: str, *, interval: bool = False, round_trip: Callable[[], None] = _nothing) -> "Connection[Row]":
    """
    A new connection; with `interval` commits do not wait for the disk. `round_trip` is called for each round trip.

    Raises BadUrl, and StorageError if there is no connection: its text has host and port, but never the password.
    """
    try:
        made = _Counted.connect(url, autocommit=True, options=_OPTIONS + ("off" if interval else "on"))
    except ProgrammingError:
        # It quotes the string, and with it the password.
        raise BadUrl("DATABASE_URL must be like postgresql://jobengine@db.example.org/jobengine") from None
    except OperationalError as error:
        raise StorageError(f"the database can't be reached; check DATABASE_URL: {error}") from None
    made.told = round_trip
    register(made.adapters)
    # Behind a pooler it may get the notifications that another connection listens for. The driver would keep them all.
    made.add_notify_handler(_pass_over)
    return made


def _pass_over(_: Notify) -> None:
    """Drop a notification; only Listening takes them, in a way of its own."""


@contextmanager
def rights_told() -> Iterator[None]:
    """Raises StorageError if the database's user lacks a right that the block needs."""
    try:
        yield
    except InsufficientPrivilege as error:
        raise StorageError(f"the user of DATABASE_URL lacks a right: {error.diag.message_primary}") from None


@contextmanager
def failures_told() -> Iterator[None]:
    """Raises StorageError if the database fails within the block, which must be one transaction."""
    try:
        with rights_told():
            yield
    except DiskFull:
        raise StorageError("the database has no room for it; nothing was changed") from None
    except (OperationalError, InterfaceError) as error:
        raise StorageError(f"the database has failed, and nothing was changed; run it again: {error}") from None


def together(connection: "Connection[Row]", *statements: Statement) -> list[list[Row]]:
    """The rows of each statement, all sent at once: one round trip."""
    with connection.pipeline():
        cursors = [connection.execute(one.text, one.values, binary=True) for one in statements]
    return [cursor.fetchall() if cursor.description else [] for cursor in cursors]
