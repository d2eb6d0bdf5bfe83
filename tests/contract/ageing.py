"""Priority ageing: the order of claims and lists, and a change of it in a queue with jobs."""

from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.ageing import Order
from jobengine.core.filter import Filter
from jobengine.core.flow import GroupOrder
from jobengine.core.model import Defaults, Job, State
from tests.contract.asking import KEY, Asker, Contract
from tests.contract.group_reports import bulk
from tests.contract.waiting import given, uid_of
from tests.contract.world import World


class UnnoticedChange(c.ChangeQueue, frozen=True, kw_only=True):
    """A change of the order after which the server does not begin to move the jobs."""


def add_later(world: World, ask: Asker, seconds: float, **more: Any) -> Job:
    """Add a job after this time."""
    world.advance(seconds)
    return ask.add(**more)


def mixed(world: World, ask: Asker) -> list[Job]:
    """Add jobs; returns them ordered at 60 seconds for each step of priority: neither by age nor by priority alone."""
    jobs = [add_later(world, ask, 40, priority=priority) for priority in (0, 2, -1, 1, 2)]
    return [jobs[at] for at in (1, 0, 4, 3, 2)]


def settle(world: World, ask: Asker) -> Order | None:
    """Wait until all jobs have their places."""
    for _ in range(200):
        order = ask.ask(c.Subscribe).order
        if order is None or not order.changed:
            return order
        world.settle()
    raise AssertionError("the jobs were not moved")


def uids(jobs: list[Job]) -> list[str]:
    return [uid_of(job) for job in jobs]


