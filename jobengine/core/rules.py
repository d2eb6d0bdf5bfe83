"""
What each command does: `decide` reads the state and returns facts; it changes nothing.

The clock and new ids are arguments, so the same call gives the same facts on any day.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import nsmallest
from hmac import compare_digest
from itertools import islice
from typing import Any, Final, Protocol, TypeVar

from attrs import evolve
from msgspec.structs import replace

from . import commands as c
from .access import authorise, digest_of, with_own_digest
from .adding import add_jobs
from .errors import (
    ClaimRequired,
    DomainError,
    JobNotFound,
    KeyNotFound,
    KeyTaken,
    LeaseLost,
    LeaseRequired,
    QueueExists,
    QueueNotFound,
    TooManyKeys,
    TooManyQueues,
)
from .facts import Fact, JobChanged, JobRemoved, QueueChanged, QueueCreated, QueueDeleted
from .model import (
    INPROGRESS,
    QUEUED,
    SECOND,
    AccessKey,
    Grant,
    Job,
    OldKey,
    Queue,
    QueueStats,
    QueueTotals,
    Rank,
    Recent,
    Standing,
    State,
)
from .searching import matches
from .sorting import position
from .state import Tables
from .tables import Table, TableSet
from .updating import timed_out, update

__all__ = ["Decision", "Lately", "NewId", "decide", "expire", "latest_change", "renew_key"]

#: Makes a random UUID as text at each call.
NewId = Callable[[], str]

A = TypeVar("A")
#: Facts, and the answer.
Decision = tuple[Sequence[Fact], A]

#: A claim of many jobs ends before their contents exceed this many bytes: the answer is built in memory.
_CLAIMED_BYTES: Final = 16 << 20
#: How many keys a queue may have beside the owner's.
_MOST_KEYS: Final = 100

_NOTHING: Final[tuple[Fact, ...]] = ()


class Lately(Protocol):
    """Gives the recent activity of a queue by its name."""

    def recent(self, name: str) -> Recent:
        """In the last minute and hour."""

    def since_start(self, name: str) -> Mapping[str, int]:
        """Since the engine was started; see QueueTotals."""


class _Uncounted:
    """For an engine that does not count."""

    def recent(self, _name: str) -> Recent:
        """Nothing."""
        return Recent(last_minute={}, last_hour={})

    def since_start(self, _name: str) -> Mapping[str, int]:
        """Nothing."""
        return {}


_UNCOUNTED: Final = _Uncounted()


def decide(
    tables: TableSet, command: c.Command[A], now: int, new_id: NewId, lately: Lately = _UNCOUNTED
) -> Decision[A]:
    """
    Return the facts of `command` at `now` (elapsed time, in milliseconds), and its answer.

    Nothing may be due at `now`: apply the facts of `expire` first. Raises a DomainError if the command can't be carried
    out. The queue is checked first, then the key, then the job.
    """
    other = _OTHERS.get(type(command))
    if other is not None:
        return other(tables, command, now, new_id, lately)
    assert isinstance(command, c.QueueCommand)
    table = _table(tables, command.queue)
    grant = authorise(table.queue, command, now)
    return _OF_A_QUEUE[type(command)](table, grant, command, now, new_id)


def _table(tables: TableSet, name: str) -> Table:
    table = tables.queues.get(name)
    if table is None:
        raise QueueNotFound(name)
    return table


def renew_key(tables: TableSet, command: c.Command[A]) -> Sequence[Fact]:
    """
    The fact by which the key of a command gets a digest of its own, if it opens a queue of the Go version.

    Apply it before the command is decided. Leaving it out does no harm: the key still opens the queue.
    """
    if not isinstance(command, c.QueueCommand) or command.admin:
        return _NOTHING
    table = tables.queues.get(command.queue)
    queue = None if table is None else with_own_digest(table.queue, command.access_key)
    return _NOTHING if queue is None else [QueueChanged(queue)]


def expire(tables: TableSet, now: int, limit: int) -> list[Fact]:
    """
    The facts that time alone has brought about by `now`, for at most `limit` jobs, in each queue by deadline.

    Apply them and call this again until it returns none: a job that times out may be due for removal at once.
    """
    wall = tables.wall(now)
    return [_outlived(name, job, now, wall) for name, job in islice(tables.due(now), limit)]


def latest_change(tables: Tables) -> int:
    """When a job in progress last changed; 0 if there is none."""
    changes = (job.updated for table in tables.queues.values() for job in table.in_progress())
    return max(changes, default=0)


def _outlived(name: str, job: Job, now: int, wall: int) -> Fact:
    standing, spec = job.standing, job.spec
    if standing.state is State.INPROGRESS:
        return JobChanged(name, spec.uid, timed_out(job, now))
    if standing.state is State.QUEUED and (not spec.timeout_time or spec.timeout_time * SECOND > wall):
        ready_at = standing.ready_at if standing.ready_at > now else 0
        not_before = standing.not_before if standing.not_before > wall else 0
        return JobChanged(name, spec.uid, replace(standing, ready_at=ready_at, not_before=not_before))
    return JobRemoved(name, spec.uid)


def _job(table: Table, uid: str) -> Job:
    job = table.job(uid)
    if job is None:
        raise JobNotFound(uid)
    return job


# Queues


def _create_queue(tables: TableSet, command: c.CreateQueue, now: int, new_id: NewId, _lately: Lately) -> Decision[None]:
    if command.queue in tables.queues:
        raise QueueExists(command.queue)
    if command.max_queues is not None and not command.admin and len(tables.queues) >= command.max_queues:
        raise TooManyQueues(command.max_queues)
    salt = new_id()
    digest = digest_of(command.access_key, salt)
    return [QueueCreated(Queue(name=command.queue, salt=salt, digest=digest, created=now))], None


def _delete_queue(_table: Table, _grant: Grant, command: c.DeleteQueue, _now: int, _new_id: NewId) -> Decision[None]:
    return [QueueDeleted(command.queue)], None


def _change_queue(table: Table, _grant: Grant, command: c.ChangeQueue, now: int, _new_id: NewId) -> Decision[Queue]:
    names = ("paused", "draining", "require_lease", "max_jobs", "defaults")
    changes = {name: value for name in names if (value := getattr(command, name)) is not None}
    if command.new_access_key is not None:
        changes |= _new_owner_key(table.queue, command.new_access_key, now + command.old_key_seconds * SECOND, now)
    return _reconfigured(table, evolve(table.queue, **changes))


def _new_owner_key(queue: Queue, access_key: bytes, old_until: int, now: int) -> dict[str, Any]:
    """The changes for a new owner's key, with the present one valid until `old_until`."""
    digest = _new_digest(queue, access_key, [])
    if digest == queue.digest:
        return {}
    return {"digest": digest, "old_key": OldKey(digest=queue.digest, until=old_until) if old_until > now else None}


