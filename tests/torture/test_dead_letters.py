"""The trial of dead letters for some seconds."""

from pathlib import Path

import pytest

from .ageing import misplaced
from .dead_letters import dead_letters, postgres_dead_letters
from .trials import Tally, Trial


@pytest.mark.slow
@pytest.mark.parametrize("trial", [dead_letters(kills=2), postgres_dead_letters(kills=2)], ids=lambda trial: trial.name)
def test_killing_servers_neither_loses_nor_doubles_a_job_that_moves(trial: Trial, tmp_path: Path) -> None:
    tally = Tally()
    trial.run(1, tmp_path, tally)
    assert tally.kills == 2
    assert tally.operations > 20


@pytest.mark.parametrize(
    ("seconds", "places", "wrong"),
    [
        (None, [(0, 2, 0), (1, 1, 9), (0, 0, 5)], []),
        (None, [(0, 0, 5), (1, 1, 9)], ["1"]),
        (10, [(0, 2, 0), (0, 0, 5), (1, 1, 40)], []),
        (10, [(1, 1, 40), (0, 2, 0)], ["2"]),
        (10, [(0, 0, 5), (0, 2, 5)], ["2"]),
    ],
)
def test_the_dead_letters_trial_detects_jobs_in_the_wrong_order(
    seconds: int | None, places: list[tuple[int, int, int]], wrong: list[str]
) -> None:
    jobs = [
        {"uid": str(priority), "priority": priority, "created": created, "content": {"batch": batch, "index": 0}}
        for batch, priority, created in places
    ]
    assert misplaced(jobs, seconds) == wrong
