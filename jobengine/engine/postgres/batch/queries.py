"""The statements that lock and load jobs, and those that read figures of queues."""

from collections.abc import Sequence
from typing import Any, Final, LiteralString

from attrs import frozen

from ....core.places import Mark, Place
from ..database.arrays import Array, bigints, byteas, texts
from ..database.pipeline import Statement

#: A queue's number with the uid of a job, or with a unique key, as a digest.
Uid = tuple[int, str]
Key = tuple[int, bytes]

#: Whoever adds jobs to a queue with a limit locks this as a unique key; the keys of jobs are never empty. The queue's
#: row will not do: with events it is locked last, after the jobs.
LIMIT: Final = b""
#: A batch has 2 to this power arrival numbers, more than it can add jobs.
ARRIVALS: Final = 20
#: Bytes of contents that are loaded for all claims with the same queue and tags. The rules hand out no more to one.
CLAIMED_BYTES: Final = 16 << 20
#: How many priorities are looked at for the oldest job; see QueueTable.oldest_ready.
_PRIORITIES: Final = 100

_DUE: Final[LiteralString] = (
    "SELECT queue_id, uid, sealed, said, place FROM job WHERE queue_id = %s AND {due} <= %s ORDER BY {due} LIMIT %s "
    "FOR UPDATE SKIP LOCKED"
)
_NAMED: Final[LiteralString] = (
    "SELECT j.queue_id, j.uid, j.sealed, j.said, j.place FROM ({which}) w JOIN job j USING (queue_id, uid) "
    "ORDER BY j.queue_id, j.uid"
)
_BY_UID: Final[LiteralString] = "SELECT * FROM unnest((SELECT %s), %s::text[]) AS u (queue_id, uid)"
_BY_KEY: Final[LiteralString] = (
    "SELECT j.queue_id, j.uid FROM unnest((SELECT %s), %s::bytea[]) AS k (queue_id, unique_key) "
    "JOIN job j USING (queue_id, unique_key)"
)
_UNION: Final[LiteralString] = " UNION "
_LOCKED: Final[LiteralString] = " FOR UPDATE OF j"
#: Makes the rows that are locked next.
_KEYS: Final[LiteralString] = (
    "INSERT INTO unique_key SELECT * FROM unnest((SELECT %s), %s::bytea[]) ORDER BY 1, 2 ON CONFLICT DO NOTHING"
)
_LOCK_KEYS: Final[LiteralString] = (
    "SELECT 1 FROM unnest((SELECT %s), %s::bytea[]) AS w (queue_id, key) JOIN unique_key k USING (queue_id, key) "
    "ORDER BY k.queue_id, k.key FOR UPDATE OF k"
)
#: Begins at the queue's claim start; see claim_start.py. A job whose time has come is not ready any more, even if that
#: is not written yet. A row of NULLs: jobs are ready, but others have locked them all.
_CLAIM: Final[LiteralString] = (
    "WITH first AS MATERIALIZED (SELECT j.queue_id, j.uid, j.inv_prio, j.arrival, j.bytes, j.sealed, j.said "
    "FROM {source} AND j.place = 0 AND coalesce(j.due_wall > %s, true) ORDER BY {order} LIMIT {most} {lock}) "
    "SELECT queue_id, uid, sealed, said, 0::smallint FROM (SELECT *, sum(bytes) OVER (ORDER BY inv_prio, arrival) - "
    "bytes AS before FROM first) f WHERE before <= %s UNION ALL SELECT NULL, NULL, NULL, NULL, NULL "
    "WHERE NOT EXISTS (SELECT FROM first) "
    "AND EXISTS (SELECT FROM {source} AND j.place = 0 AND coalesce(j.due_wall > %s, true))"
)
#: As many as claims take, and as many as other commands, whose jobs are locked already, may take from them. Each OFFSET
#: keeps PostgreSQL from reading all ready jobs to find these.
_MOST: Final[LiteralString] = (
    "%s + (SELECT count(*) FROM (SELECT unnest(%s::text[]) AS uid OFFSET 0) u, "
    "LATERAL (SELECT place FROM job WHERE queue_id = %s AND uid = u.uid OFFSET 0) n WHERE n.place = 0)"
)
_UNTAGGED: Final[LiteralString] = (
    "job j WHERE j.queue_id = %s AND (j.inv_prio, j.arrival) >= "
    "((SELECT floor_prio FROM queue WHERE id = %s), (SELECT floor_arrival FROM queue WHERE id = %s))"
)
_TAGGED: Final[LiteralString] = (
    "tag t JOIN job j USING (queue_id, uid) WHERE t.queue_id = %s AND (t.inv_prio, t.arrival) >= "
    "((SELECT floor_prio FROM queue WHERE id = %s), (SELECT floor_arrival FROM queue WHERE id = %s)) "
    "AND t.tag = %s AND (SELECT count(*) FROM tag o "
    "WHERE o.queue_id = t.queue_id AND o.tag = ANY(%s) AND o.inv_prio = t.inv_prio AND o.arrival = t.arrival "
    "AND o.uid = t.uid) = %s"
)
#: The arrival number of the first job that a batch adds.
_NEXT_ARRIVAL: Final[LiteralString] = f"SELECT nextval('batch') << {ARRIVALS}"
#: A damaged count shows as a wrong number, never as an error.
_JOBS: Final[LiteralString] = "least(greatest(sum(jobs), 0), 4611686018427387904)::bigint"
_OF_QUEUES: Final[LiteralString] = "FROM tally WHERE queue_id = ANY(%s) AND place = ANY(%s)"
_SIZES: Final[LiteralString] = f"SELECT queue_id, {_JOBS} {_OF_QUEUES} GROUP BY 1"
_COUNTS: Final[LiteralString] = f"SELECT queue_id, place, {_JOBS} {_OF_QUEUES} GROUP BY 1, 2"
#: Queues are numbered one after the other, so there are no more of them than numbers. They are counted only if that may
#: be too many.
_QUEUES_COUNTED: Final[LiteralString] = (
    "SELECT CASE WHEN numbers < %s THEN numbers ELSE (SELECT count(*) FROM (SELECT FROM queue LIMIT %s) q) END "
    "FROM (SELECT coalesce((SELECT id FROM queue ORDER BY id DESC LIMIT 1) + 1 "
    "- (SELECT id FROM queue ORDER BY id LIMIT 1), 0) AS numbers) n"
)
#: The first of each priority is its oldest.
_OLDEST: Final[LiteralString] = (
    "WITH RECURSIVE first AS ("
    "(SELECT inv_prio, created, 1 AS n FROM job WHERE queue_id = %s AND place = 0 ORDER BY inv_prio, arrival LIMIT 1) "
    "UNION ALL SELECT o.inv_prio, o.created, f.n + 1 FROM first f, LATERAL (SELECT inv_prio, created FROM job "
    "WHERE queue_id = %s AND place = 0 AND inv_prio > f.inv_prio ORDER BY inv_prio, arrival LIMIT 1) o "
    "WHERE f.n < %s) SELECT min(created) FROM first"
)
_AHEAD: Final[LiteralString] = (
    "SELECT count(*) FROM job WHERE queue_id = %s AND place = 0 AND (inv_prio, arrival) < (%s, %s)"
)


