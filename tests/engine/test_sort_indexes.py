"""Indexes for lists by time are built in slices at first use, and dropped when they are unused."""

from collections.abc import Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from jobengine.core.commands import AddJobs, DeleteQueue, ListJobs, NewJob, Page
from jobengine.core.errors import AccessDenied, QueueNotFound
from jobengine.core.model import Defaults, State
from jobengine.core.sorting import Sort
from jobengine.engine.tables.queue_table import QueueTable
from tests.engine.engines import KEY, Desk

JOBS = 5_500
#: The most jobs that one turn of the reactor may add to an index, or free.
SLICE = 1_000
#: Seconds for which an index is kept, and a shorter time.
KEPT, NOT_YET = 300, 299


@pytest.fixture
def desk(desk: Desk) -> Desk:
    add(desk, JOBS)
    return desk


def add(desk: Desk, number: int) -> None:
    jobs = tuple(NewJob(content=b"{}", priority=n % 3) for n in range(number))
    desk.told(desk.engine.ask(AddJobs(queue="q", access_key=KEY, jobs=jobs, defaults=Defaults())))


def listing(desk: Desk, sort: Sort = Sort.CREATED, key: bytes = KEY, **more: Any) -> Coroutine[Any, Any, Page]:
    return desk.engine.ask(ListJobs(queue="q", access_key=key, sort=sort, limit=10, **more))


def table_of(desk: Desk) -> QueueTable:
    return desk.engine.executor.tables.queues["q"]


def indexed(table: QueueTable, sort: Sort = Sort.CREATED) -> int:
    """How many jobs are in the index."""
    index = table.sort_indexes.get(sort)
    return 0 if index is None else sum(map(len, index.states.values()))


def test_other_requests_are_answered_while_a_sort_index_is_built(desk: Desk) -> None:
    table, asked = table_of(desk), desk.ask(listing(desk))
    first = next(iter(table.jobs.values()))
    made = [indexed(table)]
    while not asked.answered:
        desk.one_turn()
        made.append(indexed(table))
        peeked = desk.ask(desk.peeking())
        assert peeked.answered
    assert all(0 <= now - was <= SLICE for was, now in pairwise(made))
    assert made[-1] == JOBS
    assert asked.answer.jobs[0] == first


def test_changes_while_a_sort_index_is_built_are_in_the_index(desk: Desk) -> None:
    asked = desk.ask(listing(desk, Sort.NEWEST_UPDATED))
    desk.one_turn()
    assert not asked.answered
    uids = list(table_of(desk).jobs)
    desk.clock.rightNow += 0.001
    changing = [desk.ask(desk.updating(uid, State.FAILED)) for uid in (uids[0], uids[-1])]
    desk.settle()
    assert all(one.answered for one in changing)
    assert [job.spec.uid for job in asked.answer.jobs[:2]] == [uids[-1], uids[0]]


def test_one_sort_index_serves_both_directions(desk: Desk) -> None:
    for sort in Sort:
        desk.told(listing(desk, sort))
    assert table_of(desk).sort_indexes.keys() == {Sort.CREATED, Sort.UPDATED}


def test_a_short_queue_is_sorted_without_an_index(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "db")
    desk.create()
    add(desk, 1_000)
    calls = len(desk.clock.getDelayedCalls())
    assert len(desk.told(listing(desk)).jobs) == 10
    assert not table_of(desk).sort_indexes
    assert len(desk.clock.getDelayedCalls()) == calls


def test_a_list_with_a_wrong_key_builds_no_sort_index(desk: Desk) -> None:
    asked = desk.ask(listing(desk, key=b"wrong"))
    desk.settle()
    assert asked.error is AccessDenied
    assert not table_of(desk).sort_indexes


def test_a_sort_index_unused_for_a_while_is_dropped_in_slices(desk: Desk) -> None:
    desk.told(listing(desk))
    table, index = table_of(desk), table_of(desk).sort_indexes[Sort.CREATED]
    desk.clock.advance(NOT_YET)
    desk.told(listing(desk, Sort.NEWEST_CREATED))
    desk.clock.advance(NOT_YET)
    assert indexed(table) == JOBS
    desk.clock.rightNow += KEPT - NOT_YET
    desk.one_turn()
    assert not table.sort_indexes
    left = sum(map(len, index.states.values()))
    assert left > 0, "all at once"
    desk.settle()
    assert sum(map(len, index.states.values())) == 0
    assert len(desk.told(listing(desk)).jobs) == 10, "it is made again"


def test_a_list_is_refused_if_its_queue_is_deleted_while_the_sort_index_is_built(desk: Desk) -> None:
    asked = desk.ask(listing(desk))
    desk.one_turn()
    table = table_of(desk)
    desk.told(desk.engine.ask(DeleteQueue(queue="q", access_key=KEY)))
    assert asked.error is QueueNotFound
    assert not table.sort_indexes
    desk.clock.advance(KEPT)
    desk.create()
    assert desk.told(listing(desk)).jobs == []


def test_an_engine_that_has_stopped_leaves_no_timer_behind(desk: Desk) -> None:
    desk.told(listing(desk))
    desk.stop()
    assert not [call for call in desk.clock.getDelayedCalls() if call.active()]
