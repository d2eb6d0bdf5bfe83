"""
What rules read, and what they return.

A rule reads a queue's table through these protocols: an engine may keep whole tables, or load only the rows that a
command needs. A rule changes nothing; it returns facts and an answer.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol, TypeVar

from .batches import BatchCounts
from .claimers import Claimers
from .dependencies import Awaited
from .errors import JobNotFound, QueueNotFound
from .facts import Fact
from .failures import Alike, FoundPage, GroupPosition
from .history import KeptPeriod, QueueHistory
from .model import Job, Position, Queue, Rank, State
from .schedules import ScheduleCounts
from .sorting import GroupSort, Sort
from .stats import FailureCounts, GroupState, QueueCounts, Recent, Spread
from .values import Value

A = TypeVar("A")
#: Facts, and the answer.
Decision = tuple[Sequence[Fact], A]
#: Returns a new random UUID as text at each call.
NewId = Callable[[], str]


class GateOver(Value, frozen=True):
    """A gate that no longer prevents claims, of a group or of the queue; see jobengine.core.flow."""

    #: The group's name; OF_QUEUE for the queue's own gate.
    name: str


class BatchOver(Value, frozen=True):
    """A batch that is to be removed: it ended some time ago (see kept_after_end), and has no jobs."""

    name: str


#: A thing that changes by itself at a deadline; jobengine.core.expiring has a rule for each type.
Due = Job | GateOver | BatchOver


class DependencyEnded(Value, frozen=True):
    """A job with a dependency that has ended or was retried."""

    uid: str
    #: How the job's dependencies stand now; see Standing.ended.
    ended: str


class NoLongerAwaited(Value, frozen=True):
    """A finished job on which no unfinished job depends any more."""

    uid: str


class BatchChanged(Value, frozen=True):
    """A batch that has to end, or to go on after its end, because its jobs have changed."""

    name: str


#: What follows from the end of a job; jobengine.core.dependants has a rule for each type.
FollowUp = DependencyEnded | NoLongerAwaited | BatchChanged

#: The facts of a command that changes nothing.
NOTHING: Final[tuple[Fact, ...]] = ()


class Table(Protocol):
    """One queue, its jobs, and their counts."""

    @property
    def queue(self) -> Queue:
        """The queue."""

    @property
    def next_arrival(self) -> int:
        """The arrival number of the next job to be added."""

    def wall(self, now: int) -> int:
        """The time of the wall clock at an elapsed time."""

    def job(self, uid: str) -> Job | None:
        """The job with this uid, or None."""

    def load_jobs(self, uids: Collection[str], unique_key: str | None = None) -> None:
        """
        Load the jobs with these uids, and those that may hold a unique key, before `job` and `holders` are called.

        Only for commands about schedules, whose `needs` can't name them; call it once.
        """

    def item(self, kind: str, name: str) -> str | None:
        """The value of a named thing of the queue (see ItemSet); None if it does not exist."""

    def holders(self, unique_key: str) -> list[Job]:
        """The jobs that may hold this unique key; see jobengine.core.key_holders."""

    def claim_order(self, tags: tuple[str, ...], now: int, count: int) -> Iterator[Job]:
        """
        The first `count` ready jobs with all of `tags`, in the order in which claims get them.

        Jobs whose `timeout_time` has come are left out, even before they expire. Not valid after a change.
        """

    def turn_order(self, now: int) -> Iterator[Job]:
        """
        The jobs that claims would get, in their order, if the queue as a whole had no limits and no hold.

        Not valid after a change.
        """

    def due(self, now: int) -> Iterator[Due]:
        """All things whose deadline has come, earliest first; not valid after a change."""

    def size(self) -> int:
        """The number of jobs, of every state."""

    def page(
        self,
        after: Position | None,
        limit: int,
        state: State | None = None,
        sort: Sort | None = None,
        group: str | None = None,
    ) -> tuple[list[Job], Position | None]:
        """
        At most `limit` jobs after the position `after`, of one state if it is given.

        They are in the order of `sort`, or in execution order if it is None. The second value is the position of the
        last job, or None if no more follow. With `group`, jobs of other groups are left out as far as an index allows.
        """

    def ahead(self, rank: Rank) -> int:
        """How many ready jobs come before a rank in execution order."""

    def counts(self) -> QueueCounts:
        """The number of jobs by state, and in more detail."""

    def oldest_ready(self) -> int | None:
        """
        When the oldest job that can be claimed was added; None if there is none.

        In a queue with flow, ignore the value while the queue's own limits prevent all claims.
        """

    def items(self, kind: str) -> Iterable[tuple[str, str]]:
        """The name and value of each named thing of a kind, by name."""

    def schedules(self) -> ScheduleCounts:
        """Counts of the queue's schedules."""

    def batch_counts(self, name: str) -> BatchCounts:
        """The jobs of a batch by state."""

    def number_of(self, kind: str) -> int:
        """How many named things of a kind the queue has."""

    def dependants(self, awaited: Awaited, most: int) -> Sequence[tuple[str, str, str | None]]:
        """At most `most` jobs of any queue that wait for a job or batch: queue, uid and batch of each."""

    def is_awaited(self, uid: str) -> bool:
        """Whether jobs of any queue depend on a job: unfinished ones, or some that have failed because of it."""

    def running(self) -> int:
        """The number of jobs in progress."""

    def group(self, name: str) -> GroupState:
        """The counts of a group's jobs. This and the other methods about groups are only for queues with flow."""

    def groups(
        self,
        sort: GroupSort,
        after: tuple[int, str] | None,
        limit: int,
        found: Sequence[tuple[int, str]] | None = None,
    ) -> tuple[list[tuple[str, GroupState]], tuple[int, str] | None]:
        """
        At most `limit` groups with their names, after the position `after` in the order `sort`, the largest first.

        The second value is the position of the last group, or None if no more follow. `found` are the positions of
        the first `limit` + 1 groups, if they are known.
        """

    def ahead_in_group(self, job: Job) -> int:
        """How many ready jobs of the same group come before a ready job; in strict order, how many unfinished jobs."""

    def holders_of_group(self, name: str | None) -> list[Job]:
        """
        At most 10 jobs because of which others of the group can't be claimed: those in progress, and failed ones if a
        failure holds the group. If there are none and the order is strict, the first unfinished ones.

        For None, jobs in progress of the whole queue.
        """

    def failures(self, after: GroupPosition | None, limit: int, now: int) -> FoundPage:
        """
        At most `limit` groups of failures after a position, each with its failures by minute up to `now`.

        The largest group comes first; equally large groups come in a fixed order, which is not alphabetical. Only the
        first MOST_GROUPS groups are given. If there are more, an engine may drop the smallest. If a job fails with the
        fingerprint of a dropped group, its count begins at 1 and is too low until the engine counts all jobs again.
        """

    def count_failures(self, since: int) -> FailureCounts:
        """How many groups of failures there are, and how many of them began after a time; at most MOST_GROUPS."""

    def alike(self, fingerprint: str) -> Alike:
        """How many jobs failed with this fingerprint, and since when; no jobs if an engine has dropped the group."""

    def kept_periods(self) -> Iterable[KeptPeriod]:
        """The stored periods of the queue's history."""


