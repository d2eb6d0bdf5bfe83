"""
Four daemons on one PostgreSQL under load, while a daemon, a backend or the postmaster is killed again and again.

Owners know every field of the jobs in their own queues. Fifty workers hold jobs of one queue by short leases, and some
of them die.
"""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
from attrs import define, field, frozen

from tests.integration.daemons import SECRET, Client, Daemon, free_port, until
from tests.integration.workers import Workforce, add_jobs, held_twice
from tests.postgres import Cluster, Database, is_installed, running

from .crew import Caller, Crew, end_work, judge_all, make_owners, require
from .owner import Owner
from .trials import NotHere, Tally

#: Jobs for the workers in each round.
WORK: Final = 60
#: Seconds under load before a kill.
LOADED: Final = (0.1, 1.0)
_BACKENDS: Final = (
    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() "
    "AND datname = current_database()"
)


@define
class _Campaign:
    """Daemons on one database, and their clients."""

    cluster: Cluster
    database: Database
    daemons: list[Daemon]
    chance: random.Random
    tally: Tally
    owners: list[Owner] = field(init=False)
    workforce: Workforce = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.owners = make_owners(self.chance, loader=False)
        self.workforce = Workforce.of(self.connect, "work", good=30, slow=10, mortal=10)

    def connect(self) -> Client:
        return Caller(self.chance.choice(self.daemons).port, sampled=True)

    def begin(self) -> None:
        for daemon in self.daemons:
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
        self._kill(kind)
        crew.end()
        self.tally.kills += 1
        # A daemon says that it is ready until it notices that the database is away: so ask the database first.
        until("the database answers", lambda: _answers(self.database), 60)
        until("all are ready", lambda: all(_is_ready(daemon) for daemon in self.daemons), 60)
        judge_all(self.owners, self.connect, Owner.judge)
        require(not any("Traceback" in daemon.log for daemon in self.daemons), "there is a traceback in a log")
        twice = held_twice(self.workforce.holds)
        require(not twice, f"jobs with two holders: {twice[:3]}")
        require(not self.workforce.wrong, f"answers to workers: {self.workforce.wrong[:3]}")

    def _kill(self, kind: str) -> None:
        self.workforce.kills.append(time.monotonic())
        match kind:
            case "daemon":
                daemon = self.chance.choice(self.daemons)
                daemon.kill()
                daemon.launch()
            case "backend":
                # The postmaster then ends all other backends, and recovers.
                with psycopg.connect(self.database.url) as connection:
                    pids = [pid for (pid,) in connection.execute(_BACKENDS)]
                os.kill(self.chance.choice(pids), signal.SIGKILL)
            case _:
                self.cluster.stop(signal.SIGKILL)
                self.cluster.start()

    def end(self) -> None:
        """Let the workers finish, and compare the jobs with the workers' records."""
        end_work(self.workforce, self.connect)
        codes = [daemon.stop() for daemon in self.daemons]
        require(not any(codes), f"when told to stop, they exited with {codes} instead of 0")
        self.tally.operations += len(self.workforce.holds) + sum(owner.answered.total() for owner in self.owners)

    def abandon(self) -> None:
        """Leave nothing running."""
        for daemon in self.daemons:
            daemon.kill()
        self.workforce.end()


def _answers(database: Database) -> bool:
    try:
        psycopg.connect(database.url).close()
    except psycopg.OperationalError:
        return False
    return True


def _is_ready(daemon: Daemon) -> bool:
    try:
        return daemon.is_ready()
    except OSError:
        return False


@contextmanager
def _on_a_cluster(chance: random.Random, folder: Path, tally: Tally, daemons: int) -> Iterator[_Campaign]:
    with running() as cluster:
        database = Database.make(cluster, "killed")
        database.clear(secret=SECRET.encode())
        settings = {"DATABASE_URL": database.url, "LOG_REQUESTS": "errors"}
        made = [Daemon(folder / f"home {at}", {**settings, "API_PORT": str(free_port())}) for at in range(daemons)]
        campaign = _Campaign(cluster, database, made, chance, tally)
        try:
            yield campaign
        finally:
            campaign.abandon()


@frozen
class PostgresKills:
    """A trial: one database, and a number of kills of each kind, in random order."""

    kills: int = 4
    daemons: int = 4
    name: str = "kills, PostgreSQL"

    def run(self, seed: int, folder: Path, tally: Tally) -> None:
        if not is_installed():
            raise NotHere("PostgreSQL is not installed")
        chance = random.Random(seed)
        kinds = ["daemon", "backend", "postmaster"] * self.kills
        chance.shuffle(kinds)
        with _on_a_cluster(chance, folder, tally, self.daemons) as campaign:
            campaign.begin()
            for kind in kinds:
                campaign.round(kind)
            campaign.end()
