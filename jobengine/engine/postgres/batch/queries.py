"""The statements that lock and load jobs, and those that read stats of queues."""

from collections.abc import Sequence
from typing import Any, Final

from ....core.places import Mark, Place
from ....core.values import Value
from ..database.arrays import Array, bigints, byteas, texts
from ..database.pipeline import Statement
from ..sql import named

#: A queue's number, with a job's uid or the digest of a unique key.
Uid = tuple[int, str]
Key = tuple[int, bytes]

#: A unique key that a batch locks before it adds jobs to a queue with a job limit; real unique keys are never empty.
#: The queue's row can't serve as this lock: batches with events lock it last, after the jobs.
LIMIT: Final = b""
#: Each batch gets 2^ARRIVALS arrival numbers: more than the jobs that a batch can add.
ARRIVALS: Final = 20
#: The most bytes of contents to load for all claims with the same queue and tags; the rules give no claim more than
#: this.
CLAIMED_BYTES: Final = 16 << 20
#: The number of priorities to search for the oldest job; see QueueTable.oldest_ready.
_PRIORITIES: Final = 100

_LOCK_DUE_JOBS: Final = named("lock_due_jobs")
_LOCK_JOBS_DUE_BY_WALL_CLOCK: Final = named("lock_jobs_due_by_wall_clock")
_LOCK_JOBS: Final = named("lock_jobs")
_READ_JOBS: Final = named("read_jobs")
_LOCK_KEY_HOLDERS: Final = named("lock_key_holders")
_LOCK_JOBS_AND_KEY_HOLDERS: Final = named("lock_jobs_and_key_holders")
_MAKE_KEYS: Final = named("make_keys")
_LOCK_KEYS: Final = named("lock_keys")
_SHARE_KEYS: Final = named("share_keys")
_CLAIM: Final = named("claim")
_CLAIM_BESIDE: Final = named("claim_beside")
_CLAIM_TAGGED: Final = named("claim_tagged")
_PEEK: Final = named("peek")
_PEEK_TAGGED: Final = named("peek_tagged")
_NEXT_ARRIVAL: Final = named("next_arrival")
_COUNT_JOBS: Final = named("count_jobs")
_COUNT_PLACES: Final = named("count_places")
_COUNT_QUEUES: Final = named("count_queues")
_OLDEST_READY_JOB: Final = named("oldest_ready_job")
_COUNT_JOBS_AHEAD: Final = named("count_jobs_ahead")


def due(queue_id: int, elapsed: int, wall: int, most: int) -> list[Statement]:
    """
    The statements that lock and load due jobs: at most `most` by elapsed time and `most` by the wall clock, without
    jobs that others have locked.
    """
    return [
        _LOCK_DUE_JOBS(queue_id=queue_id, elapsed=elapsed, most=most),
        _LOCK_JOBS_DUE_BY_WALL_CLOCK(queue_id=queue_id, wall=wall, most=most),
    ]


def keys_locked(keys: Sequence[Key], *, shared: bool = False) -> list[Statement]:
    """
    The statements that insert the missing rows of sorted unique keys, and lock all; with `shared`, other batches may
    share the locks. The second statement returns a row for each key.
    """
    if not keys:
        return []
    queue_ids, digests = _columns_of_keys(keys)
    lock = _SHARE_KEYS if shared else _LOCK_KEYS
    return [_MAKE_KEYS(queue_ids=queue_ids, keys=digests), lock(queue_ids=queue_ids, keys=digests)]


def jobs_named(uids: Sequence[Uid], keys: Sequence[Key], *, locks: bool) -> list[Statement]:
    """
    The statement that loads the jobs with these uids and the holders of these keys. With `locks`, or if there are keys,
    it locks all of them.
    """
    values: dict[str, Array] = {}
    if uids:
        values |= {"queue_ids": bigints([one[0] for one in uids]), "uids": texts([one[1] for one in uids])}
    if keys:
        values |= zip(("key_queue_ids", "keys"), _columns_of_keys(keys), strict=True)
        return [(_LOCK_JOBS_AND_KEY_HOLDERS if uids else _LOCK_KEY_HOLDERS)(**values)]
    return [(_LOCK_JOBS if locks else _READ_JOBS)(**values)] if uids else []


class Claiming(Value, frozen=True, kw_only=True):
    """All of a batch's claims from one queue with the same tags."""

    queue_id: int
    #: The digests of the tags.
    tags: Sequence[bytes]
    #: How many jobs all these claims may take together.
    most: int
    #: The uids of the queue's jobs that are also loaded by uid.
    uids: Sequence[str]
    wall: int


def claim(claiming: Claiming, *, locks: bool) -> Statement:
    """
    The statement that loads the first ready jobs and, with `locks`, locks them. It then skips jobs that others have
    locked, and returns one row of NULLs if these are all ready jobs.
    """
    values: dict[str, Any] = {"queue_id": claiming.queue_id, "wall": claiming.wall, "most": claiming.most}
    if claiming.tags:
        values |= {"tag": claiming.tags[0], "tags": byteas(claiming.tags), "tag_count": len(claiming.tags)}
    if not locks:
        return (_PEEK_TAGGED if claiming.tags else _PEEK)(**values, bytes=CLAIMED_BYTES)
    if claiming.tags:
        return _CLAIM_TAGGED(**values, uids=texts(claiming.uids), bytes=CLAIMED_BYTES)
    if claiming.uids:
        return _CLAIM_BESIDE(**values, uids=texts(claiming.uids), bytes=CLAIMED_BYTES)
    return _CLAIM(**values, bytes=CLAIMED_BYTES)


def next_arrival() -> Statement:
    """
    The statement that reads the arrival number of the batch's first new job; the other new jobs get the numbers after
    it.
    """
    return _NEXT_ARRIVAL()


def sizes(queue_ids: Sequence[int]) -> Statement:
    """The statement that reads the size of each of these queues: one row for each queue that ever had jobs."""
    return _COUNT_JOBS(queue_ids=bigints(queue_ids), places=bigints([*Place]))


def counts(queue_ids: Sequence[int]) -> Statement:
    """
    The statement that reads counts of jobs for each of these queues: by place (see core/places.py), and of retrying and
    cancelled jobs.
    """
    return _COUNT_PLACES(queue_ids=bigints(queue_ids), places=bigints([*Place, *Mark]))


def queues_counted(most: int) -> Statement:
    """The statement that counts queues, but not beyond `most`."""
    return _COUNT_QUEUES(most=most)


def oldest(queue_id: int) -> Statement:
    """The statement that reads when the oldest ready job was added, or NULL; see QueueTable.oldest_ready."""
    return _OLDEST_READY_JOB(queue_id=queue_id, priorities=_PRIORITIES)


def ahead(queue_id: int, inv_prio: int, arrival: int) -> Statement:
    """The statement that counts the ready jobs before a rank."""
    return _COUNT_JOBS_AHEAD(queue_id=queue_id, inv_prio=inv_prio, arrival=arrival)


def _columns_of_keys(keys: Sequence[Key]) -> tuple[Array, Array]:
    return bigints([one[0] for one in keys]), byteas([one[1] for one in keys])
