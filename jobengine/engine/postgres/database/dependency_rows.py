"""
The rows of the tables `dependency`, `ended` and `batch_tally`.

The first and the last are indexes in the shape of tables: everything in them follows from the jobs. Rules for the three
tables:

- Only a transaction that has locked a job changes what the job depends on.
- A transaction that ends, retries or removes a job whose column `awaited` is set leaves a row in `ended`; so does a
  transaction after which a batch may have to end or to be resumed. Another transaction follows it up, see follow.py: so
  no end is lost, and no transaction waits for the jobs that depend on its own.
- A transaction that adds a dependency on a job locks the job and sets its `awaited`. A follow-up that has locked the
  job, and finds no dependency on it, removes `awaited`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ....core.batches import BATCH, BatchCounts
from ....core.dead_letters import DUE
from ....core.dependants import awaited_by
from ....core.dependencies import MET, NOT_YET, UNMET, WAITED_FOR, Awaited, batch_in
from ....core.model import COMPLETE, MINUTE, Job, State
from ....core.places import Place
from ..sql import named
from .arrays import bigints, byteas, texts
from .pipeline import Statement
from .rows import Rows

#: The digest of a queue's name, and a text: the uid of a job there, a batch (see batch_parent), or empty for the whole
#: queue.
Parent = tuple[bytes, str]
#: A job that depends on others: the number of its queue, and its uid.
Child = tuple[int, str]
#: The columns `mark` and `keeps` of a dependency.
Link = tuple[str, int]
#: The counts of batches: by queue number, key of the batch, and place.
BatchDeltas = Counter[tuple[int, bytes, int]]

_BATCH: Final = "batch:"
_FAILED: Final = State.FAILED
_STATES: Final[Mapping[int, State]] = {int(place): place.state for place in Place}
#: For each state of a job or batch: the marks that a dependency on it can't have in this state.
MARKS: Final[Mapping[str, str]] = {
    NOT_YET: UNMET + WAITED_FOR,
    MET: NOT_YET + UNMET + WAITED_FOR,
    UNMET: NOT_YET,
}
_WRITE_DEPENDENCIES: Final = named("write_dependencies")
_DELETE_DEPENDENCIES: Final = named("delete_dependencies")
_INSERT_ENDED: Final = named("insert_ended")
_SET_AWAITED: Final = named("set_awaited")
_ADD_TO_BATCHES: Final = named("add_to_batches")


def parent_of(rows: Rows, awaited: Awaited) -> Parent:
    """
    The columns that identify a job or batch in these tables: digests of names, so that no name can be read there, and
    the uid of a job.
    """
    queue, key = awaited
    batch = batch_in(key)
    return rows.name(queue), key if batch is None else batch_parent(rows.item(BATCH, batch))


def batch_parent(key: bytes) -> str:
    """The column `parent_key` for a batch with this key in the table `item`."""
    return _BATCH + key.hex()


def batch_key_in(parent_key: str) -> bytes | None:
    """The key of a batch in the table `item`; None if `parent_key` stands for no batch."""
    return bytes.fromhex(parent_key.removeprefix(_BATCH)) if parent_key.startswith(_BATCH) else None


def batch_of_job(job: Job | None) -> str | None:
    """The name of a job's batch."""
    return None if job is None else job.spec.rare.batch


def links_of(job: Job | None) -> dict[Awaited, Link]:
    """The dependencies of a job that have rows."""
    dependencies = None if job is None else job.spec.rare.dependencies
    if job is None or dependencies is None:
        return {}
    keeps = int(not is_finished(job))
    links: dict[Awaited, Link] = dict.fromkeys(dependencies.on, ("", 1)) if keeps else {}
    if awaited_by(job):
        marks = zip(dependencies.on, job.standing.ended, strict=True)
        links |= {awaited: (mark, keeps) for awaited, mark in marks if mark != MET}
    return links


def kept_for(job: Job | None) -> int | None:
    """
    The milliseconds in the column `kept` of a job whose retention is put off; None if the job has not finished, or is
    about to be moved into a dead-letter queue.
    """
    if job is None or not is_finished(job) or job.standing.notes.dead_letter == DUE:
        return None
    keep, standing = job.spec.keep, job.standing
    minutes = keep.minutes if standing.state is COMPLETE else keep.failed_minutes
    return minutes * MINUTE + standing.shift


def is_finished(job: Job) -> bool:
    """Whether a job has finished; faster than `state in FINISHED`, since this is called for each job of a batch."""
    state = job.standing.state
    return state is COMPLETE or state is _FAILED


def links_written(written: Mapping[tuple[Child, Parent], Link]) -> list[Statement]:
    """The statement that writes dependencies."""
    if not written:
        return []
    made = sorted(written.items())
    return [
        _WRITE_DEPENDENCIES(
            queue_ids=bigints([child[0] for (child, _), _ in made]),
            uids=texts([child[1] for (child, _), _ in made]),
            parent_queues=byteas([parent[0] for (_, parent), _ in made]),
            parent_keys=texts([parent[1] for (_, parent), _ in made]),
            marks=texts([mark for _, (mark, _) in made]),
            keeps=bigints([keeps for _, (_, keeps) in made]),
        )
    ]


def links_deleted(gone: Iterable[tuple[Child, Parent]]) -> list[Statement]:
    """The statement that removes dependencies."""
    made = sorted(gone)
    if not made:
        return []
    return [
        _DELETE_DEPENDENCIES(
            queue_ids=bigints([child[0] for child, _ in made]),
            uids=texts([child[1] for child, _ in made]),
            parent_queues=byteas([parent[0] for _, parent in made]),
            parent_keys=texts([parent[1] for _, parent in made]),
        )
    ]


def ended_left(parents: Iterable[Parent], at: int) -> list[Statement]:
    """The statement that stores ended jobs, batches and queues in `ended`, with the time `at`, to be followed up."""
    made = sorted(set(parents))
    if not made:
        return []
    queues, keys = byteas([parent[0] for parent in made]), texts([parent[1] for parent in made])
    return [_INSERT_ENDED(parent_queues=queues, parent_keys=keys, at=at)]


def awaited_set(jobs: Mapping[Child, int | None]) -> list[Statement]:
    """
    The statement that records that others depend on these locked jobs, and sets the column `kept` of jobs whose
    retention is put off.
    """
    if not jobs:
        return []
    made = sorted(jobs)
    return [
        _SET_AWAITED(
            queue_ids=bigints([one[0] for one in made]),
            uids=texts([one[1] for one in made]),
            kept=bigints([jobs[one] for one in made]),
        )
    ]


def batches_counted(deltas: Mapping[tuple[int, bytes, int], int], slot: int) -> list[Statement]:
    """The statement that adds to the counts of batches, in this slot."""
    made = sorted((*key, by) for key, by in deltas.items() if by)
    if not made:
        return []
    return [
        _ADD_TO_BATCHES(
            queue_ids=bigints([one[0] for one in made]),
            batches=byteas([one[1] for one in made]),
            slots=bigints([slot] * len(made)),
            places=bigints([one[2] for one in made]),
            jobs=bigints([one[3] for one in made]),
        )
    ]


def counts_by_state(places: Sequence[tuple[int, int]]) -> BatchCounts:
    """The counts of a batch from the number of its jobs by place."""
    states = Counter[State]()
    for place, jobs in places:
        if jobs:
            states[_STATES[place]] += jobs
    return BatchCounts(dict(states))
