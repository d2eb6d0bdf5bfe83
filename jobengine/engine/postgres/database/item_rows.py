"""
The rows of the table `item`: the named things of queues.

Whoever may change a thing has locked its key in the table `unique_key` before, also while there is no such thing. So
the rows themselves need no lock.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, LiteralString

from psycopg import Connection

from ....core.facts import ItemSet
from ....core.model import Queue
from ....storage.errors import Damaged
from .arrays import bigints, byteas
from .pipeline import Row, Statement
from .rows import Rows

#: Reads the things with these keys.
_NAMED: Final[LiteralString] = (
    "SELECT i.queue_id, i.key, i.sealed FROM unnest((SELECT %s), %s::bytea[]) AS n (queue_id, key) "
    "JOIN item i USING (queue_id, key)"
)
#: Reads all things of these kinds.
_OF_KINDS: Final[LiteralString] = (
    "SELECT i.queue_id, i.key, i.sealed FROM unnest((SELECT %s), %s::bytea[]) AS n (queue_id, kind) "
    "JOIN item i USING (queue_id, kind)"
)
_OF_QUEUE: Final[LiteralString] = "SELECT queue_id, key, sealed FROM item WHERE queue_id = %s ORDER BY key"
_WRITE: Final[LiteralString] = (
    "INSERT INTO item (queue_id, key, kind, sealed) "
    "SELECT * FROM unnest(%s::bigint[], %s::bytea[], %s::bytea[], %s::bytea[]) ORDER BY 1, 2 "
    "ON CONFLICT (queue_id, key) DO UPDATE SET sealed = excluded.sealed"
)
_REMOVE: Final[LiteralString] = (
    "DELETE FROM item i USING unnest(%s::bigint[], %s::bytea[]) AS n (queue_id, key) "
    "WHERE i.queue_id = n.queue_id AND i.key = n.key"
)
#: A queue's number, and the digest of a thing's kind and name, or of a kind.
Key = tuple[int, bytes]


def items_named(keys: Sequence[Key]) -> list[Statement]:
    """The statement that reads things by their keys."""
    return _reading(_NAMED, keys)


def items_of_kinds(kinds: Sequence[Key]) -> list[Statement]:
    """The statement that reads all things of some kinds."""
    return _reading(_OF_KINDS, kinds)


def _reading(text: LiteralString, keys: Sequence[Key]) -> list[Statement]:
    return [Statement(text, [bigints([one[0] for one in keys]), byteas([one[1] for one in keys])])] if keys else []


def item_of(rows: Rows, queue: Queue, row: Row) -> ItemSet:
    """The thing in a row; raises Damaged if its record belongs to another row."""
    _, key, sealed = row
    fact = rows.opened(sealed)
    if not isinstance(fact, ItemSet) or fact.queue != queue.salt or rows.item(fact.kind, fact.name) != key:
        raise Damaged("a row of the table item holds the record of another thing")
    return ItemSet(queue.name, fact.kind, fact.name, fact.value)


def all_items(connection: "Connection[Row]", rows: Rows, number: int, queue: Queue) -> Iterator[ItemSet | Damaged]:
    """The things of a queue, and for a damaged row why it is damaged."""
    for row in connection.execute(_OF_QUEUE, [number], binary=True):
        try:
            yield item_of(rows, queue, row)
        except Damaged as error:
            yield error


def items_written(rows: Rows, facts: Sequence[ItemSet], queues: Mapping[str, tuple[int, Queue]]) -> list[Statement]:
    """The statements that write things, the last fact about each; `queues` has the numbers of their queues."""
    last = {(queues[fact.queue][0], rows.item(fact.kind, fact.name)): fact for fact in facts}
    kept = {key: fact for key, fact in sorted(last.items()) if fact.value is not None}
    gone = sorted(last.keys() - kept.keys())
    statements = []
    if kept:
        sealed = rows.sealed(
            [ItemSet(queues[fact.queue][1].salt, fact.kind, fact.name, fact.value) for fact in kept.values()]
        )
        kinds = [rows.kind(fact.kind) for fact in kept.values()]
        ids, keys = zip(*kept, strict=True)
        statements.append(Statement(_WRITE, [bigints(ids), byteas(keys), byteas(kinds), byteas(sealed)]))
    if gone:
        ids, keys = zip(*gone, strict=True)
        statements.append(Statement(_REMOVE, [bigints(ids), byteas(keys)]))
    return statements
