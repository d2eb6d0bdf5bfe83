"""Power cuts on a simulated disk, during commits, compactions, restarts and kills in random order."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from tests.storage.power_cuts import Killed, Run, judge
from tests.storage.simulated_files import SimulatedFiles

from .trials import Tally

#: How many states to check after one step, out of hundreds that a power cut may leave.
LOOKED_AT: Final = 3
#: The share of steps after which the process ends, half of them by a power cut.
ENDS: Final = 0.02
#: Bytes of a record: within one sector, and over several.
PADDINGS: Final = (0, 10, 500, 1300, 5000)


@define
class _Life:
    """A database and random steps."""

    files: SimulatedFiles
    chance: random.Random
    tally: Tally
    run: Run = field(init=False)
    #: The records that a compaction has not copied yet; None without a compaction.
    _left: list[int] | None = None

    def live(self, steps: int) -> None:
        self.run = Run(self.files, self._step_done)
        self._try(self._start)
        ways = {self._commit: 12, self._compact: 6, self._give_up_copy: 1, self._stop: 1}
        for way in self.chance.choices(list(ways), list(ways.values()), k=steps):
            self._try(way)
            self.tally.operations += 1

    def _step_done(self, run: Run) -> None:
        """Check some of the states that a power cut could leave now; sometimes end the process."""
        states = list(run.files.after_a_crash())
        looked_at = self.chance.sample(states, min(LOOKED_AT, len(states)))
        for disk in [*looked_at, run.files.now()]:
            judge(run, disk)
        self.tally.cuts += len(looked_at)
        if self.chance.random() < ENDS:
            self.tally.kills += 1
            if self.chance.random() < 0.5:
                run.use(SimulatedFiles(self.chance.choice(states)))
            raise Killed

    def _try(self, step: Callable[[], None]) -> None:
        """Take the step; if the process ends meanwhile, start it again until it runs."""
        while True:
            try:
                step()
            except Killed:
                step = self._start
            else:
                return

    def _start(self) -> None:
        self._left = None
        self.run.open()

    def _commit(self) -> None:
        records, padding = self.chance.randrange(1, 4), self.chance.choice(PADDINGS)
        self.run.commit(self._slice(), records=records, padding=padding)

    def _slice(self) -> list[int]:
        """Some of the records that the compaction has not copied yet."""
        if not self._left:
            return []
        size = self.chance.randrange(len(self._left) + 1)
        taken, self._left = self._left[:size], self._left[size:]
        return taken

    def _compact(self) -> None:
        """Begin, go on with, or finish a compaction."""
        if self._left is None:
            self._left = list(range(self.run.attempted))
            self.run.journal.start_copy()
        elif self._left:
            self.run.journal.append([], self._records(self._slice()))
        else:
            self.tally.compactions += self.run.journal.finish_copy()
            self._left = None

    def _records(self, numbers: list[int]) -> list[bytes]:
        return [b"%d" % number for number in numbers]

    def _give_up_copy(self) -> None:
        self.run.journal.drop_copy()
        self._left = None

    def _stop(self) -> None:
        self.run.journal.close(orderly=self.chance.random() < 0.5)
        self._start()


@frozen
class PowerCuts:
    """A trial: a number of lives, each on a new disk."""

    lives: int = 3
    steps: int = 60
    make_files: Callable[[], SimulatedFiles] = SimulatedFiles
    name: str = "power cuts, simulated disk"

    def run(self, seed: int, folder: Path, tally: Tally) -> None:
        chance = random.Random(seed)
        for _ in range(self.lives):
            _Life(self.make_files(), chance, tally).live(self.steps)
