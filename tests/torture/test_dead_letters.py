"""The trial of dead letters for some seconds."""

from pathlib import Path

import pytest

from .dead_letters import dead_letters, postgres_dead_letters
from .trials import Tally, Trial


@pytest.mark.slow
@pytest.mark.parametrize("trial", [dead_letters(kills=2), postgres_dead_letters(kills=2)], ids=lambda trial: trial.name)
def test_killed_servers_neither_lose_nor_double_a_job_that_moves(trial: Trial, tmp_path: Path) -> None:
    tally = Tally()
    trial.run(1, tmp_path, tally)
    assert tally.kills == 2
    assert tally.operations > 20
