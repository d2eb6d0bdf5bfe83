"""Groups, limits, rates and holds: what claims get, and what frees a slot."""

from collections import Counter
from collections.abc import Callable

import pytest

from jobengine.core import commands as c
from jobengine.core.flow import GroupOrder, Limits, OnFailure, Rate
from jobengine.core.groups import HeldBy
from jobengine.core.model import Job, State
from tests.contract.asking import KEY, Asker, Contract
from tests.contract.group_reports import ReportsContract, add_all, bulk, letters
from tests.contract.waiting import given, uid_of
from tests.contract.world import World

ONE, TWO = Limits(in_progress=1), Limits(in_progress=2)
#: Each way in which a job in progress can end, with whether the job itself can be claimed again.
ENDS: dict[str, tuple[Callable[[World, Asker, Job], object], bool]] = {
    "complete": (lambda _, ask, job: ask.update(job, State.COMPLETE), False),
    "failed": (lambda _, ask, job: ask.update(job, State.FAILED), False),
    "released": (lambda _, ask, job: ask.update(job, State.QUEUED), True),
    "timed out": (lambda world, ask, job: world.advance(60), False),
    "deleted": (lambda _, ask, job: ask.delete(job), False),
    "returned": (
        lambda _, ask, job: ask.ask(c.ReturnClaims, claims=((job.spec.uid, job.standing.lease or ""),)),
        True,
    ),
}


