"""
Gives a queue flow, in a transaction of its own.

Commands of a queue without flow know nothing of groups and lock nothing for them. So before a command uses groups, the
queue gets flow without any limit; once all transactions that may not know of the flow have ended, the command is
carried out. A command that sets a limit meanwhile waits for these transactions too: a claim by one of them would exceed
the limit.
"""

import time
from typing import Final

from attrs import evolve
from psycopg import Connection

from ....core.flow import NO_FLOW
from ....core.model import Queue
from ..database.connection import together
from ..database.group_rows import GroupChanges, flow_locked
from ..database.pipeline import Row, Statement
from ..database.rows import NO_CLAIM_START, Rows, moving_of
from ..sql import named
from .begin import BEGIN

#: Seconds to wait for transactions that may not know of the flow, and between two checks.
_PATIENCE, _PAUSE = 5.0, 0.005
_LOCK_QUEUE: Final = named("lock_queue")
_RECONFIGURE_QUEUE: Final = named("reconfigure_queue")
_WRITERS_UNDER_WAY: Final = named("writers_under_way")
_BEGIN_UNGROUPED: Final = named("begin_ungrouped")


def give_flow(connection: "Connection[Row]", rows: Rows, queue: Queue) -> None:
    """Give flow to a queue that has none; does nothing if the queue was deleted."""
    together(connection, Statement(BEGIN))
    found = _LOCK_QUEUE.execute(connection, digest=rows.name(queue.name)).fetchone()
    if found is None:
        connection.execute("ROLLBACK")
        return
    number, rev, digest, sealed = found
    its = rows.queue(number, rev, digest, sealed)
    if its.flow is None:
        new = rows.sealed_queue(evolve(its, flow=NO_FLOW))
        made = GroupChanges(rows, number, its).ungrouped_made()
        reconfigured = _RECONFIGURE_QUEUE(sealed=new, moving=moving_of(its), queue_id=number, rev=rev)
        together(connection, reconfigured, made)
    connection.execute("COMMIT")
    if wait_for_others(connection):
        inv_prio, arrival = NO_CLAIM_START
        begun = _BEGIN_UNGROUPED(queue_id=number, inv_prio=inv_prio, arrival=arrival)
        together(connection, Statement(BEGIN), *flow_locked([number]), begun, Statement("COMMIT"))


def wait_for_others(connection: "Connection[Row]") -> bool:
    """Wait until all transactions that are under way now have ended; returns whether they have."""
    others, until = _under_way(connection), time.monotonic() + _PATIENCE
    while others:
        if time.monotonic() > until:
            return False
        time.sleep(_PAUSE)
        others &= _under_way(connection)
    return True


def _under_way(connection: "Connection[Row]") -> set[str]:
    ((found,),) = _WRITERS_UNDER_WAY.execute(connection).fetchall()
    return set(found.split(",")) - {""}
