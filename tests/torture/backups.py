"""
Backups of a database during use and compactions.

A backup has everything that was acknowledged before it began, and nothing that was requested after its end. Each
backup is restored, and the owners check the queues of a daemon that uses the restored file.
"""

import random
import time
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from tests.integration.daemons import DEADLINE, SECRET, Client, Daemon, until

from . import db_tool
from .crew import Caller, Crew, TracedOwner, judge_all, judge_copy, make_owners, require
from .trials import Tally

ADMIN: Final = "admin"
#: Seconds under load before a backup.
LOADED: Final = (0.1, 1.0)


def back_up(daemon: Daemon, copy: Path, *, over_http: bool) -> None:
    """Back up a daemon's database: over HTTP, or with `jobengine db backup` beside the daemon."""
    if not over_http:
        db_tool.do("backup", str(daemon.db_path), str(copy), secret=SECRET)
        return
    connection = HTTPConnection("127.0.0.1", daemon.port, timeout=DEADLINE)
    connection.request("GET", "/api/v1/backup", headers={"X-Admin-Key": ADMIN})
    answer = connection.getresponse()
    copy.write_bytes(answer.read())
    connection.close()
    require(answer.status == 200, f"a backup was answered with {answer.status}")


@define
class _Campaign:
    daemon: Daemon
    chance: random.Random
    trial: "Backups"
    owners: list[TracedOwner] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.owners = make_owners(self.chance, TracedOwner, self.trial.loader)

    def connect(self) -> Client:
        return Caller(self.daemon.port, sampled=True)

    def back_up(self, copy: Path, *, over_http: bool) -> None:
        with Crew(self.owners, self.connect).at_work():
            time.sleep(self.chance.uniform(*LOADED))
            # On a slow machine an owner may still wait for its first answer.
            until("each owner has a state", lambda: all(owner.trace for owner in self.owners))
            begins = [len(owner.trace) - 1 for owner in self.owners]
            self.trial.back_up(self.daemon, copy, over_http=over_http)
        self._judge(copy, begins)

    def _judge(self, copy: Path, begins: Sequence[int]) -> None:
        restored = copy.with_suffix(".restored")
        db_tool.do("check", "--backup", str(copy), secret=SECRET)
        db_tool.do("restore", str(copy), str(restored), secret=SECRET)
        judge_copy(
            self.owners, begins, Daemon(copy.with_suffix(".home"), {**self.daemon.settings, "DB_PATH": str(restored)})
        )


@frozen
class Backups:
    """A trial: one database and a number of backups, half of them over HTTP."""

    times: int = 6
    loader: bool = True
    back_up: Callable[..., None] = back_up
    name: str = "backups"

    def run(self, seed: int, folder: Path, tally: Tally) -> None:
        daemon = Daemon(folder / "home", {"ADMIN_KEY": ADMIN, "LOG_REQUESTS": "errors"})
        campaign = _Campaign(daemon, random.Random(seed), self)
        try:
            daemon.start()
            judge_all(campaign.owners, campaign.connect, TracedOwner.judge)
            for number in range(self.times):
                campaign.back_up(folder / f"copy{number}", over_http=number % 2 == 0)
                tally.backups += 1
        finally:
            daemon.kill()
            tally.operations += sum(owner.answered.total() for owner in campaign.owners)
            tally.compactions += daemon.log.count("compaction begins")
