"""Schedules: what fires, what is skipped and why, and what a schedule remembers."""

from typing import Any

import pytest
from msgspec.structs import replace

from jobengine.core import commands as c
from jobengine.core.errors import (
    BadSchedule,
    QueueDraining,
    ScheduleNotFound,
    ScheduleRunning,
    TooManySchedules,
)
from jobengine.core.facts import ClockSet, ItemSet, JobAdded
from jobengine.core.model import Defaults, Job, State
from jobengine.core.schedules import (
    FIRINGS,
    MOST_MISSED,
    MOST_SCHEDULES,
    Edge,
    Firing,
    IfRunning,
    Missed,
    Schedule,
    ScheduledJob,
    ScheduleReport,
    Settings,
    scheduled_uid,
)
from jobengine.timetable import TIMETABLE
from tests.core.worlds import EDGE, KEY, NOW, World, picture

HOUR = 3_600_000
DAY = 24 * HOUR
#: NOW is a full minute.
JOB = ScheduledJob(content='{"a":1}')
WHO: dict[str, Any] = {"queue": "q", "access_key": KEY}
#: The next midnight of UTC.
MIDNIGHT = (NOW // DAY + 1) * DAY


def put(world: World, name: str = "s", paused: bool | None = None, **settings: Any) -> ScheduleReport:
    """Set a schedule, hourly by default."""
    if not settings.keys() & {"cron", "every_seconds"}:
        settings["cron"] = "0 * * * *"
    whole = Settings(**{"job": JOB, **settings})
    report: ScheduleReport = world.ask(c.SetSchedule(**WHO, name=name, settings=whole, paused=paused, edge=EDGE))
    return report


def read(world: World, name: str = "s") -> ScheduleReport:
    report: ScheduleReport = world.ask(c.ReadSchedule(**WHO, name=name))
    return report


def schedule(world: World, name: str = "s") -> Schedule:
    return read(world, name).schedule


def change(world: World, **changes: Any) -> Schedule:
    report: ScheduleReport = world.ask(c.ChangeSchedule(**WHO, name="s", edge=EDGE, **changes))
    return report.schedule


def at(world: World, time: int) -> None:
    """Let time pass until a time of the wall clock."""
    world.now = time - world.tables.ahead
    world.expire()


def hours(world: World) -> list[int]:
    """The next full hours."""
    first = (world.tables.wall(world.now) // HOUR + 1) * HOUR
    return [first + number * HOUR for number in range(40)]


def jobs(world: World) -> list[Job]:
    return sorted(world.tables.queues["q"].jobs.values(), key=lambda job: job.spec.arrival)


def outcomes(world: World) -> list[tuple[int, str]]:
    """Each firing with its time: a plus if a job was added, or why it was not."""
    return [(one.time, "+" if one.uid else str(one.skipped)) for one in schedule(world).firings]


def end(world: World, state: State = State.COMPLETE) -> None:
    """End all unfinished jobs."""
    for job in jobs(world):
        if job.state in (State.QUEUED, State.INPROGRESS):
            world.update(job.spec.uid, state=state, retry=False)


def test_a_firing_adds_the_job_and_sets_the_next_time_in_one_decision(world: World) -> None:
    first, second = hours(world)[:2]
    assert put(world).schedule.next == first
    world.now = first - 1
    assert world.expire() == []
    world.now = first
    added, moved = world.expire()
    assert isinstance(added, JobAdded)
    assert isinstance(moved, ItemSet)
    uid = scheduled_uid(world.tables.queues["q"].queue, "s", first)
    assert (added.job.spec.uid, added.job.spec.content, added.job.ready) == (uid, b'{"a":1}', True)
    assert schedule(world).firings == (Firing(time=first, uid=uid),)
    assert schedule(world).next == second
    picture(world.tables)


def test_a_scheduled_job_names_its_schedule_and_the_scheduled_time(world: World) -> None:
    put(world, name='the "nightly"', cron="0 0 * * *", timezone="Europe/Berlin", job=replace(JOB, meta='{ "of": 7 }'))
    put(world, name="b", cron="0 0 * * *", job=replace(JOB, meta="{ }"))
    at(world, MIDNIGHT)
    metas = [job.spec.rare.context.meta for job in jobs(world)]
    assert metas == [
        '{"schedule":{"name":"the \\"nightly\\"","time":"2027-01-16T00:00:00+01:00"},"of": 7 }',
        '{"schedule":{"name":"b","time":"2027-01-16T00:00:00+00:00"}}',
    ]


def test_a_scheduled_job_has_the_fields_of_its_schedule_and_otherwise_defaults(world: World) -> None:
    job = ScheduledJob(
        content="{}",
        priority=7,
        keep_minutes=9,
        tags=("a",),
        max_attempts=3,
        group="g",
        delay_seconds=5,
        unique_key="u",
    )
    put(world, job=job)
    world.ask(c.ChangeQueue(**WHO, defaults=Defaults(timeout_seconds=77)))
    at(world, hours(world)[0])
    (made,) = jobs(world)
    spec = made.spec
    assert (spec.priority, spec.keep.minutes, spec.tags, spec.max_attempts) == (7, 9, ("a",), 3)
    assert (spec.timeout_seconds, spec.rare.group, spec.rare.unique_key, made.ready) == (77, "g", "u", False)
    assert spec.rare.author is None


def test_a_schedule_with_every_seconds_fires_at_multiples_of_its_interval_since_its_creation(world: World) -> None:
    world.now += 1_234
    created = put(world, every_seconds=300, if_running=IfRunning.ADD).schedule.created
    assert created == NOW + 1_234
    for late in (0, 17_000, 299_000, 1_000):
        following = schedule(world).next
        assert following is not None
        assert (following - NOW - 1_000) % 300_000 == 0
        at(world, following + late)
    assert len(jobs(world)) == 4
    assert change(world, every_seconds=60, cron=None).next == world.now // 60_000 * 60_000 + 1_000 + 60_000 * (
        world.now % 60_000 >= 1_000
    )


@pytest.mark.parametrize("state", [State.QUEUED, State.INPROGRESS])
def test_if_running_skip_adds_nothing_beside_an_unfinished_job(world: World, state: State) -> None:
    first, second, third = hours(world)[:3]
    put(world, job=replace(JOB, timeout_seconds=0))
    at(world, first)
    (job,) = jobs(world)
    world.update(job.spec.uid, state=state)
    at(world, second)
    assert outcomes(world)[1:] == [(second, f"The job {job.spec.uid} is not finished.")]
    end(world)
    at(world, third)
    assert outcomes(world)[2:] == [(third, "+")]


def test_a_job_that_was_retried_by_hand_counts_as_unfinished(world: World) -> None:
    first, second = hours(world)[:2]
    put(world, job=replace(JOB, keep_minutes=10_000))
    at(world, first)
    (job,) = jobs(world)
    end(world, State.FAILED)
    at(world, second)
    assert len(jobs(world)) == 2
    end(world)
    world.update(job.spec.uid, state=State.QUEUED)
    at(world, second + HOUR)
    assert outcomes(world)[-1] == (second + HOUR, f"The job {job.spec.uid} is not finished.")


def test_if_running_add_adds_a_job_beside_an_unfinished_job(world: World) -> None:
    put(world, if_running=IfRunning.ADD)
    for hour in hours(world)[:3]:
        at(world, hour)
    assert [job.state for job in jobs(world)] == [State.QUEUED] * 3
    assert len(schedule(world).followed) == 3


def test_if_running_replace_cancels_unfinished_jobs_and_adds_a_job(world: World) -> None:
    first, second, third = hours(world)[:3]
    put(world, if_running=IfRunning.REPLACE, job=replace(JOB, timeout_seconds=0))
    at(world, first)
    at(world, second)
    assert [(job.state, job.cancelled) for job in jobs(world)] == [(State.FAILED, True), (State.QUEUED, False)]
    claimed = world.claim()
    assert claimed is not None
    at(world, third)
    running = world.read(claimed.spec.uid)
    assert (running.state, running.standing.notes.cancel_requested) == (State.INPROGRESS, True)
    assert len(jobs(world)) == 3


def test_a_firing_whose_job_cannot_be_added_is_skipped_and_cancels_no_job(world: World) -> None:
    first, second, third, fourth = hours(world)[:4]
    put(world, if_running=IfRunning.REPLACE)
    at(world, first)
    world.ask(c.ChangeQueue(**WHO, draining=True))
    at(world, second)
    world.ask(c.ChangeQueue(**WHO, draining=False, max_jobs=1))
    at(world, third)
    world.ask(c.ChangeQueue(**WHO, max_jobs=0))
    assert [job.state for job in jobs(world)] == [State.QUEUED]
    at(world, fourth)
    drained, full, added = (text for _, text in outcomes(world)[1:])
    assert (drained, full, added) == (
        "The queue is draining: it takes no new jobs until its owner stops the draining.",
        "The queue takes no more than 1 jobs; try again when some have been removed.",
        "+",
    )
    assert (schedule(world).fired, schedule(world).skipped) == (2, 2)


def test_a_firing_whose_unique_key_is_taken_is_skipped(world: World) -> None:
    holder = world.add(unique_key="u")
    put(world, job=replace(JOB, unique_key="u"))
    at(world, hours(world)[0])
    assert [text for _, text in outcomes(world)] == [f"The job {holder.spec.uid} has the same unique_key."]


def test_deleting_and_recreating_a_schedule_does_not_add_a_second_job_for_the_same_time(world: World) -> None:
    first = hours(world)[0]
    put(world, if_running=IfRunning.ADD)
    at(world, first)
    world.ask(c.DeleteSchedule(**WHO, name="s"))
    world.apply([ClockSet(-HOUR)])
    put(world, if_running=IfRunning.ADD)
    assert schedule(world).next == first
    at(world, first)
    assert len(jobs(world)) == 1
    assert outcomes(world)[0][1].endswith("was added for this time before.")


@pytest.mark.parametrize(
    ("settings", "fired", "skipped"),
    [
        ({"missed": Missed.ONCE}, [71], [(0, 71)]),
        ({"missed": Missed.ONCE, "missed_seconds": 600}, [], [(0, 72)]),
        ({"missed": Missed.NONE}, [], [(0, 72)]),
        ({"missed": Missed.ALL, "if_running": IfRunning.ADD}, list(range(72)), []),
    ],
)
def test_after_three_days_without_a_server_missed_times_are_fired_as_configured(
    world: World, settings: Any, fired: list[int], skipped: list[tuple[int, int]]
) -> None:
    first = hours(world)[0]
    put(world, **settings)
    world.now = first + 71 * HOUR + 1_800_000
    added = [fact.job for fact in world.expire() if isinstance(fact, JobAdded)]
    queue = world.tables.queues["q"].queue
    assert [job.spec.uid for job in added] == [scheduled_uid(queue, "s", first + hour * HOUR) for hour in fired]
    its = schedule(world)
    missed = [one for one in its.firings if one.skipped is not None]
    assert [((one.time - first) // HOUR, one.times) for one in missed] == skipped
    assert all(one.skipped == "It was missed." for one in missed)
    assert (its.fired, its.skipped) == (len(fired), 72 - len(fired))
    assert its.next == first + 72 * HOUR


@pytest.mark.parametrize("missed", Missed)
def test_a_time_fired_less_than_a_minute_late_is_not_missed(world: World, missed: Missed) -> None:
    first = hours(world)[0]
    put(world, missed=missed, missed_seconds=0)
    at(world, first + 60_000)
    assert outcomes(world) == [(first, "+")]


def test_with_missed_all_the_last_thousand_missed_times_fire_and_earlier_times_count_as_skipped(world: World) -> None:
    put(world, every_seconds=60, missed=Missed.ALL, if_running=IfRunning.ADD)
    world.now += 1_500 * 60_000
    added = [fact for fact in world.expire() if isinstance(fact, JobAdded)]
    assert len(added) == MOST_MISSED
    its = schedule(world)
    assert (its.fired, its.skipped) == (1_000, 500)
    assert its.firings[-1].time == NOW + 1_500 * 60_000
    assert len(its.firings) == FIRINGS
    assert len(its.followed) == 100


def test_after_years_of_downtime_a_minutely_schedule_fires_quickly(world: World) -> None:
    """It counts the latest thousand missed times, and does not compute earlier ones."""
    put(world, cron="* * * * *")
    world.now += 3 * 365 * DAY
    (added, _) = world.expire()
    assert isinstance(added, JobAdded)
    skipped, fired = schedule(world).firings
    assert (skipped.times, skipped.until, fired.time) == (MOST_MISSED, world.now - 60_000, world.now)


@pytest.mark.parametrize("step", [-365 * DAY, -HOUR, -1_000, 1_000, HOUR, 365 * DAY])
def test_no_scheduled_time_fires_twice_although_the_clock_is_set(world: World, step: int) -> None:
    put(world, if_running=IfRunning.ADD, missed=Missed.ALL, every_seconds=600)
    at(world, NOW + 3 * HOUR)
    before = {job.spec.uid for job in jobs(world)}
    at_first = schedule(world).next
    world.apply([ClockSet(step)])
    world.expire()
    world.now += 2 * HOUR
    world.expire()
    after = [job.spec.rare.context.meta for job in jobs(world)]
    assert len(after) == len(set(after))
    assert {job.spec.uid for job in jobs(world)} >= before
    if step <= -HOUR:
        late = schedule(world).next
        assert at_first is not None
        assert late is not None
        assert late >= at_first


def test_setting_a_schedule_again_keeps_its_history_its_next_time_and_its_pause(world: World) -> None:
    report = put(world, every_seconds=3_600)
    assert report.new
    at(world, NOW + HOUR + 5_000)
    before = schedule(world)
    again = put(world, every_seconds=3_600)
    assert (again.new, again.schedule) == (False, before)
    other = put(world, every_seconds=3_600, job=replace(JOB, priority=3))
    assert other.schedule == replace(before, settings=replace(before.settings, job=replace(JOB, priority=3)))
    change(world, paused=True)
    assert put(world, every_seconds=3_600).schedule.paused
    assert not put(world, every_seconds=3_600, paused=False).schedule.paused


def test_a_dry_run_answers_but_stores_no_schedule(world: World) -> None:
    command = c.SetSchedule(**WHO, name="s", settings=Settings(cron="0 * * * *", job=JOB), dry_run=True, edge=EDGE)
    assert world.ask(command).schedule.next == hours(world)[0]
    with pytest.raises(ScheduleNotFound, match="'s'"):
        read(world)


def test_a_paused_schedule_does_not_fire_and_does_not_catch_up(world: World) -> None:
    put(world, missed=Missed.ALL)
    assert change(world, paused=True).next is None
    world.now += DAY
    assert world.expire() == []
    assert change(world, paused=False).next == hours(world)[0]
    assert schedule(world).skipped == 0


def test_a_changed_schedule_next_fires_after_the_last_time_already_fired_or_skipped(world: World) -> None:
    put(world, every_seconds=60)
    at(world, NOW + 60_000)
    world.apply([ClockSet(-30_000)])
    assert change(world, cron="* * * * *", every_seconds=None).next == NOW + 120_000


def test_running_a_schedule_now_adds_a_job_and_keeps_its_next_time(world: World) -> None:
    put(world)
    change(world, paused=True)
    firing, _ = world.ask(c.RunSchedule(**WHO, name="s", edge=EDGE))
    assert [job.spec.uid for job in jobs(world)] == [firing.uid]
    assert (firing.time, firing.manual, schedule(world).firings) == (world.now, True, (firing,))
    with pytest.raises(ScheduleRunning, match=firing.uid):
        world.ask(c.RunSchedule(**WHO, name="s", edge=EDGE))
    end(world)
    world.ask(c.ChangeQueue(**WHO, draining=True))
    with pytest.raises(QueueDraining):
        world.ask(c.RunSchedule(**WHO, name="s", edge=EDGE))
    assert schedule(world).next is None


def test_a_backfill_adds_the_jobs_of_past_times_once(world: World) -> None:
    put(world, if_running=IfRunning.SKIP)
    first = hours(world)[0]
    at(world, first)
    world.now += 5 * HOUR
    world.expire()
    before = len(jobs(world))
    between: dict[str, Any] = {"first": first, "last": first + 4 * HOUR, "edge": EDGE}
    dry = world.ask(c.Backfill(**WHO, name="s", dry_run=True, **between))
    assert (len(dry.times), dry.added, len(jobs(world))) == (5, 4, before)
    assert world.ask(c.Backfill(**WHO, name="s", **between)) == dry
    assert len(jobs(world)) == before + 4
    assert world.ask(c.Backfill(**WHO, name="s", **between)).added == 0
    with pytest.raises(BadSchedule, match="future"):
        world.ask(c.Backfill(**WHO, name="s", first=0, last=world.now + 1, edge=EDGE))


def test_a_backfill_has_at_most_a_thousand_times(world: World) -> None:
    put(world, cron="* * * * *")
    fill = c.Backfill(**WHO, name="s", first=NOW - 1_000 * 60_000, last=NOW, edge=EDGE)
    with pytest.raises(BadSchedule, match="more than 1000 times"):
        world.ask(fill)
    assert world.ask(replace(fill, first=NOW - 999 * 60_000)).added == 1_000


def test_a_queue_has_a_limited_number_of_schedules(world: World) -> None:
    for number in range(MOST_SCHEDULES):
        put(world, f"s{number}", paused=True)
    with pytest.raises(TooManySchedules):
        put(world, "one more")
    assert not put(world, "s7").new
    world.ask(c.DeleteSchedule(**WHO, name="s7"))
    assert put(world, "one more").new


def test_schedules_are_listed_by_name_in_pages_with_the_states_of_their_jobs(world: World) -> None:
    for name in "cab":
        put(world, name)
    at(world, hours(world)[0])
    first = world.ask(c.ListSchedules(**WHO, limit=2))
    second = world.ask(c.ListSchedules(**WHO, limit=2, after=first.following))
    assert [[one.name for one in page.schedules] for page in (first, second)] == [["a", "b"], ["c"]]
    assert (first.following, second.following) == ("b", None)
    assert {state for one in first.schedules for state in one.states.values()} == {State.QUEUED}


def test_an_unknown_zone_pauses_the_schedule_with_the_reason(world: World) -> None:
    put(world, timezone="Europe/Berlin")
    world.tables.queues["q"].set_item("schedule", "x", None)
    put(world, "other")

    class Elsewhere:  # a server that knows no time zone but UTC
        text = TIMETABLE.text

        def following(self, cron: str, timezone: str, after: int) -> Any:
            return TIMETABLE.following(cron, timezone if timezone == "UTC" else "Mars/Olympus", after)

    world.edge = Edge(Defaults(), Elsewhere())
    at(world, hours(world)[0])
    its = schedule(world)
    assert (its.paused, its.next) == (True, None)
    assert its.firings[-1].skipped == "The time zone 'Mars/Olympus' is not known here. The schedule is paused."
    assert len(jobs(world)) == 1


def test_deleting_a_queue_deletes_its_schedules(world: World) -> None:
    put(world)
    world.delete_queue()
    world.now += DAY
    assert world.expire() == []
    assert world.tables.next_deadline is None
