"""The trial of rates for some seconds, and that its checks detect too many and too late claims."""

from pathlib import Path

import pytest
from attrs import evolve

from jobengine.core.flow import Gate, Rate

from .owner import Disagreement
from .rates import POSTGRES_RATES, Rates, too_late, too_many
from .trials import Tally

SHORT = Rates(claims=3_000, of_each=500, used=150)
SHORT_ON_POSTGRES = evolve(POSTGRES_RATES, claims=200, of_each=100, used=30)


@pytest.mark.parametrize(
    ("trial", "restarts"), [(SHORT, 10), pytest.param(SHORT_ON_POSTGRES, 2, marks=pytest.mark.slow)]
)
def test_despite_kills_no_rate_window_has_too_many_claims_and_no_claim_is_late(
    trial: Rates, restarts: int, tmp_path: Path
) -> None:
    tally = Tally()
    trial.run(1, tmp_path, tally)
    assert tally.operations >= trial.claims
    assert min(tally.kills, tally.clock_steps) > restarts


def test_the_check_of_rates_counts_claims_in_windows_that_begin_at_any_time() -> None:
    assert too_many([0, 999, 1_000, 1_999], Rate(2, 1)) == []
    assert too_many([0, 500, 999, 1_500], Rate(2, 1)) == [(0, 999), (500, 1_500)][:1]


def test_the_check_of_rates_accepts_a_claim_late_by_a_sixteenth_of_the_window() -> None:
    assert too_late([0, 0], [0, 16_000 + 1_000], Rate(1, 16)) == []
    assert too_late([0, 0], [0, 16_000 + 1_001], Rate(1, 16)) == [(16_000, 17_001)]


@pytest.mark.parametrize("trial", [SHORT, pytest.param(SHORT_ON_POSTGRES, marks=pytest.mark.slow)])
def test_the_rates_trial_detects_a_rate_that_forgets_claims_too_early(
    trial: Rates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each mark counts from its first claim, not from its last."""

    def left(gate: Gate, rate: Rate | None, now: int) -> int:
        if rate is None or gate.held > now:
            return 0 if gate.held > now else 1 << 62
        return max(0, rate.count - sum(n for first, _, n in gate.marks if first + rate.window > now))

    monkeypatch.setattr(Gate, "left", left)
    with pytest.raises(Disagreement, match="too many claims"):
        trial.run(1, tmp_path, Tally())
