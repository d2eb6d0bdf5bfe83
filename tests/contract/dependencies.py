"""Jobs that wait for others, and batches, on each engine: also after a restart and for waiting claims."""

from random import Random
from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.errors import BadItem, WouldWaitForItself
from jobengine.core.flow import Limits
from jobengine.core.model import Defaults, Job, State
from tests.contract.asking import KEY, MINUTE, Asker, Contract
from tests.contract.world import World
from tests.graphs import Graphs, run, uid_of

A, B, C, D = (uid_of(at) for at in range(1, 5))


def waits_for(ask: Asker, *uids: str, uid: str = C, **more: Any) -> Job:
    return ask.add(uid=uid, depends_on=tuple(("q", one) for one in uids), **more)


def set_batch(ask: Asker, name: str = "b", uid: str = D) -> c.BatchReport:
    return ask.ask(c.SetBatch, name=name, then=c.NewJob(content=b"{}", uid=uid), defaults=Defaults())


def read(ask: Asker, uid: str, queue: str = "q") -> Job:
    return ask.ask(c.ReadJob, queue, uid=uid)


def set_states(ask: Asker, *states: tuple[str, State]) -> None:
    """Set the states of several jobs in one request."""
    updates = tuple(c.JobUpdate(uid=uid, changes=c.Changes(state=state)) for uid, state in states)
    ask.ask(c.UpdateJobs, updates=updates)


def wait_for(ask: Asker, job: Job, *children: c.NewJob) -> Job:
    return ask.ask(c.WaitFor, uid=job.spec.uid, lease=job.standing.lease, jobs=children, defaults=Defaults())


def carried_out(world: World, step: Any) -> Any:
    """The answer to a step of a random graph."""
    if step is None:
        return world.reopen()
    if isinstance(step, int):
        return world.advance(step)
    question = world.engine.claim(step) if isinstance(step, c.Claims) else world.engine.ask(step)
    return Asker(world).get(question)


