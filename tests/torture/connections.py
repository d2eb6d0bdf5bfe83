"""Connections break at any byte while owners work: a request without an answer may or may not be carried out."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from tests.integration.cutting import CuttingProxy
from tests.integration.daemons import DEADLINE, Client, Daemon, until

from .crew import Caller, Crew, judge_all, make_owners
from .owner import Owner
from .trials import Tally

#: Bytes that pass before one connection is cut.
PASSED: Final = 20_000
#: Seconds before all connections are broken at once.
LOADED: Final = (0.02, 0.4)
#: Seconds to wait for a cut.
PATIENCE: Final = 10.0
#: ESTABLISHED, SYN_RECV and CLOSE_WAIT in /proc/net/tcp: connections that the server has not closed yet.
OPEN: Final = ("01", "03", "08")


@define
class _Campaign:
    daemon: Daemon
    proxy: CuttingProxy
    chance: random.Random
    owners: list[Owner] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.owners = make_owners(self.chance)

    def through_proxy(self) -> Client:
        return Caller(self.proxy.port, sampled=True)

    def directly(self) -> Client:
        return Caller(self.daemon.port, sampled=True)

    def cut(self) -> None:
        """Break one connection after some bytes, or all connections at a random moment."""
        crew = Crew(self.owners, self.through_proxy)
        crew.start()
        crew.wait_for_answers(DEADLINE)
        if self.chance.random() < 0.5:
            self.proxy.cut(self.chance.choice(["request", "answer"]), self.chance.randrange(PASSED))
            crew.wait_for_one(PATIENCE)
        else:
            time.sleep(self.chance.uniform(*LOADED))
        self.proxy.break_all()
        crew.end()
        # The server releases a claimed job when it notices that the client has disconnected.
        until("the server has closed every connection", lambda: not _open_connections(self.daemon.port))
        judge_all(self.owners, self.directly, Owner.judge)


def _open_connections(port: int) -> int:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] in OPEN for row in rows)


@frozen
class Connections:
    """A trial: one daemon and a number of cuts."""

    cuts: int = 40
    make_proxy: Callable[[int], CuttingProxy] = CuttingProxy
    name: str = "cut connections"

    def run(self, seed: int, folder: Path, tally: Tally) -> None:
        daemon = Daemon(folder / "home", {"LOG_REQUESTS": "errors"})
        try:
            daemon.start()
            with self.make_proxy(daemon.port) as proxy:
                campaign = _Campaign(daemon, proxy, random.Random(seed))
                for _ in range(self.cuts):
                    campaign.cut()
                    tally.cuts += 1
                tally.operations += sum(owner.answered.total() for owner in campaign.owners)
                tally.compactions += daemon.log.count("compaction begins")
        finally:
            daemon.kill()
