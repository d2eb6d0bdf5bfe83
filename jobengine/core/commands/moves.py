"""Moving jobs into another queue."""

from collections import Counter
from collections.abc import Mapping, Sequence

from ..access import WORKERS
from ..errors import SameQueue
from ..facts import Fact, QueueChanged
from ..filter import Filter, matches
from ..flow import NO_FLOW, Flow
from ..model import Grant, Job, Queue
from ..moves import Moves, Pace
from ..tables import NOTHING, Decision, NewId, RecentActivity, Table, TableSet, table_of
from ..values import Value
from .command import Command, QueueCommand, UseQueue

__all__ = ["MoveJobs", "MoveMatching", "Moved", "ReadDeadLetter"]


class Moved(Value, frozen=True, kw_only=True):
    """The outcome of a move."""

    #: How many jobs matched or, in a move by uid, were found, and how many of them were moved.
    matched: int = 0
    moved: int = 0
    #: How many were not moved, by reason; see jobengine.core.dead_letters.
    left: Mapping[str, int] = {}

    def __add__(self, other: "Moved") -> "Moved":
        return Moved(
            matched=self.matched + other.matched,
            moved=self.moved + other.moved,
            left=dict(Counter(self.left) + Counter(other.left)),
        )


class Step(Value, frozen=True, kw_only=True):
    """The outcome of MoveJobs."""

    moved: Moved
    #: The elapsed time of the first step.
    since: int
    #: The pace for the next step.
    pace: Pace | None


class MoveMatching(Value, frozen=True, kw_only=True):
    """A request to move all jobs that match, or some by uid, in steps; an engine carries it out as MoveJobs."""

    #: The queue of the jobs, and the queue to which they are moved.
    queue: str
    to: str
    access_key: bytes = b""
    admin: bool = False
    filter: Filter
    #: The jobs to move, in this order and each once, instead of all that match; then the filter is empty.
    uids: tuple[str, ...] = ()
    #: How many jobs can be claimed per second; None is all at once.
    pace: Pace | None = None
    #: Change nothing, only count.
    dry_run: bool = False


class MoveJobs(Command[Step], frozen=True, kw_only=True):
    """Move the jobs with these uids that match, in one commit; failed ones are queued as if never tried."""

    reads = False
    removes = True

    #: See MoveMatching.
    queue: str
    to: str
    access_key: bytes = b""
    admin: bool = False
    filter: Filter
    uids: tuple[str, ...]
    pace: Pace | None = None
    dry_run: bool = False
    #: Only jobs last changed at or before this elapsed time: a job changed later may have been moved, and moved back.
    before: int | None = None

    @property
    def queue_names(self) -> tuple[str, ...]:
        return (self.queue, self.to)

    @property
    def parts(self) -> Sequence[QueueCommand[object]]:
        key, admin = self.access_key, self.admin
        return (
            UseQueue(queue=self.queue, access_key=key, admin=admin, uids=self.uids),
            UseQueue(
                queue=self.to,
                access_key=key,
                admin=admin,
                uids=self.uids,
                adds=True,
                source=self.queue,
                named_in="move_to",
            ),
        )

    @property
    def weight(self) -> int:
        return max(1, len(self.uids))

    def flow_after(self, source: Table, queue: Queue) -> Flow | None:
        """The flow that the target `queue` would have after this command; None if its flow stays as it is."""
        if queue.flow is not None or self.dry_run:
            return None
        jobs = map(source.job, self.uids)
        return NO_FLOW if any(job is not None and job.spec.rare.own_group is not None for job in jobs) else None

    def decide(self, tables: TableSet, now: int, new_id: NewId, activity: RecentActivity) -> Decision[Step]:
        """Raises SameQueue."""
        self.check(tables, now)
        if self.queue == self.to:
            raise SameQueue(self.to)
        source, target = table_of(tables, self.queue), table_of(tables, self.to)
        moves, left, pace = Moves(tables, now), Counter[str](), self._begun(target, now)
        facts: list[Fact] = []
        jobs = self._matching(source, now)
        for job in jobs:
            reason = moves.prevents(source, job, target)
            if reason:
                left[reason] += 1
                continue
            facts += moves.again(source, job, target, pace)
            pace = None if pace is None else pace.after(1)
        moved = Moved(matched=len(jobs), moved=len(jobs) - left.total(), left=dict(left))
        return [] if self.dry_run else _flow_first(facts), Step(
            moved=moved, since=now if self.before is None else self.before, pace=pace
        )

    def _begun(self, target: Table, now: int) -> Pace | None:
        return None if self.pace is None else self.pace.begun(target.wall(now))

    def _matching(self, source: Table, now: int) -> list[Job]:
        jobs = [job for uid in self.uids if (job := source.job(uid)) is not None and matches(job, self.filter, now)]
        if self.before is None:
            return jobs
        # A change that seems to be in the future is an old one: the clock was set back before the last start.
        return [job for job in jobs if not self.before < job.updated <= now]


class ReadDeadLetter(QueueCommand[str | None], frozen=True, kw_only=True):
    """Read the name of the queue's dead-letter queue, for the holder of a job that was moved there."""

    roles = WORKERS
    reads = True
    is_batched = True
    overlaps = True

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[str | None]:
        setting = table.queue.dead_letter
        return NOTHING, None if setting is None else setting.queue


def _flow_first(facts: list[Fact]) -> Sequence[Fact]:
    """Reorder facts: the one that gives a queue flow comes first, and only once."""
    of_queue = [fact for fact in facts if isinstance(fact, QueueChanged)]
    if not of_queue:
        return facts
    return [of_queue[0], *(fact for fact in facts if not isinstance(fact, QueueChanged))]
