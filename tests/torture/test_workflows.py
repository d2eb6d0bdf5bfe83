"""The trial of dependencies for some seconds, and that its check detects a job that was claimed too early."""

from pathlib import Path

import pytest

from .trials import Tally, Trial
from .two_parents import TwoParents
from .workflows import Log, postgres_workflows, workflows


@pytest.mark.slow
@pytest.mark.parametrize("trial", [workflows(kills=1), postgres_workflows(kills=1)], ids=lambda trial: trial.name)
def test_no_job_waits_forever_or_is_claimed_too_early_despite_server_kills(trial: Trial, tmp_path: Path) -> None:
    tally = Tally()
    trial.run(1, tmp_path, tally)
    assert tally.kills == 1
    assert tally.operations > 50


@pytest.mark.slow
def test_a_job_is_released_when_two_servers_end_its_dependencies_at_the_same_time(tmp_path: Path) -> None:
    tally = Tally()
    TwoParents(pairs=200).run(1, tmp_path, tally)
    assert tally.operations == 400


def test_the_workflows_trial_detects_a_job_claimed_too_early() -> None:
    log = Log(needs={"b": ["a"]}, ending={"a": 5.0}, claims=[("a", 1.0), ("b", 6.0)])
    assert log.too_early() == []
    log.claims.append(("b", 4.0))
    assert log.too_early() == [("b", "a")]
    log.ending.clear()
    assert log.too_early() == [("b", "a")] * 2
