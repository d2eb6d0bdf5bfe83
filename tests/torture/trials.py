"""Runs trials one after the other, each with its own seed, and reports the results."""

import shutil
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol, TextIO

from attrs import asdict, define


class NotHere(Exception):
    """This machine lacks or forbids something that a trial needs; the message names it."""


@define
class Tally:
    """The counts of one kind of trial."""

    #: Rounds that succeeded.
    rounds: int = 0
    operations: int = 0
    #: Processes that were killed.
    kills: int = 0
    #: Power cuts, or cut connections; for a simulated disk, the states that were checked.
    cuts: int = 0
    #: How often the disk was full.
    full: int = 0
    clock_steps: int = 0
    #: Compactions that began, and in the next line how many of them a kill interrupted.
    compactions: int = 0
    cut_short: int = 0
    backups: int = 0
    rekeys: int = 0
    problems: int = 0
    seconds: float = 0.0


class Trial(Protocol):
    """One kind of torture."""

    @property
    def name(self) -> str:
        """Its name in the table."""

    def run(self, seed: int, folder: Path, tally: Tally) -> None:
        """Run one round, in a folder that is kept if this raises. The same seed makes the same choices."""


def run(trials: Sequence[Trial], *, seconds: float, seed: int, out: TextIO) -> dict[str, Tally]:
    """Run the trials in turn until the time is over or one fails, each at least once; returns their tallies by name."""
    tallies = {trial.name: Tally() for trial in trials}
    end = time.monotonic() + seconds
    while True:
        for trial in trials:
            if not _round(trial, seed, tallies[trial.name], out):
                break
            seed += 1
        else:
            if time.monotonic() < end:
                continue
        out.write(table(tallies))
        return tallies


def _round(trial: Trial, seed: int, tally: Tally, out: TextIO) -> bool:
    """Run one round; returns whether it succeeded. If not, the folder with its database and log stays."""
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    began = time.monotonic()
    out.write(f"{trial.name}, seed {seed} ... ")
    out.flush()
    try:
        trial.run(seed, folder, tally)
    except NotHere as why:
        out.write(f"NOT RUN: {why}\n")
        return True
    except Exception:
        tally.problems += 1
        out.write(f"FAILED\n{traceback.format_exc()}\n{trial.name} failed with seed {seed}; what it left: {folder}\n\n")
        return False
    finally:
        tally.seconds += time.monotonic() - began
    tally.rounds += 1
    out.write(f"fine, {time.monotonic() - began:.1f} s\n")
    shutil.rmtree(folder)
    return True


COLUMNS: Final = tuple(asdict(Tally()))


def table(tallies: dict[str, Tally]) -> str:
    """A row for each trial."""
    rows = [["", *(column.replace("_", " ") for column in COLUMNS)]]
    for name, tally in tallies.items():
        rows.append([name, *(f"{value:.0f}" for value in asdict(tally).values())])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n" + "\n".join(lines) + "\n"