class TableSet(Protocol):
    """The tables of all queues, or of some."""

    @property
    def queues(self) -> Mapping[str, Table]:
        """The tables by the names of their queues."""

    def wall(self, now: int) -> int:
        """The time of the wall clock at an elapsed time."""

    def due(self, now: int) -> Iterator[tuple[str, Due]]:
        """The things whose deadline has come, with their queue's name. Not valid after a change."""

    def follow_ups(self) -> Iterator[tuple[str, FollowUp]]:
        """The consequences of ended dependencies, each with its queue's name. Not valid after a change."""

    def due_schedules(self, now: int) -> Iterator[tuple[str, str]]:
        """Queue and name of the schedules whose time has come, the earliest first. Not valid after a change."""

    def count_queues(self) -> int:
        """The number of all queues, even of those whose tables are not loaded."""


class RecentActivity(Protocol):
    """Gives the recent activity of a queue by its name."""

    def recent(self, name: str, now: int, kept: Iterable[KeptPeriod]) -> Recent:
        """
        The activity in the last minute and hour before `now`, an elapsed time; `kept` are the table's stored
        periods.
        """

    def history(self, name: str, now: int, kept: Iterable[KeptPeriod]) -> QueueHistory:
        """The activity in each of the last 60 minutes and 168 hours."""

    def times(self, name: str) -> tuple[Spread, Spread]:
        """Waiting and running times since the engine was started."""

    def since_start(self, name: str) -> Mapping[str, int]:
        """The counts since the engine was started; see QueueTotals."""

    def claimers(self, name: str) -> Claimers:
        """The claims that wait on the queue, and where its workers claim from."""

    def waiting(self, name: str) -> int:
        """How many claims wait for the queue's jobs at this server."""

    def claims(self, name: str) -> tuple[int, int | None]:
        """How many claims wait for the queue's jobs at all servers, and when the last claim came, or None."""


def table_of(tables: TableSet, name: str) -> Table:
    """The table of a queue; raises QueueNotFound."""
    table = tables.queues.get(name)
    if table is None:
        raise QueueNotFound(name)
    return table


def job_of(table: Table, uid: str) -> Job:
    """A job of a queue; raises JobNotFound."""
    job = table.job(uid)
    if job is None:
        raise JobNotFound(uid, has_dead_letter=table.queue.dead_letter is not None)
    return job


#: A page of jobs ends when their contents exceed this many bytes in total.
PAGE_BYTES: Final = 1 << 20
