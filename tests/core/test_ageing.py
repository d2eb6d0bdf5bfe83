"""Priority ageing: the order of jobs, and their new places when the order changes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobengine.core import commands as c
from jobengine.core.ageing import Order, changed_order, line_of
from jobengine.core.errors import FairWithAgeing
from jobengine.core.facts import QueueChanged
from jobengine.core.flow import GroupOrder
from jobengine.core.model import Job, State
from jobengine.core.transitions import in_line
from jobengine.core.unique_rule import IfQueued, UniqueRule
from jobengine.core.wall_time import shown
from tests.core.worlds import KEY, NOW, World, picture

MINUTE_A_STEP = 60


class Aged(World):
    """A world with a queue whose jobs age."""

    def __init__(self, seconds: int | None = MINUTE_A_STEP, **more: Any) -> None:
        super().__init__()
        self.create()
        self.set_up(seconds_per_priority=seconds, **more)
        self.move()

    def add_later(self, seconds: float, **more: Any) -> Job:
        """Add a job after this time."""
        self.now += int(seconds * 1000)
        return self.add(**more)

    def move(self, limit: int = 200) -> list[int]:
        """Move all jobs to their new places; returns how many jobs each slice has moved."""
        order, moved = self.tables.queues["q"].queue.order, []
        for state in c.MOVING_STATES:
            following = None
            while True:
                command = c.MoveInLine(queue="q", access_key=KEY, state=state, after=following, limit=limit)
                facts, answer = command.decide(self.tables, self.now, self.new_id, None)  # type: ignore[arg-type]
                self.apply(facts)
                moved.append(len(facts))
                following = answer.following
                if following is None:
                    break
        if order is not None and order.changed:
            assert self.ask(c.SettleOrder(queue="q", access_key=KEY, order=order))
        return moved

    def line(self) -> list[str]:
        """The uids of the ready jobs in the order in which they are claimed."""
        table = self.tables.queues["q"]
        uids = [job.spec.uid for job in table.claim_order((), self.now, 1_000)]
        picture(self.tables)
        return uids


def uids(*jobs: Job) -> list[str]:
    return [job.spec.uid for job in jobs]


@pytest.mark.parametrize(("later", "older_first"), [(299.999, False), (300, True), (300.001, True)])
def test_one_step_of_priority_equals_the_configured_seconds_of_age(later: float, *, older_first: bool) -> None:
    world = Aged()
    older, newer = world.add(), world.add_later(later, priority=5)
    assert world.line() == (uids(older, newer) if older_first else uids(newer, older))


def test_jobs_of_one_priority_are_claimed_by_arrival() -> None:
    world = Aged()
    jobs = [world.add(priority=3) for _ in range(3)]
    assert world.line() == uids(*jobs)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(-9, 9)), max_size=30), st.integers(1, 100))
def test_jobs_are_claimed_in_order_of_creation_time_minus_the_seconds_that_their_priority_is_worth(
    jobs: list[tuple[int, int]], seconds: int
) -> None:
    world = Aged(seconds)
    added = [world.add_later(later, priority=priority) for later, priority in jobs]
    added.sort(key=lambda job: (job.spec.created - job.spec.priority * seconds * 1000, job.spec.arrival))
    assert world.line() == uids(*added)


def test_a_job_of_low_priority_is_claimed_in_time_though_urgent_jobs_keep_coming() -> None:
    world = Aged(10)
    low, claimed = world.add(priority=-2), []
    while low.spec.uid not in claimed:
        world.add_later(1, priority=3)
        claimed.append(world.hold().spec.uid)
    # Jobs added within 50 seconds after it come first, since they are five steps of priority above it.
    assert len(claimed) == 50


@pytest.mark.parametrize("priority", [(1 << 63) - 1, -(1 << 63)])
def test_the_place_in_line_fits_64_bits_at_any_priority(priority: int) -> None:
    world = Aged(31_536_000)
    job, other = world.add(priority=priority), world.add()
    assert -(1 << 62) <= (job.spec.rare.line or 0) <= 1 << 62
    assert world.line() == (uids(job, other) if priority > 0 else uids(other, job))


def test_a_changed_priority_gives_the_same_place_in_line_as_an_initial_priority() -> None:
    world = Aged()
    first, second = world.add(), world.add_later(30)
    world.update(second.spec.uid, priority=1)
    assert world.read(second.spec.uid).spec.rare.line == NOW + 30_000 - 60_000
    assert world.line() == uids(second, first)


def test_a_job_whose_content_is_replaced_gets_the_place_in_line_of_its_new_priority() -> None:
    world = Aged()
    rule = UniqueRule(if_queued=IfQueued.REPLACE)
    world.add(unique_key="u", unique=rule)
    other = world.add_later(30)
    again = world.add_later(10, unique_key="u", unique=rule, priority=-1)
    assert again.spec.rare.line == NOW + 60_000
    assert world.line() == uids(other, again)


def test_a_retried_job_keeps_its_place_in_line() -> None:
    world = Aged()
    first, second = world.add(max_attempts=2), world.add_later(1)
    world.update(world.hold().spec.uid, State.FAILED)
    assert world.line() == uids(first, second)


def test_changing_the_order_makes_one_fact_whatever_the_number_of_jobs() -> None:
    world = Aged(None)
    world.add_all(*[c.NewJob(content=b"{}")] * 500)
    command = c.ChangeQueue(queue="q", access_key=KEY, seconds_per_priority=60)
    facts, queue = command.decide(world.tables, world.now, world.new_id, None)  # type: ignore[arg-type]
    assert [type(fact) for fact in facts] == [QueueChanged]
    assert queue.order == Order(seconds_per_priority=60, changed=NOW)


@pytest.mark.parametrize("limit", [1, 2, 3, 200])
@pytest.mark.parametrize(("before", "after"), [(None, 60), (60, None), (60, 600), (600, 1)])
def test_existing_jobs_are_moved_to_their_new_places_in_line(before: int | None, after: int | None, limit: int) -> None:
    world = Aged(before)
    for number in range(12):
        world.add_later(7, priority=number % 5 - 2, delay_seconds=number % 3)
    world.now += 3_000
    running = world.hold()
    world.set_up(seconds_per_priority=after)
    assert max(world.move(limit)) <= limit
    jobs = world.list()
    assert [job.spec.rare.line for job in jobs] == [
        line_of(world.tables.queues["q"].queue.order, job.spec.priority, job.spec.created) for job in jobs
    ]
    assert world.read(running.spec.uid).standing == running.standing
    assert world.tables.queues["q"].queue.order == (None if after is None else Order(seconds_per_priority=after))


def test_jobs_already_at_their_new_places_in_line_are_not_changed_again() -> None:
    world = Aged(None)
    for priority in range(5):
        world.add(priority=priority)
    world.set_up(seconds_per_priority=60)
    order = world.tables.queues["q"].queue.order
    first = world.move(2)
    world.set_up(paused=True)
    assert sum(first) == 5
    assert sum(world.move(2)) == 0
    assert order != world.tables.queues["q"].queue.order


def test_a_replaced_order_can_not_be_marked_as_settled_even_if_it_was_set_again() -> None:
    world = Aged(None)
    world.set_up(seconds_per_priority=60)
    first = world.tables.queues["q"].queue.order
    assert first is not None
    # Twice within a millisecond, and back to what it was.
    world.set_up(seconds_per_priority=30)
    world.set_up(seconds_per_priority=60)
    assert not world.ask(c.SettleOrder(queue="q", access_key=KEY, order=first))
    world.move()
    assert world.tables.queues["q"].queue.order == Order(seconds_per_priority=60)


def test_setting_the_same_ageing_again_changes_nothing() -> None:
    order = Order(seconds_per_priority=60)
    assert changed_order(order, 60, NOW) is order
    assert changed_order(None, None, NOW) is None


def test_a_finished_job_gets_its_place_in_line_when_it_is_queued_again() -> None:
    world = Aged(None)
    job = world.add(priority=1)
    world.update(world.hold().spec.uid, State.COMPLETE)
    world.set_up(seconds_per_priority=60)
    world.move()
    assert world.read(job.spec.uid).spec.rare.line is None
    later = world.add_later(100)
    again = world.update(job.spec.uid, State.QUEUED)
    assert again.spec.rare.line == NOW - 60_000
    assert world.line() == uids(job, later)


def test_a_retried_job_that_waits_for_a_dependency_gets_its_place_in_line() -> None:
    world = Aged(None)
    parent = world.add()
    child = world.add(priority=1, depends_on=(("q", parent.spec.uid),))
    world.update(parent.spec.uid, State.FAILED)
    world.set_up(seconds_per_priority=60)
    world.move()
    world.update(parent.spec.uid, State.QUEUED)
    healed = world.read(child.spec.uid)
    assert (healed.state, healed.spec.rare.line) == (State.QUEUED, NOW - 60_000)


def test_strict_order_follows_the_place_in_line() -> None:
    world = Aged(group_order=GroupOrder.STRICT)
    first = world.add(group="a")
    second, other = world.add_later(120, group="a", priority=1), world.add(group="b", priority=1)
    assert world.line() == uids(first, other)
    world.update(world.hold().spec.uid, State.COMPLETE)
    assert world.line() == uids(second, other)


@pytest.mark.parametrize(
    "settings",
    [
        [{"seconds_per_priority": 60}, {"group_order": GroupOrder.FAIR}],
        [{"group_order": GroupOrder.FAIR}, {"seconds_per_priority": 60}],
        [{"group_order": GroupOrder.FAIR, "seconds_per_priority": 60}],
    ],
)
def test_fair_order_and_ageing_exclude_each_other(settings: list[dict[str, Any]]) -> None:
    world = Aged(None)
    for some in settings[:-1]:
        world.set_up(**some)
    with pytest.raises(FairWithAgeing):
        world.set_up(**settings[-1])


def test_one_change_may_replace_ageing_by_fair_order() -> None:
    world = Aged(60)
    world.set_up(seconds_per_priority=None, group_order=GroupOrder.FAIR)
    world.move()
    assert world.tables.queues["q"].queue.order is None


def test_explain_counts_the_jobs_before_a_job_in_line() -> None:
    world = Aged()
    job = world.add()
    world.add_later(59, priority=1)
    world.add_later(2, priority=1)
    assert world.ask(c.ExplainJob(queue="q", access_key=KEY, uid=job.spec.uid)).ahead == 1


def test_the_oldest_ready_job_is_found_behind_newer_jobs() -> None:
    world = Aged()
    world.add()
    world.add_later(10, priority=1)
    assert world.tables.queues["q"].oldest_ready() == NOW


def test_a_place_in_line_is_shown_in_present_wall_clock_time_like_the_creation_time() -> None:
    job = Aged().add(priority=1)
    seen = shown(job, 5_000)
    assert (seen.spec.created, seen.spec.rare.line) == (NOW + 5_000, NOW - 55_000)


def test_a_spec_with_the_right_place_in_line_is_not_copied() -> None:
    world = Aged()
    spec = world.add().spec
    assert in_line(world.tables.queues["q"].queue, spec) is spec
