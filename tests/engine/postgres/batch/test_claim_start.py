"""How the floor of a queue is raised, step by step, and which floors are worth it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobengine.engine.postgres.batch.claim_start import Floor, Floors, Seen, raised
from jobengine.engine.postgres.database.rows import NO_FLOOR, RowRank

LOW, MIDDLE, HIGH = (-1, 10), (-1, 20), (-1, 30)


@pytest.mark.parametrize(
    ("before", "seen", "after"),
    [
        pytest.param(Floor(NO_FLOOR), Seen(5, 9, MIDDLE), Floor(NO_FLOOR, MIDDLE, 9), id="proposes the first ready"),
        pytest.param(Floor(NO_FLOOR), Seen(5, 9, None), Floor(NO_FLOOR, HIGH, 9), id="or the last that was claimed"),
        pytest.param(Floor(MIDDLE), Seen(5, 9, MIDDLE), Floor(MIDDLE), id="proposes nothing that is no higher"),
        pytest.param(Floor(LOW, MIDDLE, 7), Seen(9, 9, HIGH), Floor(LOW, MIDDLE, 7), id="leaves it to be noted"),
        pytest.param(Floor(LOW, MIDDLE, 7, 8), Seen(7, 12, HIGH), Floor(LOW, MIDDLE, 7, 8), id="waits for all before"),
        pytest.param(Floor(LOW, MIDDLE, 7, 8), Seen(8, 12, HIGH), Floor(MIDDLE, HIGH, 12), id="raises, proposes again"),
        pytest.param(Floor(LOW, HIGH, 7, 8), Seen(8, 12, MIDDLE), Floor(MIDDLE), id="stays at a job that came"),
        pytest.param(Floor(LOW, MIDDLE, 7, 8), Seen(8, 12, None), Floor(MIDDLE, HIGH, 12), id="raises without jobs"),
        pytest.param(Floor(LOW, MIDDLE, 7, 99), Seen(5, 9, HIGH), Floor(LOW, MIDDLE, 7), id="forgets after a restore"),
    ],
)
def test_a_step(before: Floor, seen: Seen, after: Floor) -> None:
    assert raised(before, seen, HIGH) == after


RANKS = st.tuples(st.integers(-3, 0), st.integers(0, 50))


@given(RANKS, st.none() | RANKS, st.none() | st.integers(1, 9), st.integers(1, 9), st.none() | RANKS, RANKS)
def test_a_floor_is_never_raised_past_a_ready_job_nor_a_proposal_put_before_it(
    at: RowRank,
    proposed: RowRank | None,
    known_from: int | None,
    oldest: int,
    first: RowRank | None,
    claimed: RowRank,
) -> None:
    before = Floor(at, None if proposed is None else max(at, proposed), 1, known_from)
    # Jobs before the floor are not looked for.
    seen = Seen(oldest, 10, None if first is None else max(at, first))
    after = raised(before, seen, claimed)
    assert after.at >= before.at
    assert seen.first is None or after.at <= seen.first
    assert after.proposed is None or after.proposed >= after.at
    assert after.at == before.at or (known_from is not None and known_from <= oldest)


def test_floors_of_queues_from_which_many_jobs_were_claimed_are_worth_raising_once_each_second() -> None:
    floors = Floors(worth=100)
    floors.note(1, 60, LOW)
    floors.note(1, 40, MIDDLE)
    floors.note(2, 99, LOW)
    assert floors.take(5_000) == [(1, MIDDLE)]
    floors.note(1, 100, HIGH)
    assert floors.take(5_999) == []
    assert floors.take(6_000) == [(1, HIGH)]
    assert floors.take(7_000) == []
