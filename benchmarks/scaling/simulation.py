"""
A simulation of daemons on PostgreSQL: each batch uses the daemon's core, PostgreSQL's cores, the disk and the standby
for some time, and waits for each while others use it.
"""

import random
from collections import Counter
from collections.abc import Mapping
from itertools import product
from typing import Final

from attrs import define, field, frozen

from .stations import Clock, Disk, Process, Station

__all__ = ["LIFE", "TRIPS", "Answer", "Costs", "Load", "Place", "simulate"]

#: What happens to each job.
LIFE: Final = ("add", "claim", "complete")
#: The round trips of a batch: time and queues; jobs; what it writes, with COMMIT. Most batches need only two, as the
#: first two go together (see begin_and_load); COSTS was measured before that.
TRIPS: Final = 3
#: Jobs in a batch at most; see jobengine.engine.postgres.lane.
_MOST: Final = 2_000


@frozen(kw_only=True)
class Costs:
    """What work costs: microseconds of a core, or bytes of WAL. A task is a request in a batch."""

    #: At the daemon; `request` and `request_job` are for HTTP and JSON.
    request: float
    request_job: float
    batch: float
    task: float
    job: float
    #: At PostgreSQL. `pg_walk` is for each row that another claim has locked and that is passed over.
    pg_batch: float
    pg_job: float
    pg_walk: float
    wal_batch: float
    wal_job: float
    #: To remove a job that has been kept: at the daemon; at PostgreSQL and in WAL, with the vacuum.
    removal: float
    pg_removal: float
    wal_removal: float
    #: Of the one process that replays at the standby, for each 1,000 bytes of WAL.
    replay: float


@frozen(kw_only=True)
class Place:
    """The machines; times are in microseconds."""

    #: The cores of PostgreSQL.
    cores: int
    #: The cores that all daemons and their clients share; 0: each daemon has one of its own.
    daemon_cores: int = 0
    #: A round trip between daemon and PostgreSQL.
    trip: float
    #: A sync of the disk.
    sync: float
    #: A round trip between PostgreSQL and its synchronous standby; None if there is none.
    standby: float | None = None


@frozen(kw_only=True)
class Load:
    """Clients that add, claim and complete `size` jobs in a request, each in one queue, over and over."""

    daemons: int
    #: Of each daemon.
    clients: int
    size: int
    queues: int = 1


@define(eq=False)
class Database:
    """A PostgreSQL with its standby."""

    place: Place
    costs: Costs
    cores: Station = field(init=False)
    replay: Station = field(factory=Station)
    #: The rows of each queue that claims have locked and not yet committed.
    locked: Counter[int] = field(factory=Counter)
    written: float = 0
    _disk: Disk = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.cores, self._disk = Station(self.place.cores), Disk(self.place.sync)

    def committed(self, now: float, written: float) -> float:
        """When a commit of this many bytes of WAL is on the disk and, if there is a standby, replayed there."""
        self.written += written
        end = self._disk.done(now)
        if self.place.standby is None:
            return end
        return self.replay.done(end, self.costs.replay * written / 1_000) + self.place.sync + self.place.standby


