"""
What follows when a job ends: the jobs that wait for it are released, fail too, or wait for its retry.

A cascade goes on in slices: an engine applies the facts of `follow_up` and calls it again until it returns none. What
is left to do is derived from jobs and batches alone, so a cascade goes on after a crash.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from msgspec.structs import replace

from .batches import BATCH, batch_after, batch_of, batch_text, end_of_batch
from .dependencies import (
    MET,
    NOT_YET,
    UNMET,
    Awaited,
    Dependencies,
    OnDependencyFailure,
    batch_in,
    mark_after,
    waits_for,
)
from .facts import Fact, ItemSet, JobAdded, JobChanged
from .model import COMPLETE, FINISHED, Job, Standing, State
from .tables import BatchChanged, DependencyEnded, NoLongerAwaited, Table, TableSet
from .transitions import in_line


def follow_up(tables: TableSet, now: int, limit: int) -> list[Fact]:
    """
    The facts that follow from ended dependencies, for at most `limit` jobs and batches.

    Apply them and call this again until it returns none: a job that fails because of another may be awaited itself.
    """
    return [
        fact
        for name, thing in islice(tables.follow_ups(), limit)
        for fact in _RULES[type(thing)](tables, name, thing, now)
    ]


def awaited_by(job: Job | None) -> list[Awaited]:
    """The dependencies whose ends can still change the job; none unless it waits, or failed because of one."""
    if job is None or not job.standing.ended or not _heeds(job, job.spec.rare.dependencies):
        return []
    on = job.spec.rare.dependencies.on if job.spec.rare.dependencies is not None else ()
    return [awaited for awaited, mark in zip(on, job.standing.ended, strict=False) if mark != MET]


def _heeds(job: Job, dependencies: Dependencies | None) -> bool:
    standing = job.standing
    if dependencies is None or standing.state is State.QUEUED:
        return dependencies is not None
    is_failed = standing.state is State.FAILED and UNMET in standing.ended and not standing.notes.cancelled
    return is_failed and dependencies.on_failure is OnDependencyFailure.FAIL


def end_of(tables: TableSet, awaited: Awaited, uid: str) -> str:
    """
    How an awaited job or batch stands: NOT_YET, MET or UNMET; `uid` is the job that depends on it.

    A missing job or batch counts as failed, and so does a batch that was replaced by another of the same name.
    """
    table, name = tables.queues.get(awaited[0]), batch_in(awaited[1])
    if table is None:
        return UNMET
    if name is None:
        return end_of_job(table.job(awaited[1]))
    text = table.item(BATCH, name)
    batch = None if text is None else batch_of(text)
    return end_of_batch(batch if batch is not None and batch.then == uid else None)


def end_of_job(job: Job | None) -> str:
    """Whether a dependency on this job is NOT_YET, MET or UNMET; a missing job counts as failed."""
    if job is None or job.standing.state is State.FAILED:
        return UNMET
    return MET if job.standing.state is COMPLETE else NOT_YET


def ended_now(job: Job, tables: TableSet) -> str:
    """The characters of a job's dependencies as they stand now; see Standing.ended."""
    dependencies = job.spec.rare.dependencies
    if dependencies is None or not job.standing.ended:
        return ""
    marks = zip(dependencies.on, job.standing.ended, strict=False)
    return "".join(
        mark if mark == MET else mark_after(mark, end_of(tables, awaited, job.spec.uid), dependencies.on_failure)
        for awaited, mark in marks
    )


def with_ends(job: Job, ended: str, now: int, why: Callable[[], str]) -> Standing:
    """
    The standing of a job whose dependencies now stand as in `ended`: it is released, fails, or goes on waiting.

    `why` returns the error of a job that fails: which dependency has failed.
    """
    standing, dependencies = job.standing, job.spec.rare.dependencies
    fails = dependencies is not None and dependencies.on_failure is OnDependencyFailure.FAIL and UNMET in ended
    if standing.state is State.FAILED:
        if fails:
            return replace(standing, ended=ended)
        notes = replace(standing.notes, error=None, fingerprint=None)
        kept = ended if waits_for(ended) else ""
        return Standing(state=State.QUEUED, updated=now, ended=kept, notes=notes)
    if fails:
        error = why()
        notes = replace(standing.notes, error=error, fingerprint=None, retrying=False)
        return replace(standing, state=State.FAILED, updated=now, ready_at=0, not_before=0, ended=ended, notes=notes)
    if waits_for(ended):
        return replace(standing, ended=ended)
    return replace(standing, ended="", updated=now)


def why_unmet(job: Job, ended: str, tables: TableSet) -> str:
    """Which dependency has failed, as the error of a job that fails because of it."""
    on = () if job.spec.rare.dependencies is None else job.spec.rare.dependencies.on
    queue, key = next(awaited for awaited, mark in zip(on, ended, strict=False) if mark == UNMET)
    batch, table = batch_in(key), tables.queues.get(queue)
    if batch is not None:
        return f"jobs of the batch {batch} failed"
    return f"dependency {key} {'was removed' if table is None or table.job(key) is None else 'failed'}"


def lost_facts(table: Table, removed: Iterable[Job]) -> list[Fact]:
    """The facts that record, in their batches, that jobs were removed before they were complete."""
    lost = Counter(job.spec.rare.batch for job in removed if job.standing.state is not COMPLETE)
    facts: list[Fact] = []
    for name, number in lost.items():
        text = None if name is None else table.item(BATCH, name)
        batch = None if text is None else batch_of(text)
        if name is not None and batch is not None:
            value = batch_text(replace(batch, lost=batch.lost + number))
            facts.append(ItemSet(table.queue.name, BATCH, name, value))
    return facts


def _dependency_has_ended(tables: TableSet, name: str, thing: DependencyEnded, now: int) -> Sequence[Fact]:
    job = tables.queues[name].job(thing.uid)
    assert job is not None
    standing = with_ends(job, thing.ended, now, lambda: why_unmet(job, thing.ended, tables))
    if job.standing.state is State.FAILED and standing.state is State.QUEUED:
        spec = in_line(tables.queues[name].queue, job.spec)
        if spec is not job.spec:
            return (JobAdded(name, Job(spec, standing)),)
    return (JobChanged(name, thing.uid, standing),)


def _is_no_longer_awaited(tables: TableSet, name: str, thing: NoLongerAwaited, now: int) -> Sequence[Fact]:
    """The fact that begins the retention of a finished job: the last unfinished job that depends on it has ended."""
    job = tables.queues[name].job(thing.uid)
    assert job is not None
    assert job.standing.state in FINISHED
    standing = replace(job.standing, shift=max(0, now - job.standing.updated))
    return (JobChanged(name, thing.uid, standing),)


def _batch_has_changed(tables: TableSet, name: str, thing: BatchChanged, now: int) -> Sequence[Fact]:
    table = tables.queues[name]
    text = table.item(BATCH, thing.name)
    assert text is not None
    old = batch_of(text)
    new = batch_after(old, table.batch_counts(thing.name), now)
    return () if new == old else (ItemSet(name, BATCH, thing.name, batch_text(new)),)


#: The rule of each type of thing that follows (see tables.FollowUp).
_RULES: Final[Mapping[type, Callable[[TableSet, str, Any, int], Sequence[Fact]]]] = {
    DependencyEnded: _dependency_has_ended,
    NoLongerAwaited: _is_no_longer_awaited,
    BatchChanged: _batch_has_changed,
}
