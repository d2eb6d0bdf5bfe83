"""
A daemon that is killed again and again under mixed load, often while it compacts, and what must be there afterwards.

Three kinds of clients put load on it at once. Owners, each with a queue of its own, know of every field of every job
what it must be. The threads of a Load all take, change and delete the jobs of one queue by the rules of version 1.
Workers hold jobs of one queue by short leases, some die, and the daemon is killed under them.
"""

import random
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen

from tests.integration.daemons import Client, Daemon, Reply
from tests.integration.load import Load
from tests.integration.load import judge as judge_load
from tests.integration.workers import Workforce, add_jobs, all_finished, held_twice
from tests.integration.workers import judge as judge_workers
from tests.machine.api_driver import ApiDriver

from .owner import Disagreement, Owner
from .trials import Tally

__all__ = ["Kills"]

#: Jobs for the workers in each round.
WORK: Final = 30
#: Seconds under load before a kill that does not wait for a compaction.
LOADED: Final = (0.3, 2.0)
#: Seconds from the begin of a compaction to the kill.
INTO: Final = (0.0, 0.15)
#: Connections take their own ports from 32768 on, and so can't take the daemon's while it is down.
PORTS: Final = range(20_000, 32_000)


class Caller(Client):
    """A client for which a server that is reading back its database is not there yet."""

    def call(self, method: str, path: str, **more: Any) -> Reply:
        reply = super().call(method, path, **more)
        if reply.status == 503:
            raise ConnectionError(reply.body)
        return reply


@frozen
class _Server:
    """What an ApiDriver asks, over one connection."""

    client: Client

    def call(self, method: str, path: str, *, key: str | None = "key", **more: Any) -> Reply:
        if key not in ("key", None):
            more["headers"] = {**(more.get("headers") or {}), "X-Access-Key": key}
        if "jobs" in (more.get("body") or {}):
            # The queue of a long body must be named in the query too.
            more["query"] = {"queueName": more["body"]["queue_name"]}
        return self.client.call(method, path, **more)


def _free_port(chance: random.Random) -> int:
    while True:
        port = chance.choice(PORTS)
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)):
                return port


@define
class _Crew:
    """Owners at work, each in a thread of its own, until one of them stops or all are told to."""

    owners: list[Owner]
    connect: Callable[[], Client]
    stop: threading.Event = field(factory=threading.Event)
    wrong: list[Exception] = field(factory=list)
    _threads: list[threading.Thread] = field(factory=list)

    def start(self) -> None:
        self._threads = [threading.Thread(target=self._run, args=(owner,)) for owner in self.owners]
        for thread in self._threads:
            thread.start()

    def _run(self, owner: Owner) -> None:
        with self.connect() as client:
            owner.api.server = _Server(client)
            try:
                while not self.stop.is_set() and owner.step():
                    pass
            except Exception as error:
                self.wrong.append(error)

    def end(self) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join()
        if self.wrong:
            raise self.wrong[0]


