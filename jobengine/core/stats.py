"""The figures of queues: counts, recent activity, and how long things took."""

from collections.abc import Mapping, Sequence

from attrs import field, frozen

from .model import Queue, State


@frozen(kw_only=True)
class Times:
    """How long something took, in milliseconds; None where it never happened."""

    p50: int | None = None
    p90: int | None = None
    p99: int | None = None


@frozen(kw_only=True)
class Spread:
    """How durations are spread."""

    #: How many there are in each bucket, by its index in jobengine.core.durations.BOUNDS.
    buckets: Mapping[int, int] = field(factory=dict)
    #: Their sum in milliseconds.
    total: int = 0


@frozen(kw_only=True)
class QueueCounts:
    """How many jobs a queue has of each kind."""

    #: Jobs by state.
    states: dict[State, int]
    #: Queued jobs that can be claimed, and those that can't be yet.
    ready: int
    delayed: int
    #: Queued jobs whose last attempt failed or timed out; they are ready or delayed as well.
    retrying: int
    #: Failed jobs that were cancelled.
    cancelled: int


@frozen(kw_only=True)
class Recent:
    """Recent activity of a queue, as far as this engine counted it."""

    #: In the last minute and hour, by what is counted: see COUNTED of jobengine.core.history.
    last_minute: dict[str, int]
    last_hour: dict[str, int]
    #: The same for each of the last 60 minutes, oldest first; the last minute is not over.
    minutes: Mapping[str, Sequence[int]] = field(factory=dict)
    #: The time from ready to claimed, and from claimed to the end of the attempt.
    wait: Times = Times()
    run: Times = Times()


@frozen(kw_only=True)
class QueueStats:
    """The figures of a queue."""

    #: The queue.
    queue: Queue
    #: Jobs by state.
    counts: dict[State, int]
    #: Queued jobs that can be claimed, and those that can't be yet.
    ready: int
    delayed: int
    #: See QueueCounts.
    retrying: int
    cancelled: int
    #: Milliseconds since the oldest job that can be claimed was added; None if there is none.
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
    #: When jobs were last claimed, or a claim got nothing; None if that is not known.
    last_claim: int | None = None

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.queue.name


@frozen(kw_only=True)
class QueueTotals:
    """The figures of a queue that are cheap to compute, so that those of all queues can be read often."""

    #: The queue's name.
    name: str
    #: Jobs by state.
    counts: Mapping[State, int]
    #: See QueueCounts.
    retrying: int
    #: See QueueStats.
    oldest_ready: int | None
    #: The counts since the engine was started: those of a period and "timed_out".
    totals: Mapping[str, int]
    #: Waiting and running times since the engine was started.
    wait: Spread = Spread()
    run: Spread = Spread()
    #: How many claims wait for jobs at this server.
    workers_waiting: int = 0
    #: Whether no job can be claimed.
    paused: bool = False
