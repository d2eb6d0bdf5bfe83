"""Failed jobs move into dead-letter queues and back, on each engine, also after a restart."""

from collections.abc import Mapping
from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.dead_letters import (
    AWAITED,
    BATCH,
    DRAINING,
    FULL,
    IN_PROGRESS,
    MISSING,
    REPLACED,
    UID_TAKEN,
    WAITING,
)
from jobengine.core.errors import JobNotFound
from jobengine.core.model import Defaults, Job, State
from jobengine.core.moves import Pace
from tests.contract.asking import KEY, MINUTE, Asker, Contract
from tests.contract.events import events_of
from tests.contract.world import World
from tests.graphs import uid_of

A, B, C = (uid_of(at) for at in range(1, 4))
OTHER = "dead"


def with_dead_letters(ask: Asker, keep_minutes: int | None = 7, **more: Any) -> None:
    """Make the queue `dead` the dead-letter queue of `q`."""
    ask.create(OTHER)
    ask.reconfigure(dead_letter=(OTHER, keep_minutes), **more)


def fail(ask: Asker, **spec: Any) -> Job:
    """Add a job to `q` and let its only attempt fail; returns the job as claimed."""
    ask.add(**spec)
    job = ask.hold()
    failed = ask.update(job, State.FAILED, job.standing.lease, error="no route to host")
    assert failed.state is State.FAILED
    return job


def uids(ask: Asker, queue: str) -> list[str]:
    return [job.spec.uid for job in ask.ask(c.ListJobs, queue, limit=1000).jobs]


def stays(ask: Asker, job: Job, reason: str) -> None:
    """Check that a failed job is in `q` still, and why."""
    assert ask.read(job).standing.notes.dead_letter == reason


def move(ask: Asker, queue: str = OTHER, to: str = "q", key: bytes = KEY, **more: Any) -> c.Moved:
    wanted = {"filter": c.Filter(), **more}
    return ask.get(ask.world.engine.move_matching(c.MoveMatching(queue=queue, to=to, access_key=key, **wanted)))


