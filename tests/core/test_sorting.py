"""Lists by time are right without an index, with a complete index, and while an index is built."""

from collections.abc import Callable
from random import Random
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from jobengine.core.commands import Changes, Filter, ListJobs, NewJob, UpdateJob
from jobengine.core.facts import Fact
from jobengine.core.model import Position, State
from jobengine.core.sorting import Sort, position
from jobengine.engine.gradual_free import dismantle
from jobengine.engine.tables import sorted_list as sorted_blocks
from jobengine.engine.tables.queue_table import QueueTable
from jobengine.engine.tables.sorted_list import SortedList
from jobengine.engine.tables.state import Tables
from tests.core.random_facts import facts
from tests.core.worlds import KEY, World, picture

SORTS = st.sampled_from(Sort)
#: Steps, each with some facts to apply, a sort order, and how many more jobs to put into its index.
STEPS = st.lists(st.tuples(st.lists(facts, max_size=5), SORTS, st.integers(0, 3)), max_size=12)


def sort_some(tables: Tables, sort: Sort, most: int) -> None:
    for table in tables.queues.values():
        if most:
            table.sort_some(sort, most)


def make_whole(table: QueueTable, sort: Sort) -> None:
    while not table.sort_some(sort, 7):
        pass


def sorted_anew(table: QueueTable, sort: Sort, state: State | None) -> list[Position]:
    jobs = [job for job in table.jobs.values() if state is None or job.state is state]
    return sorted((position(job, sort) for job in jobs), reverse=sort.is_descending)


def walked(table: QueueTable, sort: Sort, state: State | None, limit: int) -> list[Position]:
    """The positions of the jobs on all pages."""
    seen: list[Position] = []
    after = None
    while True:
        jobs, after = table.page(after, limit, state, sort)
        assert len(jobs) <= limit
        seen += [position(job, sort) for job in jobs]
        if after is None:
            return seen
        assert after == seen[-1]


@pytest.mark.slow
@given(STEPS)
@settings(deadline=None)
def test_a_half_built_index_stays_correct_while_jobs_change(steps: list[tuple[list[Fact], Sort, int]]) -> None:
    tables = Tables()
    for some, sort, most in steps:
        tables.apply(some)
        sort_some(tables, sort, most)
        picture(tables)


def test_changing_the_last_job_of_a_half_built_index_updates_the_index(world: World) -> None:
    jobs = [world.add() for _ in range(3)]
    table = world.tables.queues["q"]
    assert not table.sort_some(Sort.UPDATED, 2)
    world.now += 1
    changed = world.update(jobs[1].spec.uid, State.FAILED)
    picture(world.tables)
    assert list(table.sort_indexes[Sort.UPDATED].states[State.FAILED]) == [position(changed, Sort.UPDATED)]


@pytest.mark.slow
@given(STEPS, st.lists(facts, max_size=20))
@settings(deadline=None)
def test_rolled_back_changes_are_removed_from_the_indexes(
    steps: list[tuple[list[Fact], Sort, int]], more: list[Fact]
) -> None:
    tables = Tables()
    for some, sort, most in steps:
        tables.apply(some)
        sort_some(tables, sort, most)
    was = picture(tables)
    tables.restore(tables.apply(more))
    assert picture(tables) == was


@given(st.lists(facts, max_size=40), SORTS, st.none() | st.sampled_from(State), st.integers(1, 4), st.booleans())
@settings(deadline=None)
def test_a_sorted_list_has_the_same_pages_with_and_without_an_index(
    some: list[Fact], sort: Sort, state: State | None, limit: int, indexed: bool
) -> None:
    tables = Tables()
    tables.apply(some)
    for table in tables.queues.values():
        if indexed:
            make_whole(table, sort)
        assert walked(table, sort, state, limit) == sorted_anew(table, sort, state)


