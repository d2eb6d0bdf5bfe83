"""A long queue that is deleted is gone at once; its memory is freed in slices."""

import errno
import os
from collections.abc import Coroutine
from typing import Any, NoReturn

import pytest

from jobengine.core.commands import AddJobs, DeleteQueue, NewJob
from jobengine.core.errors import QueueNotFound
from jobengine.core.model import Defaults, Job
from jobengine.engine.door import Full
from jobengine.engine.tables.queue_table import QueueTable
from tests.engine.engines import KEY, Desk
from tests.pending import Pending

JOBS = 20_000
#: The most jobs that one turn of the reactor may free.
SLICE = 5_000
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def desk(desk: Desk) -> Desk:
    desk.told(adding(desk, JOBS))
    return desk


def adding(desk: Desk, number: int) -> Coroutine[Any, Any, Any]:
    jobs = tuple(NewJob(content=b"{}", tags=("a",), unique_key=str(n), delay_seconds=n % 2) for n in range(number))
    return desk.engine.ask(AddJobs(queue="q", access_key=KEY, jobs=jobs, defaults=Defaults()))


def table_of(desk: Desk) -> QueueTable:
    return desk.engine.executor.tables.queues["q"]


def delete(desk: Desk) -> Pending:
    return desk.ask(desk.engine.ask(DeleteQueue(queue="q", access_key=KEY)))


def left(table: QueueTable) -> list[int]:
    indexes = [len(index) for index in table.places.values()]
    return [len(table.jobs), len(table.names.unique), len(table.deadlines), *indexes]


class _Unread(dict[str, Job]):
    """Jobs that raise an error if they are iterated."""

    def __iter__(self) -> NoReturn:
        raise AssertionError("the jobs were walked through")


def test_deleting_a_queue_without_dependants_visits_none_of_its_jobs(desk: Desk) -> None:
    table = table_of(desk)
    table.jobs = _Unread(table.jobs)
    asked = delete(desk)
    desk.settle()
    assert asked.answer is None


def test_the_memory_of_a_deleted_long_queue_is_freed_in_steps_of_some_thousand_jobs(desk: Desk) -> None:
    table, asked = table_of(desk), delete(desk)
    desk.one_turn()
    desk.thread.step()
    assert asked.answer is None
    before, turns = left(table), 0
    assert before[0] == JOBS
    while any(before):
        desk.one_turn()
        after, turns = left(table), turns + 1
        assert all(was - now <= SLICE for was, now in zip(before, after, strict=True)), (before, after)
        before = after
        assert turns < 100
    assert turns > JOBS / SLICE


def test_a_queue_of_the_same_name_can_be_created_while_the_old_queue_is_freed(desk: Desk) -> None:
    table, _ = table_of(desk), delete(desk)
    desk.one_turn()
    desk.thread.step()
    desk.one_turn()
    assert any(left(table))
    desk.create()
    desk.told(adding(desk, 3))
    assert not any(left(table))
    assert len(desk.jobs()) == 3


def test_a_queue_whose_deletion_the_full_disk_refuses_keeps_all_jobs(desk: Desk) -> None:
    desk.files.faults["write"] = [FULL] * 10
    asked = delete(desk)
    desk.settle()
    assert asked.error is Full
    assert len(desk.jobs()) == JOBS
    table = table_of(desk)
    desk.files.faults.clear()
    desk.clock.advance(1)
    desk.settle()
    assert desk.ask(desk.peeking()).error is QueueNotFound
    assert not any(left(table))
