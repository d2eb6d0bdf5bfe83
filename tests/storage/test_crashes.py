"""Every state a power cut may leave: what was acknowledged is there, and nothing that was never attempted."""

from collections.abc import Callable
from itertools import count

import pytest
from attrs import define, field

from jobengine.storage.errors import StorageError
from jobengine.storage.journal import Journal
from tests.doubles import QUICK_KDF
from tests.storage.files_of_commits import NOW, recovered
from tests.storage.simulated_files import Disk, SimulatedFiles

PATH = "/data/db"
#: A later one at each start.
TIMES = count(NOW)
#: Longer than two sectors, so that a frame can lose its middle.
PADDING = b"." * 1300


class Violation(AssertionError):
    """A crash left something that recovery made a wrong state of."""


class Killed(Exception):
    """The process is gone; what the kernel has in its cache is not."""


def record(number: int) -> bytes:
    return b"%d" % number + PADDING


def numbers(records: list[tuple[bytes, ...]]) -> set[int]:
    return {int(item.removesuffix(PADDING)) for commit in records for item in commit}


def reopened(files: SimulatedFiles) -> tuple[Journal, set[int]]:
    """A journal as the engine opens it: read back and confirmed, or made."""
    journal, commits = recovered(Journal(PATH, files=files, kdf=QUICK_KDF), now=next(TIMES))
    if commits:
        journal.confirm()
    return journal, numbers(commits)


@define
class Run:
    """A scripted life of a database; commits are numbered from 0 and each is one record."""

    files: SimulatedFiles
    check: Callable[["Run"], None]
    acknowledged: int = 0
    attempted: int = 0
    states: int = 0
    journal: Journal = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.files.moment = lambda: self.check(self)

    def commit(self, slice_: list[int] | None = None) -> None:
        self.attempted += 1
        self.journal.append([record(self.attempted - 1)], [record(number) for number in slice_ or []])
        self.acknowledged = self.attempted

    def live(self) -> None:
        self.journal, _ = reopened(self.files)
        for _ in range(3):
            self.commit()
        self.journal.start_copy()
        self.commit([0, 1])
        self.journal.append([], [record(2)])
        self.commit()
        assert self.journal.finish_copy()
        self.commit()
        self.journal.close(orderly=True)
        self.journal, found = reopened(self.files)
        assert found == set(range(self.attempted))
        self.commit()
        self.journal.close(orderly=False)
        self.journal, found = reopened(self.files)
        assert found == set(range(self.attempted))
        self.commit()


def judge(run: Run, disk: Disk) -> set[int]:
    """The state after a crash that left `disk`; raises Violation if it is not one that may be."""
    run.states += 1
    try:
        _, found = reopened(SimulatedFiles(disk))
    except StorageError as error:
        raise Violation(f"refused: {error}") from error
    if found != set(range(len(found))) or not run.acknowledged <= len(found) <= run.attempted:
        raise Violation(f"{sorted(found)} of {run.acknowledged} acknowledged and {run.attempted} attempted")
    return found


def check_every_crash(run: Run) -> None:
    for disk in run.files.after_a_crash():
        judge(run, disk)
    judge(run, run.files.now())


def check_a_crash_in_recovery(run: Run) -> None:
    """For some disks a crash leaves, what a second crash leaves while the first is recovered from; ends the run."""
    for disk in list(run.files.after_a_crash())[::3]:
        found = judge(run, disk)
        again = SimulatedFiles(disk)
        second = Run(again, check_every_crash, acknowledged=len(found), attempted=max(len(found), run.attempted))
        reopened(again)
        run.states += second.states
    raise Killed


def violation(**without: bool) -> str:
    try:
        Run(SimulatedFiles(**without), check_every_crash).live()  # type: ignore[arg-type]  # all its flags are bool
    except Violation as error:
        return str(error)
    return ""


def test_every_crash_leaves_what_was_acknowledged_and_only_what_was_attempted() -> None:
    run = Run(SimulatedFiles(), check_every_crash)
    run.live()
    assert run.acknowledged == run.attempted == 8
    assert run.states > 1000


def test_a_crash_while_recovering_from_a_crash_loses_nothing() -> None:
    run = Run(SimulatedFiles(), lambda _: None)
    run.live()
    run.attempted += 1
    run.files.moment = lambda: check_a_crash_in_recovery(run)
    with pytest.raises(Killed):
        run.journal.append([record(run.attempted - 1)])
    assert run.states > 1000


def test_without_the_sync_of_the_data_the_same_check_finds_a_loss() -> None:
    assert violation(syncs=False)


def test_without_the_sync_of_the_directory_the_same_check_finds_a_loss() -> None:
    assert violation(directory_syncs=False)


def confirm(journal: Journal) -> None:
    journal.confirm()


def only_sync(journal: Journal) -> None:
    journal.sync()


def nothing(_: Journal) -> None:
    pass


@pytest.mark.parametrize("failed_sync", [False, True], ids=["killed", "sync failed"])
def test_what_is_shown_after_an_unclean_end_is_not_lost_in_a_power_cut(failed_sync: bool) -> None:
    assert not loss_after_a_kill(confirm, failed_sync=failed_sync)


@pytest.mark.parametrize(("step", "failed_sync"), [(nothing, False), (only_sync, True)])
def test_without_confirming_what_was_read_the_same_check_finds_a_loss(
    step: Callable[[Journal], None], failed_sync: bool
) -> None:
    assert loss_after_a_kill(step, failed_sync=failed_sync)


def loss_after_a_kill(step: Callable[[Journal], None], *, failed_sync: bool) -> str:
    """End a process between the write and the sync of a commit, start another that does `step`, and cut the power."""
    files = SimulatedFiles()
    run = Run(files, lambda _: None)
    run.live()
    files.moment = kill
    with pytest.raises(Killed):
        run.commit()
    files.moment = lambda: None
    if failed_sync:
        files.fail_to_sync()
    journal, commits = recovered(Journal(PATH, files=files, kdf=QUICK_KDF), now=next(TIMES))
    step(journal)
    shown = numbers(commits)
    try:
        after = Run(files, check_every_crash, acknowledged=len(shown), attempted=len(shown))
        files.moment()
        assert after.states > 2
    except Violation as error:
        return str(error)
    return ""


def kill() -> None:
    raise Killed
