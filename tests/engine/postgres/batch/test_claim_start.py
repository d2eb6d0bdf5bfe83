"""How the claim start of a queue (the rank from which claims search) is advanced, and in which queues."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobengine.engine.postgres.batch.claim_start import ClaimStart, ClaimStarts, Observation, advanced
from jobengine.engine.postgres.database.rows import NO_CLAIM_START, RowRank

LOW, MIDDLE, HIGH = (-1, 10), (-1, 20), (-1, 30)


@pytest.mark.parametrize(
    ("before", "seen", "after"),
    [
        pytest.param(
            ClaimStart(NO_CLAIM_START),
            Observation(5, 9, MIDDLE),
            ClaimStart(NO_CLAIM_START, MIDDLE, 9),
            id="proposes the first ready",
        ),
        pytest.param(
            ClaimStart(NO_CLAIM_START),
            Observation(5, 9, None),
            ClaimStart(NO_CLAIM_START, HIGH, 9),
            id="or the last that was claimed",
        ),
        pytest.param(
            ClaimStart(MIDDLE), Observation(5, 9, MIDDLE), ClaimStart(MIDDLE), id="proposes nothing that is no higher"
        ),
        pytest.param(
            ClaimStart(LOW, MIDDLE, 7),
            Observation(9, 9, HIGH),
            ClaimStart(LOW, MIDDLE, 7),
            id="leaves it to be recorded",
        ),
        pytest.param(
            ClaimStart(LOW, MIDDLE, 7, 8),
            Observation(7, 12, HIGH),
            ClaimStart(LOW, MIDDLE, 7, 8),
            id="waits for all before",
        ),
        pytest.param(
            ClaimStart(LOW, MIDDLE, 7, 8),
            Observation(8, 12, HIGH),
            ClaimStart(MIDDLE, HIGH, 12),
            id="raises, proposes again",
        ),
        pytest.param(
            ClaimStart(LOW, HIGH, 7, 8), Observation(8, 12, MIDDLE), ClaimStart(MIDDLE), id="stays at a job that came"
        ),
        pytest.param(
            ClaimStart(LOW, MIDDLE, 7, 8),
            Observation(8, 12, None),
            ClaimStart(MIDDLE, HIGH, 12),
            id="raises without jobs",
        ),
        pytest.param(
            ClaimStart(LOW, MIDDLE, 7, 99),
            Observation(5, 9, HIGH),
            ClaimStart(LOW, MIDDLE, 7),
            id="forgets after a restore",
        ),
    ],
)
def test_a_claim_start_is_advanced_to_its_proposal_and_a_new_proposal_is_made(
    before: ClaimStart, seen: Observation, after: ClaimStart
) -> None:
    assert advanced(before, seen, HIGH) == after


RANKS = st.tuples(st.integers(-3, 0), st.integers(0, 50))


@given(RANKS, st.none() | RANKS, st.none() | st.integers(1, 9), st.integers(1, 9), st.none() | RANKS, RANKS)
def test_no_claim_start_or_proposal_is_advanced_past_a_ready_job(
    at: RowRank,
    proposed: RowRank | None,
    known_from: int | None,
    oldest: int,
    first: RowRank | None,
    claimed: RowRank,
) -> None:
    before = ClaimStart(at, None if proposed is None else max(at, proposed), 1, known_from)
    # The search for the first ready job begins at the claim start.
    seen = Observation(oldest, 10, None if first is None else max(at, first))
    after = advanced(before, seen, claimed)
    assert after.at >= before.at
    assert seen.first is None or after.at <= seen.first
    assert after.proposed is None or after.proposed >= after.at
    assert after.at == before.at or (known_from is not None and known_from <= oldest)


def test_claim_starts_of_queues_with_many_claims_are_advanced_at_most_once_a_second() -> None:
    starts = ClaimStarts(worth=100)
    starts.count(1, 60, LOW)
    starts.count(1, 40, MIDDLE)
    starts.count(2, 99, LOW)
    assert starts.take(5_000) == [(1, MIDDLE)]
    starts.count(1, 100, HIGH)
    assert starts.take(5_999) == []
    assert starts.take(6_000) == [(1, HIGH)]
    assert starts.take(7_000) == []
