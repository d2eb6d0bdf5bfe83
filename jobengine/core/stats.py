"""Queue stats: counts, recent activity, and durations."""

from collections.abc import Mapping, Sequence

from attrs import field, frozen
from msgspec.structs import replace

from .flow import NO_SETTINGS, GroupSettings
from .model import Queue, State
from .values import Value


@frozen(kw_only=True)
class Times:
    """Percentiles of a duration, in milliseconds; None without any measurement."""

    p50: int | None = None
    p90: int | None = None
    p99: int | None = None


@frozen(kw_only=True)
class Spread:
    """The distribution of durations."""

    #: The number of durations in each bucket, by its index in jobengine.core.durations.BOUNDS.
    buckets: Mapping[int, int] = field(factory=dict)
    #: The sum of the durations in milliseconds.
    total: int = 0


@frozen(kw_only=True)
class QueueCounts:
    """The number of a queue's jobs by state, and of its queued and failed jobs in more detail."""

    #: Jobs by state.
    states: dict[State, int]
    #: Queued jobs that can be claimed now, and delayed ones.
    ready: int
    delayed: int
    #: Queued jobs that limits, rates or the order of groups hold back.
    held: int = 0
    #: Queued jobs that wait for others.
    waiting: int = 0
    #: Queued jobs whose last attempt failed or timed out; they also count as ready, delayed, held or waiting.
    retrying: int
    #: Failed jobs that were cancelled.
    cancelled: int


class GroupState(Value, frozen=True, kw_only=True):
    """The jobs of a group."""

    queued: int = 0
    #: How many queued jobs could be claimed now if there were no limits, rates and holds.
    available: int = 0
    delayed: int = 0
    in_progress: int = 0
    #: When the oldest ready job was added; None if there is none.
    oldest_ready: int | None = None
    #: How many failed jobs hold the group; see OnFailure.
    failed: int = 0


class GroupReport(Value, frozen=True, kw_only=True):
    """A group, as commands return it."""

    name: str
    state: GroupState
    #: How many jobs of the group can be claimed now, unless the queue's own limits or hold prevent that.
    ready: int
    #: Milliseconds since the oldest ready job was added; None if there is none.
    oldest_ready: int | None = None
    #: Until when the group is held; None if it is not.
    held_until: int | None = None
    settings: GroupSettings = NO_SETTINGS

    @property
    def held(self) -> int:
        """How many queued jobs limits, rates, holds or the order of groups hold back."""
        return self.state.queued - self.ready - self.state.delayed

    def at_wall_clock(self, ahead: int) -> "GroupReport":
        return replace(self, held_until=self.held_until and self.held_until + ahead)


class FailureCounts(Value, frozen=True):
    """How many groups of failures a queue has, at most core.failures.MOST_GROUPS."""

    groups: int = 0
    #: How many groups are new: their first job failed at most core.failures.NEW_FOR ago.
    new: int = 0


@frozen(kw_only=True)
class Recent:
    """Recent activity of a queue, as counted by this engine."""

    #: Counts in the last minute and hour, by counter: see COUNTED of jobengine.core.history.
    last_minute: dict[str, int]
    last_hour: dict[str, int]
    #: Counts in each of the last 60 minutes, by counter, oldest first; the last minute is not over.
    minutes: Mapping[str, Sequence[int]] = field(factory=dict)
    #: The time from ready to claimed, and from claimed to the end of the attempt.
    wait: Times = Times()
    run: Times = Times()


@frozen(kw_only=True)
class QueueStats:
    """The stats of a queue."""

    #: The queue.
    queue: Queue
    #: Jobs by state.
    counts: dict[State, int]
    #: Queued jobs that can be claimed now, and delayed ones.
    ready: int
    delayed: int
    #: See QueueCounts.
    held: int = 0
    waiting: int = 0
    retrying: int
    cancelled: int
    #: Milliseconds since the oldest ready job was added; None if there is none.
    oldest_ready: int | None
    #: See Recent.
    last_minute: dict[str, int]
    last_hour: dict[str, int]
    #: See Recent.
    minutes: Mapping[str, Sequence[int]]
    #: The time from ready to claimed, and from claimed to the end of the attempt.
    wait: Times
    run: Times
    #: How many claims wait for jobs.
    workers_waiting: int = 0
    #: When the last claim came, with or without jobs; None if unknown.
    last_claim: int | None = None
    #: How many workers with one job each at a time keep all waits within `target_wait_seconds`; None if it is not set.
    workers_wanted: int | None = None
    #: Until when the queue is held; None if it is not.
    held_until: int | None = None

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.queue.name


@frozen(kw_only=True)
class QueueTotals:
    """The stats of a queue that are cheap to compute, so that they can be read often for all queues."""

    #: The queue's name.
    name: str
    #: Jobs by state.
    counts: Mapping[State, int]
    #: See QueueCounts.
    retrying: int
    #: See QueueStats.
    oldest_ready: int | None
    #: Counts since the engine was started: the counters of a period and "timed_out".
    totals: Mapping[str, int]
    #: Waiting and running times since the engine was started.
    wait: Spread = Spread()
    run: Spread = Spread()
    #: How many claims wait for jobs at this server.
    workers_waiting: int = 0
    #: Whether claiming jobs is refused.
    paused: bool = False
    #: The most jobs that the queue may hold; 0 is no limit.
    max_jobs: int = 0
    #: See QueueCounts, and QueueStats.
    held: int = 0
    waiting: int = 0
    workers_wanted: int | None = None
    #: Whether the queue has flow, and so may have groups.
    has_flow: bool = False
    #: Whether the queue has a dead-letter queue, and whether the latter was found missing.
    has_dead_letters: bool = False
    lacks_dead_letters: bool = False
    #: Whether the queue has schedules, by how many milliseconds the first is late, and how many are paused by failures.
    has_schedules: bool = False
    schedule_late: int = 0
    schedules_failing: int = 0