class LimitsContract(Contract):
    """Limits of jobs in progress."""

    def test_a_bulk_claim_exceeds_neither_the_group_limit_nor_the_queue_limit(self, ask: Asker) -> None:
        ask.reconfigure(limits=Limits(in_progress=5), group_limits=TWO)
        add_all(ask, "aaaa.bbbb.c")
        assert letters(bulk(ask)) == "aa.bb"
        assert bulk(ask) == []

    def test_single_claims_exceed_neither_the_group_limit_nor_the_queue_limit(self, ask: Asker) -> None:
        ask.reconfigure(limits=Limits(in_progress=5), group_limits=TWO)
        add_all(ask, "aaaa.bbbb.c")
        assert letters([job for _ in range(9) if (job := ask.claim()) is not None]) == "aa.bb"

    def test_concurrent_claims_never_exceed_a_limit(self, world: World, ask: Asker) -> None:
        ask.reconfigure(group_limits=TWO)
        add_all(ask, "aaaabbbb")
        claims = [world.engine.claim(c.Claims(queues=("q",), access_key=KEY)) for _ in range(9)]
        jobs = [one.job for done in world.all_of(*claims) for one in done.jobs]
        assert Counter(letters(jobs)) == {"a": 2, "b": 2}

    def test_each_of_several_queues_has_limits_of_its_own(self, ask: Asker) -> None:
        ask.create("other")
        ask.reconfigure(limits=ONE)
        ask.ask(c.ChangeQueue, "other", group_limits=ONE)
        for queue in ("q", "other"):
            for group in ("a", "a", "b"):
                ask.add(queue, group=group)
        assert letters(bulk(ask, 10, "other", "q")) == "aba"
        assert bulk(ask, 10, "other", "q") == []

    @pytest.mark.parametrize("of_group", [False, True])
    @pytest.mark.parametrize("how", ENDS)
    def test_the_end_of_a_job_frees_its_slot_for_a_waiter(
        self, world: World, ask: Asker, how: str, *, of_group: bool
    ) -> None:
        ask.reconfigure(**{"group_limits" if of_group else "limits": ONE})
        first, second = add_all(ask, "aa", timeout_seconds=60)
        assert bulk(ask) == [ask.read(first)]
        waiting = ask.claiming(wait=300)
        assert not waiting.answered
        end, again = ENDS[how]
        end(world, ask, ask.read(first))
        assert given(waiting) == [uid_of(first if again else second)]

    def test_an_update_with_a_claim_frees_the_slot_for_that_claim(self, ask: Asker) -> None:
        ask.reconfigure(limits=TWO, group_limits=ONE)
        _, second, _ = add_all(ask, "aab")
        first, _other = bulk(ask)
        update = c.JobUpdate(uid=uid_of(first), changes=c.Changes(state=State.COMPLETE), lease=first.standing.lease)
        assert [uid_of(job) for job in bulk(ask, updates=(c.QueueUpdate("q", update),))] == [uid_of(second)]

    @pytest.mark.parametrize("limits", [Limits(in_progress=3), None])
    @pytest.mark.parametrize("name", ["limits", "group_limits"])
    def test_a_raised_or_removed_limit_wakes_a_waiter(self, ask: Asker, name: str, limits: Limits | None) -> None:
        ask.reconfigure(**{name: ONE})
        add_all(ask, "aa")
        bulk(ask)
        waiting = ask.claiming()
        ask.reconfigure(**{name: limits})
        assert len(given(waiting)) == 1

    def test_a_lowered_limit_stops_new_claims_and_cancels_no_job(self, ask: Asker) -> None:
        ask.reconfigure(group_limits=Limits(in_progress=3))
        add_all(ask, "aaaa")
        jobs = bulk(ask)
        ask.reconfigure(group_limits=ONE)
        for job in jobs[:2]:
            ask.update(job, State.COMPLETE)
            assert bulk(ask) == []
        ask.update(jobs[2], State.COMPLETE)
        assert len(bulk(ask)) == 1

    def test_a_group_may_have_limits_of_its_own(self, ask: Asker) -> None:
        ask.reconfigure(group_limits=ONE)
        ask.ask(c.ChangeGroup, group="b", in_progress=3)
        add_all(ask, "aaabbbbb")
        assert letters(bulk(ask)) == "abbb"
        ask.ask(c.ResetGroup, group="b")
        assert bulk(ask) == []
        ask.ask(c.ChangeGroup, group="a", in_progress=2)
        assert letters(bulk(ask)) == "a"

    def test_a_waiter_is_served_when_its_group_is_resumed_or_gets_a_higher_limit(self, ask: Asker) -> None:
        ask.ask(c.ChangeGroup, group="a", paused=True)
        add_all(ask, "aaa")
        waiting = ask.claiming()
        ask.ask(c.ChangeGroup, group="a", paused=False, in_progress=1)
        assert len(given(waiting)) == 1
        waiting = ask.claiming()
        assert not waiting.answered
        ask.ask(c.ChangeGroup, group="a", in_progress=2)
        assert len(given(waiting)) == 1

    def test_limits_still_apply_after_a_restart(self, world: World, ask: Asker) -> None:
        ask.reconfigure(limits=Limits(in_progress=3), group_limits=TWO)
        add_all(ask, "aaabb.")
        assert letters(bulk(ask)) == "aab"
        world.reopen()
        assert bulk(ask) == []
        ask.update(ask.jobs(state=State.INPROGRESS)[0], State.COMPLETE)
        assert letters(bulk(ask)) == "a"

    def test_a_new_limit_counts_the_jobs_already_in_progress(self, ask: Asker) -> None:
        jobs = [ask.add() for _ in range(5)]
        ask.claim()
        ask.reconfigure(limits=TWO)
        assert [uid_of(job) for job in bulk(ask)] == [uid_of(jobs[1])]
        ask.update(jobs[0], State.COMPLETE)
        assert [uid_of(job) for job in bulk(ask)] == [uid_of(jobs[2])]

    def test_a_job_that_changes_its_group_counts_in_the_new_group(self, ask: Asker) -> None:
        ask.reconfigure(group_limits=ONE)
        _, second, third = add_all(ask, "aa.")
        assert letters(bulk(ask)) == "a."
        assert ask.update(second, group="b").spec.rare.group == "b"
        assert letters(bulk(ask)) == "b"
        ask.update(third, State.QUEUED)
        ask.update(third, group="a")
        assert bulk(ask) == []

    def test_a_claim_with_tags_takes_the_first_jobs_of_each_group_that_have_the_tags(self, ask: Asker) -> None:
        ask.reconfigure(group_limits=TWO)
        add_all(ask, "aa")
        add_all(ask, "aaab.", tags=("x", "y"))
        assert letters(bulk(ask, tags=("x",))) == "aab."
        assert bulk(ask) == []


