"""The contract of engines about the history of a queue."""

from jobengine.core import commands as c
from jobengine.core.history import QueueHistory
from jobengine.core.model import State
from tests.contract.asking import Asker, Contract
from tests.contract.world import World

HOUR = 3_600


def _last(history: QueueHistory) -> dict[str, list[int | None]]:
    """The last two minutes of each column."""
    return {what: list(numbers[-2:]) for what, numbers in history.minutes.items()}


class HistoryContract(Contract):
    """The history of a queue, and its storage."""

    def test_a_history_has_60_minutes_and_168_hours_in_each_column(self, ask: Asker) -> None:
        history = ask.ask(c.ReadHistory)
        counts = {"added", "claimed", "complete", "failed", "attempts_failed", "cancelled"}
        assert set(history.minutes) == set(history.hours) == counts | {"wait_p50", "wait_p99", "run_p50", "run_p99"}
        assert {len(column) for column in history.minutes.values()} == {60}
        assert {len(column) for column in history.hours.values()} == {168}

    def test_a_change_is_counted_in_its_minute_and_its_hour(self, world: World, ask: Asker) -> None:
        world.advance(60 - world.now / 1000 % 60)
        ask.add(max_attempts=2)
        world.advance(4)
        job = ask.hold()
        world.advance(20)
        ask.update(job, State.FAILED)
        world.advance(60)
        ask.update(ask.add(), cancel=True)
        shown = _last(ask.ask(c.ReadHistory))
        assert (shown["added"], shown["claimed"], shown["attempts_failed"]) == ([1, 1], [1, 0], [1, 0])
        assert (shown["cancelled"], shown["failed"]) == ([0, 1], [0, 0])
        assert (shown["wait_p50"], shown["run_p99"]) == ([4_000, None], [20_000, None])

    def test_a_history_survives_a_restart_and_continues(self, world: World, ask: Asker) -> None:
        world.advance(HOUR - world.now / 1000 % HOUR)
        ask.add()
        world.advance(HOUR)
        ask.add()
        before, stats = ask.ask(c.ReadHistory), ask.ask(c.ReadStats)
        world.reopen()
        assert ask.ask(c.ReadHistory) == before
        again = ask.ask(c.ReadStats)
        assert (again.last_minute, again.last_hour, again.minutes) == (
            stats.last_minute,
            stats.last_hour,
            stats.minutes,
        )
        ask.add()
        assert list(ask.ask(c.ReadHistory).hours["added"][-3:]) == [0, 1, 2]
        world.advance(HOUR)
        assert list(ask.ask(c.ReadHistory).hours["added"][-3:]) == [1, 2, 0]

    def test_a_restart_clears_the_times_and_the_last_claim_in_the_stats(self, world: World, ask: Asker) -> None:
        ask.add()
        ask.update(ask.hold(), State.COMPLETE)
        stats = ask.ask(c.ReadStats)
        assert None not in (stats.wait.p50, stats.run.p50, stats.last_claim)
        world.advance(60)
        world.reopen()
        stats = ask.ask(c.ReadStats)
        assert (stats.wait.p50, stats.run.p50, stats.last_claim) == (None, None, None)

    def test_setting_the_wall_clock_does_not_shift_the_history(self, world: World, ask: Asker) -> None:
        ask.add()
        before = ask.ask(c.ReadHistory)
        world.set_wall_clock(5 * HOUR)
        assert ask.ask(c.ReadHistory) == before

    def test_a_recreated_queue_starts_with_an_empty_history(self, world: World, ask: Asker) -> None:
        ask.add()
        world.advance(6)
        ask.ask(c.DeleteQueue)
        ask.create()
        assert sum(number or 0 for number in ask.ask(c.ReadHistory).hours["added"]) == 0
        world.reopen()
        assert sum(number or 0 for number in ask.ask(c.ReadHistory).hours["added"]) == 0

    def test_periods_older_than_a_week_are_dropped(self, world: World, ask: Asker) -> None:
        ask.add(keep_minutes=1 << 40, content=b"{}")
        for _ in range(4):
            world.advance(42 * HOUR)
            ask.update(ask.jobs()[0], priority=1)
        assert sum(number or 0 for number in ask.ask(c.ReadHistory).hours["added"]) == 0
