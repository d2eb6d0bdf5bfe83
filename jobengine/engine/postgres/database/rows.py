"""
Converts jobs and queues into rows of the database, and back.

Jobs that were recently encrypted or decrypted are cached, since most jobs are claimed and finished on the server that
added them. The cache saves a tenth of a bulk job's time; see benchmarks/lab-book.md.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from attrs import define, field, frozen
from msgspec import MsgspecError

from ....core.batches import BATCH
from ....core.fact_codec import UnknownRecord, decode, encode
from ....core.facts import Fact, ItemSet, JobAdded, JobChanged, QueueCreated
from ....core.flow import GROUP
from ....core.key_holders import may_hold
from ....core.model import UNFINISHED, Job, Queue, Standing
from ....core.places import place_of
from ....storage.errors import Damaged, NewerFormat
from .encryption import Seal
from .known_damage import DamagedQueues

K = TypeVar("K")
V = TypeVar("V")

#: A recount adds this to the negative `place` of a damaged row: the row is then no longer counted among the retrying or
#: cancelled jobs. Before a recount it still is, since its records can't be read.
MARKS_RECOUNTED: Final = -10
#: The most jobs in each half of the cache.
_KEPT: Final = 4_096
#: The most record bytes of a cached job. So all records take at most 16 MiB, and the job values as much again.
_LONG: Final = 2_048
#: The most queues in a cache.
MOST_QUEUES: Final = 20_000
#: The most names of groups in a cache: with their digests and sealed names 64 MiB in all, about 480 bytes for a group.
_GROUPS: Final = 1 << 17
#: A position in execution order: the columns `inv_prio` and `arrival`.
RowRank = tuple[int, int]
#: The claim start before all jobs.
NO_CLAIM_START: Final[RowRank] = (-(1 << 63), -1)
#: The largest number in a column; later than any time.
_MOST: Final = (1 << 63) - 1


@frozen(kw_only=True)
class Known:
    """A queue as read from the database."""

    #: The queue's number; a queue that is deleted and created again gets a new number.
    id: int
    #: The number of times that the queue was reconfigured.
    rev: int
    queue: Queue
    #: Whether the queue's events are kept for watchers.
    watched: bool
    #: Whether some jobs are due.
    due: bool
    #: The proposed claim start, or else the claim start; see claim_start.py.
    claim_start: RowRank = NO_CLAIM_START


def has_flow(known: Known | None) -> bool:
    """Whether a queue exists and has limits or groups."""
    return known is not None and known.queue.flow is not None


def keep(queues: dict[K, V], key: K, value: V) -> None:
    """Put a value into a cache of queues. A full cache is emptied first, which also removes deleted queues."""
    if len(queues) >= MOST_QUEUES:
        queues.clear()
    queues[key] = value


#: A job's records as stored: the salt of its queue, and the columns `sealed` and `said`.
_Records = tuple[str, bytes, bytes | None]


@define
class _JobCache:
    """A cache of recently encrypted or decrypted jobs with their records, by uid: at most twice _KEPT."""

    _young: dict[str, tuple[_Records, Job]] = field(factory=dict)
    _old: dict[str, tuple[_Records, Job]] = field(factory=dict)

    def get(self, uid: str) -> tuple[_Records, Job] | None:
        """The cached job with this uid."""
        return self._young.get(uid) or self._old.get(uid)

    def keep(self, records: _Records, job: Job) -> None:
        """Cache a job, unless its records are long."""
        if len(records[1]) + len(records[2] or b"") > _LONG:
            return
        if len(self._young) >= _KEPT:
            self._old, self._young = self._young, {}
        self._young[job.spec.uid] = (records, job)


@define
class Rows:
    """Turns values into rows and rows into values."""

    seal: Seal
    _cache: _JobCache = field(factory=_JobCache, init=False)
    #: A cache of decrypted queues by number, each with its revision.
    _queues: dict[int, tuple[int, Queue]] = field(factory=dict)
    damaged: DamagedQueues = field(factory=DamagedQueues, init=False)
    #: Caches of the digests of groups and batches.
    _groups: dict[str, bytes] = field(factory=dict, init=False)
    _batches: dict[str, bytes] = field(factory=dict, init=False)
    #: A cache of sealed names by the queue's salt, kind and name.
    _sealed_names: dict[tuple[str, str, str], bytes] = field(factory=dict, init=False)

    def queue(self, number: int, rev: int, digest: bytes, sealed: bytes) -> Queue:
        """The queue in a row; raises Damaged if the record was sealed for another row."""
        kept = self._queues.get(number)
        if kept is None or kept[0] != rev:
            kept = (rev, self._open_queue(digest, sealed))
            keep(self._queues, number, kept)
        return kept[1]

    def is_paused(self, number: int, rev: int) -> bool:
        """Whether the queue is paused, as far as the cache knows this revision."""
        kept = self._queues.get(number)
        return kept is not None and kept[0] == rev and kept[1].paused

    def _open_queue(self, digest: bytes, sealed: bytes) -> Queue:
        fact = self.opened(sealed)
        if not isinstance(fact, QueueCreated) or self.name(fact.queue.name) != digest:
            raise Damaged("a row of the table queue holds the record of another queue")
        return fact.queue

    def sealed_queue(self, queue: Queue) -> bytes:
        """The sealed record of a queue."""
        return self.seal.seal(encode(QueueCreated(queue)))

    def job(self, queue: Queue, uid: str, sealed: bytes, standing: bytes | None) -> Job:
        """The job in a row; raises Damaged if the records were sealed for another row."""
        records = (queue.salt, sealed, standing)
        kept = self._cache.get(uid)
        if kept is not None and kept[0] == records:
            return kept[1]
        job = self._whole(queue, uid, sealed)
        if standing is not None:
            job = Job(job.spec, self._standing(queue, uid, standing))
        self._cache.keep(records, job)
        return job

    def _whole(self, queue: Queue, uid: str, sealed: bytes) -> Job:
        fact = self.opened(sealed)
        # Records hold the queue's salt, not its name, so that a record of a deleted queue with the same name is
        # refused.
        if not isinstance(fact, JobAdded) or (fact.queue, fact.job.spec.uid) != (queue.salt, uid):
            raise Damaged("a row of the table job holds the record of another job")
        return fact.job

    def _standing(self, queue: Queue, uid: str, standing: bytes) -> Standing:
        fact = self.opened(standing)
        if not isinstance(fact, JobChanged) or (fact.queue, fact.uid) != (queue.salt, uid):
            raise Damaged("a row of the table job holds the change of another job")
        return fact.standing

    def opened(self, sealed: bytes) -> Fact:
        """The fact in a sealed record; raises Damaged, and NewerFormat for a record of a newer version."""
        try:
            return decode(self.seal.open(sealed))
        except UnknownRecord as error:
            raise NewerFormat(f"the database has newer records; use a newer JobEngine: {error}") from None
        except (MsgspecError, TypeError, ValueError):
            # The record was encrypted for another table, which holds no facts.
            raise Damaged("a row of the database holds a record of an unexpected kind") from None

    def sealed(self, facts: Sequence[Fact]) -> list[bytes]:
        """The sealed records of facts."""
        return self.seal.seal_all([encode(fact) for fact in facts])

    def sealed_jobs(self, jobs: "Sequence[tuple[Queue, Job]]") -> list[bytes]:
        """The sealed records of whole jobs."""
        records = self.sealed([JobAdded(queue.salt, job) for queue, job in jobs])
        for (queue, job), record in zip(jobs, records, strict=True):
            self._cache.keep((queue.salt, record, None), job)
        return records

    def sealed_standings(self, jobs: "Sequence[tuple[Queue, Job]]") -> list[bytes]:
        """
        The encrypted standings of jobs, for the column `said`.

        Finished jobs are not cached, because they are hardly read again.
        """
        records = self.sealed([JobChanged(queue.salt, job.spec.uid, job.standing) for queue, job in jobs])
        for (queue, job), record in zip(jobs, records, strict=True):
            kept = self._cache.get(job.spec.uid) if job.state in UNFINISHED else None
            # If the spec is the same object, its cached record is still right.
            if kept is not None and kept[1].spec is job.spec:
                self._cache.keep((queue.salt, kept[0][1], record), job)
        return records

    def standings(self, jobs: Sequence[Job]) -> list[Sequence[Any]]:
        """
        The uids of jobs, and the columns that change with a job's standing, in the column order of
        batch/write.py.
        """
        return [
            [job.spec.uid for job in jobs],
            [place_of(job.standing) for job in jobs],
            [_time(job.deadline) for job in jobs],
            [_time(job.wall_deadline) for job in jobs],
            [job.standing.updated for job in jobs],
            [self._key(job) for job in jobs],
            [job.size for job in jobs],
        ]

    def deadlines(self, job: Job) -> tuple[int | None, int | None]:
        """The columns `due` and `due_wall` of a job."""
        return _time(job.deadline), _time(job.wall_deadline)

    def _key(self, job: Job) -> bytes | None:
        key = job.spec.rare.unique_key
        return None if key is None or not may_hold(job) else self.unique_key(key)

    def name(self, name: str) -> bytes:
        """The digest by which a queue is looked up."""
        return self.seal.digest(b"je-queue", name)

    def unique_key(self, key: str) -> bytes:
        """The digest by which a unique key is looked up."""
        return self.seal.digest(b"je-unique", key)

    def group(self, name: str) -> bytes:
        """The digest by which a group and its settings are looked up; the latest digests are cached."""
        return self._groups.get(name) or self._cached(self._groups, GROUP, name)

    def _cached(self, digests: dict[str, bytes], kind: str, name: str) -> bytes:
        """Put the digest of a named thing into a cache; a full cache is emptied first."""
        if len(digests) >= _GROUPS:
            digests.clear()
        key = digests[name] = self.item(kind, name)
        return key

    def item(self, kind: str, name: str) -> bytes:
        """The digest by which a named thing is looked up."""
        return self.seal.digest(b"je-item", f"{kind} {name}")

    def batch_of(self, job: Job | None) -> bytes | None:
        """The column `batch` of a job: the key of its batch in the table `item`."""
        name = None if job is None else job.spec.rare.batch
        return None if name is None else self._batches.get(name) or self._cached(self._batches, BATCH, name)

    def sealed_names(self, queue: Queue, kind: str, names: Sequence[str]) -> list[bytes]:
        """The sealed names of things of a kind, such as groups; the latest results are cached."""
        cache, salt = self._sealed_names, queue.salt
        known = {name: record for name in names if (record := cache.get((salt, kind, name))) is not None}
        missing = [name for name in names if name not in known]
        if missing:
            known |= zip(missing, self.sealed([ItemSet(salt, kind, name, None) for name in missing]), strict=True)
            if len(cache) >= _GROUPS:
                cache.clear()
            cache.update({(salt, kind, name): known[name] for name in missing})
        return [known[name] for name in names]

    def kind(self, kind: str) -> bytes:
        """The digest by which all things of a kind are looked up."""
        return self.seal.digest(b"je-kind", kind)

    def fingerprint(self, fingerprint: str) -> bytes:
        """The digest by which the failures of a fingerprint are looked up."""
        return self.seal.digest(b"je-failure", fingerprint)

    def tags(self, tags: Sequence[str]) -> list[bytes]:
        """The digests by which tags are looked up."""
        return [self.seal.digest(b"je-tag", tag) for tag in tags]


def rank_of(job: Job) -> RowRank:
    """The job's position in execution order."""
    first, arrival, _ = job.spec.rank
    # The column `inv_prio` is ~priority, which is less by one than -priority.
    return first - 1, arrival


def moving_of(queue: Queue) -> int:
    """The column `moving` of a queue before a server moves its jobs: 1 while they may have places of an old order."""
    return int(queue.order is not None and queue.order.changed > 0)


def check_place(job: Job, place: int) -> None:
    """Raise Damaged if a row's column `place` contradicts the job in its records."""
    true = place_of(job.standing)
    if true != place:
        raise Damaged(f"in a row of the table job, the column place is {place}, but the job's records require {true}")


def is_set_apart(place: int) -> bool:
    """Whether the row with this `place` was set apart as damaged; see damage.py."""
    return place < 0


def _time(when: int | None) -> int | None:
    return None if when is None else min(when, _MOST)
