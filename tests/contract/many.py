"""The contract of engines about bulk changes, attempts, cancelling, and the wall clock."""

from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core import errors as e
from jobengine.core.model import State
from tests.contract.asking import KEY, Asker, Contract
from tests.contract.world import World

HOUR = 3_600


def matching(kind: Any, dry_run: bool = False, limit: int = 2, **more: Any) -> Any:
    """A command about all queued jobs with the tag `a`, in slices of two."""
    wanted = c.Filter(state=State.QUEUED, tag="a")
    return kind(queue="q", access_key=KEY, filter=wanted, dry_run=dry_run, limit=limit, **more)


class ManyContract(Contract):
    """Bulk changes, attempts, cancelling, and the wall clock."""

    @pytest.mark.parametrize("dry_run", [True, False])
    def test_all_matching_jobs_are_changed_or_with_a_dry_run_only_counted(
        self, world: World, ask: Asker, dry_run: bool
    ) -> None:
        jobs = [ask.add(tags=("a",) if at % 2 else ("b",)) for at in range(10)]
        command = matching(c.UpdateMatching, dry_run, changes=c.Changes(state=State.FAILED))
        assert ask.get(world.engine.update_matching(command)) == 5
        failed = [] if dry_run else jobs[1::2]
        assert [job.spec for job in ask.jobs(state=State.FAILED)] == [job.spec for job in failed]

    def test_a_change_of_priority_by_filter_changes_each_job_once(self, world: World, ask: Asker) -> None:
        for at in range(7):
            ask.add(tags=("a",), priority=at)
        command = matching(c.UpdateMatching, changes=c.Changes(priority=3))
        assert ask.get(world.engine.update_matching(command)) == 7
        assert [job.spec.priority for job in ask.jobs()] == [3] * 7

    # Attempts

    def test_a_failed_job_is_retried_after_its_delay_until_no_attempts_are_left(self, world: World, ask: Asker) -> None:
        # The jitter of a delay depends on the uid; for this uid it is zero.
        ask.add(uid="00000000-0000-4000-8000-000000000179", max_attempts=2, retry_delay_seconds=10)
        job = ask.hold(worker="w")
        again = ask.update(job, State.FAILED, lease=job.standing.lease, error="first")
        assert again.state is State.QUEUED
        world.advance(9.999)
        assert ask.claim() is None
        world.advance(0.001)
        job = ask.hold()
        assert ask.update(job, State.FAILED, lease=job.standing.lease).state is State.FAILED
        first, *_ = ask.read(job).standing.notes.history
        assert (first.outcome, first.error) == ("failed", "first")

    def test_an_update_with_an_expired_lease_is_refused(self, world: World, ask: Asker) -> None:
        ask.add(timeout_seconds=5, max_attempts=2)
        job = ask.hold()
        world.advance(5)
        with pytest.raises(e.LeaseLost):
            ask.update(job, State.COMPLETE, lease=job.standing.lease)

    def test_undoing_a_claim_restores_its_job_unless_another_worker_has_claimed_the_job_since(self, ask: Asker) -> None:
        job = ask.add()
        lease = ask.hold().standing.lease
        ask.ask(c.ReturnClaims, claims=((job.spec.uid, "another"), ("none", "x")))
        assert ask.read(job).state is State.INPROGRESS
        ask.ask(c.ReturnClaims, claims=((job.spec.uid, lease),))
        back = ask.read(job)
        assert (back.state, back.standing.attempts, back.standing.notes) == (State.QUEUED, 0, job.standing.notes)

    # The wall clock

    @pytest.mark.parametrize("step", [HOUR, -HOUR])
    def test_setting_the_wall_clock_does_not_change_durations(self, world: World, ask: Asker, step: int) -> None:
        ask.add(timeout_seconds=100)
        held = ask.hold()
        world.set_wall_clock(step)
        delayed = ask.add(delay_seconds=100)
        world.advance(99.999)
        assert (ask.read(held).state, ask.peek()) == (State.INPROGRESS, None)
        world.advance(0.001)
        assert ask.read(held).state is State.FAILED
        peeked = ask.peek()
        assert peeked is not None
        assert peeked.spec.uid == delayed.spec.uid

    def test_deadlines_in_unix_seconds_follow_the_wall_clock(self, world: World, ask: Asker) -> None:
        later, gone = world.now // 1000 + HOUR, world.now // 1000 + 2 * HOUR
        job, _ = ask.add(not_before=later), ask.add(priority=-1, timeout_time=gone, not_before=gone)
        waiting = ask.claiming()
        world.set_wall_clock(HOUR)
        assert [one.job.spec.uid for one in waiting.answer.jobs] == [job.spec.uid]
        world.set_wall_clock(HOUR)
        assert len(ask.jobs()) == 1