def _add_key(table: Table, _grant: Grant, command: c.AddKey, now: int, new_id: NewId) -> Decision[AccessKey]:
    if len(table.queue.keys) >= _MOST_KEYS:
        raise TooManyKeys(_MOST_KEYS)
    old = table.queue.old_key
    taken = [table.queue.digest, *([old.digest] if old is not None and old.until > now else ())]
    digest = _new_digest(table.queue, command.new_access_key, taken)
    key = AccessKey(id=new_id(), role=command.role, digest=digest, created=now)
    facts, _ = _reconfigured(table, evolve(table.queue, keys=(*table.queue.keys, key)))
    return facts, key


def _revoke_key(table: Table, _grant: Grant, command: c.RevokeKey, _now: int, _new_id: NewId) -> Decision[None]:
    keys = tuple(key for key in table.queue.keys if key.id != command.key_id)
    if len(keys) == len(table.queue.keys):
        raise KeyNotFound(command.key_id)
    facts, _ = _reconfigured(table, evolve(table.queue, keys=keys))
    return facts, None


def _new_digest(queue: Queue, access_key: bytes, taken: list[str]) -> str:
    """The digest of a new key; raises KeyTaken if a key with a role has it, or if it is in `taken`."""
    digest = digest_of(access_key, queue.salt)
    if any(compare_digest(digest, known) for known in (*taken, *(key.digest for key in queue.keys))):
        raise KeyTaken
    return digest


def _reconfigured(table: Table, queue: Queue) -> Decision[Queue]:
    return ([QueueChanged(queue)] if queue != table.queue else _NOTHING), queue


def _list_keys(
    table: Table, _grant: Grant, _command: c.ListKeys, _now: int, _new_id: NewId
) -> Decision[Sequence[AccessKey]]:
    return _NOTHING, table.queue.keys


def _check_key(_table: Table, grant: Grant, _command: c.CheckKey, _now: int, _new_id: NewId) -> Decision[Grant]:
    return _NOTHING, grant


def _subscribe(table: Table, _grant: Grant, _command: c.Subscribe, _now: int, _new_id: NewId) -> Decision[Queue]:
    return _NOTHING, table.queue


# Counting


def _read_stats(
    tables: TableSet, command: c.ReadStats, now: int, _new_id: NewId, lately: Lately
) -> Decision[QueueStats]:
    table = _table(tables, command.queue)
    authorise(table.queue, command, now)
    return _NOTHING, _stats(table, now, lately)


