"""
Re-keys of a database between a kill and the next start.

After a re-key the new SECRET opens the database; after a killed re-key either the old or the new SECRET does. The
owners find all jobs unchanged.
"""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from tests.integration.daemons import SECRET, Client, Daemon

from . import db_tool
from .crew import Caller, Crew, judge_all, make_owners, require
from .owner import Owner
from .trials import Tally

#: Seconds under load before the daemon is killed.
LOADED: Final = (0.1, 1.0)
#: Seconds after which a re-key is killed: alone on a machine it takes half a second.
INTO: Final = (0.1, 0.8)


@define
class _Campaign:
    daemon: Daemon
    chance: random.Random
    tally: Tally
    owners: list[Owner] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.owners = make_owners(self.chance)

    def connect(self) -> Client:
        return Caller(self.daemon.port, sampled=True)

    def rekey(self, file: Path) -> None:
        """Kill the daemon under load, re-key its database, and start it again."""
        with Crew(self.owners, self.connect).at_work():
            time.sleep(self.chance.uniform(*LOADED))
            self.daemon.kill()
        self.tally.kills += 1
        old, new = self.daemon.settings["SECRET"], f"{file.name} {self.chance.random()}"
        file.write_text(new)
        right = self._rekey(file, old, new)
        self.daemon.settings["SECRET"] = right
        self.daemon.start()
        judge_all(self.owners, self.connect, Owner.judge)

    def _rekey(self, file: Path, old: str, new: str) -> str:
        """Re-key, and return the SECRET that opens the database; raises Disagreement if it is the wrong one."""
        path = str(self.daemon.db_path)
        arguments, killed = ("rekey", path, "--new-secret-file", str(file)), False
        if self.chance.random() < 0.5:
            killed = db_tool.is_killed(*arguments, secret=old, after=self.chance.uniform(*INTO))
        else:
            db_tool.do(*arguments, secret=old)
        self.tally.kills += killed
        self.tally.rekeys += not killed
        opens = {secret: db_tool.exit_code("check", path, secret=secret) for secret in (old, new)}
        right = new if opens[new] == 0 else old
        wrong = old if right == new else new
        require(right == new or killed, f"a re-key that was not killed left the old SECRET: {opens}")
        require(
            opens == {right: 0, wrong: db_tool.WRONG_SECRET},
            f"exactly one SECRET must open the file after a re-key: {opens}",
        )
        return right


@frozen
class Rekeys:
    """A trial: one database and a number of re-keys, half of which are killed."""

    times: int = 6
    make_daemon: Callable[..., Daemon] = Daemon
    name: str = "re-keys"

    def run(self, seed: int, folder: Path, tally: Tally) -> None:
        daemon = self.make_daemon(folder / "home", {"SECRET": SECRET, "LOG_REQUESTS": "errors"})
        campaign = _Campaign(daemon, random.Random(seed), tally)
        try:
            daemon.start()
            for number in range(self.times):
                campaign.rekey(folder / f"secret{number}")
        finally:
            daemon.kill()
            tally.operations += sum(owner.answered.total() for owner in campaign.owners)
