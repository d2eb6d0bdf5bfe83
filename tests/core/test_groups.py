"""Groups: why a job is held, what remains after claims and holds, and a group's own settings."""

from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.errors import GroupInUse, GroupNotFound
from jobengine.core.flow import GATE, NO_SETTINGS, GroupOrder, Limits, OnFailure, Rate
from jobengine.core.groups import HeldBy, Hold
from jobengine.core.model import Job, State
from tests.core.worlds import KEY, World, check_groups


class Grouped(World):
    """A world with a queue whose jobs have groups."""

    def __init__(self, **flow: Any) -> None:
        super().__init__()
        self.create()
        self.set_up(**flow)

    def hold_of(self, job: Job) -> Hold | None:
        explanation: c.Explanation = self.ask(c.ExplainJob(queue="q", access_key=KEY, uid=job.spec.uid))
        return explanation.hold

    def release(self, job: Job, **more: Any) -> None:
        self.update(job.spec.uid, State.QUEUED, lease=job.standing.lease, **more)

    def change_group(self, group: str = "a", **more: Any) -> Any:
        return self.ask(c.ChangeGroup(queue="q", access_key=KEY, group=group, **more))


def test_explain_names_the_limit_of_a_group_and_its_holders() -> None:
    world = Grouped(group_limits=Limits(in_progress=1))
    world.add(group="a")
    last = world.add(group="a")
    running = world.hold(worker="w")
    hold = world.hold_of(last)
    assert hold is not None
    assert (hold.by, [job.spec.uid for job in hold.holders]) == ("group_limit", [running.spec.uid])
    assert hold.reason == "The group 'a' has 1 of 1 jobs in progress."


@pytest.mark.parametrize(("order", "most"), [(GroupOrder.ARRIVAL, 1_100), (GroupOrder.FAIR, 1_101)])
def test_explain_counts_more_than_a_thousand_jobs_ahead_by_priority_only(order: GroupOrder, most: int) -> None:
    world = Grouped(group_order=order)
    jobs = [c.NewJob(content=b"{}", group=f"g{number}") for number in range(1_102)]
    uids = [added.job.spec.uid for added in world.add_all(*jobs)]
    ahead = [world.ask(c.ExplainJob(queue="q", access_key=KEY, uid=uids[at])).ahead for at in (0, 999, 1_100)]
    assert ahead == [0, 999, most]
    world.set_up(limits=Limits(in_progress=1_050))
    assert [world.hold_of(world.read(uids[at])) is None for at in (999, 1_100)] == [True, False]


@pytest.mark.parametrize("order", GroupOrder)
def test_a_page_of_a_group_leaves_out_ready_jobs_of_other_groups(order: GroupOrder) -> None:
    world = Grouped(group_order=order)
    others = [world.add(group="b") for _ in range(10)]
    first, last, delayed = world.add(group="a"), world.add(group="a"), world.add(group="a", delay_seconds=9)
    others.append(world.add(group="b", delay_seconds=9))
    table = world.tables.queues["q"]
    assert table.page(None, 2, group="a") == ([first, last], last.spec.rank)
    assert table.page(last.spec.rank, 2, group="a") == ([delayed, others[-1]], None)
    assert table.page(None, 9, State.COMPLETE, group="a") == ([], None)


@pytest.mark.parametrize(
    ("flow", "running", "by", "reason"),
    [
        (
            {"limits": Limits(in_progress=2)},
            0,
            "queue_limit",
            "3 jobs are before it, and at most 2 run at once; 0 run now.",
        ),
        (
            {"limits": Limits(in_progress=2)},
            1,
            "queue_limit",
            "2 jobs are before it, and at most 2 run at once; 1 runs now.",
        ),
        (
            {"limits": Limits(in_progress=2)},
            2,
            "queue_limit",
            "The queue has 2 of 2 jobs in progress, and 1 job comes first.",
        ),
        (
            {"group_limits": Limits(in_progress=1)},
            0,
            "group_limit",
            "3 jobs of the group 'a' are before it, and at most 1 runs at once; 0 run now.",
        ),
        (
            {"limits": Limits(rate=Rate(2, 60))},
            1,
            "queue_rate",
            "2 jobs are before it, and at most 2 can be claimed in any 60 seconds; "
            "1 was claimed in the last 60 seconds.",
        ),
        (
            {"group_limits": Limits(rate=Rate(3, 1))},
            0,
            "group_rate",
            "3 jobs of the group 'a' are before it, and at most 3 can be claimed in any second; "
            "0 were claimed in the last second.",
        ),
    ],
)
def test_explain_of_a_job_behind_others_says_how_much_of_the_limit_or_rate_is_used(
    flow: dict[str, Limits], running: int, by: str, reason: str
) -> None:
    world = Grouped(**flow)
    jobs = [world.add(group="a") for _ in range(4)]
    for _ in range(running):
        world.hold()
    hold = world.hold_of(jobs[-1])
    assert hold is not None
    assert (hold.by, hold.reason, hold.opens) == (by, reason, None)


