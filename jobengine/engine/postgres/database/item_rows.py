"""
The rows of the table `item`: the named things of queues.

A transaction that may change a thing first locks its key in the table `unique_key`, even for a thing that does not
exist. So the rows themselves need no lock.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from psycopg import Connection

from ....core.batches import BATCH, batch_of, kept_after_end
from ....core.facts import ItemSet
from ....core.model import Queue
from ....core.schedules import SCHEDULE, schedule_totals
from ....storage.errors import Damaged
from ..sql import named
from .arrays import Array, bigints, byteas
from .pipeline import Row, Statement
from .rows import Rows

_READ_ITEMS: Final = named("read_items")
_READ_ITEMS_OF_KINDS: Final = named("read_items_of_kinds")
_LIST_QUEUE_ITEMS: Final = named("list_queue_items")
_WRITE_ITEMS: Final = named("write_items")
_WRITE_BATCHES: Final = named("write_batches")
_WRITE_SCHEDULES: Final = named("write_schedules")
_DELETE_ITEMS: Final = named("delete_items")
_COUNT_SCHEDULES: Final = named("count_schedules")
#: A queue's number, and the digest of a thing's kind and name, or of a kind alone.
Key = tuple[int, bytes]


def items_named(keys: Sequence[Key]) -> list[Statement]:
    """The statement that reads things by their keys."""
    if not keys:
        return []
    queue_ids, digests = _columns(keys)
    return [_READ_ITEMS(queue_ids=queue_ids, keys=digests)]


def items_of_kinds(kinds: Sequence[Key]) -> list[Statement]:
    """The statement that reads all named things of these kinds."""
    if not kinds:
        return []
    queue_ids, digests = _columns(kinds)
    return [_READ_ITEMS_OF_KINDS(queue_ids=queue_ids, kinds=digests)]


def _columns(keys: Sequence[Key]) -> tuple[Array, Array]:
    return bigints([one[0] for one in keys]), byteas([one[1] for one in keys])


def item_of(rows: Rows, queue: Queue, row: Row) -> ItemSet:
    """The named thing in a row; raises Damaged if the record belongs to another row."""
    _, key, sealed = row
    fact = rows.opened(sealed)
    if not isinstance(fact, ItemSet) or fact.queue != queue.salt or rows.item(fact.kind, fact.name) != key:
        raise Damaged("a row of the table item holds the record of another named thing")
    return ItemSet(queue.name, fact.kind, fact.name, fact.value)


def all_items(connection: "Connection[Row]", rows: Rows, number: int, queue: Queue) -> Iterator[ItemSet | Damaged]:
    """The named things of a queue; for a damaged row, the error."""
    for row in _LIST_QUEUE_ITEMS.execute(connection, queue_id=number):
        try:
            yield item_of(rows, queue, row)
        except Damaged as error:
            yield error


def items_written(rows: Rows, facts: Sequence[ItemSet], queues: Mapping[str, tuple[int, Queue]]) -> list[Statement]:
    """The statements that write the last fact about each named thing; `queues`: number and queue, by name."""
    last = {(queues[fact.queue][0], rows.item(fact.kind, fact.name)): fact for fact in facts}
    kept = {key: fact for key, fact in sorted(last.items()) if fact.value is not None}
    gone = sorted(last.keys() - kept.keys())
    plain = {key: fact for key, fact in kept.items() if fact.kind not in (BATCH, SCHEDULE)}
    batches = {key: fact for key, fact in kept.items() if fact.kind == BATCH}
    schedules = {key: fact for key, fact in kept.items() if fact.kind == SCHEDULE}
    statements = []
    if plain:
        statements.append(_WRITE_ITEMS(**_written(rows, plain, queues)))
    if batches:
        overs = bigints([_over(fact) for fact in batches.values()])
        statements.append(_WRITE_BATCHES(**_written(rows, batches, queues), overs=overs))
    if schedules:
        totals = [schedule_totals(fact.value) for fact in schedules.values()]
        fires, failing = bigints([one.next for one in totals]), bigints([int(one.failing) for one in totals])
        statements.append(_WRITE_SCHEDULES(**_written(rows, schedules, queues), fires=fires, failing=failing))
    if gone:
        ids, keys = zip(*gone, strict=True)
        statements.append(_DELETE_ITEMS(queue_ids=bigints(ids), keys=byteas(keys)))
    return statements


def _over(fact: ItemSet) -> int | None:
    """When an ended batch without jobs is removed, in elapsed milliseconds; None for a batch that has not ended."""
    batch = None if fact.value is None else batch_of(fact.value)
    return None if batch is None or batch.ended is None else batch.ended + kept_after_end(batch)


def _written(rows: Rows, kept: Mapping[Key, ItemSet], queues: Mapping[str, tuple[int, Queue]]) -> dict[str, Array]:
    """The columns of things that are written."""
    ids, keys = zip(*kept, strict=True)
    facts = [ItemSet(queues[fact.queue][1].salt, fact.kind, fact.name, fact.value) for fact in kept.values()]
    return {
        "queue_ids": bigints(ids),
        "keys": byteas(keys),
        "kinds": byteas([rows.kind(fact.kind) for fact in kept.values()]),
        "sealed": byteas(rows.sealed(facts)),
    }


def schedules_counted(queue_ids: Sequence[int], rows: Rows) -> list[Statement]:
    """The statement that counts the schedules of queues; see ScheduleCounts."""
    return [_COUNT_SCHEDULES(queue_ids=bigints(queue_ids), kind=rows.kind(SCHEDULE))] if queue_ids else []
