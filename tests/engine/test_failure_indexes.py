"""The failure index is built in slices when failures are first read, and dropped when nobody reads them."""

from collections.abc import Coroutine
from itertools import pairwise
from typing import Any
from unittest.mock import Mock

import pytest

from jobengine.core.commands import Changes, CountFailures, ExplainJob, FailurePage, ListFailures, UpdateJob
from jobengine.core.errors import AccessDenied
from jobengine.core.failures import Alike, failure_of
from jobengine.core.fingerprints import fingerprint
from jobengine.core.model import State
from jobengine.engine.tables import failure_index
from jobengine.engine.tables.failure_index import FailureIndex
from tests.engine.engines import KEY, Desk
from tests.engine.test_sort_indexes import KEPT, NOT_YET, add, table_of

JOBS = 1_100
#: The most failures that one turn of the reactor may add to the index, or free.
SLICE = 250


@pytest.fixture
def desk(desk: Desk) -> Desk:
    add(desk, JOBS)
    for number, uid in enumerate([*table_of(desk).jobs]):
        changes = Changes(state=State.FAILED, error=f"no room {'abc'[number % 3]}")
        desk.told(desk.engine.ask(UpdateJob(queue="q", access_key=KEY, uid=uid, changes=changes)))
    return desk


def index_of(desk: Desk) -> FailureIndex:
    return table_of(desk).failing


def _indexed(index: FailureIndex) -> int:
    """How many failures are in the index."""
    return sum(len(group.entries) for group in index.groups.values())


def listing(desk: Desk, key: bytes = KEY) -> Coroutine[Any, Any, FailurePage]:
    return desk.engine.ask(ListFailures(queue="q", access_key=key, limit=10))


def test_other_requests_are_answered_while_the_failure_index_is_built(desk: Desk) -> None:
    index = index_of(desk)
    made = [_indexed(index)]
    asked = desk.ask(listing(desk))
    while not asked.answered:
        made.append(_indexed(index))
        assert desk.ask(desk.peeking()).answered
        desk.one_turn()
    made.append(_indexed(index))
    assert all(0 <= now - was <= SLICE for was, now in pairwise(made))
    assert sum(group.count for group in asked.answer.failures) == made[-1] == JOBS
    assert desk.ask(listing(desk)).answered


def test_failing_jobs_or_explaining_a_queued_job_builds_no_failure_index(desk: Desk) -> None:
    queued = desk.told(desk.adding())
    desk.told(desk.engine.ask(ExplainJob(queue="q", access_key=KEY, uid=queued.spec.uid)))
    assert not index_of(desk).is_used


@pytest.mark.parametrize(
    ("reads", "more"), [(ListFailures, {"limit": 1}), (CountFailures, {}), (ExplainJob, {"uid": None})]
)
def test_the_failure_index_is_dropped_five_minutes_after_a_read(desk: Desk, reads: Any, more: dict[str, Any]) -> None:
    more = {name: value or next(iter(table_of(desk).jobs)) for name, value in more.items()}
    desk.told(desk.engine.ask(reads(queue="q", access_key=KEY, **more)))
    desk.clock.advance(NOT_YET)
    desk.told(desk.engine.ask(reads(queue="q", access_key=KEY, **more)))
    desk.clock.advance(NOT_YET)
    assert _indexed(index_of(desk)) == JOBS
    desk.clock.advance(KEPT - NOT_YET)
    assert (index_of(desk).is_used, _indexed(index_of(desk))) == (False, 0)
    assert sum(group.count for group in desk.told(listing(desk)).failures) == JOBS


def test_no_failure_index_is_built_for_a_key_that_may_not_list_failures(desk: Desk) -> None:
    asked = desk.ask(listing(desk, b"wrong"))
    desk.settle()
    assert asked.error is AccessDenied
    assert not index_of(desk).is_used


def test_explaining_a_job_of_a_dropped_failure_group_visits_no_other_jobs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"MOST_GROUPS": 1, "_MORE_GROUPS": 0}.items():
        monkeypatch.setattr(failure_index, name, value)
    desk.told(listing(desk))
    kept = index_of(desk).groups
    job = next(job for job in table_of(desk).jobs.values() if fingerprint(job.standing.notes.error or "") not in kept)
    visits = Mock(wraps=failure_of)
    monkeypatch.setattr(failure_index, "failure_of", visits)
    explanation = desk.told(desk.engine.ask(ExplainJob(queue="q", access_key=KEY, uid=job.spec.uid)))
    assert (explanation.alike, visits.call_count) == (Alike(1, job.updated, at_least=True), 0)


def test_large_dropped_failure_groups_are_freed_when_failures_are_next_read(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.told(listing(desk))
    entries = [group.entries for group in index_of(desk).groups.values()]
    for name, value in {"MOST_GROUPS": 1, "_MORE_GROUPS": 0}.items():
        monkeypatch.setattr(failure_index, name, value)
    job = desk.told(desk.adding())
    changes = Changes(state=State.FAILED, error="another")
    desk.told(desk.engine.ask(UpdateJob(queue="q", access_key=KEY, uid=job.spec.uid, changes=changes)))
    # All groups are dropped except the group to be listed; then the new failure begins a group.
    assert len(index_of(desk).groups) == 2
    assert fingerprint("another") in index_of(desk).groups
    assert sum(map(len, entries)) == JOBS
    desk.told(listing(desk))
    desk.settle()
    assert sum(map(len, entries)) == _indexed(index_of(desk)) - 1