@pytest.fixture(params=["indexed", "sorted anew"])
def crowd(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    """A queue of 60 jobs, ten with each time, in sorted lists with blocks so short that they split and merge often."""
    for name, length in {"_BLOCK": 4, "_LONGEST": 8, "_SHORTEST": 2}.items():
        monkeypatch.setattr(sorted_blocks, name, length)
    world = World()
    world.create()
    for _ in range(6):
        world.add_all(*(NewJob(content=b"{}", priority=n % 3) for n in range(10)))
        world.now += 1
    if request.param == "indexed":
        for sort in Sort:
            make_whole(world.tables.queues["q"], sort)
    return world


def read(world: World, sort: Sort, between: Callable[[], Any] = lambda: None, most: int = 100) -> list[str]:
    """The uids in a list, read page by page, at most `most` pages."""
    command = ListJobs(queue="q", access_key=KEY, sort=sort, limit=7, scan=5)
    seen: list[str] = []
    for _ in range(most):
        page = world.ask(command)
        seen += [job.spec.uid for job in page.jobs]
        if page.following is None:
            break
        command = replace(command, after=page.following)
        between()
    return seen


def edits(world: World, *, pace: int = 1) -> Callable[[], None]:
    """A function that advances the time by `pace` milliseconds, edits four random jobs and adds one."""
    random, uids = Random(3), [job.spec.uid for job in world.list()]

    def edit() -> None:
        world.now += pace
        for uid in random.sample(uids, 4):
            changes = Changes(state=random.choice([None, *State]), priority=random.randrange(-5, 5))
            world.ask(UpdateJob(queue="q", access_key=KEY, uid=uid, changes=changes))
        world.add(priority=random.randrange(-5, 5))

    return edit


def test_a_list_by_creation_has_each_job_once_even_if_jobs_change(crowd: World) -> None:
    uids = [uid for uid, _ in sorted(((j.spec.uid, j.spec.arrival) for j in crowd.list()), key=lambda one: one[1])]
    seen = read(crowd, Sort.CREATED, edits(crowd), most=12)
    assert seen[: len(uids)] == uids, "new ones come behind the old"
    assert len(set(seen)) == len(seen)
    there = [job.spec.uid for job in sorted(crowd.list(), key=lambda job: -job.spec.arrival)]
    assert read(crowd, Sort.NEWEST_CREATED, edits(crowd)) == there


@pytest.mark.parametrize("pace", [0, 1], ids=["in the same moment", "later"])
def test_a_list_by_last_update_misses_no_job_and_repeats_changed_jobs(crowd: World, pace: int) -> None:
    uids = [job.spec.uid for job in crowd.list()]
    seen = read(crowd, Sort.UPDATED, edits(crowd, pace=pace), most=40)
    assert set(uids) <= set(seen)
    assert len(set(seen)) < len(seen), "what is edited goes to the end"


def test_a_list_of_jobs_with_the_latest_updated_first_has_no_job_twice(crowd: World) -> None:
    seen = read(crowd, Sort.NEWEST_UPDATED, edits(crowd))
    assert len(set(seen)) == len(seen)
    times = [crowd.read(uid).updated for uid in read(crowd, Sort.NEWEST_UPDATED)]
    assert times == sorted(times, reverse=True)


def test_a_filter_works_with_each_sort_order(crowd: World) -> None:
    jobs = sorted(crowd.list(), key=lambda job: job.spec.arrival)
    for job in (jobs[40], jobs[3], jobs[17]):
        crowd.now += 1
        crowd.update(job.spec.uid, State.FAILED)
    command = ListJobs(queue="q", access_key=KEY, filter=Filter(state=State.FAILED), limit=10)
    for sort, order in ((Sort.CREATED, (3, 17, 40)), (Sort.UPDATED, (40, 3, 17)), (Sort.NEWEST_UPDATED, (17, 3, 40))):
        listed = crowd.ask(replace(command, sort=sort)).jobs
        assert [job.spec.uid for job in listed] == [jobs[at].spec.uid for at in order]


def indexes(table: QueueTable) -> list[SortedList[Any]]:
    """All indexes of a table, including those in dictionaries and the sort indexes."""
    held = [getattr(table, one.name) for one in attrs.fields(QueueTable)]
    held += [one for value in held if isinstance(value, dict) for one in value.values()]
    held += [part for index in table.sort_indexes.values() for part in index.states.values()]
    return [one for one in held if isinstance(one, SortedList)]


def test_freeing_a_table_also_frees_its_indexes(crowd: World) -> None:
    crowd.add(tags=("big", "red"))
    table = crowd.tables.queues["q"]
    freed = indexes(table)
    for _ in dismantle(table):
        """Each step frees a slice."""
    assert sum(map(len, freed)) == 0
    assert not any(indexes(table))