class AgeingContract(Contract):
    """A queue in which a step of priority is worth some seconds of age."""

    def test_single_claims_take_jobs_in_order_of_age_and_priority(self, world: World, ask: Asker) -> None:
        ask.reconfigure(seconds_per_priority=60)
        jobs = mixed(world, ask)
        assert [uid_of(ask.hold()) for _ in jobs] == uids(jobs)

    @pytest.mark.parametrize("tags", [(), ("t",)])
    def test_a_bulk_claim_takes_jobs_in_order_of_age_and_priority(
        self, world: World, ask: Asker, tags: tuple[str, ...]
    ) -> None:
        ask.reconfigure(seconds_per_priority=60)
        older = ask.add(tags=("t", "u"))
        newer = add_later(world, ask, 59, priority=1, tags=("t",))
        newest = add_later(world, ask, 2, priority=1, tags=("t", "u"))
        assert uids(bulk(ask, tags=tags)) == uids([newer, older, newest])

    @pytest.mark.parametrize("limit", [1, 2, 5])
    def test_the_pages_of_a_list_are_in_order_of_age_and_priority(self, world: World, ask: Asker, limit: int) -> None:
        ask.reconfigure(seconds_per_priority=60)
        jobs = mixed(world, ask)
        assert uids(ask.jobs(limit)) == uids(jobs)
        assert uids(ask.jobs(limit, state=State.QUEUED)) == uids(jobs)

    def test_jobs_added_in_bulk_have_separate_places_in_line(self, world: World, ask: Asker) -> None:
        ask.reconfigure(seconds_per_priority=60)
        first = ask.add()
        world.advance(90)
        jobs = tuple(c.NewJob(content=b"{}", priority=priority) for priority in (0, 1, 2, 1))
        added = [one.job for one in ask.ask(c.AddJobs, jobs=jobs, defaults=Defaults())]
        assert uids(ask.jobs()) == uids([added[2], first, added[1], added[3], added[0]])

    def test_explain_counts_the_jobs_ahead_by_age_and_priority(self, world: World, ask: Asker) -> None:
        ask.reconfigure(seconds_per_priority=60)
        jobs = mixed(world, ask)
        assert [ask.ask(c.ExplainJob, uid=uid).ahead for uid in uids(jobs)] == [0, 1, 2, 3, 4]

    def test_a_new_priority_moves_a_job_to_its_new_place_in_line(self, world: World, ask: Asker) -> None:
        ask.reconfigure(seconds_per_priority=60)
        jobs = mixed(world, ask)
        ask.update(jobs[-1], priority=9)
        assert uids(ask.jobs(2)) == uids([jobs[-1], *jobs[:-1]])

    def test_an_urgent_job_added_after_many_jobs_is_claimed_at_its_place_in_line(
        self, world: World, ask: Asker
    ) -> None:
        ask.reconfigure(seconds_per_priority=60)
        for _ in range(3):
            add_later(world, ask, 1)
        bulk(ask)
        world.advance(5)
        ask.add()
        urgent = ask.add(priority=1)
        assert uid_of(ask.hold()) == uid_of(urgent)

    def test_in_strict_group_order_jobs_are_claimed_by_age_and_priority(self, world: World, ask: Asker) -> None:
        ask.reconfigure(seconds_per_priority=60, group_order=GroupOrder.STRICT)
        first = ask.add(group="a")
        world.advance(120)
        ask.add(group="a", priority=1)
        other = ask.add(group="b", priority=1)
        assert uids(bulk(ask)) == uids([first, other])

    def test_with_group_order_arrival_jobs_are_claimed_by_age_and_priority(self, world: World, ask: Asker) -> None:
        ask.reconfigure(seconds_per_priority=60)
        older = ask.add(group="a")
        newer = add_later(world, ask, 50, group="b", priority=1)
        newest = add_later(world, ask, 20, group="a", priority=1)
        ungrouped = ask.add(priority=3)
        assert uids(bulk(ask)) == uids([ungrouped, newer, older, newest])

    @pytest.mark.parametrize("group_order", [None, GroupOrder.ARRIVAL])
    def test_a_changed_order_gives_existing_jobs_new_places_in_line(
        self, world: World, ask: Asker, group_order: GroupOrder | None
    ) -> None:
        if group_order is not None:
            ask.reconfigure(group_order=group_order)
        jobs = mixed(world, ask)
        by_priority = uids(ask.jobs())
        assert ask.reconfigure(seconds_per_priority=60).order is not None
        assert settle(world, ask) == Order(seconds_per_priority=60)
        assert uids(ask.jobs()) == uids(jobs)
        ask.reconfigure(seconds_per_priority=1)
        settle(world, ask)
        assert uids(ask.jobs()) == uids(sorted(jobs, key=lambda job: job.spec.created))
        ask.reconfigure(seconds_per_priority=None)
        assert settle(world, ask) is None
        assert uids(ask.jobs()) == by_priority
        assert uids(bulk(ask)) == by_priority

    def test_many_existing_jobs_get_their_new_places_in_line_in_slices(self, world: World, ask: Asker) -> None:
        jobs = tuple(c.NewJob(content=b"{}", priority=number % 2) for number in range(450))
        ask.ask(c.AddJobs, jobs=jobs, defaults=Defaults())
        world.advance(120)
        ask.reconfigure(seconds_per_priority=60)
        late = ask.add(priority=1)
        settle(world, ask)
        assert all(job.spec.rare.line is not None for job in ask.jobs())
        assert uids(ask.jobs())[-1] == uid_of(late)

    def test_jobs_in_progress_also_get_new_places_in_line(self, world: World, ask: Asker) -> None:
        ask.add(priority=1)
        running = ask.hold()
        world.advance(300)
        other = ask.add()
        ask.reconfigure(seconds_per_priority=1)
        settle(world, ask)
        later = ask.add(priority=5)
        assert ask.update(running, State.QUEUED, running.standing.lease).standing.attempts == 0
        assert uids(bulk(ask)) == uids([running, later, other])

    def test_a_job_whose_lease_expired_keeps_its_place_in_line(self, world: World, ask: Asker) -> None:
        ask.reconfigure(seconds_per_priority=60)
        first, second = ask.add(timeout_seconds=60, max_attempts=2), ask.add()
        ask.hold()
        world.advance(61)
        assert uids(bulk(ask)) == uids([first, second])

    def test_a_server_continues_the_new_order_that_a_killed_server_had_begun_to_apply(
        self, world: World, ask: Asker
    ) -> None:
        jobs = mixed(world, ask)
        ask.ask(UnnoticedChange, seconds_per_priority=60)
        assert all(job.spec.rare.line is None for job in ask.jobs())
        world.reopen()
        assert settle(world, ask) == Order(seconds_per_priority=60)
        assert uids(ask.jobs()) == uids(jobs)

    @pytest.mark.parametrize("only", [None, State.FAILED])
    @pytest.mark.parametrize("wanted", [State.QUEUED, State.INPROGRESS, State.FAILED])
    def test_a_change_of_state_by_filter_counts_each_job_once(
        self, world: World, ask: Asker, wanted: State, only: State | None
    ) -> None:
        for priority in range(6):
            ask.update(ask.add(priority=priority), State.FAILED)
        ask.reconfigure(seconds_per_priority=1)
        settle(world, ask)
        change = c.UpdateMatching(
            queue="q", access_key=KEY, filter=Filter(state=only), changes=c.Changes(state=wanted), limit=2
        )
        world.advance(10)
        assert ask.get(world.engine.update_matching(change)) == 6
        assert [(job.state, job.spec.rare.line is None) for job in ask.jobs()] == [(wanted, False)] * 6
        assert [job.standing.attempts for job in ask.jobs()] == [wanted is State.INPROGRESS] * 6

    def test_a_restart_keeps_the_order(self, world: World, ask: Asker) -> None:
        ask.reconfigure(seconds_per_priority=60)
        jobs = mixed(world, ask)
        world.reopen()
        assert uids(bulk(ask)) == uids(jobs)

    def test_a_waiting_claim_gets_the_only_job_although_its_priority_is_low(self, ask: Asker) -> None:
        ask.reconfigure(seconds_per_priority=60)
        waiting = ask.claiming()
        job = ask.add(priority=-5)
        assert given(waiting) == [uid_of(job)]

    def test_stats_know_the_oldest_ready_job(self, world: World, ask: Asker) -> None:
        ask.reconfigure(seconds_per_priority=60)
        ask.add()
        add_later(world, ask, 10, priority=1)
        world.advance(2)
        assert ask.ask(c.ReadStats).oldest_ready == 12_000
