"""A disk that is repeatedly filled and freed while owners work: no acknowledged change may be lost."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from tests.integration.daemons import DEADLINE, Client, Daemon, until

from .crew import Caller, Crew, judge_all, make_owners
from .disks import small_disk
from .owner import Owner
from .trials import Tally

#: Bytes.
SIZE: Final = 12 << 20
#: The most bytes of the disk that are left free, so that some changes still succeed.
LEFT: Final = 50_000
#: Seconds under load before the disk is full.
LOADED: Final = (0.1, 0.6)
#: Seconds in which each owner makes a change that needs room.
PATIENCE: Final = 10.0


@define
class _Campaign:
    daemon: Daemon
    disk: Path
    chance: random.Random
    tally: Tally
    owners: list[Owner] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.owners = make_owners(self.chance, loader=False)

    def connect(self) -> Client:
        return Caller(self.daemon.port, sampled=True)

    def fill(self, *, kill: bool) -> None:
        """Fill the disk under load, kill the daemon or not, and free the disk."""
        crew = Crew(self.owners, self.connect)
        crew.start()
        crew.wait_for_answers(DEADLINE)
        time.sleep(self.chance.uniform(*LOADED))
        self._take_room()
        crew.wait(PATIENCE)
        crew.end()
        if self._is_full():
            self.tally.full += 1
            judge_all(self.owners, self.connect, Owner.look)
        if kill:
            self._kill()
        (self.disk / "filler").unlink()
        until("changes are taken again", self.daemon.is_ready)
        judge_all(self.owners, self.connect, Owner.judge)

    def _take_room(self) -> None:
        with open(self.disk / "filler", "wb", buffering=0) as file:
            try:
                while file.write(bytes(1 << 16)):
                    pass
            except OSError:
                file.truncate(max(0, file.tell() - self.chance.randrange(LEFT)))

    def _is_full(self) -> bool:
        with self.daemon.client() as client:
            answer = client.ready()
        return answer.status == 503 and "can't grow" in answer.json["detail"]

    def _kill(self) -> None:
        """Kill the daemon and start it on the full disk: nothing may be missing."""
        self.daemon.kill()
        self.tally.kills += 1
        self.daemon.launch()
        until("it answers reads", lambda: self._is_full() or self.daemon.is_ready())
        judge_all(self.owners, self.connect, Owner.look)


@frozen
class FullDisks:
    """A trial: one daemon on a small disk that becomes full a number of times."""

    times: int = 8
    #: The share of rounds in which the daemon is killed on the full disk.
    kills: float = 0.5
    make_daemon: Callable[..., Daemon] = Daemon
    name: str = "full disk"

    def run(self, seed: int, folder: Path, tally: Tally) -> None:
        chance = random.Random(seed)
        with small_disk(SIZE) as disk:
            settings = {"DB_PATH": str(disk / "jobengine.jedb"), "LOG_REQUESTS": "errors"}
            campaign = _Campaign(self.make_daemon(folder / "home", settings), disk, chance, tally)
            try:
                campaign.daemon.start()
                for _ in range(self.times):
                    campaign.fill(kill=chance.random() < self.kills)
            finally:
                campaign.daemon.kill()
                tally.operations += sum(owner.answered.total() for owner in campaign.owners)