def test_explain_has_the_time_when_the_group_rate_next_allows_a_claim() -> None:
    world = Grouped(group_limits=Limits(rate=Rate(1, 60)))
    world.add(group="a")
    last = world.add(group="a")
    world.hold()
    hold = world.hold_of(last)
    assert hold is not None
    assert (hold.by, hold.opens) == ("group_rate", world.now + 60_000)
    assert hold.reason == "1 of at most 1 jobs of the group 'a' were claimed in the last 60 seconds."


@pytest.mark.parametrize(
    ("limits", "by"),
    [(Limits(in_progress=1), "queue_limit"), (Limits(rate=Rate(1, 60)), "queue_rate")],
    ids=["limit", "rate"],
)
def test_explain_names_the_limits_of_the_queue(limits: Limits, by: str) -> None:
    world = Grouped(limits=limits)
    world.add()
    last = world.add(group="a")
    world.hold()
    hold = world.hold_of(last)
    assert hold is not None
    assert hold.by == by


@pytest.mark.parametrize(
    ("flow", "by"),
    [
        ({"limits": Limits(rate=Rate(1, 60)), "group_limits": Limits(in_progress=2)}, "queue_rate"),
        ({"limits": Limits(in_progress=1), "group_limits": Limits(in_progress=2)}, "queue_limit"),
        ({"limits": Limits(in_progress=2, rate=Rate(1, 60))}, "queue_rate"),
        ({"group_limits": Limits(in_progress=2, rate=Rate(1, 60))}, "group_rate"),
    ],
)
def test_explain_prefers_an_exhausted_limit_to_a_limit_that_the_jobs_ahead_will_exhaust(
    flow: dict[str, Limits], by: str
) -> None:
    world = Grouped(**flow)
    last = [world.add(group="a") for _ in range(4)][-1]
    world.hold()
    hold = world.hold_of(last)
    assert hold is not None
    assert (hold.by, hold.later) == (by, False)


