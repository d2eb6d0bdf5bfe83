"""`make torture`: its trials run, and each can fail."""

import io
import os
import tempfile
from http.client import HTTPException
from itertools import count
from pathlib import Path
from typing import Self

import pytest

from tests.machine_allows import DISK_IMAGE, SMALL_DISK, require
from tests.storage.files_of_commits import write
from tests.torture.backups import Backups
from tests.torture.connections import Connections
from tests.torture.crew import Caller
from tests.torture.full_disks import FullDisks
from tests.torture.images import ImageCuts
from tests.torture.kills import Kills
from tests.torture.rekeys import Rekeys
from tests.torture.trials import Tally, Trial, run

from .cutting import CuttingProxy
from .daemons import ROOT, SECRET, Client, Daemon


@pytest.fixture(autouse=True)
def _in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


class Forgetful(Daemon):
    """A daemon that loses a job at its restart."""

    def start(self) -> Self:
        began_before = self.process is not None
        super().start()
        if began_before:
            with self.client() as client:
                assert client.delete(next(iter(client.jobs("cargo"))), "cargo").status == 204
        return self


def test_a_daemon_killed_once_under_mixed_load_keeps_all_acknowledged_changes(tmp_path: Path) -> None:
    out = io.StringIO()
    tally = run([Kills(kills=1, cargo=10, patience=1)], seconds=0, seed=1, out=out)["kills"]
    assert not tally.problems, out.getvalue()
    assert (tally.rounds, tally.kills) == (1, 1)
    assert tally.operations > 50
    assert not list(tmp_path.iterdir())


def test_a_daemon_that_loses_a_job_fails_and_its_database_and_log_are_kept(tmp_path: Path) -> None:
    out = io.StringIO()
    trial = Kills(kills=1, cargo=10, patience=1, make_daemon=Forgetful)
    assert run([trial], seconds=0, seed=1, out=out)["kills"].problems == 1
    assert "queue 'cargo', which no client changes, has changed" in out.getvalue()
    assert "kills failed with seed 1" in out.getvalue()
    (left,) = tmp_path.iterdir()
    assert {"jobengine.jedb", "log"} <= {path.name for path in (left / "home").iterdir()}


def _tried(trial: Trial) -> tuple[Tally, str]:
    """Run one round of a trial; returns its tally and its output."""
    out = io.StringIO()
    return run([trial], seconds=0, seed=1, out=out)[trial.name], out.getvalue()


def _went_well(trial: Trial) -> Tally:
    tally, said = _tried(trial)
    assert (tally.rounds, tally.problems) == (1, 0), said
    assert tally.operations > 0
    return tally


def _is_seen(trial: Trial, what: str) -> None:
    tally, said = _tried(trial)
    assert tally.problems == 1, said
    assert what in said


class Emptied(Daemon):
    """A daemon whose database is gone at its restart."""

    def launch(self) -> None:
        if self.process is not None:
            self.db_path.unlink()
        super().launch()


def _delete_the_queues(client: Client) -> None:
    """Delete the queues of all owners, one of which may have just deleted its own."""
    for number in (1, 2, 3):
        client.call("DELETE", "/api/v1/queue", query={"name": f"owner {number}"})


class Losing(Daemon):
    """A daemon that loses its queues at its restart."""

    def start(self) -> Self:
        began_before = self.process is not None
        super().start()
        if began_before:
            with self.client() as client:
                _delete_the_queues(client)
        return self


def _back_up_nothing(daemon: Daemon, copy: Path, *, over_http: bool) -> None:
    """Write a valid but empty database."""
    write(copy, [], orderly=True, secret=SECRET.encode())


class Meddling(CuttingProxy):
    """A proxy that deletes the queues when it breaks the connections."""

    def break_all(self) -> None:
        super().break_all()
        with Client(self.server_port) as client:
            _delete_the_queues(client)


def test_power_cuts_on_an_image_lose_nothing_that_was_acknowledged() -> None:
    require(DISK_IMAGE)
    assert _went_well(ImageCuts(cuts=1, loader=False)).cuts == 1


def test_the_power_cut_trial_on_a_disk_image_detects_missing_syncs(tmp_path: Path) -> None:
    require(DISK_IMAGE)
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text("import os; os.fdatasync = os.fsync = lambda _: None")
    path = os.pathsep.join([str(tmp_path / "without"), str(ROOT)])
    _is_seen(ImageCuts(cuts=1, loader=False, settings={"PYTHONPATH": path}), "in the copy is none of the")


def test_the_full_disk_trial_detects_a_lost_database() -> None:
    require(SMALL_DISK)
    _is_seen(FullDisks(times=1, kills=1, make_daemon=Emptied), "queue 'owner ")


def test_each_request_over_a_connection_cut_at_random_is_applied_fully_or_not_at_all() -> None:
    assert _went_well(Connections(cuts=4)).cuts == 4


def test_an_answer_cut_within_its_headers_counts_as_no_answer(daemon: Daemon) -> None:
    with CuttingProxy(daemon.port) as proxy, Caller(proxy.port) as client:
        for after in count(1, 5):
            proxy.cut("answer", after)
            try:
                assert client.call("GET", "/api/v1/queue", query={"name": "none"}).status == 404
            except (OSError, HTTPException):
                assert proxy.has_cut()
                client.close()
            else:
                break
        assert after > 200, "the head was not passed"


def test_the_cut_connections_trial_detects_a_change_that_no_client_requested() -> None:
    _is_seen(Connections(cuts=2, make_proxy=Meddling), "queue 'owner ")


def test_the_backup_trial_detects_missing_changes() -> None:
    _is_seen(Backups(times=1, loader=False, back_up=_back_up_nothing), "in the copy is none of the")


def test_the_rekey_trial_detects_a_lost_queue() -> None:
    _is_seen(Rekeys(times=1, make_daemon=Losing), "queue 'owner ")
