"""Finding jobs: tags, filters, pages, sweeps, the number of jobs ahead; and paused queues."""

from typing import Any

import pytest
from msgspec.structs import replace

from jobengine.core.commands import (
    Changes,
    Claim,
    CountQueues,
    DeleteMatching,
    ExplainJob,
    Explanation,
    Filter,
    ListJobs,
    ListQueues,
    Swept,
    UpdateMatching,
)
from jobengine.core.errors import JobNotFound, LeaseRequired
from jobengine.core.model import Job, State
from jobengine.core.stats import QueueTotals
from tests.core.worlds import KEY, World, picture

CONTENTS = [
    b"{}",
    '{"name": "Grüße"}'.encode(),
    b'{"name": "GR\\u00dc\\u00dfE"}',
    b'{"path": "a\\/b", "n": 1.50}',
    b'{"smile": "\\ud83d\\ude00"}',
]


def found(world: World, **which: Any) -> list[str]:
    text = which.pop("text", None)
    wanted = Filter(**which, text=None if text is None else text.casefold())
    page = world.ask(ListJobs(queue="q", access_key=KEY, filter=wanted, limit=100))
    assert page.following is None
    return [job.spec.uid for job in page.jobs]


def explained(world: World, job: Job) -> Explanation:
    explanation: Explanation = world.ask(ExplainJob(queue="q", access_key=KEY, uid=job.spec.uid))
    return explanation


# Claims


def test_a_claim_takes_the_first_jobs_with_all_of_its_tags(world: World) -> None:
    tags: list[tuple[str, ...]] = [(), ("a",), ("a", "b"), ("b",), ("b", "a", "c")]
    jobs = [world.add(tags=some) for some in tags]

    def claimed(*wanted: str) -> list[int]:
        given = world.ask(Claim(queue="q", access_key=KEY, tags=wanted, count=9))
        numbers = [[job.spec.uid for job in jobs].index(one.spec.uid) for one in given]
        for number in numbers:
            world.update(jobs[number].spec.uid, State.QUEUED)
        return numbers

    assert claimed("a") == [1, 2, 4]
    assert claimed("b", "a") == [2, 4]
    assert claimed("none") == claimed("a", "none") == []
    assert claimed() == [0, 1, 2, 3, 4]
    world.update(jobs[4].spec.uid, tags=("d",), priority=1)
    assert claimed("a") == [1, 2]
    assert claimed("d") == [4]
    assert picture(world.tables)


def test_a_claim_takes_the_requested_number_of_jobs_and_records_its_worker(world: World) -> None:
    for _ in range(5):
        world.add()
    given = world.ask(Claim(queue="q", access_key=KEY, count=3, worker="w"))
    assert [(job.spec.arrival, job.standing.worker, job.standing.attempts) for job in given] == [
        (number, "w", 1) for number in range(3)
    ]


def test_a_paused_queue_allows_adds_and_peeks_but_no_claims(world: World) -> None:
    world.set_up(paused=True)
    job = world.add()
    assert world.claim() is None
    assert world.peek() == job
    assert explained(world, job).queue.paused
    world.set_up(paused=False)
    assert world.hold().spec.uid == job.spec.uid


# Filters


def test_a_filter_combines_state_tag_and_text(world: World) -> None:
    uids = [world.add(content=content, tags=("t",) if n % 2 else ()).spec.uid for n, content in enumerate(CONTENTS)]
    world.update(uids[1], State.FAILED)
    assert found(world) == uids
    assert found(world, state=State.FAILED) == [uids[1]]
    assert found(world, tag="t") == [uids[1], uids[3]]
    assert found(world, text="grüsse") == found(world, text="GRÜßE") == uids[1:3]
    assert found(world, text="a/b") == found(world, text="1.5") == [uids[3]]
    assert found(world, text="\U0001f600") == [uids[4]]
    assert found(world, state=State.QUEUED, text="grüsse") == [uids[2]]
    assert found(world, state=State.FAILED, tag="t", text="grüsse") == [uids[1]]
    assert found(world, tag="none") == found(world, text="u00dc") == []


def test_the_filter_queued_lists_ready_and_delayed_jobs_in_execution_order(world: World) -> None:
    uids = [world.add(delay_seconds=n % 2 * 60, priority=n % 3).spec.uid for n in range(9)]
    listed = found(world, state=State.QUEUED)
    assert set(listed) == set(uids)
    assert listed == [job.spec.uid for job in world.list()]


@pytest.mark.parametrize("scan", [1, 2, 3, 50])
@pytest.mark.parametrize("limit", [1, 2, 50])
def test_pages_of_a_filter_have_every_matching_job_once_in_order(world: World, limit: int, scan: int) -> None:
    for n in range(20):
        world.add(priority=n % 3, tags=("t",) if n % 4 == 0 else ())
    command = ListJobs(queue="q", access_key=KEY, filter=Filter(tag="t"), limit=limit, scan=scan)
    seen: list[str] = []
    while True:
        page = world.ask(command)
        assert len(page.jobs) <= limit
        seen += [job.spec.uid for job in page.jobs]
        if page.following is None:
            break
        command = replace(command, after=page.following)
    assert seen == found(world, tag="t")
    assert len(seen) == 5


# Sweeps


