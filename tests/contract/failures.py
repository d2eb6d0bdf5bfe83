"""The contract of engines about failures, grouped by their fingerprints."""

from collections.abc import Sequence
from typing import Any

from jobengine.core import commands as c
from jobengine.core.failures import FailureGroup
from jobengine.core.fingerprints import fingerprint
from jobengine.core.model import Defaults, Job, State
from jobengine.core.stats import FailureCounts
from tests.contract.asking import Asker, Contract
from tests.contract.world import World

REFUSED = "ConnectionRefusedError: [Errno 111] no answer from 10.0.0.7:25"
MISSING = "KeyError: 'name'"


def _groups(ask: Asker, **more: Any) -> Sequence[FailureGroup]:
    return ask.ask(c.ListFailures, limit=100, **more).failures


def _counted(ask: Asker) -> dict[str, int]:
    """The number of jobs by fingerprint, as one list shows it."""
    return {group.fingerprint: group.count for group in _groups(ask)}


def _fail(ask: Asker, error: str | None = REFUSED, *, max_attempts: int = 1, **changes: Any) -> Job:
    """A new job whose first attempt failed with this error."""
    ask.add(max_attempts=max_attempts)
    return ask.update(ask.hold(), State.FAILED, error=error, **changes)


def _fail_all(ask: Asker, fingerprints: Sequence[str]) -> list[Job]:
    """New jobs that failed with these fingerprints, one after the other."""
    jobs = [c.NewJob(content=b"{}")] * len(fingerprints)
    added = [one.job for one in ask.ask(c.AddJobs, jobs=tuple(jobs), defaults=Defaults())]
    changes = [c.Changes(state=State.FAILED, fingerprint=name) for name in fingerprints]
    updates = [c.JobUpdate(uid=job.spec.uid, changes=change) for job, change in zip(added, changes, strict=True)]
    return [one for one in ask.ask(c.UpdateJobs, updates=tuple(updates)) if isinstance(one, Job)]


def _alike(ask: Asker, job: Job) -> tuple[int, int | None]:
    """How many jobs have failed like this job, and since when."""
    alike = ask.ask(c.ExplainJob, uid=job.spec.uid).alike
    assert alike is not None
    return alike.count, alike.first