class OrderContract(Contract):
    """The order of groups."""

    def test_group_order_arrival_claims_jobs_in_execution_order(self, ask: Asker) -> None:
        add_all(ask, "aab.a")
        add_all(ask, "c", priority=1)
        assert letters(bulk(ask)) == "caab.a"

    def test_a_fair_bulk_claim_takes_from_the_group_with_the_fewest_jobs_in_progress(self, ask: Asker) -> None:
        ask.reconfigure(group_order=GroupOrder.FAIR)
        add_all(ask, "aaaabb.c")
        assert letters(bulk(ask)) == "ab.cabaa"

    def test_fair_single_claims_take_from_the_group_with_the_fewest_jobs_in_progress(self, ask: Asker) -> None:
        ask.reconfigure(group_order=GroupOrder.FAIR)
        add_all(ask, "aaaabb.c")
        assert letters([ask.hold() for _ in range(8)]) == "ab.cabaa"

    def test_fair_order_takes_jobs_by_priority_and_then_by_weight_of_their_groups(self, ask: Asker) -> None:
        ask.reconfigure(group_order=GroupOrder.FAIR)
        ask.ask(c.ChangeGroup, group="b", group_weight=3)
        add_all(ask, "aaabbbbb")
        add_all(ask, "aa", priority=1)
        assert letters(bulk(ask)) == "aa" + "bbbbbaaa"

    def test_of_equally_loaded_groups_the_group_served_longest_ago_is_next(self, ask: Asker) -> None:
        ask.reconfigure(group_order=GroupOrder.FAIR)
        add_all(ask, "aaabbbccc")
        order = []
        for _ in range(6):
            order.append(ask.hold())
            ask.update(order[-1], State.COMPLETE)
        assert letters(order) == "abcabc"

    def test_fair_order_applies_to_jobs_added_before_the_setting(self, ask: Asker) -> None:
        add_all(ask, "aaabbc")
        ask.hold()
        ask.reconfigure(group_order=GroupOrder.FAIR)
        assert letters(bulk(ask)) == "bcaba"
        ask.reconfigure(group_order=GroupOrder.ARRIVAL)
        add_all(ask, "aab")
        assert letters(bulk(ask)) == "aab"

    def test_in_strict_order_a_job_is_claimed_only_after_the_end_of_the_previous_job_of_its_group(
        self, ask: Asker
    ) -> None:
        ask.reconfigure(group_order=GroupOrder.STRICT)
        jobs = add_all(ask, "aa.b.", max_attempts=2, retry_delay_seconds=30)
        assert letters(bulk(ask)) == "a.b."
        ask.update(jobs[0], State.FAILED)
        assert bulk(ask) == []
        ask.world.advance(30)
        assert [uid_of(job) for job in bulk(ask)] == [uid_of(jobs[0])]
        ask.update(jobs[0], State.FAILED)
        assert [uid_of(job) for job in bulk(ask)] == [uid_of(jobs[1])]

    def test_in_strict_order_the_request_that_ends_a_job_may_claim_the_next(self, ask: Asker) -> None:
        ask.reconfigure(group_order=GroupOrder.STRICT)
        jobs = add_all(ask, "aaa", max_attempts=2, retry_delay_seconds=30)
        first = ask.hold()
        done = c.JobUpdate(uid=uid_of(first), changes=c.Changes(state=State.COMPLETE))
        assert [uid_of(job) for job in bulk(ask, updates=(c.QueueUpdate("q", done),))] == [uid_of(jobs[1])]
        failed = c.JobUpdate(uid=uid_of(jobs[1]), changes=c.Changes(state=State.FAILED))
        assert bulk(ask, updates=(c.QueueUpdate("q", failed),)) == []

    def test_a_failed_job_may_hold_its_group_until_it_is_retried_or_deleted(self, ask: Asker) -> None:
        ask.reconfigure(group_order=GroupOrder.STRICT, group_on_failure=OnFailure.HOLD)
        jobs = add_all(ask, "aaab")
        ask.update(ask.hold(), State.FAILED)
        assert letters(bulk(ask)) == "b"
        hold = ask.ask(c.ExplainJob, uid=uid_of(jobs[1])).hold
        assert hold is not None
        assert (hold.by, [uid_of(job) for job in hold.holders]) == (HeldBy.ORDER, [uid_of(jobs[0])])
        ask.update(jobs[0], State.QUEUED)
        ask.update(ask.hold(), State.FAILED)
        waiting = ask.claiming()
        assert not waiting.answered
        ask.delete(jobs[0])
        assert given(waiting) == [uid_of(jobs[1])]

    def test_a_claim_gets_no_job_of_a_strict_group_whose_first_job_has_other_tags(self, ask: Asker) -> None:
        ask.reconfigure(group_order=GroupOrder.STRICT)
        ask.add(group="a", tags=("x",))
        ask.add(group="a", tags=("y",))
        assert bulk(ask, tags=("y",)) == []
        assert len(bulk(ask, tags=("x",))) == 1

    def test_in_strict_order_a_delayed_job_given_a_lower_priority_no_longer_holds_its_group(self, ask: Asker) -> None:
        ask.reconfigure(group_order=GroupOrder.STRICT)
        delayed, ready = ask.add(group="a", priority=1, delay_seconds=60), ask.add(group="a")
        assert ask.claim() is None
        ask.update(delayed, priority=-1)
        assert uid_of(ask.hold()) == uid_of(ready)

    def test_in_strict_order_a_delayed_job_given_a_higher_priority_holds_its_group(self, ask: Asker) -> None:
        ask.reconfigure(group_order=GroupOrder.STRICT)
        ask.add(group="a")
        ask.update(ask.add(group="a", delay_seconds=60), priority=1)
        assert ask.claim() is None