class DependencyContract(Contract):
    """Jobs run once those that they depend on are complete."""

    def test_a_waiting_job_is_claimed_right_after_its_last_dependency_is_complete(
        self, world: World, ask: Asker
    ) -> None:
        ask.add(uid=A)
        ask.add(uid=B)
        waits_for(ask, A, B, priority=9)
        for _ in range(2):
            ask.update(ask.hold(), State.COMPLETE)
        assert ask.hold().spec.uid == C
        world.reopen()
        assert read(ask, C).state is State.INPROGRESS

    def test_a_waiting_claim_gets_the_released_job(self, ask: Asker) -> None:
        ask.add(uid=A)
        waits_for(ask, A)
        first = ask.hold()
        claiming = ask.claiming()
        assert not claiming.answered
        ask.update(first, State.COMPLETE)
        (claimed,) = claiming.answer.jobs
        assert claimed.job.spec.uid == C

    def test_a_claim_gets_jobs_that_its_own_updates_have_released(self, ask: Asker) -> None:
        ask.add(uid=A)
        waits_for(ask, A)
        job = ask.hold()
        done = c.JobUpdate(uid=A, changes=c.Changes(state=State.COMPLETE), lease=job.standing.lease)
        claims = c.Claims(queues=("q",), access_key=KEY, updates=(c.QueueUpdate("q", done),))
        (claimed,) = ask.get(ask.world.engine.claim(claims)).jobs
        assert claimed.job.spec.uid == C

    def test_a_job_may_wait_for_a_job_of_another_queue(self, world: World, ask: Asker) -> None:
        ask.create("other")
        ask.add("other", uid=A)
        ask.add(uid=C, depends_on=(("other", A),))
        world.reopen()
        assert read(ask, C).waits
        ask.ask(c.UpdateJob, "other", uid=A, changes=c.Changes(state=State.COMPLETE))
        assert read(ask, C).ready

    def test_a_dependency_in_a_deleted_queue_counts_as_failed(self, ask: Asker) -> None:
        ask.create("other")
        ask.add("other", uid=A)
        ask.add(uid=C, depends_on=(("other", A),))
        ask.ask(c.DeleteQueue, "other")
        assert read(ask, C).state is State.FAILED

    def test_a_failed_job_fails_its_dependants_and_its_retry_makes_them_wait_again(
        self, world: World, ask: Asker
    ) -> None:
        ask.add(uid=A)
        for before, uid in ((A, B), (B, C), (C, D)):
            waits_for(ask, before, uid=uid)
        ask.update(ask.hold(), State.FAILED)
        assert [read(ask, uid).state for uid in (B, C, D)] == [State.FAILED] * 3
        world.reopen()
        ask.update(read(ask, A), State.QUEUED)
        assert [read(ask, uid).waits for uid in (B, C, D)] == [True] * 3
        for uid in (A, B, C, D):
            job = ask.hold()
            assert job.spec.uid == uid
            ask.update(job, State.COMPLETE)

    def test_deleted_and_timed_out_dependencies_count_as_failed(self, world: World, ask: Asker) -> None:
        ask.add(uid=A)
        waits_for(ask, A, uid=B)
        ask.delete(read(ask, A))
        assert read(ask, B).state is State.FAILED
        ask.add(uid=C, timeout_time=world.now // 1000 + MINUTE)
        waits_for(ask, C, uid=D)
        world.advance(MINUTE + 1)
        assert read(ask, D).state is State.FAILED

    def test_a_job_is_kept_while_others_depend_on_it(self, world: World, ask: Asker) -> None:
        ask.add(uid=A, keep_minutes=1)
        waits_for(ask, A)
        ask.update(ask.hold(), State.COMPLETE)
        world.advance(10 * MINUTE)
        assert read(ask, A).state is State.COMPLETE
        world.reopen()
        ask.update(ask.hold(), State.COMPLETE)
        world.advance(MINUTE - 2)
        assert {job.spec.uid for job in ask.jobs()} == {A, C}
        world.advance(4)
        assert {job.spec.uid for job in ask.jobs()} == {C}

    def test_a_job_that_completes_as_its_failed_dependant_is_queued_again_is_kept_for_the_dependant(
        self, world: World, ask: Asker
    ) -> None:
        ask.add(uid=A, keep_minutes=1)
        ask.add(uid=B)
        waits_for(ask, A, B)
        set_states(ask, (A, State.COMPLETE), (B, State.FAILED))
        set_states(ask, (A, State.QUEUED))
        assert read(ask, C).state is State.FAILED
        set_states(ask, (A, State.COMPLETE), (B, State.QUEUED))
        assert read(ask, C).waits
        world.advance(10 * MINUTE)
        assert read(ask, A).state is State.COMPLETE
        set_states(ask, (B, State.COMPLETE))
        ask.update(ask.hold(), State.COMPLETE)
        world.advance(MINUTE + 1)
        assert A not in {job.spec.uid for job in ask.jobs()}

    def test_a_job_waits_for_its_children(self, world: World, ask: Asker) -> None:
        ask.add(uid=C)
        children = (c.NewJob(content=b"{}", uid=A), c.NewJob(content=b"{}", uid=B, depends_on=(("q", A),)))
        wait_for(ask, ask.hold(), *children)
        world.reopen()
        for uid in (A, B):
            job = ask.hold()
            assert job.spec.uid == uid
            ask.update(job, State.COMPLETE)
        assert ask.hold().standing.attempts == 1

    def test_a_child_that_waits_for_its_parent_is_refused(self, ask: Asker) -> None:
        ask.add(uid=C)
        job = ask.hold()
        waits_for(ask, C, uid=B)
        with pytest.raises((WouldWaitForItself, BadItem)):
            wait_for(ask, job, c.NewJob(content=b"{}", depends_on=(("q", B),)))

    def test_a_job_released_by_its_dependencies_is_claimed_in_its_group(self, ask: Asker) -> None:
        ask.reconfigure(group_limits=Limits(in_progress=1))
        ask.add(uid=A, group="g")
        waits_for(ask, A, group="g")
        assert ask.ask(c.ReadGroup, group="g").state.queued == 2
        ask.update(ask.hold(), State.COMPLETE)
        assert ask.hold().spec.uid == C

    def test_all_of_many_dependants_of_a_job_are_released(self, ask: Asker) -> None:
        ask.add(uid=A)
        many = tuple(c.NewJob(content=b"{}", depends_on=(("q", A),)) for _ in range(1_500))
        ask.ask(c.AddJobs, jobs=many, defaults=Defaults(), many=True)
        ask.update(ask.hold(), State.COMPLETE)
        for _ in range(100):
            ask.world.advance(1)
            if not ask.ask(c.ReadStats).waiting:
                break
        assert ask.ask(c.ReadStats).ready == 1_500

    @pytest.mark.parametrize("seed", range(4))
    def test_random_dependency_graphs_behave_as_in_a_simple_model(self, world: World, seed: int) -> None:
        run(Graphs(Random(1_000 + seed)).life(40), lambda step: carried_out(world, step))


class BatchContract(Contract):
    """A batch releases its job once it is closed and all its jobs are finished."""

    def test_the_end_of_a_batch_releases_the_job_at_its_end_exactly_once(self, world: World, ask: Asker) -> None:
        assert set_batch(ask).new
        assert not set_batch(ask).new
        for uid in (A, B):
            ask.add(uid=uid, batch="b")
        ask.ask(c.CloseBatch, name="b")
        ask.update(ask.hold(), State.COMPLETE)
        world.reopen()
        assert read(ask, D).waits
        ask.update(ask.hold(), State.COMPLETE)
        assert ask.hold().spec.uid == D
        report = ask.ask(c.ReadBatch, name="b")
        assert (report.batch.open, report.batch.failed, report.counts.total) == (False, False, 2)
        assert report.batch.ended is not None

    def test_a_failed_batch_resumes_with_a_retry(self, world: World, ask: Asker) -> None:
        set_batch(ask)
        ask.add(uid=A, batch="b")
        ask.ask(c.CloseBatch, name="b")
        ask.update(ask.hold(), State.FAILED)
        assert read(ask, D).state is State.FAILED
        world.reopen()
        ask.update(read(ask, A), State.QUEUED)
        assert read(ask, D).waits
        ask.update(ask.hold(), State.COMPLETE)
        assert read(ask, D).ready

    def test_jobs_are_kept_until_the_batch_has_ended(self, world: World, ask: Asker) -> None:
        set_batch(ask)
        ask.add(uid=A, batch="b", keep_minutes=1)
        ask.update(ask.hold(), State.COMPLETE)
        world.advance(10 * MINUTE)
        assert read(ask, A).state is State.COMPLETE
        ask.ask(c.CloseBatch, name="b")
        world.advance(MINUTE + 1)
        world.advance(1)
        assert {job.spec.uid for job in ask.jobs()} == {D}

    def test_a_batch_is_removed_a_day_after_its_end(self, world: World, ask: Asker) -> None:
        set_batch(ask)
        ask.ask(c.CloseBatch, name="b")
        world.advance(24 * 60 * MINUTE + 1)
        world.advance(1)
        assert ask.ask(c.ListBatches, limit=10).batches == []

    def test_batches_are_listed_with_their_counts(self, ask: Asker) -> None:
        for name, uid in (("b", D), ("a", C)):
            set_batch(ask, name, uid)
        ask.add(uid=A, batch="b")
        page = ask.ask(c.ListBatches, limit=10)
        assert [(one.name, one.counts.total) for one in page.batches] == [("a", 0), ("b", 1)]