@define(eq=False)
class Lane:
    """Gathers tasks, and carries them out a batch at a time."""

    world: "World"
    core: Station
    _process: Process = field(init=False)
    _waiting: "list[Client]" = field(factory=list)
    _idle: bool = True

    def __attrs_post_init__(self) -> None:
        self._process = self._run()

    def ask(self, client: "Client") -> None:
        """Carry out the client's request in a batch, and wake it."""
        self._waiting.append(client)
        if self._idle:
            self._idle = False
            self.world.clock.wake(self._process)

    def _run(self) -> Process:
        while True:
            while self._waiting:
                batch = self._next_batch()
                yield from self._carry_out(batch, self.world.load.size * len(batch))
                for client in batch:
                    self.world.clock.wake(client.process)
            self._idle = True
            yield None

    def _next_batch(self) -> "list[Client]":
        most = -(-_MOST // self.world.load.size)
        batch, self._waiting = self._waiting[:most], self._waiting[most:]
        return batch

    def _carry_out(self, batch: "list[Client]", jobs: int) -> Process:
        world, costs, clock, database = self.world, self.world.costs, self.world.clock, self.world.database
        size = world.load.size
        claimed = Counter({queue: size * its for queue, its in _queues(batch, "claim").items()})
        yield self.core.done(clock.now, world.varied(costs.batch + costs.task * len(batch) + costs.job * jobs))
        yield clock.now + (TRIPS - 1) * world.place.trip
        walked = sum(database.locked[queue] for queue in claimed)
        database.locked.update(claimed)
        work = costs.pg_batch + costs.pg_job * jobs + costs.pg_walk * walked
        yield database.cores.done(clock.now, world.varied(work))
        yield database.committed(clock.now, costs.wal_batch + costs.wal_job * jobs) + world.place.trip
        database.locked.subtract(claimed)
        self._remove(size * _queues(batch, "complete").total())

    def _remove(self, jobs: int) -> None:
        """Remove jobs: nobody waits for it, but it uses all resources."""
        now, costs, database = self.world.clock.now, self.world.costs, self.world.database
        if jobs and costs.wal_removal:
            self.core.done(now, jobs * costs.removal)
            database.committed(database.cores.done(now, jobs * costs.pg_removal), jobs * costs.wal_removal)


def _queues(batch: "list[Client]", kind: str) -> Counter[int]:
    """How many clients of each queue ask for this."""
    return Counter(client.queue for client in batch if client.kind == kind)


@define(eq=False)
class Client:
    """A client: it sends a request, waits for the answer, and sends the next."""

    lane: Lane
    queue: int
    #: What it asks for.
    kind: str = field(default="", init=False)
    process: Process = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.process = self._run(self.lane.world)

    def _run(self, world: "World") -> Process:
        yield world.random.random() * 10_000  # they do not all begin at the same moment
        while True:
            for self.kind in LIFE:
                work = world.costs.request + world.costs.request_job * world.load.size
                yield self.lane.core.done(world.clock.now, world.varied(work))
                self.lane.ask(self)
                yield None
            world.done += world.load.size


@define(eq=False)
class World:
    """All machines and clients."""

    costs: Costs
    place: Place
    load: Load
    #: The share by which the time of a piece of work varies, up and down.
    spread: float
    random: random.Random
    clock: Clock = field(factory=Clock)
    database: Database = field(init=False)
    daemons: list[Station] = field(init=False)
    done: int = 0

    def __attrs_post_init__(self) -> None:
        place, load = self.place, self.load
        self.database = Database(place, self.costs)
        shared = Station(place.daemon_cores) if place.daemon_cores else None
        self.daemons = [shared or Station() for _ in range(load.daemons)]
        lanes: dict[tuple[int, int], Lane] = {}
        for number, client in product(range(load.daemons), range(load.clients)):
            queue = (number * load.clients + client) % load.queues
            # A daemon has four lanes. Here each queue uses one of two; in fact, adds and updates use any that is free.
            lane = lanes.setdefault((number, queue % 2), Lane(self, self.daemons[number]))
            self.clock.wake(Client(lane, queue).process)

    def varied(self, work: float) -> float:
        """The work, varied at random."""
        return work * (1 + self.spread * (2 * self.random.random() - 1))

    def run(self, until: float) -> Counter[str]:
        """Let time pass until `until`, in microseconds; returns what was done and used by then."""
        self.clock.run(until)
        stations = set(self.daemons)
        database = self.database
        return Counter(
            {
                "jobs": self.done,
                "bytes": database.written,
                "daemons": sum(one.busy for one in stations) / sum(one.cores for one in stations),
                "PostgreSQL": database.cores.busy / database.cores.cores,
                "standby": database.replay.busy,
            }
        )


@frozen
class Answer:
    """The result, for each second."""

    jobs: float
    #: Bytes of WAL.
    written: float
    #: The share of its time that each resource works.
    busy: Mapping[str, float]

    @property
    def text(self) -> str:
        """The jobs a second, and the resource that is busiest."""
        name = max(self.busy, key=lambda name: self.busy[name])
        return f"{self.jobs:,.0f} ({name} {self.busy[name]:.0%})"


def simulate(load: Load, place: Place, costs: Costs, *, seconds: float = 2, spread: float = 0.5) -> Answer:
    """Simulate this many seconds; what is done after the first quarter counts."""
    world = World(costs, place, load, spread, random.Random(1))  # noqa: S311  # the same each time
    before = world.run(seconds * 0.25e6)
    done = world.run(seconds * 1e6)
    rates = {name: (done[name] - before[name]) / (seconds * 0.75e6) for name in done}
    jobs, written = rates.pop("jobs") * 1e6, rates.pop("bytes") * 1e6
    return Answer(jobs, written, rates)