def due(queue_id: int, elapsed: int, wall: int, most: int) -> list[Statement]:
    """Lock and load the jobs that are due, at most so many by each clock; skips those that others have locked."""
    clocks = ((_DUE.format(due="due"), elapsed), (_DUE.format(due="due_wall"), wall))
    return [Statement(text, [queue_id, until, most]) for text, until in clocks]


def keys_locked(keys: Sequence[Key]) -> list[Statement]:
    """Make the rows of sorted unique keys that are not there, then lock all: the latter returns a row for each."""
    columns = _columns_of_keys(keys)
    return [Statement(_KEYS, columns), Statement(_LOCK_KEYS, columns)] if keys else []


def named(uids: Sequence[Uid], keys: Sequence[Key], *, locks: bool) -> list[Statement]:
    """Load the jobs with these uids, and the holders of these unique keys, in one order."""
    parts = [(_BY_UID, [bigints([one[0] for one in uids]), texts([one[1] for one in uids])])] if uids else []
    parts += [(_BY_KEY, _columns_of_keys(keys))] if keys else []
    text = _NAMED.format(which=_UNION.join(text for text, _ in parts)) + (_LOCKED if locks else "")
    return [Statement(text, [column for _, columns in parts for column in columns])] if parts else []


@frozen(kw_only=True)
class Claiming:
    """All claims of a batch from one queue with the same tags."""

    queue_id: int
    #: The digests of the tags.
    tags: Sequence[bytes]
    #: How many jobs all claims of the batch from this queue take.
    most: int
    #: The jobs of the queue that are loaded by uid.
    uids: Sequence[str]
    wall: int


def claim(claiming: Claiming, *, locks: bool) -> Statement:
    """Load the first jobs; skips those that others have locked. Returns one row of NULLs if these are all."""
    tags, queue_id, wall = claiming.tags, claiming.queue_id, claiming.wall
    source, order = (_TAGGED, "t.inv_prio, t.arrival") if tags else (_UNTAGGED, "j.inv_prio, j.arrival")
    values: list[Any] = [queue_id] * 3
    values += [tags[0], byteas(tags), len(tags)] if tags else []
    most: LiteralString = _MOST if claiming.uids else "%s"
    others: list[Any] = [texts(claiming.uids), queue_id] if claiming.uids else []
    text = _CLAIM.format(source=source, order=order, most=most, lock=_LOCKED + " SKIP LOCKED" if locks else "")
    return Statement(text, [*values, wall, claiming.most, *others, CLAIMED_BYTES, *values, wall])


def next_arrival() -> Statement:
    """The arrival number of the first job that a batch adds; those of its other jobs follow."""
    return Statement(_NEXT_ARRIVAL)


def sizes(queue_ids: Sequence[int]) -> Statement:
    """How many jobs each of these queues has: a row for each that has had any."""
    return Statement(_SIZES, [bigints(queue_ids), bigints([*Place])])


def counts(queue_ids: Sequence[int]) -> Statement:
    """How many jobs are in each place of these queues, how many are retrying, and how many were cancelled."""
    return Statement(_COUNTS, [bigints(queue_ids), bigints([*Place, *Mark])])


def queues_counted(most: int) -> Statement:
    """How many queues there are, if there may be `most` or more; or else a number of fewer than that."""
    return Statement(_QUEUES_COUNTED, [most, most])


def oldest(queue_id: int) -> Statement:
    """When the oldest ready job was added, or NULL; see QueueTable.oldest_ready."""
    return Statement(_OLDEST, [queue_id, queue_id, _PRIORITIES])


def ahead(queue_id: int, inv_prio: int, arrival: int) -> Statement:
    """How many ready jobs come before a place in execution order."""
    return Statement(_AHEAD, [queue_id, inv_prio, arrival])


def _columns_of_keys(keys: Sequence[Key]) -> list[Array]:
    return [bigints([one[0] for one in keys]), byteas([one[1] for one in keys])]
