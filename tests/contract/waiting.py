"""The contract of engines about waiting for jobs and for the end of a job."""

import pytest

from jobengine.core import commands as c
from jobengine.core import errors as e
from jobengine.core.claimers import Origin
from jobengine.core.model import Job, Role, State
from tests.contract.asking import KEY, Asker, Contract
from tests.contract.world import World
from tests.pending import Pending


def given(pending: Pending) -> list[str]:
    return [one.job.spec.uid for one in pending.answer.jobs]


def uid_of(job: Job) -> str:
    return job.spec.uid


class WaitingContract(Contract):
    """Waiting claims, peeks and reads, and their cancellation."""

    # Claims

    def test_the_first_waiter_is_served_first(self, ask: Asker) -> None:
        waiting = [ask.claiming() for _ in range(3)]
        jobs = [ask.add(), ask.add()]
        assert [given(one) for one in waiting[:2]] == [[uid_of(job)] for job in jobs]
        assert not waiting[2].answered

    def test_a_waiter_gets_only_jobs_with_its_tags_and_does_not_delay_others(self, ask: Asker) -> None:
        both, gpu, any_one = ask.claiming(tags=("gpu", "eu")), ask.claiming(tags=("gpu",)), ask.claiming()
        first, second, third = ask.add(tags=("cpu",)), ask.add(tags=("gpu",)), ask.add(tags=("eu", "x", "gpu"))
        assert [given(one) for one in (any_one, gpu, both)] == [[uid_of(job)] for job in (first, second, third)]

    def test_a_waiter_may_wait_for_several_queues_and_take_several_jobs(self, ask: Asker) -> None:
        ask.create("other")
        waiting = ask.claiming("other", "q", count=2)
        job = ask.add()
        assert [(one.queue, one.job.spec.uid) for one in waiting.answer.jobs] == [("q", uid_of(job))]

    def test_a_waiter_gets_no_job_after_its_wait_has_ended(self, world: World, ask: Asker) -> None:
        waiting = ask.claiming(wait=5)
        world.advance(4.999)
        assert not waiting.answered
        world.advance(0.001)
        assert given(waiting) == []
        ask.add()
        assert ask.counts() == {State.QUEUED: 1}

    def test_a_job_whose_delay_ends_goes_to_a_waiter(self, world: World, ask: Asker) -> None:
        job = ask.add(delay_seconds=7)
        waiting = ask.claiming()
        world.advance(6.999)
        assert not waiting.answered
        world.advance(0.001)
        assert given(waiting) == [uid_of(job)]

    def test_a_job_whose_lease_expires_goes_to_a_waiter(self, world: World, ask: Asker) -> None:
        job = ask.add(timeout_seconds=5, max_attempts=2)
        ask.hold()
        waiting = ask.claiming()
        world.advance(5)
        assert given(waiting) == [uid_of(job)]

    def test_a_job_goes_to_the_next_waiter_if_the_first_has_left(self, ask: Asker) -> None:
        first, second = ask.claiming(), ask.claiming()
        first.cancel()
        job = ask.add()
        assert given(second) == [uid_of(job)]
        assert ask.read(job).standing.attempts == 1

    def test_a_claimed_job_is_released_if_its_client_disconnects_before_the_answer(
        self, world: World, ask: Asker
    ) -> None:
        job = ask.add()
        asked = world.begin(world.engine.claim(c.Claims(queues=("q",), access_key=KEY)), settle=False)
        assert not asked.answered
        asked.cancel()
        back = ask.read(job)
        assert (back.state, back.standing.attempts, back.standing.lease) == (State.QUEUED, 0, None)
        assert ask.peek() == back

    def test_pausing_a_queue_stops_claims_and_resuming_it_serves_waiters(self, ask: Asker) -> None:
        ask.reconfigure(paused=True)
        waiting = [ask.claiming(), ask.claiming()]
        jobs = [ask.add(), ask.add()]
        assert not any(one.answered for one in waiting)
        ask.reconfigure(paused=False)
        assert [given(one) for one in waiting] == [[uid_of(job)] for job in jobs]

    def test_a_waiter_gets_an_error_when_its_queue_is_deleted_or_its_key_revoked(self, ask: Asker) -> None:
        key_id = ask.add_key(Role.WORKER, b"w")
        owner, worker = ask.claiming(), ask.claiming(key=b"w")
        ask.ask(c.RevokeKey, key_id=key_id)
        with pytest.raises(e.AccessDenied):
            assert worker.answer
        assert not owner.answered
        ask.ask(c.DeleteQueue)
        with pytest.raises(e.QueueNotFound):
            assert owner.answer

    @pytest.mark.parametrize("queues", [("q",), ("other", "q")])
    def test_a_waiter_with_an_expired_old_key_is_refused_and_other_waiters_are_served(
        self, world: World, ask: Asker, queues: tuple[str, ...]
    ) -> None:
        ask.create("other")
        ask.reconfigure(new_access_key=b"new", old_key_seconds=10)
        old, new = ask.claiming(*queues), ask.claiming(key=b"new")
        delayed = ask.add(key=b"new", delay_seconds=20)
        world.advance(20)
        assert given(new) == [uid_of(delayed)]
        with pytest.raises(e.AccessDenied):
            assert old.answer

    def test_a_stopping_engine_answers_all_present_and_later_waiters_at_once(self, world: World, ask: Asker) -> None:
        job = ask.add(delay_seconds=60)
        waiting = [ask.claiming(), ask.peeking(), ask.awaiting(job)]
        world.engine.release()
        waiting += [ask.claiming(), ask.peeking(), ask.awaiting(job)]
        world.settle()
        assert [given(one) for one in waiting[::3]] == [[], []]
        assert [one.answer for one in waiting[1::3]] == [None, None]
        assert [one.answer.state for one in waiting[2::3]] == [State.QUEUED, State.QUEUED]

    # Lists of waiting claims

    def test_waiting_claims_are_listed_and_counted_but_waiting_peeks_are_not(self, ask: Asker) -> None:
        ask.create("other")
        peek, first, second = ask.peeking(), ask.claiming("other", "q", worker="w"), ask.claiming()
        claimers = ask.ask(c.ListClaimers)
        assert [(one.worker, one.queues) for one in claimers.waiting] == [("w", ("other", "q")), (None, ("q",))]
        assert ask.ask(c.ReadStats).workers_waiting == 2
        assert [one.worker for one in ask.ask(c.ListClaimers, "other").waiting] == ["w"]
        ask.add("other")
        assert first.answered
        second.cancel()
        assert ask.ask(c.ListClaimers).waiting == []
        assert (ask.ask(c.ReadStats).workers_waiting, peek.answered) == (0, False)

    def test_consecutive_claims_without_a_job_are_shown_as_one_wait(self, world: World, ask: Asker) -> None:
        began = world.now
        for gap in (9, 11, 0):
            ask.claiming(worker="w", wait=20)
            world.advance(20)
            world.advance(gap)
        ask.claiming(worker="w")
        (waiting,) = ask.ask(c.ListClaimers).waiting
        # A claim more than 11 seconds later starts a new wait.
        assert (waiting.since, waiting.last_claim) == (began + 60_000, began + 80_000)

    def test_a_worker_that_got_a_job_starts_a_new_wait_at_its_next_claim(self, world: World, ask: Asker) -> None:
        claimed = ask.claiming(worker="w")
        world.advance(5)
        ask.add()
        assert claimed.answered
        ask.claiming(worker="w")
        (waiting,) = ask.ask(c.ListClaimers).waiting
        assert waiting.since == world.now

    def test_the_time_of_the_last_claim_includes_claims_without_a_job(self, world: World, ask: Asker) -> None:
        assert ask.ask(c.ReadStats).last_claim is None
        ask.claim()
        claimed = world.now
        world.advance(5)
        ask.peek()
        assert ask.ask(c.ReadStats).last_claim == claimed
        ask.ask(c.DeleteQueue)
        ask.create()
        assert ask.ask(c.ReadStats).last_claim is None

    def test_explain_detects_that_no_claim_waits_and_none_came_within_ten_seconds(
        self, world: World, ask: Asker
    ) -> None:
        uid = uid_of(ask.add(tags=("t",)))
        found = [ask.ask(c.ExplainJob, uid=uid).lacks_claims]
        ask.claim(tags=("other",))
        for seconds in (0, 10, 1):
            world.advance(seconds)
            found.append(ask.ask(c.ExplainJob, uid=uid).lacks_claims)
        ask.claiming(tags=("other",))
        found.append(ask.ask(c.ExplainJob, uid=uid).lacks_claims)
        assert found == [True, False, False, True, False]

    def test_explain_has_the_tags_of_waiting_claims_if_none_of_them_takes_the_job(self, ask: Asker) -> None:
        uids = [uid_of(ask.add(tags=tags)) for tags in (("gpu",), (), ("fast", "gpu"))]
        found = [ask.ask(c.ExplainJob, uid=uids[0]).other_tags]
        for tags in ("cpu",), ("fast", "red"):
            ask.claiming(tags=tags)
            found += [ask.ask(c.ExplainJob, uid=uid).other_tags for uid in uids]
        assert [sorted(tags) for tags in found] == [[], *3 * [[("cpu",)]], *3 * [[("cpu",), ("fast", "red")]]]
        assert sorted(claim.tags for claim in ask.ask(c.ListClaimers).waiting) == [("cpu",), ("fast", "red")]
        ask.reconfigure(paused=True)
        assert ask.ask(c.ExplainJob, uid=uids[0]).other_tags == ()

    def test_claim_times_are_shown_as_wall_clock_times(self, world: World, ask: Asker) -> None:
        ask.claiming()
        before = world.now
        world.set_wall_clock(3_600)
        ask.add(tags=("other",))
        shown = ask.ask(c.ReadStats).last_claim
        assert shown == before + 3_600_000

    def test_a_refused_claim_is_not_recorded(self, ask: Asker) -> None:
        with pytest.raises(e.AccessDenied):
            ask.claim(key=b"wrong", worker="w", origin=Origin(host="h"))
        assert ask.ask(c.ReadStats).last_claim is None
        claimers = ask.ask(c.ListClaimers)
        assert (list(claimers.waiting), claimers.origins) == ([], {})

    # Peeks

    def test_a_peek_waits_in_line_with_claims_and_changes_nothing(self, ask: Asker) -> None:
        first, claimer, behind = ask.peeking(), ask.claiming(), ask.peeking()
        job = ask.add()
        assert first.answer == job
        assert given(claimer) == [uid_of(job)]
        assert not behind.answered
        behind.cancel()

    def test_a_peek_waits_exactly_as_long_as_requested(self, world: World, ask: Asker) -> None:
        waiting = ask.peeking(wait=2)
        world.advance(1.999)
        assert not waiting.answered
        world.advance(0.001)
        assert waiting.answer is None

    # Ends of jobs

    def test_a_waiter_for_a_job_is_woken_when_the_job_is_finished(self, ask: Asker) -> None:
        job = ask.add(max_attempts=2)
        waiting = ask.awaiting(job)
        ask.update(ask.hold(), State.FAILED)
        assert not waiting.answered
        ask.update(job, State.COMPLETE, result=b"7")
        assert (waiting.answer.state, waiting.answer.standing.notes.result) == (State.COMPLETE, b"7")

    def test_waiting_for_a_finished_job_returns_at_once(self, ask: Asker) -> None:
        job = ask.add()
        ask.update(job, State.FAILED)
        assert ask.awaiting(job).answer.state is State.FAILED

    def test_a_waiter_gets_the_final_state_of_a_job_that_is_removed_when_finished(self, ask: Asker) -> None:
        job = ask.add(keep_minutes=0)
        waiting = ask.awaiting(job)
        ask.update(job, State.COMPLETE)
        assert waiting.answer.state is State.COMPLETE

    def test_a_waiter_for_a_jobs_end_gets_its_present_state_when_the_wait_is_over(
        self, world: World, ask: Asker
    ) -> None:
        waiting = ask.awaiting(ask.add(), wait=5)
        world.advance(5)
        assert waiting.answer.state is State.QUEUED

    def test_a_waiter_for_a_job_is_woken_when_the_job_is_deleted(self, ask: Asker) -> None:
        job, other = ask.add(), ask.add()
        waiting, gone = [ask.awaiting(job), ask.awaiting(other)], ask.awaiting(job)
        gone.cancel()
        ask.delete(job)
        with pytest.raises(e.JobNotFound):
            assert waiting[0].answer
        ask.ask(c.DeleteQueue)
        with pytest.raises(e.QueueNotFound):
            assert waiting[1].answer

    # Finish and claim

    def test_a_request_with_updates_and_a_claim_makes_the_updates_first(self, world: World, ask: Asker) -> None:
        first, second = ask.add(), ask.add()
        job = ask.hold()
        done = c.JobUpdate(uid=job.spec.uid, lease=job.standing.lease, changes=c.Changes(state=State.COMPLETE))
        missing = c.JobUpdate(uid="none", changes=c.Changes(state=State.COMPLETE))
        updates = (c.QueueUpdate("q", done), c.QueueUpdate("q", missing))
        answer = ask.claiming(updates=updates).answer
        assert (answer.results[0].spec, answer.results[0].state) == (first.spec, State.COMPLETE)
        assert isinstance(answer.results[1], e.JobNotFound)
        assert [one.job.spec for one in answer.jobs] == [second.spec]
        assert ask.counts() == {State.COMPLETE: 1, State.INPROGRESS: 1}

    def test_a_claim_with_updates_does_not_wait(self, ask: Asker) -> None:
        job = ask.add()
        update = c.JobUpdate(uid=job.spec.uid, changes=c.Changes(state=State.COMPLETE))
        assert given(ask.claiming(updates=(c.QueueUpdate("q", update),))) == []