class DeadLetterContract(Contract):
    """A job that fails with no attempts left moves into the dead-letter queue."""

    def test_a_failed_job_moves_with_its_fields_attempts_and_history(self, world: World, ask: Asker) -> None:
        with_dead_letters(ask)
        job = fail(ask, priority=3, tags=("a",), keep_minutes=5)
        for _ in range(2):
            with pytest.raises(JobNotFound, match="dead-letter queue"):
                ask.read(job)
            dead = ask.read(job, OTHER)
            assert (dead.state, dead.spec.priority, dead.spec.tags) == (State.FAILED, 3, ("a",))
            assert (dead.spec.content, dead.spec.created) == (job.spec.content, job.spec.created)
            assert dead.standing.notes.error == "no route to host"
            assert [one.outcome for one in dead.standing.notes.history] == ["failed"]
            origin = dead.spec.rare.moved_from
            assert origin is not None
            assert (origin.queue, dead.spec.keep.minutes, dead.spec.keep.failed_minutes) == ("q", 5, 7)
            assert ask.counts("q") == {}
            assert ask.counts(OTHER) == {State.FAILED: 1}
            world.reopen()

    def test_a_job_with_attempts_left_is_not_moved(self, ask: Asker) -> None:
        with_dead_letters(ask)
        job = ask.add(max_attempts=2)
        ask.update(ask.hold(), State.FAILED)
        assert ask.read(job).retrying
        ask.update(ask.hold(), State.FAILED)
        assert uids(ask, OTHER) == [job.spec.uid]

    def test_a_job_that_times_out_moves(self, world: World, ask: Asker) -> None:
        with_dead_letters(ask)
        job = ask.add(timeout_seconds=10)
        ask.hold()
        world.advance(10)
        assert ask.read(job, OTHER).standing.notes.error == "timed out"
        assert uids(ask, "q") == []

    def test_a_cancelled_job_is_not_moved(self, ask: Asker) -> None:
        with_dead_letters(ask)
        job = ask.add()
        ask.update(job, cancel=True)
        stays(ask, job, "")

    def test_a_moved_job_is_kept_for_the_retention_of_the_dead_letter_queue(self, world: World, ask: Asker) -> None:
        with_dead_letters(ask, keep_minutes=2)
        job = fail(ask, keep_minutes=1)
        world.advance(2 * MINUTE - 1)
        assert uids(ask, OTHER) == [job.spec.uid]
        world.advance(1)
        assert uids(ask, OTHER) == []

    def test_all_jobs_that_fail_in_one_request_are_moved(self, ask: Asker) -> None:
        with_dead_letters(ask)
        jobs = [ask.add() for _ in range(5)]
        updates = tuple(c.JobUpdate(uid=job.spec.uid, changes=c.Changes(state=State.FAILED)) for job in jobs)
        ask.ask(c.UpdateJobs, updates=updates)
        assert uids(ask, OTHER) == [job.spec.uid for job in jobs]
        assert uids(ask, "q") == []

    def test_all_jobs_that_an_update_by_filter_fails_are_moved(self, ask: Asker) -> None:
        with_dead_letters(ask)
        jobs = [ask.add() for _ in range(3)]
        failing = c.UpdateMatching(
            queue="q", access_key=KEY, filter=c.Filter(), changes=c.Changes(state=State.FAILED), limit=2
        )
        assert ask.get(ask.world.engine.update_matching(failing)) == 3
        assert uids(ask, OTHER) == [job.spec.uid for job in jobs]

    def test_a_client_that_waits_for_a_job_gets_the_failed_job_although_the_job_moves(self, ask: Asker) -> None:
        with_dead_letters(ask)
        job = ask.add()
        reading = ask.awaiting(job)
        ask.update(ask.hold(), State.FAILED, error="e")
        assert reading.answer.standing.notes.error == "e"

    # Jobs that stay

    def test_an_event_says_why_a_failed_job_was_not_moved(self, world: World, ask: Asker) -> None:
        with_dead_letters(ask)
        ask.ask(c.ChangeQueue, OTHER, max_jobs=1)
        moved = fail(ask)
        stream: Any = ask.watch()
        next_one = world.begin(anext(stream))
        job = fail(ask)
        ask.update(job, priority=1)
        ask.delete(job)
        events = [*events_of(next_one.answer)]
        while events[-1].state is not None:
            events += events_of(ask.get(anext(stream)))
        changes = [(one.before, one.state, one.not_moved) for one in events]
        assert changes[2:] == [
            (State.INPROGRESS, State.FAILED, None),
            (State.FAILED, State.FAILED, FULL),
            (State.FAILED, None, None),
        ]
        assert moved.spec.uid not in {one.uid for one in events}

    def test_the_event_of_a_failure_says_that_a_job_of_a_batch_is_not_moved(self, world: World, ask: Asker) -> None:
        with_dead_letters(ask)
        ask.ask(c.SetBatch, name="b", then=None, defaults=Defaults())
        ask.add(batch="b")
        job = ask.hold()
        next_one = world.begin(anext(ask.watch()))
        ask.update(job, State.FAILED)
        (event,) = events_of(next_one.answer)
        assert (event.before, event.state, event.not_moved) == (State.INPROGRESS, State.FAILED, BATCH)

    def test_only_one_of_two_failed_jobs_gets_the_last_free_place_in_the_dead_letter_queue(self, ask: Asker) -> None:
        with_dead_letters(ask)
        ask.ask(c.ChangeQueue, OTHER, max_jobs=1)
        jobs = [ask.add() for _ in range(2)]
        updates = tuple(c.JobUpdate(uid=job.spec.uid, changes=c.Changes(state=State.FAILED)) for job in jobs)
        ask.ask(c.UpdateJobs, updates=updates)
        assert uids(ask, OTHER) == [jobs[0].spec.uid]
        stays(ask, jobs[1], FULL)

    def test_a_failed_job_stays_in_its_queue_if_the_dead_letter_queue_is_draining(self, ask: Asker) -> None:
        with_dead_letters(ask)
        ask.ask(c.ChangeQueue, OTHER, draining=True)
        stays(ask, fail(ask), DRAINING)

    def test_a_job_whose_uid_exists_in_the_other_queue_is_not_moved(self, ask: Asker) -> None:
        with_dead_letters(ask)
        ask.add(OTHER, uid=A)
        stays(ask, fail(ask, uid=A), UID_TAKEN)
        assert ask.ask(c.ReadJob, OTHER, uid=A).state is State.QUEUED

    def test_a_job_on_which_others_depend_is_not_moved(self, world: World, ask: Asker) -> None:
        with_dead_letters(ask)
        ask.add(uid=A)
        ask.add(uid=B, depends_on=(("q", A),))
        job = ask.hold()
        ask.update(job, State.FAILED)
        stays(ask, job, AWAITED)
        assert ask.ask(c.ReadJob, uid=B).state is State.FAILED
        # Its retention begins as usual.
        world.reopen()
        world.advance(3 * 24 * 60 * MINUTE)
        assert uids(ask, "q") == []

    def test_a_job_of_a_batch_is_not_moved(self, ask: Asker) -> None:
        with_dead_letters(ask)
        ask.ask(c.SetBatch, name="b", then=None, defaults=Defaults())
        stays(ask, fail(ask, batch="b"), BATCH)

    def test_if_the_dead_letter_queue_is_deleted_jobs_stay_and_stats_show_the_loss(
        self, world: World, ask: Asker
    ) -> None:
        with_dead_letters(ask)
        ask.ask(c.DeleteQueue, OTHER)
        first, second = fail(ask), fail(ask)
        world.reopen()
        stays(ask, first, MISSING)
        stays(ask, second, MISSING)
        setting = ask.ask(c.ReadStats).queue.dead_letter
        assert setting is not None
        assert setting.missing

    def test_a_recreated_dead_letter_queue_gets_no_jobs_until_it_is_set_again(self, ask: Asker) -> None:
        with_dead_letters(ask)
        ask.ask(c.DeleteQueue, OTHER)
        ask.create(OTHER, b"stranger")
        stays(ask, fail(ask), REPLACED)
        ask.ask(c.DeleteQueue, OTHER, b"stranger")
        ask.create(OTHER)
        queue = ask.reconfigure(dead_letter=(OTHER, None))
        assert queue.dead_letter is not None
        assert (queue.dead_letter.missing, queue.dead_letter.keep_minutes) == (False, 7)
        assert uids(ask, OTHER) == []
        assert fail(ask).spec.uid in uids(ask, OTHER)

    def test_failed_jobs_of_a_queue_without_dead_letter_queue_are_not_moved(self, ask: Asker) -> None:
        with_dead_letters(ask)
        assert ask.reconfigure(dead_letter=None).dead_letter is None
        stays(ask, fail(ask), "")

    def test_jobs_that_failed_before_the_setting_stay_in_their_queue(self, ask: Asker) -> None:
        job = fail(ask)
        with_dead_letters(ask)
        ask.update(job, priority=3)
        stays(ask, job, "")

    # Setting it