@define
class _Campaign:
    """One daemon and those who use it; each round finds what the rounds before it have left."""

    daemon: Daemon
    chance: random.Random
    tally: Tally
    port: int
    trial: "Kills"
    owners: list[Owner] = field(init=False)
    workforce: Workforce = field(init=False)
    _cargo: dict[str, Any] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        kinds = [("owner 1", None), ("owner 2", None), ("owner 3", None), ("loader", {"load": 1})]
        self.owners = [
            Owner(name, ApiDriver(), random.Random(self.chance.random()), weights) for name, weights in kinds
        ]
        self.workforce = Workforce.of(self.connect, "work", good=5, slow=2, mortal=2)

    def connect(self) -> Client:
        return Caller(self.port, sampled=True)

    def begin(self) -> None:
        self.daemon.start()
        with self.connect() as client:
            client.make_queue("work")
            client.make_queue("cargo")
            client.add_many([{"content": {"n": n}} for n in range(self.trial.cargo)], "cargo")
            self._cargo = client.jobs("cargo")
        self.workforce.start()

    def round(self, number: int) -> None:
        queue = f"load {number} {self.chance.randrange(1 << 30)}"
        with self.connect() as client:
            client.make_queue(queue)
            add_jobs(client, WORK, "work", round=number)
        load, crew = Load(self.connect, queue, connections=4), _Crew(self.owners, self.connect)
        load.start()
        crew.start()
        self._wait()
        self.daemon.kill()
        attempts = load.end()
        crew.end()
        self.tally.kills += 1
        self.tally.operations += len(attempts)
        self._count_compactions()
        self.daemon.start()
        self._judge(queue, attempts)

    def _wait(self) -> None:
        """Until it is to be killed: at any moment, or just after a compaction has begun."""
        if self.chance.random() < 0.3:
            time.sleep(self.chance.uniform(*LOADED))
            return
        deadline = time.monotonic() + self.trial.patience
        while time.monotonic() < deadline and "compaction begins" not in self.daemon.log:
            time.sleep(0.01)
        time.sleep(self.chance.uniform(*INTO))

    def _count_compactions(self) -> None:
        begun, done = (self.daemon.log.count(f"compaction {what}") for what in ("begins", "is done"))
        self.tally.compactions += begun
        self.tally.cut_short += begun - done

    def _judge(self, queue: str, attempts: Any) -> None:
        with self.connect() as client:
            for owner in self.owners:
                owner.api.server = _Server(client)
                owner.judge()
            verdict = judge_load(attempts, client.jobs(queue))
            _require(verdict.good, f"queue {queue!r}: {verdict}")
            _require(client.jobs("cargo") == self._cargo, "queue 'cargo', which nobody has touched, is another")
            # Half of these queues are left to be found again by the recoveries to come.
            if self.chance.random() < 0.5:
                client.call("DELETE", "/api/v1/queue", query={"name": queue})
        _require("Traceback" not in self.daemon.log, "there is a traceback in the log")
        twice = held_twice(self.workforce.holds)
        _require(not twice, f"jobs with two holders: {twice[:3]}")
        _require(not self.workforce.wrong, f"answers to workers: {self.workforce.wrong[:3]}")

    def end(self) -> None:
        """Let the workers finish, and hold the jobs' accounts against theirs."""
        with self.connect() as client:
            jobs = all_finished(client, "work")
        self.workforce.end()
        verdict = judge_workers(self.workforce, jobs)
        _require(verdict.good, f"queue 'work': {verdict}")
        _require(not self.workforce.wrong, f"answers to workers: {self.workforce.wrong[:3]}")
        self._count_compactions()
        _require(self.daemon.stop() == 0, "asked to stop it did not end with 0")
        self.tally.operations += len(self.workforce.holds) + sum(owner.answered.total() for owner in self.owners)

    def abandon(self) -> None:
        """Leave nothing running."""
        self.daemon.kill()
        self.workforce.end()


def _require(right: bool, what: str) -> None:
    if not right:
        raise Disagreement(what)


@frozen
class Kills:
    """A trial: one database, and so many kills."""

    kills: int = 10
    #: Jobs that only lie there, so that a compaction takes long enough to be killed in.
    cargo: int = 8_000
    #: Seconds that a kill waits for a compaction at most.
    patience: float = 8.0
    make_daemon: Callable[..., Daemon] = Daemon
    name: str = "kills"

    def run(self, seed: int, folder: Path, tally: Tally) -> None:
        chance = random.Random(seed)
        port = _free_port(chance)
        settings = {"API_PORT": str(port), "LOG_REQUESTS": "errors"}
        campaign = _Campaign(self.make_daemon(folder / "home", settings), chance, tally, port, self)
        try:
            campaign.begin()
            for number in range(self.kills):
                campaign.round(number)
            campaign.end()
        finally:
            campaign.abandon()
