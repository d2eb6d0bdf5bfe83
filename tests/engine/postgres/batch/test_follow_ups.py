"""Jobs change between the steps of a follow-up: no change is lost, and no job waits for ever."""

import threading
from functools import partial
from typing import Any

import psycopg
import pytest

from jobengine.core import commands as c
from jobengine.core.dependencies import OnDependencyFailure
from jobengine.core.model import Defaults, State
from jobengine.engine.postgres.batch import follow
from jobengine.engine.postgres.batch.session import Session
from tests.engine.postgres.batch import test_dependency_races as races
from tests.engine.postgres.batch.test_dependency_races import WHO, add, answer, at_once, ends, new, read, settle
from tests.postgres import Database, until_waiting

pytestmark = pytest.mark.slow
sessions = races.sessions


def test_a_job_that_starts_while_a_follow_up_reads_it_keeps_its_time_out(
    sessions: list[Session], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, other = add(sessions[0], new(), new())
    (child,) = add(sessions[0], new(parent, other))
    for state in (State.COMPLETE, State.QUEUED, State.FAILED):
        answer(sessions[0], ends(parent, state))
    # This job failed because of both. For its sake, the follow-up of `other` reads the parent, without a lock.
    add(sessions[0], new(parent, other))
    answer(sessions[0], ends(other, State.FAILED))
    settle(sessions[0], database)
    has_stopped, goes_on = races.stopped_follow_up(monkeypatch)

    def start() -> None:
        has_stopped.wait()
        answer(sessions[1], ends(parent, State.INPROGRESS))

    def go_on() -> None:
        try:
            with psycopg.connect(database.url, autocommit=True) as gate:
                # The parent has started, and its own follow-up waits for the jobs that depend on it.
                until_waiting(gate, 1)
        finally:
            goes_on.set()

    at_once(partial(answer, sessions[0], ends(other, State.QUEUED)), start, go_on)
    assert read(sessions[2], child).waits
    settle(sessions[2], database)


def test_a_job_does_not_wait_for_a_job_that_is_deleted_in_the_same_batch(
    sessions: list[Session], database: Database
) -> None:
    (parent,) = add(sessions[0], new())
    child = new(parent)
    adds = c.AddJobs(**WHO, jobs=(child,), defaults=Defaults())
    assert len(sessions[0].carry_out([adds, c.DeleteJob(**WHO, uid=parent)]).outcomes) == 2
    assert read(sessions[0], str(child.uid)).state is State.FAILED
    settle(sessions[0], database)


def test_a_job_is_released_if_its_dependency_completes_and_is_deleted_in_the_batch_that_adds_the_job(
    sessions: list[Session], database: Database
) -> None:
    (parent,) = add(sessions[0], new())
    child = new(parent)
    tasks = [c.AddJobs(**WHO, jobs=(child,), defaults=Defaults()), ends(parent), c.DeleteJob(**WHO, uid=parent)]
    while tasks:
        tasks = tasks[len(sessions[0].carry_out(tasks).outcomes) :]
    assert read(sessions[0], str(child.uid)).ready
    settle(sessions[0], database)


def without_follow_up(session: Session, task: c.Command[Any]) -> None:
    """Carry out a task as a server that loses the database after the commit: others follow up its ends."""
    session.run(lambda connection: session._carry_out(connection, [task]))


def test_a_follow_up_ignores_failed_dependencies_that_have_a_follow_up_of_their_own(
    sessions: list[Session], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, other = add(sessions[0], new(), new())
    (child,) = add(sessions[0], new(parent, other, on_dependency_failure=OnDependencyFailure.RUN))
    answer(sessions[0], ends(parent, State.FAILED))
    load_others = follow.FollowUps._load_others

    def slowly_loaded(follow_ups: follow.FollowUps) -> None:
        monkeypatch.setattr(follow.FollowUps, "_load_others", load_others)
        without_follow_up(sessions[1], ends(parent, State.QUEUED))
        load_others(follow_ups)
        answer(sessions[2], ends(parent, State.FAILED))

    monkeypatch.setattr(follow.FollowUps, "_load_others", slowly_loaded)
    answer(sessions[0], ends(other))
    settle(sessions[3], database)
    assert read(sessions[0], child).ready


def test_an_awaited_job_does_not_change_while_its_dependants_are_updated(
    sessions: list[Session], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    (parent,) = add(sessions[0], new())
    (child,) = add(sessions[0], new(parent))
    answer(sessions[0], ends(parent, State.FAILED))
    answer(sessions[0], ends(child, State.QUEUED))
    freed = follow.FollowUps._freed

    def fail_again() -> None:
        without_follow_up(sessions[1], ends(parent, State.FAILED))
        sessions[2].sweep()

    failing = threading.Thread(target=fail_again)

    def slowly_freed(follow_ups: follow.FollowUps, *stands: Any) -> Any:
        monkeypatch.setattr(follow.FollowUps, "_freed", freed)
        failing.start()
        with psycopg.connect(database.url, autocommit=True) as gate:
            # It waits for the parent, which the follow-up has locked.
            until_waiting(gate, 1)
        return freed(follow_ups, *stands)

    monkeypatch.setattr(follow.FollowUps, "_freed", slowly_freed)
    answer(sessions[0], ends(parent, State.QUEUED))
    failing.join()
    settle(sessions[3], database)
    assert read(sessions[0], child).state is State.FAILED


def test_a_job_is_released_if_its_dependency_completes_before_the_first_follow_up_has_locked_it(
    sessions: list[Session], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    (parent,) = add(sessions[0], new())
    (child,) = add(sessions[0], new(parent))
    # The parent waits to run again, and no row says any more that the child depends on it.
    for uid, state in ((child, State.COMPLETE), (parent, State.COMPLETE), (parent, State.QUEUED)):
        answer(sessions[0], ends(uid, state))
        settle(sessions[0], database)
    lock = follow.FollowUps._lock

    def lock_late(follow_ups: follow.FollowUps, *what: Any) -> None:
        monkeypatch.setattr(follow.FollowUps, "_lock", lock)
        answer(sessions[1], ends(parent))
        lock(follow_ups, *what)

    monkeypatch.setattr(follow.FollowUps, "_lock", lock_late)
    answer(sessions[0], ends(child, State.QUEUED))
    assert read(sessions[2], child).ready
    settle(sessions[2], database)
