"""Removes gates that have no effect any more, some at a time: a group used only once would keep its gate for ever."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from attrs import define, field
from psycopg import Connection

from ....core.facts import ItemSet
from ....core.flow import GATE, NO_FLOW, NO_SETTINGS, OF_QUEUE, gate_of, settings_of
from ....core.model import Queue
from ....storage.errors import Damaged
from ..database.connection import together
from ..database.group_rows import FlowLock, GroupChanges, flow_locked
from ..database.item_rows import item_of, items_named, items_written
from ..database.pipeline import Row
from ..database.rows import Rows
from ..sql import named

#: Gates that are read at a time.
_SLICE: Final = 500
_FRONT: Final = (-1, b"")
_NEXT_ITEMS: Final = named("next_items")
_READ_QUEUE_ROWS: Final = named("read_queue_rows")


@define
class OldGates:
    """Goes through all gates, and begins again after the last."""

    _last: tuple[int, bytes] = field(default=_FRONT, init=False)

    def tidy(self, connection: "Connection[Row]", rows: Rows, elapsed: int) -> bool:
        """Remove some gates; returns whether more may follow."""
        queue_id, key = self._last
        found = _NEXT_ITEMS.execute(
            connection,
            queue_id=queue_id,
            key=key,
            kind=rows.kind(GATE),
            most=_SLICE,
        ).fetchall()
        self._last = (found[-1][0], found[-1][1]) if len(found) == _SLICE else _FRONT
        for number in sorted({row[0] for row in found}):
            _end(connection, rows, number, [row[1] for row in found if row[0] == number], elapsed)
        return len(found) == _SLICE


def _end(connection: "Connection[Row]", rows: Rows, number: int, keys: Sequence[bytes], elapsed: int) -> None:
    """Remove the gates that have no more effect, among those with the given keys."""
    with connection.transaction():
        together(connection, *flow_locked([number], FlowLock.CLAIMS))
        for found in _READ_QUEUE_ROWS.execute(connection, queue_ids=[number]).fetchall():
            with suppress(Damaged):
                queue = rows.queue(*found)
                if queue.flow is not None:
                    _end_of(connection, rows, number, queue, _over(connection, rows, number, queue, keys, elapsed))


def _over(
    connection: "Connection[Row]", rows: Rows, number: int, queue: Queue, keys: Sequence[bytes], elapsed: int
) -> list[ItemSet]:
    """The facts that remove the gates that are over."""
    flow = queue.flow or NO_FLOW
    gates = _read(connection, rows, number, queue, keys)
    names = [gate.name for gate in gates if gate.name != OF_QUEUE]
    own = _read(connection, rows, number, queue, sorted(map(rows.group, names)))
    settings = {its.name: settings_of(its.value) for its in own}
    facts = []
    for gate in gates:
        limits = flow.limits if gate.name == OF_QUEUE else settings.get(gate.name, NO_SETTINGS).limits(flow)
        if gate_of(gate.value).is_over(limits.rate, elapsed):
            facts.append(ItemSet(queue.name, GATE, gate.name, None))
    return facts


def _read(connection: "Connection[Row]", rows: Rows, number: int, queue: Queue, keys: Sequence[bytes]) -> list[ItemSet]:
    """The named things with these keys, without damaged ones."""
    found = []
    for answer in together(connection, *items_named([(number, key) for key in keys])):
        for row in answer:
            with suppress(Damaged):
                found.append(item_of(rows, queue, row))
    return found


def _end_of(connection: "Connection[Row]", rows: Rows, number: int, queue: Queue, facts: Sequence[ItemSet]) -> None:
    changes = GroupChanges(rows, number, queue)
    for fact in facts:
        changes.set_item(fact)
    written = items_written(rows, facts, {queue.name: (number, queue)})
    together(connection, *written, *changes.statements())
