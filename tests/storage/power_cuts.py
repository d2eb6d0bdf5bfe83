"""Databases on a simulated disk, and the check of the states that a power cut may leave."""

from collections.abc import Callable
from itertools import count
from typing import Final

from attrs import define, field

from jobengine.storage.errors import StorageError
from jobengine.storage.journal import Journal
from tests.doubles import QUICK_KDF
from tests.storage.files_of_commits import NOW, recovered
from tests.storage.simulated_files import Disk, SimulatedFiles

PATH: Final = "/data/db"
#: A later time for each start.
TIMES: Final = count(NOW)
#: Longer than two sectors, so that a frame can lose its middle.
PADDING: Final = 1300


class Violation(AssertionError):
    """Recovery after a simulated crash has read a wrong state."""


class Killed(Exception):
    """The process was killed; the kernel's cache remains."""


def record(number: int, padding: int = PADDING) -> bytes:
    return b"%d" % number + b"." * padding


def numbers(records: list[tuple[bytes, ...]]) -> set[int]:
    return {int(item.rstrip(b".")) for commit in records for item in commit}


def reopened(files: SimulatedFiles) -> tuple[Journal, set[int]]:
    """Open a journal as the engine does: recover and confirm it, or make a new file."""
    journal, commits = recovered(Journal(PATH, files=files, kdf=QUICK_KDF), now=next(TIMES))
    if commits:
        journal.confirm()
    return journal, numbers(commits)


@define
class Run:
    """A database whose records are numbered from 0; `check` is called after each step that changes the disk."""

    files: SimulatedFiles
    check: Callable[["Run"], None]
    acknowledged: int = 0
    attempted: int = 0
    #: The number of states checked so far.
    states: int = 0
    journal: Journal = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.use(self.files)

    def use(self, files: SimulatedFiles) -> None:
        """Continue with another disk."""
        self.files = files
        files.moment = lambda: self.check(self)

    def open(self) -> set[int]:
        """Open the database. The records that were found are certainly on disk afterwards."""
        self.journal, found = reopened(self.files)
        self.acknowledged = self.attempted = len(found)
        return found

    def commit(self, slice_: list[int] | None = None, *, records: int = 1, padding: int = PADDING) -> None:
        """Commit this many records, and copy those of the slice."""
        new = [record(self.attempted + n, padding) for n in range(records)]
        self.attempted += records
        self.journal.append(new, [record(number) for number in slice_ or []])
        self.acknowledged = self.attempted


def judge(run: Run, disk: Disk) -> set[int]:
    """Recover from the disk that a crash left; raises Violation if the recovered state is wrong."""
    run.states += 1
    try:
        _, found = reopened(SimulatedFiles(disk))
    except StorageError as error:
        raise Violation(f"refused: {error}") from error
    # A commit is recovered completely or not at all.
    if found != set(range(len(found))) or len(found) not in (run.acknowledged, run.attempted):
        raise Violation(f"{sorted(found)} of {run.acknowledged} acknowledged and {run.attempted} attempted")
    return found


def check_every_crash(run: Run) -> None:
    for disk in run.files.after_a_crash():
        judge(run, disk)
    judge(run, run.files.now())
