"""Counts of recent changes, by second and by minute, and the stored history."""

from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.activity import Activity
from jobengine.core.durations import BOUNDS, EXPORTED, cumulated, percentile, read_spread, spread, spread_text
from jobengine.core.effects import JobEffect
from jobengine.core.history import COUNTED, HOURS, MINUTES, SECONDS, KeptPeriod, Period, read_tally
from jobengine.core.model import Defaults, Job, State
from tests.core.worlds import KEY, World


def _add(activity: Activity, world: World, steady: int) -> None:
    job = world.add()
    activity.note("q", [JobEffect("q", job.spec.uid, None, job)], steady, steady)


def test_a_change_counts_in_its_clock_minute_and_for_sixty_seconds_in_the_last_minute(world: World) -> None:
    activity = Activity()
    _add(activity, world, 59_999)
    assert activity.recent("q", 60_000).minutes["added"][-2:] == [1, 0]
    assert activity.recent("q", 118_999).last_minute["added"] == 1
    assert activity.recent("q", 119_000).last_minute["added"] == 0
    assert activity.recent("q", 119_000).last_hour["added"] == 1


def test_the_counts_of_a_queue_do_not_change_when_they_are_read(world: World) -> None:
    activity, read_often = Activity(), Activity()
    for steady in (0, 1, 998, 999, 1_000, 59_000, 60_000):
        for one in (activity, read_often):
            _add(one, world, steady)
        read_often.recent("q", steady)
        read_often.totals("q")
    assert activity.recent("q", 60_001) == read_often.recent("q", 60_001)
    assert activity.totals("q") == read_often.totals("q")
    assert activity.totals("q")["added"] == 7


def test_a_queue_without_changes_has_only_zero_counts() -> None:
    assert set(Activity().totals("q").values()) == {0}
    assert Activity().recent("q", 0).last_minute["added"] == 0


