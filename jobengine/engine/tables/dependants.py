"""Which jobs depend on which, over all queues, and what follows when one of them changes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, Protocol

from ...core.dependants import awaited_by, end_of_job, ended_now
from ...core.dependencies import Awaited, batch_key
from ...core.model import FINISHED, Job
from ...core.tables import BatchChanged, DependencyEnded, FollowUp, NoLongerAwaited, TableSet
from .batch_index import BatchIndex
from .spread_dict import Entries

#: The most jobs that are examined for each slice of a cascade.
_EXAMINED: Final = 1_000


class _Table(Protocol):
    """What the index uses of a queue's table."""

    jobs: Entries[str, Job]
    batches: BatchIndex


class Dependants:
    """
    The jobs that wait for others, and those that have failed because of others.

    It is derived from the present jobs alone, whatever facts, roll-backs and replays have led to them.
    """

    def __init__(self, tables: TableSet, queues: Mapping[str, _Table], keep: Callable[[str, str, bool], None]) -> None:
        self._tables: Final = tables
        self._queues: Final = queues
        #: Puts off the retention of a job, given by queue and uid, or lets it begin.
        self._keep: Final = keep
        #: By awaited job or batch: the jobs that change when it ends.
        self._changed_by: Final[dict[Awaited, dict[Awaited, None]]] = {}
        #: How many unfinished jobs depend on each awaited job.
        self._unfinished: Final[dict[Awaited, int]] = {}
        #: The jobs to check because a dependency has ended or was retried; perhaps none of them changes.
        self._to_check: Final[dict[Awaited, None]] = {}
        #: The finished jobs on which no unfinished job depends any more, but whose retention has not begun.
        self._to_free: Final[dict[Awaited, None]] = {}
        #: The uids of jobs that depend on others and are in this index, by queue.
        self._linked: Final[dict[str, dict[str, None]]] = {}
        #: The batches that have to end or to be resumed.
        self._batches: Final[dict[Awaited, None]] = {}
        #: Whether any job depends on another, or has done so since the start.
        self.is_used = False
        #: Whether there has been a dependency or a batch since the start: otherwise nothing is pending.
        self.may_be_pending = False

    @property
    def pending(self) -> bool:
        """Whether anything follows from the changes so far."""
        return bool(self._to_check or self._to_free or self._batches)

    def of(self, awaited: Awaited, most: int) -> Sequence[tuple[str, str, str | None]]:
        """At most `most` jobs that wait for a job or batch; see Table.dependants."""
        found = islice(self._changed_by.get(awaited, ()), most)
        return [(queue, uid, self._queues[queue].jobs[uid].spec.rare.batch) for queue, uid in found]

    def awaits(self, awaited: Awaited) -> bool:
        """Whether jobs depend on a job; see Table.is_awaited."""
        return awaited in self._changed_by or awaited in self._unfinished

    def change(self, queue: str, uid: str, old: Job | None, new: Job | None) -> None:
        """Record the change of a job; call it after the job was changed in its table."""
        its = (queue, uid)
        spec = None if new is None else new.spec
        if (spec is not None and spec.rare.dependencies is not None) or (
            old is not None and old.spec is not spec and _depends(old)
        ):
            self._change_links(its, old, new)
        if its in self._changed_by and end_of_job(old) != end_of_job(new):
            self._to_check.update(self._changed_by[its])
        if its in self._unfinished:
            self._keep(queue, uid, True)
        elif its in self._to_free:
            del self._to_free[its]
            self._keep(queue, uid, False)

    def note_batches(self, queue: str, batches: BatchIndex) -> None:
        """Record which batches have to end or to be resumed, and which have done so."""
        self.may_be_pending = True
        self._batches.update(((queue, name), None) for name in batches.to_change)
        for name in batches.ended:
            self._to_check.update(self._changed_by.get((queue, batch_key(name)), {}))
        batches.to_change.clear()
        batches.ended.clear()

    def leave(self, queue: str, table: _Table) -> None:
        """Record that a queue was deleted with all its jobs."""
        for uid in [*self._linked.get(queue, ())]:
            self._change_links((queue, uid), table.jobs[uid], None)
        if not self._changed_by:
            return
        for key in (*table.jobs, *map(batch_key, table.batches.entries)):
            self._to_check.update(self._changed_by.get((queue, key), {}))

    def enter(self, queue: str, table: _Table) -> None:
        """Record that a deleted queue was restored with its jobs."""
        if not self.is_used:
            return
        for uid, job in table.jobs.items():
            if _depends(job):
                self._change_links((queue, uid), None, job)
        for uid in [one for one in table.jobs if (queue, one) in self._unfinished]:
            self._keep(queue, uid, True)
        for uid in [one for one in table.batches.needed if (queue, one) not in self._unfinished]:
            self._release((queue, uid))

    def follow_ups(self) -> Iterator[tuple[str, FollowUp]]:
        """The consequences of ended dependencies; see TableSet.follow_ups."""
        for its in [*islice(self._batches, _EXAMINED)]:
            table = self._queues.get(its[0])
            if table is not None and table.batches.is_to_change(its[1]):
                yield its[0], BatchChanged(its[1])
            else:
                del self._batches[its]
        for its in [*islice(self._to_free, _EXAMINED)]:
            if self._job(its) is not None:
                yield its[0], NoLongerAwaited(its[1])
            else:
                # The job is gone with its queue.
                del self._to_free[its]
        for its in [*islice(self._to_check, _EXAMINED)]:
            job = self._job(its)
            ended = "" if job is None else ended_now(job, self._tables)
            if job is not None and awaited_by(job) and ended != job.standing.ended:
                yield its[0], DependencyEnded(its[1], ended)
            else:
                del self._to_check[its]

    def _job(self, its: Awaited) -> Job | None:
        table = self._queues.get(its[0])
        return None if table is None else table.jobs.get(its[1])

    def _change_links(self, its: Awaited, old: Job | None, new: Job | None) -> None:
        """Record which jobs and batches a job waits for, and which jobs it keeps from being removed."""
        self.is_used = self.may_be_pending = True
        before, after = awaited_by(old), awaited_by(new)
        if before != after:
            self._unlink(its, before)
            for awaited in after:
                self._changed_by.setdefault(awaited, {})[its] = None
        self._to_check.pop(its, None)
        if after:
            # The awaited jobs and batches may have ended already.
            self._to_check[its] = None
        keeps = _kept_by(new)
        self._count(_kept_by(old), keeps)
        if after or keeps:
            self._linked.setdefault(its[0], {})[its[1]] = None
        elif its[0] in self._linked:
            self._linked[its[0]].pop(its[1], None)
            if not self._linked[its[0]]:
                del self._linked[its[0]]

    def _unlink(self, its: Awaited, before: Sequence[Awaited]) -> None:
        for awaited in before:
            followers = self._changed_by.get(awaited, {})
            followers.pop(its, None)
            if not followers:
                self._changed_by.pop(awaited, None)

    def _count(self, before: Sequence[Awaited], after: Sequence[Awaited]) -> None:
        """Count, for each awaited job, the unfinished jobs that depend on it."""
        if before == after:
            return
        for awaited in after:
            self._unfinished[awaited] = self._unfinished.get(awaited, 0) + 1
            self._to_free.pop(awaited, None)
            self._keep(*awaited, True)
        for awaited in before:
            self._unfinished[awaited] -= 1
            if not self._unfinished[awaited]:
                del self._unfinished[awaited]
                self._release(awaited)

    def _release(self, awaited: Awaited) -> None:
        """Let the retention of a job begin if it has finished."""
        job = self._job(awaited)
        if job is not None and job.standing.state in FINISHED:
            self._to_free[awaited] = None
        else:
            self._keep(*awaited, False)


def _depends(job: Job | None) -> bool:
    return job is not None and job.spec.rare.dependencies is not None


def _kept_by(job: Job | None) -> Sequence[Awaited]:
    """The jobs that are kept because this one depends on them."""
    dependencies = None if job is None else job.spec.rare.dependencies
    if job is None or dependencies is None or job.standing.state in FINISHED:
        return ()
    return dependencies.on
