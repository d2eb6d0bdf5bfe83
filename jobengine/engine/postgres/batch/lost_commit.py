"""Finds out, after a connection was lost during a commit, whether the commit was made."""

import time
from collections.abc import Callable
from typing import Final

from psycopg import DatabaseError, InterfaceError, OperationalError

from ...door import OutcomeUnknown, Unavailable
from ..database.pipeline import Row

#: The most attempts to find out whether a commit was made, and the seconds between two of them.
_RETURNS: Final = 10
_PAUSE: Final = 0.5


def was_made(read: Callable[[], Row | None], close: Callable[[], None], batch: int) -> bool:
    """
    Whether the commit of a batch was made. `read` reads the number of the lane's last batch over a new connection, and
    `close` closes that connection. Raises OutcomeUnknown.
    """
    for _ in range(_RETURNS):
        try:
            # If the old backend still runs, it holds the row's lock, and this statement waits until it ends.
            row = read()
            return row is not None and row[0] == batch
        except (OperationalError, InterfaceError):
            close()
        except (Unavailable, DatabaseError):
            # DatabaseError: a standby refuses to write. The next attempt may find the new primary.
            close()
            time.sleep(_PAUSE)
    raise OutcomeUnknown(
        "The connection to the database was lost during a change: it may or may not have been made. Check before you "
        "repeat it."
    )
