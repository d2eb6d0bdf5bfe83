"""
How the transactions of several connections keep out of each other's way, and in which order jobs have arrived.

PostgreSQL itself locks rows. Databases that speak its protocol and keep rows on many machines do that badly or not at
all. But they notice when two transactions conflict, and one of them is carried out again.
"""

import re
from typing import Final, LiteralString

from attrs import frozen
from msgspec.structs import replace
from psycopg import Connection

from .database.connection import Row, Statement

__all__ = ["ARRIVALS", "LOCKING", "OPTIMISTIC", "Profile", "profile_of"]

#: A batch has 2 to this power arrival numbers, more than it can add jobs.
ARRIVALS: Final = 20
_LOCKS: Final = re.compile(r" ?FOR UPDATE( OF \w+)?( SKIP LOCKED)?")
#: What `SELECT version()` has in it at one of those databases.
_KIN: Final = ("CockroachDB", "-YB-")


@frozen(kw_only=True)
class Profile:
    """What differs between databases."""

    #: Begins a transaction.
    begin: LiteralString
    #: Whether rows are locked when they are loaded. If not, the isolation of transactions must be SERIALIZABLE.
    locks: bool
    #: Whether servers can tell each other what has changed.
    notifies: bool
    #: The arrival number of the first job that a batch adds.
    arrival: LiteralString

    def of(self, statement: Statement) -> Statement:
        """A statement that loads rows, as it is sent to such a database."""
        if self.locks:
            return statement
        return replace(statement, text=_LOCKS.sub("", statement.text))


LOCKING: Final = Profile(
    # Also where the database has another default: each statement must see what is committed when it begins.
    begin="BEGIN ISOLATION LEVEL READ COMMITTED",
    locks=True,
    notifies=True,
    arrival=f"SELECT nextval('batch') << {ARRIVALS}",
)
#: Arrivals go by the clock, as a sequence would be one row for all machines: microseconds, until the year 2112, and a
#: random number, so that batches of the same microsecond hardly ever have the same arrivals.
OPTIMISTIC: Final = Profile(
    begin="BEGIN ISOLATION LEVEL SERIALIZABLE",
    locks=False,
    notifies=False,
    arrival="SELECT ((extract(epoch FROM clock_timestamp()) * 1000000)::bigint << 11) + (random() * 2047)::bigint",
)


def profile_of(connection: "Connection[Row]") -> Profile:
    """The profile for a database, by what it says that it is."""
    ((version,),) = connection.execute("SELECT version()").fetchall()
    return OPTIMISTIC if any(name in version for name in _KIN) else LOCKING
