"""
Runs the trials for minutes; the tests run them for seconds: python -m tests.torture --minutes 5 --seed 1

Prints the seed of each round, and a table. If a round fails, it ends with 1 and leaves the round's database and log.
"""

import argparse
import random
import sys

from tests.machine.lives import HttpMachine, LocalMachine
from tests.processes import adopt_orphans, children, end_children

from .backups import Backups
from .connections import Connections
from .dead_letters import dead_letters, postgres_dead_letters
from .full_disks import FullDisks
from .images import ImageCuts
from .kills import Kills
from .machines import Lives
from .postgres_kills import PostgresKills
from .power_cuts import PowerCuts
from .rates import POSTGRES_RATES, Rates
from .rekeys import Rekeys
from .slots import postgres_slots, slots
from .trials import run
from .two_parents import TwoParents
from .workflows import postgres_workflows, workflows

TRIALS = (
    Kills(),
    PostgresKills(),
    PowerCuts(),
    ImageCuts(),
    FullDisks(),
    Connections(),
    Backups(),
    Rekeys(),
    slots(),
    postgres_slots(),
    dead_letters(),
    postgres_dead_letters(),
    workflows(),
    postgres_workflows(),
    TwoParents(),
    Rates(claims=10_000),
    POSTGRES_RATES,
    Lives("lives of the engine", LocalMachine),
    Lives("lives of the API", HttpMachine, lives=20),
)


def main(arguments: list[str] | None = None) -> int:
    """Run all trials in turn; 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description="Torture JobEngine with random work.")
    parser.add_argument("--minutes", type=float, default=5, help="how long to run; the round under way is finished")
    parser.add_argument("--seed", type=int, help="the seed of the first round; each round adds one")
    given = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    adopt_orphans()
    before = children()
    try:
        tallies = run(TRIALS, seconds=given.minutes * 60, seed=seed, out=sys.stdout)
    finally:
        end_children(spared=before)
    return int(any(tally.problems for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