class RatesContract(Contract):
    """Rates and holds."""

    def test_no_window_has_more_claims_than_the_rate_allows(self, world: World, ask: Asker) -> None:
        ask.reconfigure(limits=Limits(rate=Rate(5, 60)), group_limits=Limits(rate=Rate(2, 60)))
        add_all(ask, "aaaabbbb..")
        assert letters(bulk(ask)) == "aabb."
        world.advance(59.999)
        assert bulk(ask) == []
        world.advance(0.001)
        assert letters(bulk(ask)) == "aabb."

    def test_a_rate_counts_every_claim_except_claims_that_the_server_undoes(self, world: World, ask: Asker) -> None:
        ask.reconfigure(group_limits=Limits(rate=Rate(2, 60)))
        add_all(ask, "aa")
        first = ask.hold()
        ask.ask(c.ReturnClaims, claims=((uid_of(first), first.standing.lease or ""),))
        ask.update(ask.hold(), State.QUEUED)
        ask.update(ask.hold(), State.QUEUED)
        assert bulk(ask) == []
        world.advance(60)
        assert len(bulk(ask)) == 2

    @pytest.mark.parametrize("name", ["limits", "group_limits"])
    def test_claims_counted_by_a_rate_are_neither_lost_nor_doubled_by_a_restart(
        self, world: World, ask: Asker, name: str
    ) -> None:
        ask.reconfigure(**{name: Limits(rate=Rate(3, 60))})
        add_all(ask, "aaaaaaaa")
        assert len(bulk(ask, 2)) == 2
        world.reopen()
        assert len(bulk(ask)) == 1
        world.reopen()
        assert bulk(ask) == []
        world.advance(60)
        assert len(bulk(ask)) == 3

    @pytest.mark.parametrize("name", ["limits", "group_limits"])
    def test_a_waiter_is_served_when_the_rate_window_has_passed(self, world: World, ask: Asker, name: str) -> None:
        ask.reconfigure(**{name: Limits(rate=Rate(1, 7))})
        add_all(ask, "aa")
        ask.hold()
        world.advance(1)
        waiting = ask.claiming()
        world.advance(5.999)
        assert not waiting.answered
        world.advance(0.001)
        assert len(given(waiting)) == 1

    def test_setting_the_wall_clock_ends_no_window_of_a_rate(self, world: World, ask: Asker) -> None:
        ask.reconfigure(limits=Limits(rate=Rate(1, 60)))
        add_all(ask, "aa")
        ask.hold()
        world.set_wall_clock(3600)
        assert bulk(ask) == []

    def test_removing_a_rate_lets_held_jobs_be_claimed_at_once(self, ask: Asker) -> None:
        ask.reconfigure(group_limits=Limits(rate=Rate(1, 60)))
        add_all(ask, "aaa")
        ask.hold()
        waiting = ask.claiming()
        ask.reconfigure(group_limits=None)
        assert len(given(waiting)) == 1

    @pytest.mark.parametrize("group", ["a", "."])
    def test_a_release_may_hold_the_group_of_its_job_or_the_queue_for_a_time(
        self, world: World, ask: Asker, group: str
    ) -> None:
        add_all(ask, f"{group}{group}b")
        ask.update(ask.hold(), State.QUEUED, hold_seconds=30)
        assert letters(bulk(ask)) == ("b" if group == "a" else "")
        world.reopen()
        waiting = ask.claiming(wait=60)
        world.advance(29.999)
        assert not waiting.answered
        world.advance(0.001)
        assert len(given(waiting)) == 1

    def test_a_release_with_a_hold_applies_to_the_claim_in_the_same_request(self, ask: Asker) -> None:
        add_all(ask, "..")
        held = c.JobUpdate(uid=uid_of(ask.hold()), changes=c.Changes(state=State.QUEUED, hold_seconds=30))
        assert bulk(ask, updates=(c.QueueUpdate("q", held),)) == []

    def test_a_hold_may_be_ended_before_its_time(self, world: World, ask: Asker) -> None:
        ask.ask(c.ChangeGroup, group="a", held_until=world.now // 1000 + 100)
        ask.reconfigure(held_until=world.now // 1000 + 200)
        add_all(ask, "aab")
        assert bulk(ask) == []
        ask.reconfigure(held_until=0)
        assert letters(bulk(ask)) == "b"
        waiting = ask.claiming()
        ask.ask(c.ChangeGroup, group="a", held_until=0)
        assert len(given(waiting)) == 1


class GroupsContract(LimitsContract, OrderContract, RatesContract, ReportsContract):
    """All about groups."""
