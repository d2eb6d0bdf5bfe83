"""
Four daemons on one PostgreSQL under load, while a daemon, a backend or the postmaster is killed again and again.

Owners know every field of the jobs in their own queues. Fifty workers hold jobs of one queue by short leases, and some
of them die.
"""

import random
import time
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from tests.integration.daemons import Client
from tests.integration.workers import Workforce, add_jobs, held_twice

from .crew import Caller, Crew, end_work, judge_all, make_owners, require
from .owner import Owner
from .postgres_servers import KINDS, Servers, on_postgres
from .trials import Tally

#: Jobs for the workers in each round.
WORK: Final = 60
#: Seconds under load before a kill.
LOADED: Final = (0.1, 1.0)


@define
class _Campaign:
    """Daemons on one database, and their clients."""

    servers: Servers
    chance: random.Random
    tally: Tally
    owners: list[Owner] = field(init=False)
    workforce: Workforce = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.owners = make_owners(self.chance, loader=False)
        self.workforce = Workforce.of(self.connect, "work", good=30, slow=10, mortal=10)

    def connect(self) -> Client:
        return Caller(self.chance.choice(self.servers.daemons).port, sampled=True)

    def begin(self) -> None:
        for daemon in self.servers.daemons:
            daemon.start()
        with self.connect() as client:
            client.make_queue("work")
        self.workforce.start()

    def round(self, kind: str) -> None:
        with self.connect() as client:
            add_jobs(client, WORK, "work", kind=kind)
        crew = Crew(self.owners, self.connect)
        crew.start()
        time.sleep(self.chance.uniform(*LOADED))
        self.workforce.kills.append(time.monotonic())
        self.servers.kill(kind, self.chance)
        crew.end()
        self.tally.kills += 1
        self.servers.wait()
        judge_all(self.owners, self.connect, Owner.judge)
        require(not any("Traceback" in daemon.log for daemon in self.servers.daemons), "there is a traceback in a log")
        twice = held_twice(self.workforce.holds)
        require(not twice, f"jobs with two holders: {twice[:3]}")
        require(not self.workforce.wrong, f"answers to workers: {self.workforce.wrong[:3]}")

    def end(self) -> None:
        """Let the workers finish, and compare the jobs with the workers' records."""
        end_work(self.workforce, self.connect)
        codes = [daemon.stop() for daemon in self.servers.daemons]
        require(not any(codes), f"when told to stop, they exited with {codes} instead of 0")
        self.tally.operations += len(self.workforce.holds) + sum(owner.answered.total() for owner in self.owners)


@frozen
class PostgresKills:
    """A trial: one database, and a number of kills of each kind, in random order."""

    kills: int = 4
    daemons: int = 4
    name: str = "kills, PostgreSQL"

    def run(self, seed: int, folder: Path, tally: Tally) -> None:
        chance = random.Random(seed)
        kinds = [*KINDS] * self.kills
        chance.shuffle(kinds)
        with on_postgres(folder, self.daemons) as servers:
            campaign = _Campaign(servers, chance, tally)
            try:
                campaign.begin()
                for kind in kinds:
                    campaign.round(kind)
                campaign.end()
            finally:
                campaign.workforce.end()
