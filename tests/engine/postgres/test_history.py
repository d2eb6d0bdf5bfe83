"""Histories that several servers count on one PostgreSQL."""

import pytest

from jobengine.core import commands as c
from tests.contract.asking import Asker
from tests.engine.postgres.world import PostgresWorld

pytestmark = pytest.mark.slow

WEEK = 7 * 24 * 3_600


def _added(ask: Asker) -> list[int]:
    history, stats = ask.ask(c.ReadHistory), ask.ask(c.ReadStats)
    return [sum(history.minutes["added"]), sum(history.hours["added"]), stats.last_hour["added"]]  # type: ignore[arg-type]  # only times may be None


def test_the_counts_of_all_servers_are_added_up(ask: Asker, other: Asker) -> None:
    ask.add()
    other.add()
    other.add()
    # A server shows its own counts at once, those of others later.
    assert (_added(ask), _added(other)) == ([1, 1, 1], [2, 2, 2])
    for one in (ask, other):
        one.world.advance(6)
    assert (_added(ask), _added(other)) == ([3, 3, 3], [3, 3, 3])
    listed = ask.get(ask.world.engine.ask(c.ListQueues()))
    assert [one.last_hour["added"] for one in listed] == [3]


def test_the_history_skips_a_damaged_row(world: PostgresWorld, ask: Asker, other: Asker) -> None:
    ask.add()
    world.advance(6)
    world.control.execute("UPDATE history SET counted = 'no tally'")
    assert _added(other) == [0, 0, 0]


def test_no_history_is_written_while_no_count_changes(world: PostgresWorld, ask: Asker) -> None:
    ask.add()
    world.advance(6)
    world.control.execute("DELETE FROM history")
    for _ in range(5):
        world.advance(6)
        ask.peek()
    assert world.control.execute("SELECT 1 FROM history").fetchall() == []


def test_outdated_history_rows_are_removed(world: PostgresWorld, ask: Asker) -> None:
    ask.add(keep_minutes=1 << 30)
    world.advance(6)
    spans = "SELECT span FROM history ORDER BY span"
    assert world.control.execute(spans).fetchall() == [(0,), (1,), (2,)]
    world.advance(3_700)
    world.advance(11)
    assert world.control.execute(spans).fetchall() == [(2,)]
    world.advance(WEEK)
    world.advance(11)
    assert world.control.execute(spans).fetchall() == []


def test_no_history_is_written_for_a_queue_that_another_server_has_deleted(
    world: PostgresWorld, ask: Asker, other: Asker
) -> None:
    ask.add()
    other.ask(c.DeleteQueue)
    world.advance(6)
    assert world.control.execute("SELECT 1 FROM history").fetchall() == []
