"""
Kills a daemon repeatedly under mixed load, often during a compaction, and checks its contents after each kill.

Two kinds of clients use it at the same time. Each owner has its own queue, and knows every field of every job in it.
Workers hold jobs of one queue by short leases, and some of them die.
"""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen

from tests.integration.daemons import Client, Daemon, free_port
from tests.integration.workers import Workforce, add_jobs, held_twice

from .crew import Caller, Crew, end_work, judge_all, make_owners, require
from .owner import Owner
from .trials import Tally

#: Jobs for the workers in each round.
WORK: Final = 30
#: Seconds under load before a kill that does not wait for a compaction.
LOADED: Final = (0.3, 2.0)
#: Seconds within which a worker's request is certainly answered.
_ANSWERED: Final = 2.0
#: Seconds from the beginning of a compaction to the kill.
INTO: Final = (0.0, 0.15)


@define
class _Campaign:
    """One daemon and its clients; each round continues with the database of the round before."""

    daemon: Daemon
    chance: random.Random
    tally: Tally
    port: int
    trial: "Kills"
    owners: list[Owner] = field(init=False)
    workforce: Workforce = field(init=False)
    _cargo: dict[str, Any] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.owners = make_owners(self.chance)
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
        with self.connect() as client:
            add_jobs(client, WORK, "work", round=number)
        crew = Crew(self.owners, self.connect)
        crew.start()
        self._wait()
        self.daemon.kill()
        crew.end()
        self.tally.kills += 1
        self._count_compactions()
        self.daemon.start()
        self._judge()

    def _wait(self) -> None:
        """Wait until the moment of the kill: a random one, or just after a compaction has begun."""
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

    def _judge(self) -> None:
        judge_all(self.owners, self.connect, Owner.judge)
        with self.connect() as client:
            require(client.jobs("cargo") == self._cargo, "queue 'cargo', which no client changes, has changed")
        require("Traceback" not in self.daemon.log, "there is a traceback in the log")
        twice = held_twice(self.workforce.holds)
        if twice:
            # A worker records the end of a hold after the answer: the next holder may have recorded its claim earlier.
            time.sleep(_ANSWERED)
            twice = held_twice(self.workforce.holds)
        require(not twice, f"jobs with two holders: {twice[:3]}")
        require(not self.workforce.wrong, f"answers to workers: {self.workforce.wrong[:3]}")

    def end(self) -> None:
        """Let the workers finish, and compare the jobs with the workers' records."""
        end_work(self.workforce, self.connect)
        self._count_compactions()
        require(self.daemon.stop() == 0, "when told to stop, it did not exit with 0")
        self.tally.operations += len(self.workforce.holds) + sum(owner.answered.total() for owner in self.owners)

    def abandon(self) -> None:
        """Leave nothing running."""
        self.daemon.kill()
        self.workforce.end()


@frozen
class Kills:
    """A trial: one database and a number of kills."""

    kills: int = 10
    #: Jobs that are never changed; they make a compaction long enough for a kill.
    cargo: int = 8_000
    #: The most seconds that a kill waits for a compaction.
    patience: float = 8.0
    make_daemon: Callable[..., Daemon] = Daemon
    name: str = "kills"

    def run(self, seed: int, folder: Path, tally: Tally) -> None:
        chance = random.Random(seed)
        port = free_port()
        settings = {"API_PORT": str(port), "LOG_REQUESTS": "errors"}
        campaign = _Campaign(self.make_daemon(folder / "home", settings), chance, tally, port, self)
        try:
            campaign.begin()
            for number in range(self.kills):
                campaign.round(number)
            campaign.end()
        finally:
            campaign.abandon()
