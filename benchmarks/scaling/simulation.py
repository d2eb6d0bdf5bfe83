"""
A simulation of daemons on PostgreSQL.

Each batch uses the daemon's core, PostgreSQL's cores, the disk and the standby for some time, and waits while others
use them.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Final

from attrs import define, field, frozen

from jobengine.core import commands as c
from jobengine.engine.postgres.batch.plan import overlaps

from .stations import Clock, Disk, Lock, Process, Station

#: The requests for each job, in order.
LIFE: Final = ("add", "claim", "complete")
#: The round trips of a batch: one reads time, queues and jobs, one writes and commits.
TRIPS: Final = 2
#: The most jobs in a batch; see jobengine.engine.postgres.batch.lane.
_MOST: Final = 1_000
#: The number of lanes (connections) of a daemon; see jobengine.engine.postgres.engine.
_LANES: Final = 4


@frozen(kw_only=True)
class Costs:
    """The cost of work: microseconds of a core, or bytes of WAL. A task is a request in a batch."""

    #: At the daemon; `request` and `request_job` are for HTTP and JSON.
    request: float
    request_job: float
    batch: float
    task: float
    job: float
    #: At the client, for each request and each job in it.
    client: float
    client_job: float
    #: At PostgreSQL. `pg_walk` is for each row that a claim skips because another claim has locked it.
    pg_batch: float
    pg_job: float
    pg_walk: float
    wal_batch: float
    wal_job: float
    #: For the removal of a job after its retention: at the daemon; at PostgreSQL and in WAL, with the vacuum.
    removal: float
    pg_removal: float
    wal_removal: float
    #: At the standby's single replay process, for each 1,000 bytes of WAL.
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
    """Clients that repeatedly add, claim and complete `size` jobs in a request, each in one queue."""

    daemons: int
    #: For each daemon.
    clients: int
    size: int
    queues: int = 1
    #: Whether a queue has `max_jobs`: then a batch that adds jobs locks the queue from loading to commit.
    limited: bool = False
    #: Whether a queue is watched: then batches about it commit one after the other.
    watched: bool = False

    @property
    def claims_in_turn(self) -> bool:
        """Whether claims from a queue use one lane of a daemon, and so come one after the other."""
        return not overlaps(c.Claims(queues=("q",), access_key=b"", count=self.size), has_flow=False)


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
class Daemon:
    """
    A daemon: requests wait for one of its lanes, and each lane carries out one batch at a time.

    As in the engine, small claims from a queue always use the same lane; other requests use any lane.
    """

    world: "World"
    core: Station
    #: When the daemon will have read all requests that have arrived.
    reads_until: float = 0
    waiting: "list[Client]" = field(factory=list)
    lanes: "list[Lane]" = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.lanes = [Lane(self) for _ in range(_LANES)]

    def receive(self, work: float) -> float:
        """Read a request, which takes this much work; returns when that is done."""
        self.reads_until = self.core.done(self.world.clock.now, work)
        return self.reads_until

    def ask(self, client: "Client") -> None:
        """Carry out the client's request in a batch, then wake the client."""
        own = self.lanes[client.queue % _LANES]
        is_bound = client.kind == "claim" and self.world.load.claims_in_turn
        client.lane = own if is_bound else None
        self.waiting.append(client)
        if not own.begin_soon() and not is_bound:
            self.begin_soon()

    def begin_soon(self) -> None:
        """Let a free lane take the shared requests."""
        if any(client.lane is None for client in self.waiting):
            any(lane.begin_soon() for lane in self.lanes)


