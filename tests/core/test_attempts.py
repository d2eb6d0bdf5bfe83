"""Attempts: retries and their delays, history, cancelling, and how each change of state counts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobengine.core.commands import ReturnClaims
from jobengine.core.model import DAY, HISTORY_LENGTH, Attempt, Job, State
from jobengine.core.transitions import retry_delay
from tests.core.worlds import KEY, NOW, World, picture


def fail(world: World, **more: Any) -> Job:
    """Claim the job and let it fail; returns it afterwards."""
    job = world.hold(worker="w")
    return world.update(job.spec.uid, State.FAILED, lease=job.standing.lease, **more)


def outcomes(job: Job) -> list[str]:
    return [attempt.outcome for attempt in job.standing.notes.history]


# Retries


def test_by_default_a_failure_is_final(world: World) -> None:
    world.add()
    assert fail(world).state is State.FAILED
    world.add()
    world.hold()
    world.now += 600_000
    assert {job.state for job in world.list()} == {State.FAILED}


def test_a_job_fails_with_the_last_attempt_that_max_attempts_allows(world: World) -> None:
    world.add(max_attempts=3)
    assert [fail(world).state for _ in range(3)] == [State.QUEUED, State.QUEUED, State.FAILED]
    (job,) = world.list()
    assert (job.standing.attempts, outcomes(job)) == (3, ["failed"] * 3)
    assert world.claim() is None


def test_a_timed_out_attempt_is_retried_like_a_failed_one(world: World) -> None:
    uid = world.add(max_attempts=2, timeout_seconds=5).spec.uid
    world.hold(worker="w")
    world.now += 5_000
    job = world.read(uid)
    assert (job.state, job.standing.lease, job.standing.worker, job.updated) == (State.QUEUED, None, None, world.now)
    attempt = Attempt(
        worker="w",
        started=NOW,
        ended=world.now,
        outcome="timeout",
        error="timed out",
    )
    assert job.standing.notes.history == (attempt,)


def test_retry_false_makes_a_failure_final(world: World) -> None:
    world.add(max_attempts=3)
    assert fail(world, retry=False).state is State.FAILED


def test_failing_a_job_that_is_not_in_progress_does_not_retry_it(world: World) -> None:
    job = world.add(max_attempts=3)
    failed = world.update(job.spec.uid, State.FAILED)
    assert (failed.state, outcomes(failed)) == (State.FAILED, [])


def test_the_delay_doubles_at_each_attempt(world: World) -> None:
    uid = world.add(max_attempts=5, retry_delay_seconds=10).spec.uid
    for seconds in (10, 20, 40, 80):
        ready_at = fail(world).standing.ready_at
        assert abs(ready_at - world.now - seconds * 1000) <= seconds * 100
        world.now = ready_at - 1
        assert world.claim() is None
        world.now += 1
        assert world.read(uid).ready
    assert fail(world).state is State.FAILED


def test_a_delay_requested_by_the_worker_replaces_the_computed_delay(world: World) -> None:
    world.add(max_attempts=3, retry_delay_seconds=10)
    assert fail(world, delay_seconds=7).standing.ready_at == world.now + 7_000
    world.now += 7_000
    assert fail(world, delay_seconds=0).ready


@given(st.integers(0, 1 << 63), st.integers(1, 1 << 63), st.uuids(version=4).map(str))
def test_a_retry_delay_doubles_at_each_attempt_within_ten_percent_and_never_exceeds_a_day(
    seconds: int, attempts: int, uid: str
) -> None:
    world = World()
    world.create()
    spec = world.add(retry_delay_seconds=seconds, uid=uid).spec
    doubled = min(seconds * 1000 * 2 ** min(attempts - 1, 64), DAY)
    delay = retry_delay(spec, attempts)
    assert doubled * 0.9 - 1 <= delay <= min(doubled * 1.1, DAY)
    assert delay == retry_delay(spec, attempts)


@pytest.mark.parametrize("seconds", [10, 86_400])
def test_jobs_that_fail_together_get_different_delays(world: World, seconds: int) -> None:
    specs = [world.add(retry_delay_seconds=seconds).spec for _ in range(200)]
    for attempt in (1, 2):
        delays = [retry_delay(spec, attempt) for spec in specs]
        longest = min(seconds * 1000 * 2 ** (attempt - 1) * 1.1, DAY)
        assert len(set(delays)) > 150
        assert max(delays) - min(delays) > 0.08 * longest


def test_a_retried_job_keeps_its_position_in_execution_order(world: World) -> None:
    first, second = world.add(max_attempts=2), world.add()
    fail(world)
    assert [world.hold().spec.uid, world.hold().spec.uid] == [first.spec.uid, second.spec.uid]


# History


def test_the_history_keeps_the_last_attempts(world: World) -> None:
    uid = world.add(max_attempts=100).spec.uid
    for number in range(HISTORY_LENGTH + 5):
        fail(world, error=str(number))
    job = world.read(uid)
    errors = [attempt.error for attempt in job.standing.notes.history]
    assert errors == [str(number) for number in range(5, HISTORY_LENGTH + 5)]
    assert job.standing.attempts == HISTORY_LENGTH + 5


def test_the_history_has_one_entry_for_each_ended_attempt(world: World) -> None:
    uid = world.add(max_attempts=2, timeout_seconds=5).spec.uid
    fail(world, error="e")
    world.hold()
    world.update(uid, State.QUEUED)
    world.hold()
    world.now += 5_000
    world.update(uid, State.QUEUED)
    world.hold(worker="w")
    world.now += 1
    done = world.update(uid, State.COMPLETE)
    assert outcomes(done) == ["failed", "released", "timeout", "complete"]
    assert done.standing.notes.history[-1] == Attempt(
        worker="w", started=world.now - 1, ended=world.now, outcome="complete"
    )
    for state in (State.COMPLETE, State.FAILED, State.COMPLETE, State.QUEUED):
        assert outcomes(world.update(uid, state)) == outcomes(done)


def test_a_complete_job_shows_no_error_of_earlier_attempts(world: World) -> None:
    uid = world.add(max_attempts=2).spec.uid
    fail(world, error="no room")
    assert world.read(uid).standing.notes.error == "no room"
    world.hold()
    assert world.update(uid, State.COMPLETE).standing.notes.error is None


def test_consecutive_releases_become_one_history_entry_with_the_first_start_and_the_last_end(world: World) -> None:
    uid = world.add(max_attempts=3).spec.uid
    fail(world, error="e")
    started = world.now
    for number in range(HISTORY_LENGTH + 5):
        job = world.hold(worker=f"w{number}")
        world.now += 10
        world.update(uid, State.QUEUED, lease=job.standing.lease)
    failure, releases = world.read(uid).standing.notes.history
    assert failure.error == "e"
    times = HISTORY_LENGTH + 5
    assert releases == Attempt(
        worker=f"w{times - 1}", started=started, ended=world.now, outcome="released", times=times
    )
    fail(world)
    world.hold()
    released = world.update(uid, State.QUEUED)
    assert [(one.outcome, one.times) for one in released.standing.notes.history] == [
        ("failed", 1),
        ("released", times),
        ("failed", 1),
        ("released", 1),
    ]


@pytest.mark.parametrize(("has_lease", "attempts"), [(True, 0), (False, 1)])
def test_only_a_release_with_the_lease_gives_the_attempt_back(world: World, has_lease: bool, attempts: int) -> None:
    uid = world.add(max_attempts=2).spec.uid
    lease = world.hold().standing.lease
    assert world.update(uid, State.QUEUED, lease=lease if has_lease else None).standing.attempts == attempts


# Retrying


def test_a_job_is_retrying_while_it_is_queued_again_after_a_failed_attempt(world: World) -> None:
    uid = world.add(max_attempts=3, timeout_seconds=5).spec.uid
    assert not world.read(uid).retrying
    assert fail(world).retrying
    assert not world.hold().retrying
    world.now += 5_000
    assert world.read(uid).retrying
    assert not fail(world).retrying


@pytest.mark.parametrize("failed", [True, False])
def test_a_release_does_not_change_whether_a_job_counts_as_retrying(world: World, failed: bool) -> None:
    uid = world.add(max_attempts=3).spec.uid
    if failed:
        fail(world)
    for lease in (True, False, True):
        job = world.hold()
        released = world.update(uid, State.QUEUED, lease=job.standing.lease if lease else None)
        assert released.retrying == failed
    job = world.hold()
    world.ask(ReturnClaims(queue="q", access_key=KEY, claims=((uid, job.standing.lease or ""),)))
    assert world.read(uid).retrying == failed


@pytest.mark.parametrize("state", [State.COMPLETE, State.FAILED])
def test_a_finished_job_that_is_queued_again_has_no_attempts_and_is_not_retrying(world: World, state: State) -> None:
    uid = world.add(max_attempts=3).spec.uid
    fail(world)
    world.update(uid, state)
    assert not world.update(uid, State.QUEUED).retrying
    world.hold()
    assert not world.update(uid, State.QUEUED).retrying


@pytest.mark.parametrize("target", [State.QUEUED, State.INPROGRESS])
@pytest.mark.parametrize("state", [State.COMPLETE, State.FAILED])
def test_a_finished_job_that_is_queued_again_loses_its_old_result(world: World, state: State, target: State) -> None:
    uid = world.add().spec.uid
    world.hold()
    world.update(uid, State.COMPLETE, result=b"[1]", progress=100, error="slow")
    kept = world.update(uid, state, error="slow").standing.notes
    assert (kept.result, kept.progress, kept.error) == (b"[1]", 100, "slow")
    notes = world.update(uid, target).standing.notes
    assert (notes.result, notes.progress, notes.error) == (None, None, "slow")
    assert notes.history == kept.history != ()
    world.update(uid, state, result=b"[2]")
    assert world.update(uid, target, result=b"[3]").standing.notes.result == b"[3]"
    released = world.update(uid, State.INPROGRESS, progress=7)
    assert world.update(uid, State.QUEUED).standing.notes.result == released.standing.notes.result == b"[3]"


# Moves


@pytest.mark.parametrize("target", State)
@pytest.mark.parametrize("source", State)
def test_every_transition_sets_the_right_number_of_attempts(world: World, source: State, target: State) -> None:
    uid = world.add(max_attempts=9).spec.uid
    world.hold()
    if source is not State.INPROGRESS:
        world.update(uid, source, retry=False)
    moved = world.update(uid, target, retry=False)
    finished = source in (State.COMPLETE, State.FAILED)
    begun_anew, taken = finished and target is State.QUEUED, target is State.INPROGRESS
    assert moved.standing.attempts == (0 if begun_anew else 1 + (taken and source is not State.INPROGRESS))
    assert (moved.state, moved.standing.ready_at) == (target, 0)
    assert (moved.standing.lease is None) == (source is State.QUEUED or target is State.QUEUED or (finished and taken))
    assert picture(world.tables)


def test_an_update_without_a_state_is_stored_and_changes_no_deadline(world: World) -> None:
    uid = world.add().spec.uid
    held = world.hold()
    world.now += 10
    changed = world.update(uid, progress=40, result=b"[1]", error="slow", tags=("t",), priority=4, content=b'{"n":1}')
    assert (changed.state, changed.standing.lease) == (State.INPROGRESS, held.standing.lease)
    notes = changed.standing.notes
    assert (notes.progress, notes.result, notes.error) == (40, b"[1]", "slow")
    assert (changed.spec.tags, changed.spec.priority, changed.spec.content) == (("t",), 4, b'{"n":1}')
    assert (changed.spec.arrival, changed.spec.created, changed.updated) == (0, NOW, NOW + 10)
    assert world.read(uid) == changed
    assert picture(world.tables)


def test_a_new_priority_moves_the_job_in_execution_order(world: World) -> None:
    first, second = world.add(), world.add()
    world.update(second.spec.uid, priority=1)
    assert [job.spec.uid for job in world.list()] == [second.spec.uid, first.spec.uid]
    assert world.hold().spec.uid == second.spec.uid


def test_a_queued_job_can_be_delayed_and_made_ready_again(world: World) -> None:
    uid = world.add().spec.uid
    assert world.update(uid, delay_seconds=30).standing.ready_at == NOW + 30_000
    assert world.peek() is None
    assert world.update(uid, delay_seconds=0).ready
    world.hold()
    assert world.update(uid, State.QUEUED, delay_seconds=5).standing.ready_at == NOW + 5_000


@pytest.mark.parametrize("more", [{"delay_seconds": 5}, {"not_before": NOW // 1000 + 5}])
def test_a_delayed_job_becomes_ready_at_the_exact_time_without_an_update(world: World, more: dict[str, Any]) -> None:
    uid = world.add(timeout_time=NOW // 1000 + 60, **more).spec.uid
    world.now += 4_999
    assert world.claim() is None
    world.now += 1
    job = world.read(uid)
    assert (job.ready, job.updated) == (True, NOW)
    assert world.hold().spec.uid == uid


def test_a_delayed_job_that_expires_before_it_is_ready_is_removed_on_time(world: World) -> None:
    world.add(delay_seconds=60, timeout_time=NOW // 1000 + 5)
    world.now += 5_000
    assert world.list() == []


# Cancelling


def test_cancelling_a_queued_job_fails_it(world: World) -> None:
    uid = world.add(max_attempts=3, delay_seconds=9).spec.uid
    job = world.update(uid, cancel=True)
    assert (job.state, job.standing.notes.error, job.standing.ready_at) == (State.FAILED, "cancelled", 0)
    assert job.cancelled


def test_cancelling_a_job_in_progress_marks_it_without_extending_its_lease(world: World) -> None:
    uid = world.add(timeout_seconds=10, max_attempts=3).spec.uid
    held = world.hold()
    for _ in range(3):
        world.now += 3_000
        marked = world.update(uid, cancel=True)
        assert (marked.state, marked.standing.notes.cancel_requested) == (State.INPROGRESS, True)
        assert marked.lease_expires == held.lease_expires
    told = world.update(uid, State.INPROGRESS, lease=held.standing.lease)
    assert told.standing.notes.cancel_requested
    assert told.lease_expires == world.now + 10_000


@pytest.mark.parametrize("how", ["failed", "released", "timeout"])
def test_a_job_with_a_cancel_request_is_not_retried(world: World, how: str) -> None:
    uid = world.add(timeout_seconds=10, max_attempts=3).spec.uid
    world.hold()
    world.update(uid, cancel=True)
    if how == "timeout":
        world.now += 10_000
    else:
        world.update(uid, State.FAILED if how == "failed" else State.QUEUED)
    job = world.read(uid)
    assert (job.state, job.standing.notes.cancel_requested, outcomes(job)) == (State.FAILED, False, [how])
    assert job.cancelled
    again = world.update(uid, State.QUEUED)
    assert (again.standing.attempts, outcomes(again)) == (0, [how])
    assert not again.cancelled
    assert not again.retrying


def test_a_job_that_completes_after_a_cancel_request_is_complete(world: World) -> None:
    uid = world.add().spec.uid
    world.hold()
    world.update(uid, cancel=True)
    assert not world.update(uid, State.COMPLETE).cancelled


@pytest.mark.parametrize("state", [State.QUEUED, State.INPROGRESS, State.COMPLETE])
def test_a_new_state_clears_the_cancelled_mark_of_a_job(world: World, state: State) -> None:
    uid = world.add(max_attempts=2).spec.uid
    fail(world)
    assert not world.read(uid).cancelled
    assert world.update(uid, cancel=True).cancelled
    assert world.update(uid, State.FAILED).cancelled
    assert not world.update(uid, state).cancelled
    failed = world.update(uid, State.FAILED, retry=False)
    assert not failed.cancelled
    assert not failed.retrying


def test_a_job_that_its_worker_fails_is_not_marked_as_cancelled(world: World) -> None:
    world.add()
    assert not fail(world, error="cancelled").cancelled


@pytest.mark.parametrize("state", [State.COMPLETE, State.FAILED])
def test_cancelling_a_finished_job_changes_nothing(world: World, state: State) -> None:
    uid = world.add().spec.uid
    before = world.update(uid, state)
    world.now += 5
    assert world.update(uid, cancel=True) == before