class FailuresContract(Contract):
    """Groups of failures, and what puts a job in a group."""

    def test_a_queue_without_failures_lists_no_failure_groups(self, ask: Asker) -> None:
        ask.add()
        ask.update(ask.hold(), State.COMPLETE)
        page = ask.ask(c.ListFailures, limit=1)
        assert (list(page.failures), page.following, page.dropped) == ([], None, 0)

    def test_a_failure_group_has_counts_and_times_and_its_latest_jobs(self, world: World, ask: Asker) -> None:
        world.advance(60 - world.now / 1000 % 60)
        first = _fail(ask)
        world.advance(60)
        jobs = [_fail(ask, REFUSED.replace("7", str(number))) for number in range(6)]
        _fail(ask, MISSING)
        group, other = _groups(ask)
        assert (group.fingerprint, group.count, group.error) == (fingerprint(REFUSED), 7, REFUSED.replace("7", "5"))
        assert (group.first, group.last) == (first.updated, jobs[-1].updated)
        assert group.minutes == [0] * 58 + [1, 6]
        assert set(group.uids) < {job.spec.uid for job in jobs}
        assert len(group.uids) == 5
        assert (other.count, other.error, len(other.uids)) == (1, MISSING, 1)

    def test_a_retried_job_is_in_the_group_of_its_latest_failure(self, ask: Asker) -> None:
        job = _fail(ask, max_attempts=3)
        assert job.state is State.QUEUED
        assert _counted(ask) == {fingerprint(REFUSED): 1}
        ask.hold()
        assert _counted(ask) == {}
        ask.update(job, State.FAILED, error=MISSING)
        assert _counted(ask) == {fingerprint(MISSING): 1}
        ask.update(ask.hold(), State.COMPLETE)
        assert _counted(ask) == {}

    def test_retried_cancelled_and_deleted_jobs_are_in_no_failure_group(self, ask: Asker) -> None:
        retried, cancelled, deleted = _fail(ask), ask.add(), _fail(ask)
        ask.update(retried, State.QUEUED)
        ask.update(cancelled, cancel=True)
        ask.delete(deleted)
        assert _counted(ask) == {}

    def test_failures_by_a_lost_lease_are_a_failure_group_of_their_own(self, world: World, ask: Asker) -> None:
        ask.add(timeout_seconds=5, max_attempts=2)
        ask.hold()
        world.advance(6)
        (group,) = _groups(ask)
        assert (group.error, group.count, group.last) == ("timed out", 1, world.now)

    def test_a_failure_without_an_error_text_is_counted_too(self, ask: Asker) -> None:
        _fail(ask, None)
        (group,) = _groups(ask)
        assert (group.count, group.error) == (1, None)

    def test_pages_list_each_failure_group_once_and_the_largest_first(self, ask: Asker) -> None:
        names = {f"kind-{number}": number for number in range(1, 6)}
        for name, count in names.items():
            for _ in range(count):
                _fail(ask, fingerprint=name)
        found, after = list[tuple[str, int]](), None
        while True:
            page = ask.ask(c.ListFailures, limit=2, after=after)
            found += [(one.fingerprint, one.count) for one in page.failures]
            after = page.following
            if after is None:
                break
        assert found == sorted(names.items(), key=lambda one: -one[1])
        assert page.dropped == 0

    def test_jobs_of_unlisted_failure_groups_are_still_counted_explained_and_changed(
        self, world: World, ask: Asker
    ) -> None:
        names = [f"kind-{number}" for number in range(1_600)]
        jobs = _fail_all(ask, [*names, *names[::-1][:20], *["most"] * 3])
        page = ask.ask(c.ListFailures, limit=100)
        assert (page.failures[0].fingerprint, page.failures[0].count) == ("most", 3)
        listed, after = sum(group.count for group in page.failures), page.following
        while after is not None:
            page = ask.ask(c.ListFailures, limit=100, after=after)
            listed, after = listed + sum(group.count for group in page.failures), page.following
        assert listed + page.dropped == len(jobs)
        assert page.dropped == 601
        twice = [jobs[1_580 + number] for number in range(20)]
        assert {_alike(ask, job) for job in twice} == {(2, twice[0].updated)}
        # The engine in memory has dropped the first job's group, and counts only this job in it.
        assert _alike(ask, jobs[0]) == (1, jobs[0].updated)
        assert [job.spec.uid for job in ask.jobs(fingerprint="kind-0")] == [jobs[0].spec.uid]
        retry = c.UpdateMatching(
            queue="q",
            access_key=b"key",
            filter=c.Filter(fingerprint="kind-1599"),
            changes=c.Changes(state=State.QUEUED),
        )
        assert ask.get(world.engine.update_matching(retry)) == 2
        assert ask.ask(c.CountFailures).groups == 1_000
        world.advance(15 * 60)
        _fail_all(ask, [f"new-{number}" for number in range(10)])
        assert ask.ask(c.CountFailures) == FailureCounts(groups=1_000, new=10)

    def test_failure_groups_are_counted_and_count_as_new_for_15_minutes(self, world: World, ask: Asker) -> None:
        _fail(ask)
        world.advance(15 * 60)
        _fail(ask)
        _fail(ask, MISSING)
        assert ask.ask(c.CountFailures) == FailureCounts(groups=2, new=1)
        world.advance(15 * 60)
        assert ask.ask(c.CountFailures) == FailureCounts(groups=2, new=0)

    def test_failure_groups_are_the_same_after_a_restart(self, world: World, ask: Asker) -> None:
        for error in (REFUSED, REFUSED, MISSING):
            _fail(ask, error, max_attempts=2)
        _fail(ask, REFUSED)
        before = ask.ask(c.ListFailures, limit=10)
        world.reopen()
        assert ask.ask(c.ListFailures, limit=10) == before

    def test_failure_times_are_shown_by_the_present_wall_clock(self, world: World, ask: Asker) -> None:
        job = _fail(ask)
        world.set_wall_clock(3_600)
        (group,) = _groups(ask)
        assert group.first == group.last == ask.read(job).updated
        assert group.minutes[-1] == 1

    def test_a_deleted_queue_leaves_no_failures_behind(self, ask: Asker) -> None:
        _fail(ask)
        ask.ask(c.DeleteQueue)
        ask.create()
        assert _counted(ask) == {}