@define(eq=False)
class Lane:
    """A lane of a daemon: carries out requests, one batch at a time."""

    daemon: Daemon
    _process: Process = field(init=False)
    #: Whether a batch will begin soon.
    _begins: bool = False
    #: Whether a batch is running.
    _runs: bool = False

    def __attrs_post_init__(self) -> None:
        self._process = self._run()

    def begin_soon(self) -> bool:
        """Start a batch once the daemon has read all arrived requests; returns False if a batch is running."""
        if not self._runs and not self._begins:
            self._begins = True
            self.daemon.world.clock.wake(self._process, self.daemon.reads_until)
        return not self._runs

    def _run(self) -> Process:
        while True:
            while batch := self._next_batch():
                self._begins, self._runs = False, True
                self.daemon.begin_soon()
                yield from self._carry_out(batch, self.daemon.world.load.size * len(batch))
                for client in batch:
                    self.daemon.world.clock.wake(client.process)
            self._begins = self._runs = False
            yield None

    def _next_batch(self) -> "list[Client]":
        waiting, most = self.daemon.waiting, -(-_MOST // self.daemon.world.load.size)
        batch = [client for client in waiting if client.lane in (None, self)][:most]
        self.daemon.waiting = [client for client in waiting if client not in batch]
        return batch

    def _carry_out(self, batch: "list[Client]", jobs: int) -> Process:
        world = self.daemon.world
        with ExitStack() as held:
            if world.load.limited:
                yield from self._hold(world.limits, _queues(batch, "add"), held)
            yield from self._load_and_write(batch, jobs)
            if world.load.watched:
                yield from self._hold(world.events, {client.queue for client in batch}, held)
            written = world.costs.wal_batch + world.costs.wal_job * jobs
            yield world.database.committed(world.clock.now, written)
        yield world.clock.now + world.place.trip
        world.database.locked.subtract(self._claimed(batch))
        removed = world.load.size * _queues(batch, "complete").total()
        if removed and world.costs.wal_removal:
            world.clock.wake(self._remove(removed))

    def _hold(self, locks: Sequence[Lock], queues: Iterable[int], held: ExitStack) -> Process:
        for queue in sorted(queues):
            yield from locks[queue].taken(self._process)
            held.callback(locks[queue].give_back)

    def _load_and_write(self, batch: "list[Client]", jobs: int) -> Process:
        world, costs, database = self.daemon.world, self.daemon.world.costs, self.daemon.world.database
        work = costs.batch + costs.task * len(batch) + costs.job * jobs
        yield self.daemon.core.done(world.clock.now, world.varied(work))
        yield world.clock.now + (TRIPS - 1) * world.place.trip
        claimed = self._claimed(batch)
        walked = sum(database.locked[queue] for queue in claimed)
        database.locked.update(claimed)
        work = costs.pg_batch + costs.pg_job * jobs + costs.pg_walk * walked
        yield database.cores.done(world.clock.now, world.varied(work))

    def _claimed(self, batch: "list[Client]") -> Counter[int]:
        """The jobs that a batch claims from each queue."""
        size = self.daemon.world.load.size
        return Counter({queue: size * its for queue, its in _queues(batch, "claim").items()})

    def _remove(self, jobs: int) -> Process:
        """Remove jobs. No client waits for this, but it takes time of the daemon and the database, and writes WAL."""
        clock, costs, database = self.daemon.world.clock, self.daemon.world.costs, self.daemon.world.database
        yield self.daemon.core.done(clock.now, jobs * costs.removal)
        yield database.cores.done(clock.now, jobs * costs.pg_removal)
        database.committed(clock.now, jobs * costs.wal_removal)
        yield None


def _queues(batch: "list[Client]", kind: str) -> Counter[int]:
    """How many clients of each queue have sent this kind of request."""
    return Counter(client.queue for client in batch if client.kind == kind)


@define(eq=False)
class Client:
    """A client: it sends a request, waits for the answer, and sends the next."""

    daemon: Daemon
    queue: int
    #: The client's next request.
    kind: str = field(default="", init=False)
    #: The lane for that request; None if any lane may take it.
    lane: Lane | None = field(default=None, init=False)
    process: Process = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.process = self._run(self.daemon.world)

    def _run(self, world: "World") -> Process:
        yield world.random.random() * 10_000  # they do not all begin at the same moment
        while True:
            for self.kind in LIFE:
                yield self.daemon.receive(world.varied(world.request))
                self.daemon.ask(self)
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
    #: The locks of each queue, by its number: for adding, if it has `max_jobs`, and for events.
    limits: list[Lock] = field(init=False)
    events: list[Lock] = field(init=False)
    daemons: list[Station] = field(init=False)
    done: int = 0

    def __attrs_post_init__(self) -> None:
        place, load = self.place, self.load
        self.database = Database(place, self.costs)
        self.limits, self.events = ([Lock(self.clock) for _ in range(load.queues)] for _ in range(2))
        shared = Station(place.daemon_cores) if place.daemon_cores else None
        self.daemons = [shared or Station() for _ in range(load.daemons)]
        for number, core in enumerate(self.daemons):
            daemon = Daemon(self, core)
            for client in range(load.clients):
                queue = (number * load.clients + client) % load.queues
                self.clock.wake(Client(daemon, queue).process)

    @property
    def request(self) -> float:
        """The work of a request on the daemon's core, without the batch; with the client's work if they share cores."""
        costs, size = self.costs, self.load.size
        client = costs.client + costs.client_job * size if self.place.daemon_cores else 0
        return costs.request + costs.request_job * size + client

    def varied(self, work: float) -> float:
        """The work, varied at random."""
        return work * (1 + self.spread * (2 * self.random.random() - 1))

    def run(self, until: float) -> Counter[str]:
        """Let time pass until `until`, in microseconds; returns the jobs and resources used by then."""
        self.clock.run(until)
        stations = set(self.daemons)
        database = self.database
        return Counter(
            {
                "jobs": self.done,
                "bytes": database.written,
                "daemons": sum(one.busy(until) for one in stations) / sum(one.cores for one in stations),
                "PostgreSQL": database.cores.busy(until) / database.cores.cores,
                "standby": database.replay.busy(until),
            }
        )


@frozen
class Answer:
    """The result of a simulation, as figures for each second."""

    jobs: float
    #: Bytes of WAL.
    written: float
    #: The share of time in which each resource works.
    busy: Mapping[str, float]

    @property
    def text(self) -> str:
        """The jobs a second, to two digits, and the resource that is busiest."""
        name = max(self.busy, key=lambda name: self.busy[name])
        return f"{float(f'{self.jobs:.2g}'):,.0f} ({name} {self.busy[name]:.0%})"


def simulate(
    load: Load, place: Place, costs: Costs, *, seconds: float = 4, spread: float = 0.5, seed: int = 1
) -> Answer:
    """Simulate this many seconds; only the time after the first quarter counts. The same seed gives the same answer."""
    world = World(costs, place, load, spread, random.Random(seed))  # noqa: S311  # it protects nothing
    before = world.run(seconds * 0.25e6)
    done = world.run(seconds * 1e6)
    rates = {name: (done[name] - before[name]) / (seconds * 0.75e6) for name in done}
    jobs, written = rates.pop("jobs") * 1e6, rates.pop("bytes") * 1e6
    return Answer(jobs, written, rates)
