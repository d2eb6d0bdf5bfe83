"""`make torture`, for one kill: it runs, and it can fail."""

import io
import tempfile
from pathlib import Path
from typing import Self

import pytest

from tests.torture.kills import Kills
from tests.torture.trials import run

from .daemons import Daemon


@pytest.fixture(autouse=True)
def _in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


class Forgetful(Daemon):
    """One that has lost a job when it was started again."""

    def start(self) -> Self:
        began_before = self.process is not None
        super().start()
        if began_before:
            with self.client() as client:
                assert client.delete(next(iter(client.jobs("cargo"))), "cargo").status == 204
        return self


def test_a_daemon_that_is_killed_once_under_mixed_load_keeps_what_it_must(tmp_path: Path) -> None:
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
    assert "queue 'cargo', which nobody has touched, is another" in out.getvalue()
    assert "kills failed with seed 1" in out.getvalue()
    (left,) = tmp_path.iterdir()
    assert {"jobengine.jedb", "log"} <= {path.name for path in (left / "home").iterdir()}
