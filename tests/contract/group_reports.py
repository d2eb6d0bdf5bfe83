"""Groups: counts, lists, and explanations."""

from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.errors import GroupNotFound
from jobengine.core.flow import GroupOrder, Limits, Rate
from jobengine.core.groups import HeldBy
from jobengine.core.model import Job, State
from jobengine.core.sorting import GroupSort
from tests.contract.asking import KEY, Asker, Contract
from tests.contract.waiting import uid_of
from tests.contract.world import World

ONE, TWO = Limits(in_progress=1), Limits(in_progress=2)


def bulk(ask: Asker, count: int = 100, *queues: str, **more: Any) -> list[Job]:
    """Claim up to this many jobs."""
    claims = c.Claims(queues=queues or ("q",), access_key=KEY, count=count, **more)
    return [one.job for one in ask.get(ask.world.engine.claim(claims)).jobs]


def add_all(ask: Asker, groups: str, **more: Any) -> list[Job]:
    """Add a job for each letter; it is the job's group, and a dot stands for none."""
    return [ask.add(group=None if letter == "." else letter, **more) for letter in groups]


def letters(jobs: list[Job]) -> str:
    return "".join(job.spec.rare.group or "." for job in jobs)


class ReportsContract(Contract):
    """Counts of groups, and explanations."""

    def test_the_counts_of_ready_held_and_delayed_jobs_add_up_to_the_queued_jobs(
        self, world: World, ask: Asker
    ) -> None:
        ask.reconfigure(limits=Limits(in_progress=4), group_limits=TWO)
        add_all(ask, "aaaaabb..")
        ask.add(group="a", delay_seconds=60)
        ask.hold()
        for _ in range(2):
            stats = ask.ask(c.ReadStats)
            assert (stats.ready, stats.held, stats.delayed) == (3, 5, 1)
            assert stats.counts[State.QUEUED] == 9
            group = ask.ask(c.ReadGroup, group="a")
            state = group.state
            assert (state.queued, group.ready, group.held, state.delayed, state.in_progress) == (5, 1, 3, 1, 1)
            world.reopen()

    def test_jobs_behind_a_rate_or_a_pause_count_as_held(self, world: World, ask: Asker) -> None:
        ask.reconfigure(group_limits=Limits(rate=Rate(2, 60)))
        ask.ask(c.ChangeGroup, group="b", paused=True)
        add_all(ask, "aaabb.")
        ask.hold()
        stats = ask.ask(c.ReadStats)
        assert (stats.ready, stats.held) == (2, 3)

    def test_changing_a_group_returns_its_new_counts_of_ready_and_held_jobs(self, world: World, ask: Asker) -> None:
        add_all(ask, "aaa")
        soon = world.now // 1000 + 60
        changes: list[dict[str, Any]] = [
            {"in_progress": 2},
            {"paused": True},
            {"paused": False},
            {"held_until": soon},
            {"held_until": 0},
        ]
        answers = [ask.ask(c.ChangeGroup, group="a", **change) for change in changes]
        assert [(one.ready, one.held) for one in answers] == [(2, 1), (0, 3), (2, 1), (0, 3), (2, 1)]
        assert ask.ask(c.ResetGroup, group="a").ready == 3

    def test_groups_are_sorted_by_the_requested_count(self, world: World, ask: Asker) -> None:
        assert list(ask.ask(c.ListGroups, limit=9).groups) == []
        add_all(ask, "a")
        world.advance(1)
        add_all(ask, "bbbbcc")
        bulk(ask, 3)
        ask.ask(c.ChangeGroup, group="d", paused=True)

        def listed(sort: GroupSort) -> list[str]:
            names: list[str] = []
            after = None
            while True:
                page = ask.ask(c.ListGroups, sort=sort, limit=1, after=after)
                names += [one.name for one in page.groups]
                after = page.following
                if after is None:
                    return names

        assert [set(part) for part in (listed(GroupSort.QUEUED)[:2], listed(GroupSort.QUEUED)[2:])] == [
            {"b", "c"},
            {"a", "d"},
        ]
        assert listed(GroupSort.IN_PROGRESS)[:2] == ["b", "a"]
        assert set(listed(GroupSort.OLDEST)[:2]) == {"b", "c"}

    def test_a_group_without_settings_disappears_with_its_last_job(self, ask: Asker) -> None:
        add_all(ask, "a")
        ask.update(ask.hold(), State.COMPLETE)
        with pytest.raises(GroupNotFound):
            ask.ask(c.ReadGroup, group="a")
        changed = ask.ask(c.ChangeGroup, group="a", in_progress=7)
        assert ask.ask(c.ReadGroup, group="a") == changed
        assert changed.settings.in_progress == 7
        ask.ask(c.ResetGroup, group="a")
        with pytest.raises(GroupNotFound):
            ask.ask(c.ReadGroup, group="a")

    @pytest.mark.parametrize("order", GroupOrder)
    def test_stats_give_the_age_of_the_oldest_job_that_can_be_claimed(
        self, world: World, ask: Asker, order: GroupOrder
    ) -> None:
        ask.reconfigure(limits=TWO, group_limits=ONE, group_order=order)
        ask.ask(c.ChangeGroup, group="b", paused=True)
        ask.ask(c.ChangeGroup, group="c", group_weight=2)
        for letter in "aabc.":
            add_all(ask, letter)
            world.advance(10)
        ages = [ask.ask(c.ReadStats).oldest_ready]
        for _ in range(2):
            claimed = ask.hold()
            ages.append(ask.ask(c.ReadStats).oldest_ready)
        ask.update(claimed, State.COMPLETE)
        ages.append(ask.ask(c.ReadStats).oldest_ready)
        # The second job of `a` and the job of `b` are held. With two jobs in progress the queue's limit is reached.
        assert ages == [50_000, 20_000, None, 10_000]

    @pytest.mark.parametrize("order", GroupOrder)
    @pytest.mark.parametrize("limits", [Limits(in_progress=5), Limits(rate=Rate(5, 60))], ids=["limit", "rate"])
    def test_explain_gives_a_reason_for_each_job_that_no_claim_can_take(
        self, world: World, ask: Asker, limits: Limits, order: GroupOrder
    ) -> None:
        ask.reconfigure(limits=limits, group_limits=Limits(in_progress=2, rate=Rate(3, 60)), group_order=order)
        ask.ask(c.ChangeGroup, group="d", paused=True)
        ask.ask(c.ChangeGroup, group="e", held_until=world.now // 1000 + 60)
        add_all(ask, "aaabb..cdde.aab")
        for _ in range(2):
            ask.update(ask.hold(), State.COMPLETE)
        ask.hold()
        waits = {uid_of(job): ask.ask(c.ExplainJob, uid=uid_of(job)) for job in ask.jobs(state=State.QUEUED)}
        free = sorted((wait.ahead or 0, uid) for uid, wait in waits.items() if wait.hold is None)
        assert free == [*enumerate(map(uid_of, bulk(ask)))]
        assert all(wait.ahead is None for wait in waits.values() if wait.hold is not None)

    @pytest.mark.parametrize("order", GroupOrder)
    def test_a_list_can_be_limited_to_one_group(self, ask: Asker, order: GroupOrder) -> None:
        ask.reconfigure(group_order=order)
        jobs = add_all(ask, "bab.aaabaa", max_attempts=2)
        for _ in range(2):
            ask.update(ask.hold(), State.COMPLETE)
        ask.update(jobs[4], cancel=True)
        ask.update(jobs[5], delay_seconds=60)
        ask.update(jobs[6], State.INPROGRESS)
        whole = [uid_of(job) for job in ask.jobs() if job.spec.rare.group == "a"]
        assert len(whole) == 6

        def listed(**conditions: Any) -> list[str]:
            found: list[str] = []
            after = None
            while True:
                wanted = c.Filter(group="a", **conditions)
                page = ask.ask(c.ListJobs, filter=wanted, limit=9, scan=2, after=after)
                found += map(uid_of, page.jobs)
                after = page.following
                if after is None:
                    return found

        assert listed() == whole
        states = [listed(state=state) for state in State]
        assert sorted(uid for uids in states for uid in uids) == sorted(whole)
        assert ask.ask(c.DeleteMatching, filter=c.Filter(group="a", state=State.QUEUED), limit=9).matched == 3

    def test_explain_names_a_full_group_and_the_jobs_that_fill_it(self, ask: Asker) -> None:
        ask.reconfigure(group_limits=ONE)
        first, second, third = add_all(ask, "aaa")
        ask.hold()
        explained = ask.ask(c.ExplainJob, uid=uid_of(third))
        assert explained.hold is not None
        assert (explained.hold.by, explained.ahead_in_group) == (HeldBy.GROUP_LIMIT, 1)
        assert [uid_of(job) for job in explained.hold.holders] == [uid_of(first)]
        assert ask.ask(c.ExplainJob, uid=uid_of(second)).hold is not None

    @pytest.mark.parametrize("name", ["limits", "group_limits"])
    def test_explain_names_an_exhausted_rate_and_the_time_of_the_next_claim(
        self, world: World, ask: Asker, name: str
    ) -> None:
        ask.reconfigure(**{name: Limits(rate=Rate(1, 60))})
        _, second = add_all(ask, "aa")
        ask.hold()
        hold = ask.ask(c.ExplainJob, uid=uid_of(second)).hold
        assert hold is not None
        by = HeldBy.QUEUE_RATE if name == "limits" else HeldBy.GROUP_RATE
        assert (hold.by, hold.opens) == (by, world.now + 60_000)

    def test_explain_names_a_hold_a_pause_or_strict_order(self, world: World, ask: Asker) -> None:
        ask.reconfigure(group_order=GroupOrder.STRICT)
        _, second, third, fourth = add_all(ask, "aabc")
        ask.ask(c.ChangeGroup, group="b", held_until=world.now // 1000 + 60)
        ask.ask(c.ChangeGroup, group="c", paused=True)
        first = ask.hold()
        holds = [ask.ask(c.ExplainJob, uid=uid_of(job)).hold for job in (second, third, fourth)]
        assert [hold and hold.by for hold in holds] == [HeldBy.ORDER, HeldBy.HOLD, HeldBy.HOLD]
        assert holds[0] is not None
        assert [uid_of(job) for job in holds[0].holders] == [uid_of(first)]
        assert holds[1] is not None
        assert holds[1].opens == world.now + 60_000

    @pytest.mark.parametrize("group", ["a", None])
    def test_explain_of_a_delayed_job_names_a_hold_that_outlasts_the_delay(
        self, world: World, ask: Asker, group: str | None
    ) -> None:
        ask.reconfigure(group_limits=ONE)
        short, long = (ask.add(group=group, delay_seconds=seconds) for seconds in (30, 90))
        opens = world.now + 60_000
        if group is None:
            ask.reconfigure(held_until=opens // 1000)
        else:
            ask.ask(c.ChangeGroup, group=group, held_until=opens // 1000)
        for _ in range(2):
            hold = ask.ask(c.ExplainJob, uid=uid_of(short)).hold
            assert hold is not None
            assert (hold.by, hold.opens) == (HeldBy.HOLD, opens)
            assert ask.ask(c.ExplainJob, uid=uid_of(long)).hold is None
            world.reopen()

    def test_explain_of_a_delayed_job_names_the_pause_of_its_group_but_no_limit_or_rate(self, ask: Asker) -> None:
        ask.reconfigure(limits=ONE, group_limits=Limits(in_progress=1, rate=Rate(1, 60)))
        ask.add(group="a")
        delayed = ask.add(group="a", delay_seconds=30)
        ask.hold()
        assert ask.ask(c.ExplainJob, uid=uid_of(delayed)).hold is None
        ask.ask(c.ChangeGroup, group="a", paused=True)
        explained = ask.ask(c.ExplainJob, uid=uid_of(delayed))
        assert (explained.hold and explained.hold.by, explained.ahead) == (HeldBy.HOLD, None)