class MoveContract(Contract):
    """Jobs that match a filter move, and are queued as if never tried; at a pace if one is requested."""

    def test_failed_jobs_move_back_with_their_retention_and_attempts(self, world: World, ask: Asker) -> None:
        with_dead_letters(ask)
        job = fail(ask, keep_minutes=5)
        assert move(ask) == c.Moved(matched=1, moved=1)
        world.reopen()
        back = ask.read(job)
        assert (back.state, back.standing.attempts, back.spec.keep) == (State.QUEUED, 0, job.spec.keep)
        assert len(back.standing.notes.history) == 1
        assert (back.spec.rare.moved_from and back.spec.rare.moved_from.queue) == OTHER
        assert uids(ask, OTHER) == []
        assert ask.hold().spec.uid == job.spec.uid
        ask.update(back, State.FAILED)
        assert ask.read(job, OTHER).spec.keep.failed_minutes == 7

    def test_a_move_with_a_filter_moves_only_matching_jobs_and_keeps_their_order(self, ask: Asker) -> None:
        ask.create(OTHER)
        for uid, tag in ((B, "x"), (A, "y"), (C, "x")):
            ask.add(OTHER, uid=uid, tags=(tag,))
        moved = move(ask, filter=c.Filter(tag="x"))
        assert (moved, uids(ask, "q"), uids(ask, OTHER)) == (c.Moved(matched=2, moved=2), [B, C], [A])

    def test_a_waiting_claim_gets_a_moved_job(self, ask: Asker) -> None:
        ask.create(OTHER)
        job = ask.add(OTHER)
        claiming = ask.claiming()
        move(ask)
        assert claiming.answer.jobs[0].job.spec.uid == job.spec.uid

    def test_jobs_that_can_not_move_are_counted_by_reason(self, ask: Asker) -> None:
        ask.create(OTHER)
        ask.add(OTHER, uid=B)
        assert ask.claim(OTHER) is not None
        ask.add(OTHER, uid=A)
        ask.add("q", uid=A)
        ask.add(OTHER, uid=C, depends_on=((OTHER, B),))
        assert move(ask).left == {IN_PROGRESS: 1, UID_TAKEN: 1, WAITING: 1}
        assert len(uids(ask, OTHER)) == 3

    def test_a_queue_with_a_job_limit_takes_as_many_moved_jobs_as_fit(self, ask: Asker) -> None:
        ask.create(OTHER)
        for _ in range(3):
            ask.add(OTHER)
        ask.reconfigure(max_jobs=2)
        assert move(ask) == c.Moved(matched=3, moved=2, left={FULL: 1})

    def test_many_jobs_move_in_several_steps(self, ask: Asker) -> None:
        ask.create(OTHER)
        jobs = tuple(c.NewJob(content=b"{}") for _ in range(450))
        ask.ask(c.AddJobs, OTHER, jobs=jobs, defaults=Defaults(), many=True)
        assert move(ask).moved == 450
        assert ask.counts("q") == {State.QUEUED: 450}

    def test_jobs_moved_with_per_second_become_ready_at_that_rate(self, world: World, ask: Asker) -> None:
        ask.create(OTHER)
        for _ in range(5):
            ask.add(OTHER)
        assert move(ask, pace=Pace(per_second=2)).moved == 5
        ready = _ready_over_time(world, ask, 5)
        assert ready == {0: 1, 0.5: 1, 1: 1, 1.5: 1, 2: 1}

    def test_a_pace_does_not_shorten_the_delay_of_a_queued_job(self, world: World, ask: Asker) -> None:
        ask.create(OTHER)
        delayed = ask.add(OTHER, delay_seconds=3600)
        later = ask.add(OTHER, not_before=world.now // 1000 + 7200)
        ready = ask.add(OTHER)
        assert move(ask, pace=Pace(per_second=2)).moved == 3
        world.advance(3599)
        held = ask.hold()
        assert held.spec.uid == ready.spec.uid
        ask.update(held, State.COMPLETE)
        assert ask.claim() is None
        world.advance(1)
        held = ask.hold()
        assert held.spec.uid == delayed.spec.uid
        ask.update(held, State.COMPLETE)
        world.advance(3599)
        assert ask.claim() is None
        world.advance(1)
        assert ask.hold().spec.uid == later.spec.uid

    def test_a_moved_job_still_waits_for_the_dependency_that_failed(self, world: World, ask: Asker) -> None:
        ask.create(OTHER)
        ask.add(uid=A)
        ask.add(uid=B, depends_on=(("q", A),))
        first = ask.update(ask.hold(), State.FAILED)
        assert ask.ask(c.ReadJob, uid=B).state is State.FAILED
        moved = move(ask, "q", OTHER)
        assert (moved.moved, moved.left) == (1, {AWAITED: 1})
        assert ask.ask(c.ReadJob, OTHER, uid=B).waits
        world.reopen()
        ask.update(first, State.QUEUED)
        assert ask.claim(OTHER) is None
        ask.update(ask.hold(), State.COMPLETE)
        claimed = ask.claim(OTHER)
        assert claimed is not None
        assert claimed.spec.uid == B

    @pytest.mark.parametrize("priority", [None, 3])
    def test_jobs_can_be_retried_by_filter_at_a_pace(self, world: World, ask: Asker, priority: int | None) -> None:
        for _ in range(5):
            fail(ask)
        retry = c.UpdateMatching(
            queue="q",
            access_key=KEY,
            filter=c.Filter(state=State.FAILED),
            changes=c.Changes(state=State.QUEUED, priority=priority),
            pace=Pace(per_second=2),
            limit=2,
        )
        assert ask.get(world.engine.update_matching(retry)) == 5
        assert _ready_over_time(world, ask, 5) == {0: 1, 0.5: 1, 1: 1, 1.5: 1, 2: 1}

    def test_a_dead_letter_queue_without_groups_remembers_the_group_of_a_job(self, ask: Asker) -> None:
        with_dead_letters(ask)
        job = fail(ask, group="g")
        dead = ask.read(job, OTHER)
        assert (dead.spec.rare.group, dead.spec.rare.own_group) == (None, "g")
        assert move(ask, filter=c.Filter(group="g")).moved == 1
        assert ask.read(job).spec.rare.group == "g"
        assert ask.ask(c.ReadGroup, group="g").ready == 1

    def test_a_queue_without_groups_gets_the_groups_of_moved_jobs(self, ask: Asker) -> None:
        ask.create(OTHER)
        ask.add(group="g")
        ask.add(group="h")
        assert move(ask, "q", OTHER).moved == 2
        assert ask.ask(c.ReadGroup, OTHER, group="g").ready == 1


def _ready_over_time(world: World, ask: Asker, jobs: int) -> Mapping[float, int]:
    """How many of `jobs` jobs can first be claimed after how many seconds, in steps of a quarter of a second."""
    found = dict[float, int]()
    for step in range(20):
        while ask.claim() is not None:
            found[step / 4] = found.get(step / 4, 0) + 1
        if sum(found.values()) == jobs:
            break
        world.advance(0.25)
    return found
