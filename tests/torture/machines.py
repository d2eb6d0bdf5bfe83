"""Random runs of the state machine in tests/machine: an engine, or the API, against the plain model."""

from pathlib import Path

from attrs import frozen

from tests.machine.lives import live
from tests.machine.machine import EngineMachine

from .trials import Tally


@frozen
class Lives:
    """A trial: a number of runs, with one driver."""

    name: str
    machine: type[EngineMachine]
    lives: int = 40
    steps: int = 50
    shrink: bool = True

    def run(self, seed: int, folder: Path, tally: Tally) -> None:
        """The steps that led to a failure are in its message; the folder stays empty."""
        before = self.machine.counted.copy()
        try:
            live(self.machine, lives=self.lives, steps=self.steps, seed=seed, shrink=self.shrink)
        finally:
            counted = self.machine.counted - before
            tally.operations += counted["operations"]
            tally.kills += counted["killed"]
            tally.clock_steps += counted["clock set"]
