"""The order of trials, their seeds, and the report of a failure."""

import io
import tempfile
from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest
from attrs import define, field

from tests.machine.lives import LocalMachine
from tests.machine.local_driver import LocalDriver
from tests.storage.simulated_files import SimulatedFiles
from tests.torture.machines import Lives
from tests.torture.power_cuts import PowerCuts
from tests.torture.trials import NotHere, Tally, run


@pytest.fixture(autouse=True)
def _in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@define
class Fake:
    """A trial that fails for one seed."""

    name: str
    bad_seed: int | None = None
    seeds: list[int] = field(factory=list)

    def run(self, seed: int, folder: Path, tally: Tally) -> None:
        (folder / "log").write_text("what happened")
        self.seeds.append(seed)
        tally.kills += 7
        if seed == self.bad_seed:
            raise ValueError("it is not as it should be")


def test_each_round_of_trials_uses_the_next_seed_and_zero_seconds_give_one_round(tmp_path: Path) -> None:
    one, other, out = Fake("one"), Fake("other"), io.StringIO()
    tallies = run([one, other], seconds=0, seed=5, out=out)
    assert (one.seeds, other.seeds) == ([5], [6])
    assert [tally.kills for tally in tallies.values()] == [7, 7]
    assert "one, seed 5" in out.getvalue()
    assert not list(tmp_path.iterdir()), "what went well is removed"


def test_a_failed_trial_ends_the_run_prints_its_seed_and_keeps_its_files(tmp_path: Path) -> None:
    one, other, out = Fake("one", bad_seed=7), Fake("other"), io.StringIO()
    tallies = run([one, other], seconds=100, seed=5, out=out)
    assert (one.seeds, other.seeds) == ([5, 7], [6])
    assert tallies["one"].problems == 1
    (left,) = tmp_path.iterdir()
    assert (left / "log").read_text() == "what happened"
    said = out.getvalue()
    assert f"one failed with seed 7; what it left: {left}" in said
    assert "it is not as it should be" in said


class Forgetful(LocalDriver):
    """An engine whose deletions succeed without deleting anything."""

    def delete(self, name: str, key: str, uid: str) -> None:
        super().read(name, key, uid)


class ForgetfulMachine(LocalMachine):
    driver_kind = Forgetful


def test_the_lives_trial_fails_with_its_seed_if_an_engine_loses_changes() -> None:
    out = io.StringIO()
    tallies = run([Lives("lives", ForgetfulMachine, lives=200, steps=10, shrink=False)], seconds=0, seed=3, out=out)
    assert tallies["lives"].problems == 1
    assert "lives failed with seed 3" in out.getvalue()
    assert "state.delete" in out.getvalue(), "the steps that lead to it are shown"


class Counted(LocalMachine):
    counted: ClassVar[Counter[str]] = Counter()


def test_the_lives_trial_prints_the_number_of_steps_of_each_seed() -> None:
    first, second = Tally(), Tally()
    Lives("lives", Counted, lives=3, steps=10).run(1, Path(), first)
    before = Counted.counted.copy()
    Lives("lives", Counted, lives=3, steps=10).run(2, Path(), second)
    assert first.operations > 10
    assert second.operations == Counted.counted["operations"] - before["operations"]


def test_a_trial_that_this_machine_does_not_allow_is_reported_as_not_run() -> None:
    class Needy(Fake):
        def run(self, seed: int, folder: Path, tally: Tally) -> None:
            raise NotHere("mount needs root")

    out = io.StringIO()
    tallies = run([Needy("one"), Fake("other")], seconds=0, seed=5, out=out)
    assert "one, seed 5 ... NOT RUN: mount needs root" in out.getvalue()
    assert [(tally.rounds, tally.problems) for tally in tallies.values()] == [(0, 0), (1, 0)]


@pytest.mark.slow
def test_power_cuts_among_commits_compactions_and_restarts_lose_nothing() -> None:
    tally = Tally()
    PowerCuts(lives=1, steps=40).run(1, Path(), tally)
    assert tally.operations == 40
    assert tally.cuts > 100
    assert min(tally.kills, tally.compactions) > 0


@pytest.mark.parametrize("without", ["syncs", "directory_syncs"])
def test_the_power_cut_trial_detects_a_missing_sync(without: str) -> None:
    out = io.StringIO()
    trial = PowerCuts(make_files=lambda: SimulatedFiles(**{without: False}))  # type: ignore[arg-type]  # a flag
    assert run([trial], seconds=0, seed=1, out=out)["power cuts, simulated disk"].problems == 1
    assert "Violation" in out.getvalue()
