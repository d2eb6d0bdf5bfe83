"""Loaded tables answer as tables with indexes do."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobengine.core.dead_letters import DUE
from jobengine.core.effects import QueueEffect
from jobengine.core.facts import Fact, JobAdded, JobChanged, JobRemoved, QueueChanged, QueueCreated, QueueDeleted
from jobengine.core.model import FINISHED, Job, Queue, Standing, State
from jobengine.core.required_rows import Needs, ReadyOf
from jobengine.engine.postgres.batch.begin import Now
from jobengine.engine.postgres.batch.loaded import LoadedTables
from jobengine.engine.postgres.batch.tables import LoadedTable
from jobengine.engine.tables.queue_table import QueueTable
from jobengine.engine.tables.state import Tables
from tests.core.random_facts import facts
from tests.core.worlds import MINUTE, NOW, spec_of

QUEUES = [Queue(name=name, salt="s", digest="d" * 64, created=NOW) for name in ("a", "b")]
TIMES = [NOW + minutes * MINUTE for minutes in range(9)]
QUEUED = Standing(state=State.QUEUED, updated=NOW)
TAGS = [(), ("x",), ("x", "y")]


def loaded(*tables: LoadedTable, ahead: int = 0) -> LoadedTables:
    made = LoadedTables(now=Now(0, ahead, {}), planned=(), locked=True)
    made.queues.update((table.queue.name, table) for table in tables)
    return made


def whole(tables: Tables) -> LoadedTables:
    """The contents of these tables as loaded tables."""
    queues = tables.queues.values()
    made = (LoadedTable(table.queue, tables.ahead, dict(table.jobs), table.next_arrival) for table in queues)
    return loaded(*made, ahead=tables.ahead)


def claimable(table: LoadedTable, tags: tuple[str, ...] = ()) -> list[Job]:
    table.needs = Needs(ready=ReadyOf(100, tags))
    return list(table.claim_order(tags, NOW, 100))


def ready_job(uid: str, priority: int) -> Job:
    return Job(
        spec_of(uid, priority=priority, created=NOW),
        QUEUED,
    )


def uids(table: LoadedTable) -> list[str]:
    return [job.spec.uid for job in claimable(table)]


def fits(tables: Tables, fact: Fact) -> bool:
    """Whether a fact is about an existing queue and an existing or new job."""
    match fact:
        case JobAdded(name, _):
            return name in tables.queues
        case JobChanged(name, uid) | JobRemoved(name, uid):
            return name in tables.queues and uid in tables.queues[name].jobs
        case QueueChanged(queue):
            return queue.name in tables.queues and tables.queues[queue.name].queue.salt == queue.salt
    return False


def awaited_in(tables: Tables) -> set[str]:
    """The uids of jobs on which others depend."""
    jobs = [job for table in tables.queues.values() for job in table.jobs.values()]
    found = [job.spec.rare.dependencies for job in jobs]
    return {uid for its in found if its is not None for _, uid in its.on}


def answers(table: LoadedTable | QueueTable, awaited: set[str]) -> list[Any]:
    """All that rules may read from a table, except counts."""

    def is_kept(job: Job) -> bool:
        """Whether a finished job is kept, so that only the database knows when it is due: see test_dependencies.py."""
        is_put_off = job.spec.rare.batch is not None or job.spec.uid in awaited
        return job.state in FINISHED and (is_put_off or job.standing.notes.dead_letter == DUE)

    keys = {key for job in table.jobs.values() if (key := job.spec.rare.unique_key) is not None}
    if isinstance(table, LoadedTable):
        table.needs = Needs(unique_keys=frozenset(keys))
    holders = {key: {job.spec.uid for job in table.holders(key)} for key in keys}
    due = [[job.spec.uid for job in table.due(now) if isinstance(job, Job) and not is_kept(job)] for now in TIMES]
    # The groups of a queue with flow are loaded from the database: see test_groups.py.
    ready = [
        claimable(table, tags) if isinstance(table, LoadedTable) else list(table.claim_order(tags, NOW, 100))
        for tags in (TAGS if table.queue.flow is None else ())
    ]
    return [table.queue, table.jobs, table.next_arrival, holders, due, *ready]


@settings(max_examples=200)
@given(st.lists(facts, max_size=30), st.lists(facts, max_size=10))
def test_a_loaded_table_gives_the_answers_of_an_indexed_table(before: list[Fact], more: list[Fact]) -> None:
    tables = Tables()
    tables.apply([*(QueueCreated(queue) for queue in QUEUES), *before])
    few = whole(tables)
    for fact in more:
        if fits(tables, fact):
            assert few.apply([fact]) == tables.apply([fact])
        awaited = awaited_in(tables)
        for name, table in tables.queues.items():
            assert answers(few.queues[name], awaited) == answers(table, awaited)


def test_ready_jobs_are_in_order_after_they_were_claimed_released_edited_and_added() -> None:
    table, held = LoadedTable(QUEUES[0], 0), Standing(state=State.INPROGRESS, updated=NOW)
    table.jobs.update((uid, ready_job(uid, 1)) for uid in ("1", "2", "3"))
    few = loaded(table)
    assert uids(table) == ["1", "2", "3"]
    few.apply([JobChanged("a", "1", held), JobChanged("a", "2", held)])
    assert uids(table) == ["3"]
    few.apply([JobChanged("a", "2", QUEUED), JobAdded("a", ready_job("4", 2)), JobAdded("a", ready_job("3", 0))])
    assert uids(table) == ["4", "2", "3"]
    few.apply([JobChanged("a", "4", QUEUED), JobRemoved("a", "2")])
    assert uids(table) == ["4", "3"]


def test_creating_and_deleting_a_queue_in_a_loaded_table_has_the_usual_effects() -> None:
    few = loaded()
    (made,) = few.apply([QueueCreated(QUEUES[0])])
    table = few.queues["a"]
    assert made == QueueEffect("a", None)
    assert few.apply([QueueDeleted("a")]) == [QueueEffect("a", table)]
    assert not few.queues


def test_a_change_of_a_missing_job_is_an_error() -> None:
    few = loaded(LoadedTable(QUEUES[0], 0))
    with pytest.raises(KeyError):
        few.apply([JobChanged("a", "1", Standing(state=State.COMPLETE, updated=NOW))])
