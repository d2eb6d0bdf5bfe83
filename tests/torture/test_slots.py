"""The trial of limits for some seconds, and that its check detects wrong holds."""

from math import inf
from pathlib import Path

import pytest

from .slots import Hold, Limit, exceeded, postgres_slots, slots
from .trials import Tally, Trial


@pytest.mark.slow
@pytest.mark.parametrize("trial", [slots(kills=2), postgres_slots(kills=2)], ids=lambda trial: trial.name)
def test_with_fifty_clients_and_killed_servers_no_limit_is_exceeded_and_no_slot_lost(
    trial: Trial, tmp_path: Path
) -> None:
    tally = Tally()
    trial.run(1, tmp_path, tally)
    assert tally.kills == 2
    assert tally.operations > 100


def hold(began: float, until: float, sent: float | None = None) -> Hold:
    return Hold("uid", "a", began if sent is None else sent, began, until)


def test_the_slots_trial_accepts_jobs_held_one_after_the_other_at_a_limit_of_one() -> None:
    assert exceeded([hold(2, 3), hold(0, 1), hold(1, 2)], Limit([(1, 0, 0)])) == []


def test_the_slots_trial_detects_one_held_job_too_many() -> None:
    assert exceeded([hold(0, 3), hold(1, 2), hold(2, 4)], Limit([(1, 0, 0)])) == [(1, 2, 1), (2, 2, 1)]


def test_the_slots_trial_applies_a_lowered_limit_to_claims_sent_after_the_change_was_answered() -> None:
    lowered = Limit([(2, 0, 0), (1, 10, 11)])
    assert exceeded([hold(0, 30), hold(12, 30, sent=10.5)], lowered) == []
    assert exceeded([hold(0, 30), hold(12, 30, sent=11.5)], lowered) == [(12, 2, 1)]


def test_the_slots_trial_accepts_either_outcome_of_a_change_without_an_answer() -> None:
    raised = Limit([(1, 0, 0), (2, 10, inf), (1, 20, 21)])
    assert [raised.most(5, 6), raised.most(15, 16), raised.most(20.5, 22), raised.most(22, 23)] == [1, 2, 2, 1]