class Counted:
    """A world whose changes are counted."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.activity = Activity()

    def do(self, command: Any) -> Any:
        before = self._jobs()
        answer = self.world.ask(command)
        after = self._jobs()
        effects = [JobEffect("q", uid, before.get(uid), after.get(uid)) for uid in {**before, **after}]
        changed = [effect for effect in effects if effect.old is not effect.new]
        self.activity.note("q", changed, self.world.now, self.world.now)
        return answer

    def _jobs(self) -> dict[str, Job]:
        return dict(self.world.tables.queues["q"].jobs)

    def update(self, job: Job, **changes: Any) -> None:
        self.do(c.UpdateJob(queue="q", access_key=KEY, uid=job.spec.uid, changes=c.Changes(**changes)))

    def add(self, **spec: Any) -> Job:
        new = c.NewJob(content=b"{}", **spec)
        (added,) = self.do(c.AddJobs(queue="q", access_key=KEY, jobs=(new,), defaults=Defaults()))
        job: Job = added.job
        return job

    def claim(self) -> Job:
        (job,) = self.do(c.Claim(queue="q", access_key=KEY))
        claimed: Job = job
        return claimed

    def counts(self) -> dict[str, int]:
        return {what: count for what, count in self.activity.recent("q", self.world.now).last_hour.items() if count}


@pytest.fixture
def counted(world: World) -> Counted:
    return Counted(world)


def test_each_failed_attempt_is_counted_but_a_failed_job_only_after_its_last_attempt(counted: Counted) -> None:
    counted.add(max_attempts=2)
    counted.update(counted.claim(), state=State.FAILED)
    assert counted.counts() == {"added": 1, "claimed": 1, "attempts_failed": 1}
    counted.update(counted.claim(), state=State.FAILED)
    assert counted.counts() == {"added": 1, "claimed": 2, "attempts_failed": 2, "failed": 1}


def test_a_timed_out_attempt_counts_as_failed_and_a_released_one_does_not(counted: Counted) -> None:
    counted.add(max_attempts=3, timeout_seconds=5)
    counted.update(counted.claim(), state=State.QUEUED)
    assert "attempts_failed" not in counted.counts()
    counted.claim()
    counted.world.now += 5_000
    counted.do(c.ListJobs(queue="q", access_key=KEY, limit=1))
    assert counted.counts()["attempts_failed"] == 1
    assert counted.activity.totals("q")["timed_out"] == 1


def test_a_cancelled_job_counts_as_cancelled_and_adds_no_failed_attempt(counted: Counted) -> None:
    counted.update(counted.add(), cancel=True)
    counted.add()
    held = counted.claim()
    counted.update(held, cancel=True)
    counted.update(held, state=State.FAILED)
    assert counted.counts() == {"added": 2, "claimed": 1, "cancelled": 2}


def test_failing_an_unclaimed_job_adds_no_failed_attempt(counted: Counted) -> None:
    counted.update(counted.add(), state=State.FAILED)
    assert counted.counts() == {"added": 1, "failed": 1}


# Durations


@pytest.mark.parametrize("duration", [0, 1, 7, 60_000, 3_600_000])
def test_a_duration_equal_to_a_bucket_bound_is_in_the_lower_bucket(duration: int) -> None:
    assert spread([duration, duration]) == {BOUNDS.index(duration): 2}


def test_percentiles_have_an_error_of_at_most_a_quarter() -> None:
    for top in (100, 5_000, 123_456, 9_876_543):
        durations = [top * number // 1_000 for number in range(1_001)]
        for share in (50, 99):
            exact = durations[len(durations) * share // 100]
            found = percentile(spread(durations), share)
            assert found is not None
            assert abs(found - exact) <= exact / 4
    assert percentile({}, 50) is None
    assert percentile(spread([1 << 50]), 50) == BOUNDS[-1]


def test_the_sum_of_two_histograms_equals_the_histogram_of_all_durations() -> None:
    one, two = [5, 70, 900], [70, 1 << 40]
    assert spread(one) + spread(two) == spread(one + two)
    assert read_spread(spread_text(spread(one + two))) == spread(one + two)
    assert cumulated(spread(one + two)) == [sum(each <= bound for each in one + two) for bound in EXPORTED] + [5]


@pytest.mark.parametrize("text", ["x", "1", "1*2*3", "-1*2", "1*-2", "999*1"])
def test_a_malformed_bucket_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the text differs
        read_spread(text)


# The stored history


def test_saved_periods_give_the_same_history_after_a_restart(world: World) -> None:
    activity, at = Activity(), 3_600_000 * 1_000
    for hour in range(3):
        _add(activity, world, at + hour * 3_600_000)
    now = at + 2 * 3_600_000
    expected, recent = activity.history("q", now), activity.recent("q", now)
    taken = activity.take_unsaved()["q"]
    kept = [KeptPeriod(0, period) for period in taken]
    later = Activity(find=lambda _name, span, number: dict(_places(taken)).get((span, number)))
    assert later.history("q", now, kept) == expected
    assert later.recent("q", now, kept).last_minute == recent.last_minute
    # The unfinished minute is stored completely.
    _add(later, world, now)
    assert {read_tally(one.text).counts["added"] for one in later.take_unsaved()["q"]} == {2}
    assert later.history("q", now, kept).hours["added"][-3:] == [1, 1, 2]


def _places(periods: Any) -> list[tuple[tuple[int, int], str]]:
    return [((one.span, one.number), one.text) for one in periods]


def test_only_changed_periods_are_saved_and_a_failed_save_is_repeated(world: World) -> None:
    activity = Activity()
    _add(activity, world, 60_000)
    taken = activity.take_unsaved()
    assert {(one.span, one.number) for one in taken["q"]} == {(SECONDS, 60), (MINUTES, 1), (HOURS, 0)}
    assert activity.take_unsaved() == {}
    activity.put_back(taken)
    _add(activity, world, 61_000)
    again = {(one.span, one.number): read_tally(one.text).counts["added"] for one in activity.take_unsaved()["q"]}
    assert again == {(SECONDS, 60): 1, (SECONDS, 61): 1, (MINUTES, 1): 2, (HOURS, 0): 2}


def test_the_counts_of_several_servers_are_summed(world: World) -> None:
    activity = Activity(source=7)
    _add(activity, world, 60_000)
    other = KeptPeriod(8, Period(MINUTES, 1, "5,4,3,2,1,0|3*1|"))
    old_own = KeptPeriod(7, Period(MINUTES, 1, "9,9,9,9,9,9||"))
    damaged = KeptPeriod(9, Period(MINUTES, 1, "no tally"))
    history = activity.history("q", 60_000, [other, old_own, damaged])
    assert [history.minutes[what][-1] for what in COUNTED] == [6, 4, 3, 2, 1, 0]
    assert (history.minutes["wait_p50"][-1], history.minutes["run_p50"][-1]) == (3, None)


def test_outdated_periods_do_not_accumulate(world: World) -> None:
    activity = Activity()
    for second in range(300):
        _add(activity, world, second * 1_000)
    assert len([one for one in activity.take_unsaved()["q"] if one.span == SECONDS]) == 60