def _list_queues(
    tables: TableSet, command: c.ListQueues, now: int, _new_id: NewId, lately: Lately
) -> Decision[Sequence[QueueStats]]:
    return _NOTHING, [_stats(table, now, lately) for table in _some_tables(tables, command.after, command.limit)]


def _count_queues(
    tables: TableSet, command: c.CountQueues, now: int, _new_id: NewId, lately: Lately
) -> Decision[Sequence[QueueTotals]]:
    return _NOTHING, [
        QueueTotals(
            name=table.queue.name,
            counts=table.counts().states,
            oldest_ready=_age(table.oldest_ready(), now),
            totals=lately.since_start(table.queue.name),
        )
        for table in _some_tables(tables, command.after, command.limit)
    ]


def _some_tables(tables: TableSet, after: str | None, limit: int) -> list[Table]:
    names = nsmallest(limit, (name for name in tables.queues if after is None or name > after))
    return [tables.queues[name] for name in names]


def _age(since: int | None, now: int) -> int | None:
    """Milliseconds since a time; 0 if it is ahead, since the wall clock may have been set back between two runs."""
    return None if since is None else max(0, now - since)


def _stats(table: Table, now: int, lately: Lately) -> QueueStats:
    counts, recent = table.counts(), lately.recent(table.queue.name)
    return QueueStats(
        queue=table.queue,
        counts=counts.states,
        ready=counts.ready,
        delayed=counts.delayed,
        oldest_ready=_age(table.oldest_ready(), now),
        last_minute=recent.last_minute,
        last_hour=recent.last_hour,
        minutes=recent.minutes,
        wait=recent.wait,
        run=recent.run,
    )


# Looking


def _read_job(table: Table, grant: Grant, command: c.ReadJob, _now: int, _new_id: NewId) -> Decision[Job]:
    job = _job(table, command.uid)
    if grant.is_producer and job.spec.author != grant.key_id:
        raise JobNotFound(command.uid)
    return _NOTHING, job


def _list_jobs(table: Table, _grant: Grant, command: c.ListJobs, now: int, _new_id: NewId) -> Decision[c.Page]:
    looked_at, following = table.page(command.after, command.scan, command.filter.state, command.sort)
    jobs: list[Job] = []
    for index, job in enumerate(looked_at):
        if matches(job, command.filter, now):
            jobs.append(job)
        if len(jobs) == command.limit and index + 1 < len(looked_at):
            following = position(job, command.sort)
            break
    return _NOTHING, c.Page(jobs=jobs, following=following)


def _peek(table: Table, _grant: Grant, _command: c.Peek, now: int, _new_id: NewId) -> Decision[Job | None]:
    return _NOTHING, next(_claimable(table, now), None)


def _explain(table: Table, _grant: Grant, command: c.ExplainJob, _now: int, _new_id: NewId) -> Decision[c.Explanation]:
    job = _job(table, command.uid)
    ahead = table.ahead(job.spec.rank) if job.ready else None
    return _NOTHING, c.Explanation(job=job, queue=table.queue, ahead=ahead)


# Working


def _claimable(table: Table, now: int, tags: tuple[str, ...] = ()) -> Iterator[Job]:
    """The ready jobs, without those whose `timeout_time` has passed."""
    wall = table.wall(now)
    return (job for job in table.ready_jobs(tags) if not (until := job.spec.timeout_time) or until * SECOND > wall)


def _wanted(table: Table, command: c.Claim, now: int) -> Iterator[Job]:
    if command.uids is None:
        return _claimable(table, now, command.tags)
    tags, wall = frozenset(command.tags), table.wall(now)
    jobs = (job for uid in command.uids if (job := table.job(uid)) is not None and job.ready)
    return (job for job in jobs if tags.issubset(job.spec.tags) and not 0 < job.spec.timeout_time * SECOND <= wall)


def _claim(table: Table, _grant: Grant, command: c.Claim, now: int, new_id: NewId) -> Decision[Sequence[Job]]:
    if table.queue.paused:
        return _NOTHING, []
    facts: list[Fact] = []
    claimed: list[Job] = []
    size = 0
    for job in islice(_wanted(table, command, now), command.count):
        size += job.size
        if claimed and size > _CLAIMED_BYTES:
            break
        standing = Standing(
            state=INPROGRESS,
            updated=now,
            attempts=job.standing.attempts + 1,
            claimed=now,
            lease=new_id(),
            worker=command.worker,
            notes=job.standing.notes,
        )
        facts.append(JobChanged(command.queue, job.spec.uid, standing))
        claimed.append(Job(job.spec, standing))
    return facts, claimed