def test_explain_names_the_hold_of_the_queue_for_all_jobs_of_a_group_with_a_free_limit() -> None:
    world = Grouped(group_limits=Limits(in_progress=1))
    jobs = [world.add(group="a") for _ in range(2)]
    world.set_up(held_until=world.now // 1000 + 30)
    assert [world.hold_of(job) for job in jobs] == [
        Hold(by=HeldBy.HOLD, reason="The queue is held.", opens=world.now + 30_000)
    ] * 2


def test_explain_names_a_pause_and_a_hold() -> None:
    world = Grouped()
    job = world.add(group="a")
    world.change_group(paused=True)
    paused = world.hold_of(job)
    world.change_group(paused=False, held_until=world.now // 1000 + 30)
    held = world.hold_of(job)
    assert paused is not None
    assert held is not None
    assert (paused.by, paused.opens) == ("hold", None)
    assert (held.by, held.opens) == ("hold", world.now + 30_000)
    world.change_group(held_until=0)
    assert world.hold_of(job) is None


@pytest.mark.parametrize("on_failure", OnFailure)
def test_explain_names_the_failed_job_that_holds_its_group(on_failure: OnFailure) -> None:
    world = Grouped(group_order=GroupOrder.STRICT, group_on_failure=on_failure)
    first, second = world.add(group="a"), world.add(group="a")
    waits = world.hold_of(second)
    world.update(world.hold().spec.uid, State.FAILED, retry=False)
    hold = world.hold_of(second)
    assert waits is not None
    assert (waits.by, [job.spec.uid for job in waits.holders]) == ("order", [first.spec.uid])
    assert (hold is None) == (on_failure is OnFailure.NEXT)
    assert hold is None or [job.spec.uid for job in hold.holders] == [first.spec.uid]
    world.ask(c.DeleteJob(queue="q", access_key=KEY, uid=first.spec.uid))
    assert world.hold_of(second) is None


def test_a_failed_job_that_holds_its_group_may_be_put_in_progress() -> None:
    world = Grouped(group_order=GroupOrder.STRICT, group_on_failure=OnFailure.HOLD)
    first, second = world.add(group="a"), world.add(group="a")
    for state in (State.FAILED, State.INPROGRESS):
        world.update(first.spec.uid, state)
        hold = world.hold_of(second)
        assert hold is not None
        assert [job.spec.uid for job in hold.holders] == [first.spec.uid]
        check_groups(world.tables.queues["q"])
    world.update(first.spec.uid, State.COMPLETE)
    assert world.hold().spec.uid == second.spec.uid


def test_strict_order_keeps_the_place_of_a_job_that_waits_for_a_retry() -> None:
    world = Grouped(group_order=GroupOrder.STRICT)
    world.add(group="a", max_attempts=2, retry_delay_seconds=100)
    world.add(group="a")
    job = world.hold()
    world.update(job.spec.uid, State.FAILED, lease=job.standing.lease)
    assert world.claim() is None
    world.now += 120_000
    assert world.hold().spec.uid == job.spec.uid


def test_a_release_may_hold_the_group_of_its_job_and_the_longest_hold_counts() -> None:
    world = Grouped(target_wait_seconds=1)
    world.add(group="a")
    world.add(group="a")
    world.release(world.hold(), hold_seconds=30)
    assert world.claim() is None
    world.now += 30_000
    job = world.hold()
    world.release(job, hold_seconds=5)
    world.now += 5_000
    assert world.claim() is not None


def test_a_release_with_a_hold_holds_the_queue_if_the_job_has_no_group() -> None:
    world = World()
    world.create()
    world.add()
    world.add(group="a")
    job = world.hold()
    world.update(job.spec.uid, State.QUEUED, lease=job.standing.lease, hold_seconds=30)
    assert world.claim() is None
    world.ask(c.ChangeQueue(queue="q", access_key=KEY, held_until=0))
    assert world.claim() is not None


def test_a_claim_that_the_server_undoes_does_not_count_towards_the_rate() -> None:
    world = Grouped(limits=Limits(rate=Rate(1, 60)), group_limits=Limits(rate=Rate(1, 60)))
    world.add(group="a")
    job = world.hold()
    world.ask(c.ReturnClaims(queue="q", access_key=KEY, claims=((job.spec.uid, job.standing.lease or ""),)))
    assert world.claim() is not None


def test_a_job_that_its_worker_releases_still_counts_towards_the_rate() -> None:
    world = Grouped(group_limits=Limits(rate=Rate(1, 60)))
    world.add(group="a")
    world.release(world.hold())
    assert world.claim() is None


def test_a_gate_is_removed_when_its_rate_window_has_passed() -> None:
    world = Grouped(group_limits=Limits(rate=Rate(1, 60)))
    world.add(group="a")
    world.hold()
    table = world.tables.queues["q"]
    assert table.item(GATE, "a") is not None
    world.now += 60_000
    world.expire()
    assert table.item(GATE, "a") is None


def test_the_group_of_a_job_in_progress_can_not_be_changed() -> None:
    world = Grouped()
    job = world.add(group="a")
    world.update(job.spec.uid, group="b")
    assert world.hold().spec.rare.group == "b"
    with pytest.raises(GroupInUse):
        world.update(job.spec.uid, group="c")


def test_changed_settings_of_a_group_are_merged_and_a_reset_removes_all() -> None:
    world = Grouped(group_limits=Limits(in_progress=1))
    world.change_group(in_progress=3, group_weight=2)
    changed = world.change_group(paused=True)
    assert (changed.settings.in_progress, changed.settings.weight, changed.settings.paused) == (3, 2, True)
    assert world.change_group(in_progress=None).settings.in_progress is None
    assert world.ask(c.ResetGroup(queue="q", access_key=KEY, group="a")).settings == NO_SETTINGS
    with pytest.raises(GroupNotFound):
        world.ask(c.ReadGroup(queue="q", access_key=KEY, group="a"))


def test_groups_are_listed_by_size_page_by_page() -> None:
    world = Grouped()
    for name, number in (("a", 1), ("b", 3), ("c", 2), ("d", 2)):
        world.add_all(*(c.NewJob(content=b"{}", group=name) for _ in range(number)))
    names, after = [], None
    while True:
        page = world.ask(c.ListGroups(queue="q", access_key=KEY, limit=1, after=after))
        names += [group.name for group in page.groups]
        after = page.following
        if after is None:
            break
    assert names == ["b", "c", "d", "a"]


def test_a_queue_that_uses_no_limits_and_no_groups_stores_nothing_for_them() -> None:
    world = World()
    world.create()
    world.add()
    world.set_up(max_jobs=5)
    assert world.tables.queues["q"].queue.flow is None
    assert world.tables.queues["q"].turns is None


def test_repeating_a_failure_report_does_not_extend_the_hold_of_the_group() -> None:
    world = Grouped()
    world.add(group="a")
    world.add(group="a")
    job = world.hold()
    for _ in range(2):
        world.update(job.spec.uid, State.FAILED, lease=job.standing.lease, hold_seconds=30)
        world.now += 20_000
    assert world.claim() is not None


def test_setting_the_group_of_all_matching_jobs_leaves_out_jobs_in_progress() -> None:
    world = World()
    world.create()
    running, waiting = world.add(), world.add()
    world.hold()
    sweep = c.UpdateMatching(queue="q", access_key=KEY, filter=c.Filter(), changes=c.Changes(group="a"))
    assert world.ask(sweep).matched == 1
    assert (world.read(running.spec.uid).spec.rare.group, world.read(waiting.spec.uid).spec.rare.group) == (None, "a")
    assert [one.name for one in world.ask(c.ListGroups(queue="q", access_key=KEY, limit=10)).groups] == ["a"]
