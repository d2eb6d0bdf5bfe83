"""Trials of workers whose servers are killed again and again: one server on a file, or several on one PostgreSQL."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from attrs import frozen

from tests.integration.daemons import Daemon, free_port

from .postgres_servers import KINDS, on_postgres
from .trials import Tally


class Campaign(Protocol):
    """The servers of one database and their workers, during one round of a trial."""

    def begin(self) -> None:
        """Start the servers and the workers."""

    def round(self) -> None:
        """Give the workers jobs for a while, then kill a process."""

    def end(self) -> None:
        """Check the workers' records."""

    def end_workers(self) -> None:
        """Stop the workers; may be called twice."""


#: Makes a campaign of these servers; the last argument kills a process, and returns when all servers are ready again.
MakeCampaign = Callable[[Sequence[Daemon], random.Random, Tally, Callable[[], None]], Campaign]


@frozen
class OnFile:
    """A trial: one file, its server, and a number of kills."""

    name: str
    campaign: MakeCampaign
    kills: int

    def run(self, seed: int, folder: Path, tally: Tally) -> None:
        settings = {"API_PORT": str(free_port()), "LOG_REQUESTS": "errors"}
        daemon = Daemon(folder / "home", settings)

        def kill() -> None:
            daemon.kill()
            daemon.start()

        try:
            _run(self.campaign([daemon], random.Random(seed), tally, kill), self.kills)
        finally:
            daemon.kill()


@frozen
class OnPostgres:
    """A trial: one PostgreSQL, its servers, and a number of kills."""

    name: str
    campaign: MakeCampaign
    kills: int
    servers: int = 2

    def run(self, seed: int, folder: Path, tally: Tally) -> None:
        chance = random.Random(seed)
        with on_postgres(folder, self.servers) as servers:

            def kill() -> None:
                servers.kill(chance.choice(KINDS), chance)
                servers.wait()

            _run(self.campaign(servers.daemons, chance, tally, kill), self.kills)


def _run(campaign: Campaign, kills: int) -> None:
    try:
        campaign.begin()
        for _ in range(kills):
            campaign.round()
        campaign.end()
    finally:
        campaign.end_workers()