def _return_claims(table: Table, _grant: Grant, command: c.ReturnClaims, now: int, _new_id: NewId) -> Decision[None]:
    held = ((table.job(uid), lease) for uid, lease in command.claims)
    facts = [
        JobChanged(command.queue, job.spec.uid, _returned(job.standing, now))
        for job, lease in held
        if job is not None and job.state is INPROGRESS and job.standing.lease == lease
    ]
    return facts, None


def _returned(standing: Standing, now: int) -> Standing:
    return Standing(state=QUEUED, updated=now, attempts=standing.attempts - 1, notes=standing.notes)


def _update_job(table: Table, _grant: Grant, command: c.UpdateJob, now: int, _new_id: NewId) -> Decision[Job]:
    job = _job(table, command.uid)
    fact, updated = update(table.queue, job, command.changes, now, lease=command.lease)
    return ([fact] if fact is not None else _NOTHING), updated


def _update_jobs(
    table: Table, _grant: Grant, command: c.UpdateJobs, now: int, _new_id: NewId
) -> Decision[Sequence[Job | DomainError]]:
    facts: list[Fact] = []
    outcomes: list[Job | DomainError] = []
    # A job that comes twice is changed on top of its first change, which is not in the tables yet.
    changed: dict[str, Job] = {}
    for asked in command.updates:
        try:
            job = changed.get(asked.uid) or _job(table, asked.uid)
            fact, updated = update(table.queue, job, asked.changes, now, lease=asked.lease)
        except (JobNotFound, LeaseLost, LeaseRequired, ClaimRequired) as error:
            outcomes.append(error)
            continue
        if fact is not None:
            facts.append(fact)
            changed[asked.uid] = updated
        outcomes.append(updated)
    return facts, outcomes


def _delete_job(table: Table, _grant: Grant, command: c.DeleteJob, _now: int, _new_id: NewId) -> Decision[None]:
    _job(table, command.uid)
    return [JobRemoved(command.queue, command.uid)], None


# Many that match


def _update_matching(
    table: Table, _grant: Grant, command: c.UpdateMatching, now: int, _new_id: NewId
) -> Decision[c.Swept]:
    if command.changes.state is State.INPROGRESS and table.queue.require_lease:
        raise ClaimRequired(State.QUEUED)

    def change(job: Job) -> Fact | None:
        """Make the change of the command."""
        return update(table.queue, job, command.changes, now, by_owner=True)[0]

    if command.uids is None:
        return _sweep(command, change, *table.page(command.after, command.limit, command.filter.state), now)
    return _sweep(command, change, [job for uid in command.uids if (job := table.job(uid)) is not None], None, now)


def _delete_matching(
    table: Table, _grant: Grant, command: c.DeleteMatching, now: int, _new_id: NewId
) -> Decision[c.Swept]:
    page = table.page(command.after, command.limit, command.filter.state)
    return _sweep(command, lambda job: JobRemoved(command.queue, job.spec.uid), *page, now)


def _sweep(
    command: c.UpdateMatching | c.DeleteMatching,
    change: Callable[[Job], Fact | None],
    looked_at: Sequence[Job],
    following: Rank | None,
    now: int,
) -> Decision[c.Swept]:
    matching = [job for job in looked_at if matches(job, command.filter, now)]
    facts = [] if command.dry_run else [fact for fact in map(change, matching) if fact is not None]
    return facts, c.Swept(len(matching), following)


#: The rule of each command about one queue; the key is checked before it is called.
_OF_A_QUEUE: Final[dict[type, Callable[..., Decision[Any]]]] = {
    c.DeleteQueue: _delete_queue,
    c.ChangeQueue: _change_queue,
    c.AddKey: _add_key,
    c.RevokeKey: _revoke_key,
    c.ListKeys: _list_keys,
    c.CheckKey: _check_key,
    c.Subscribe: _subscribe,
    c.AddJobs: add_jobs,
    c.ReadJob: _read_job,
    c.ListJobs: _list_jobs,
    c.Peek: _peek,
    c.ExplainJob: _explain,
    c.Claim: _claim,
    c.ReturnClaims: _return_claims,
    c.UpdateJob: _update_job,
    c.UpdateJobs: _update_jobs,
    c.DeleteJob: _delete_job,
    c.UpdateMatching: _update_matching,
    c.DeleteMatching: _delete_matching,
}
#: The rules of the other commands.
_OTHERS: Final[dict[type, Callable[..., Decision[Any]]]] = {
    c.CreateQueue: _create_queue,
    c.ReadStats: _read_stats,
    c.ListQueues: _list_queues,
    c.CountQueues: _count_queues,
}
