"""
Recovery from every state that a power cut may leave: it finds every acknowledged commit, and no commit that was
never attempted.
"""

from collections.abc import Callable

import pytest

from jobengine.storage.journal import Journal
from tests.doubles import QUICK_KDF
from tests.storage.files_of_commits import recovered
from tests.storage.power_cuts import (
    PATH,
    TIMES,
    Killed,
    Run,
    Violation,
    check_every_crash,
    judge,
    numbers,
    record,
    reopened,
)
from tests.storage.simulated_files import SimulatedFiles


def live(run: Run) -> None:
    """Use a database with a compaction and two restarts, the second after a kill."""
    run.open()
    for _ in range(3):
        run.commit()
    run.journal.start_copy()
    run.commit([0, 1])
    run.journal.append([], [record(2)])
    run.commit()
    assert run.journal.finish_copy()
    run.commit()
    run.journal.close(orderly=True)
    assert run.open() == set(range(6))
    run.commit()
    run.journal.close(orderly=False)
    assert run.open() == set(range(7))
    run.commit()


def check_a_crash_in_recovery(run: Run) -> None:
    """Check disks after a second crash, during the recovery of some disks of the first; ends the run."""
    for disk in list(run.files.after_a_crash())[::3]:
        found = judge(run, disk)
        again = SimulatedFiles(disk)
        second = Run(again, check_every_crash, acknowledged=len(found), attempted=max(len(found), run.attempted))
        reopened(again)
        run.states += second.states
    raise Killed


def violation(**without: bool) -> str:
    try:
        live(Run(SimulatedFiles(**without), check_every_crash))  # type: ignore[arg-type]  # all its flags are bool
    except Violation as error:
        return str(error)
    return ""


def test_every_crash_keeps_all_acknowledged_changes_and_only_attempted_changes() -> None:
    run = Run(SimulatedFiles(), check_every_crash)
    live(run)
    assert run.acknowledged == run.attempted == 8
    assert run.states > 1000


def test_a_crash_while_recovering_from_a_crash_loses_nothing() -> None:
    run = Run(SimulatedFiles(), lambda _: None)
    live(run)
    run.attempted += 1
    run.files.moment = lambda: check_a_crash_in_recovery(run)
    with pytest.raises(Killed):
        run.journal.append([record(run.attempted - 1)])
    assert run.states > 1000


def test_the_crash_check_detects_a_missing_data_sync() -> None:
    assert violation(syncs=False)


def test_the_crash_check_detects_a_missing_directory_sync() -> None:
    assert violation(directory_syncs=False)


def confirm(journal: Journal) -> None:
    journal.confirm()


def only_sync(journal: Journal) -> None:
    journal.sync()


def nothing(_: Journal) -> None:
    pass


@pytest.mark.parametrize("failed_sync", [False, True], ids=["killed", "sync failed"])
def test_data_synced_again_at_the_start_after_a_kill_survives_a_power_cut(failed_sync: bool) -> None:
    assert not loss_after_a_kill(confirm, failed_sync=failed_sync)


@pytest.mark.parametrize(("step", "failed_sync"), [(nothing, False), (only_sync, True)])
def test_the_power_cut_check_detects_a_missing_confirmation(step: Callable[[Journal], None], failed_sync: bool) -> None:
    assert loss_after_a_kill(step, failed_sync=failed_sync)


def loss_after_a_kill(step: Callable[[Journal], None], *, failed_sync: bool) -> str:
    """Kill a process between the write and the sync of a commit, take `step` in a new process, and cut the power."""
    files = SimulatedFiles()
    run = Run(files, lambda _: None)
    live(run)
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