def swept(world: World, command: Any) -> list[int]:
    """The number of matching jobs in each slice of a sweep."""
    matched = []
    while True:
        slice_: Swept = world.ask(command)
        matched.append(slice_.matched)
        if slice_.following is None:
            return matched
        command = replace(command, after=slice_.following)


def test_a_sweep_changes_all_matching_jobs_in_slices(world: World) -> None:
    for n in range(10):
        world.add(tags=("t",) if n % 2 else ())
    changes = Changes(state=State.FAILED, error="swept")
    command = UpdateMatching(queue="q", access_key=KEY, filter=Filter(tag="t"), changes=changes, limit=4)
    assert swept(world, replace(command, dry_run=True)) == [2, 2, 1]
    assert found(world, state=State.FAILED) == []
    assert swept(world, command) == [2, 2, 1]
    assert found(world, state=State.FAILED) == found(world, tag="t")


def test_completing_all_queued_jobs_in_slices_changes_each_job_once(world: World) -> None:
    for _ in range(7):
        world.add()
    command = UpdateMatching(
        queue="q",
        access_key=KEY,
        filter=Filter(state=State.QUEUED),
        changes=Changes(state=State.COMPLETE),
        limit=3,
    )
    assert sum(swept(world, command)) == 7
    assert len(found(world, state=State.COMPLETE)) == 7
    back = replace(command, filter=Filter(state=State.COMPLETE), changes=Changes(state=State.QUEUED))
    assert sum(swept(world, back)) == 7
    assert all(job.standing.attempts == 0 for job in world.list())


def test_a_sweep_removes_all_matching_jobs(world: World) -> None:
    uids = [world.add(tags=("t",) if n % 3 == 0 else ()).spec.uid for n in range(10)]
    command = DeleteMatching(queue="q", access_key=KEY, filter=Filter(tag="t"), limit=3)
    assert sum(swept(world, replace(command, dry_run=True))) == 4
    assert sum(swept(world, command)) == 4
    assert [job.spec.uid for job in world.list()] == [uid for n, uid in enumerate(uids) if n % 3]
    assert sum(swept(world, replace(command, filter=Filter()))) == 6
    assert picture(world.tables)


def test_a_sweep_by_the_owner_needs_no_lease(world: World) -> None:
    uid = world.add().spec.uid
    world.set_up(require_lease=True)
    world.hold()
    with pytest.raises(LeaseRequired):
        world.update(uid, State.QUEUED)
    changes = Changes(state=State.QUEUED)
    world.ask(UpdateMatching(queue="q", access_key=KEY, filter=Filter(), changes=changes))
    assert world.read(uid).ready


def test_a_sweep_of_listed_jobs_skips_removed_jobs_and_jobs_that_do_not_match(world: World) -> None:
    uids = tuple(world.add(tags=("t",)).spec.uid for _ in range(4))
    world.delete(uids[1])
    world.update(uids[2], tags=())
    changes = Changes(priority=5)
    command = UpdateMatching(queue="q", access_key=KEY, filter=Filter(tag="t"), changes=changes, uids=uids)
    assert world.ask(command) == Swept(2, None)
    assert [job.spec.priority for job in world.list()] == [5, 5, 0]


# Jobs ahead, and lists of queues


def test_explain_counts_as_ahead_the_jobs_that_are_claimed_earlier(world: World) -> None:
    jobs = [world.add(priority=priority) for priority in (0, 2, 1, 2)]
    later = world.add(delay_seconds=5)
    assert [explained(world, job).ahead for job in jobs] == [3, 0, 2, 1]
    assert explained(world, later).ahead is None
    world.hold()
    assert [explained(world, job).ahead for job in jobs] == [2, None, 1, 0]
    world.now += 5_000
    assert explained(world, later).ahead == 3
    assert explained(world, jobs[1]).job.state is State.INPROGRESS


def test_queues_are_listed_page_by_page_in_order_of_name() -> None:
    world = World()
    names = [f"queue-{number:02}" for number in range(25)]
    for name in reversed(names):
        world.create(name)
    world.add(names[13])
    listed: list[str] = []
    while page := world.ask(ListQueues(after=listed[-1] if listed else None, limit=10)):
        assert len(page) <= 10
        listed += [stats.queue.name for stats in page]
    assert listed == names
    counted: list[QueueTotals] = []
    while totals := world.ask(CountQueues(after=counted[-1].name if counted else None, limit=10)):
        assert len(totals) <= 10
        counted += totals
    assert [one.name for one in counted] == names
    assert [one.name for one in counted if one.counts[State.QUEUED]] == [names[13]]
    assert {one.retrying for one in counted} == {0}


@pytest.mark.parametrize("uid", ["0b8c9e1c", "0b8c9e1c-4c1e", "0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a1"])
def test_the_error_for_a_missing_job_says_if_its_uid_looks_incomplete(world: World, uid: str) -> None:
    with pytest.raises(JobNotFound, match="only a part of its uid"):
        world.read(uid)


@pytest.mark.parametrize("uid", ["0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11", "invoice-1", "deadbeef", "0b8c"])
def test_the_error_for_a_missing_job_with_a_complete_uid_does_not_call_the_uid_incomplete(
    world: World, uid: str
) -> None:
    with pytest.raises(JobNotFound, match=r"may have been deleted or have expired\.$"):
        world.read(uid)
