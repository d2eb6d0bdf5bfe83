"""The tables with any facts: rolling back restores them, and a snapshot in slices is the state."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from jobengine.core.added_jobs import facts_of
from jobengine.core.effects import JobEffect
from jobengine.core.fact_codec import decode, encode
from jobengine.core.facts import Fact, ItemSet, JobAdded, JobChanged, JobRemoved, QueueCreated
from jobengine.core.flow import GATE, Flow, Gate, GroupOrder, Limits, item_text
from jobengine.core.model import HISTORY_LENGTH, Attempt, Job, Notes, Spec, Standing, State, shared_rare
from jobengine.core.places import Place
from jobengine.core.retention import retention
from jobengine.engine.tables.queue_table import QueueTable
from jobengine.engine.tables.snapshot import Snapshot
from jobengine.engine.tables.sorted_list import SortedList
from jobengine.engine.tables.state import Tables
from tests.core.random_facts import added_jobs, any_facts, facts
from tests.core.worlds import World, group_index, picture
from tests.golden.facts import MAIL

SOME = st.lists(facts, max_size=30)


def tables_of(some: Iterable[Fact]) -> Tables:
    tables = Tables()
    tables.apply(some)
    return tables


@given(SOME, SOME)
@settings(deadline=None)
def test_rolling_back_restores_the_earlier_state(before: list[Fact], more: list[Fact]) -> None:
    tables = tables_of(before)
    was = picture(tables)
    tables.restore(tables.apply(more))
    assert picture(tables) == was


@pytest.mark.slow
@given(SOME, SOME)
@settings(deadline=None)
def test_changes_that_were_rolled_back_can_be_applied_again(before: list[Fact], more: list[Fact]) -> None:
    tables = tables_of(before)
    tables.restore(tables.apply(more))
    tables.apply(more)
    assert picture(tables) == picture(tables_of([*before, *more]))


@given(SOME, SOME)
@settings(deadline=None)
def test_facts_applied_together_have_the_same_effect_as_facts_applied_one_by_one(
    before: list[Fact], more: list[Fact]
) -> None:
    together, one_by_one = tables_of(before), tables_of(before)
    effects = together.apply(more)
    singly = [effect for fact in more for effect in one_by_one.apply([fact])]
    assert [effect for effect in effects if isinstance(effect, JobEffect)] == [
        s for s in singly if isinstance(s, JobEffect)
    ]
    assert picture(together) == picture(one_by_one)
    for effect in reversed(singly):
        one_by_one.restore([effect])
    together.restore(effects)
    assert picture(together) == picture(one_by_one) == picture(tables_of(before))


def ordinary(fact: JobAdded) -> JobAdded:
    """The fact, with its job ready and without rare fields, except perhaps a group."""
    spec = fact.job.spec
    spec = replace(spec, tags=(), timeout_time=0, rare=shared_rare(None, spec.rare.group))
    return JobAdded(fact.queue, Job(spec, Standing(state=State.QUEUED, updated=fact.job.updated)))


ORDINARY = added_jobs.map(ordinary)


@given(SOME, st.lists(ORDINARY | added_jobs | ORDINARY | facts, min_size=5, max_size=40), st.booleans())
@settings(deadline=None)
def test_records_that_are_read_together_have_the_same_effect_as_single_records(
    before: list[Fact], more: list[Fact], later: bool
) -> None:
    before = [*(QueueCreated(evolve(MAIL, name=name, salt="s")) for name in ("a", "b")), *before]
    together, one_by_one = Tables(), Tables()
    together.groups_later = later
    together.apply(before)
    together.load(facts_of([encode(fact) for fact in more]))
    for _ in together.index_groups(3):
        pass
    for fact in [*before, *more]:
        one_by_one.apply([fact])
    assert picture(together) == picture(one_by_one)
    totals = [
        [(table.live_bytes, table.next_arrival) for table in tables.queues.values()]
        for tables in (together, one_by_one)
    ]
    assert totals[0] == totals[1]


@pytest.mark.parametrize("limit", [None, 1])
@pytest.mark.parametrize("order", GroupOrder)
def test_groups_that_are_loaded_equal_groups_whose_jobs_were_added_one_by_one(
    order: GroupOrder, limit: int | None
) -> None:
    flow = Flow(group_limits=Limits(in_progress=limit), group_order=order)
    held = item_text(Gate(held=1 << 40))
    some: list[Fact] = [QueueCreated(evolve(MAIL, flow=flow)), ItemSet(MAIL.name, GATE, "g3", held), *_grouped_jobs()]
    loaded, live = Tables(), Tables()
    loaded.groups_later = True
    loaded.load(facts_of(map(encode, some)))
    for _ in loaded.index_groups(3):
        pass
    for fact in some:
        live.apply([fact])
    tables = [each.queues[MAIL.name] for each in (loaded, live)]
    assert group_index(tables[0].turns) == group_index(tables[1].turns)
    claims = [[job.spec.uid for job in table.claim_order((), 0, 100)] for table in tables]
    assert claims[0] == claims[1]
    assert claims[0]


def _grouped_jobs() -> Iterator[JobAdded]:
    """40 jobs of 8 groups, of which the first has 19 jobs; and 10 jobs without a group."""
    for n in range(50):
        group = None if n % 5 == 0 else f"g{n % 9 if n % 2 else 0}"
        spec = Spec(
            uid=f"{n:04}",
            priority=n % 3,
            arrival=n,
            keep=retention(60, 60),
            timeout_seconds=0,
            timeout_time=0,
            content=b"{}",
            created=n,
            tags=("t",) if n == 21 else (),
            rare=shared_rare(None, group),
        )
        state = State.INPROGRESS if n in (7, 33) else State.QUEUED
        yield JobAdded(MAIL.name, Job(spec, Standing(state=state, updated=n, ready_at=99 if n == 11 else 0)))


@given(SOME, facts)
@settings(deadline=None)
def test_applying_a_fact_twice_has_the_same_effect_as_once(before: list[Fact], fact: Fact) -> None:
    assert picture(tables_of([*before, fact, fact])) == picture(tables_of([*before, fact]))


@pytest.mark.slow
@given(any_facts)
@settings(deadline=None, max_examples=200)
def test_a_record_decodes_to_its_fact(fact: Fact) -> None:
    assert decode(encode(fact)) == fact


def applied_as_made(tables: Tables, fact: Fact) -> bool:
    """Apply a fact that rules could have made; returns False if they could not."""
    if isinstance(fact, JobAdded) and fact.queue not in tables.queues:
        return False
    if isinstance(fact, QueueCreated) and fact.queue.name in tables.queues:
        return False
    tables.apply([fact])
    return True


@pytest.mark.slow
@given(SOME, st.lists(st.lists(facts, max_size=4), max_size=15), st.integers(1, 4), st.booleans())
@settings(deadline=None, max_examples=150)
def test_a_snapshot_taken_in_slices_between_changes_restores_the_state(
    before: list[Fact], commits: list[list[Fact]], size: int, slice_last: bool
) -> None:
    """
    As in a compaction: each slice is taken after a commit was applied, and precedes it in the file.

    Rules never add a job to a missing queue, and never create an existing queue, so such facts are left out.
    """
    tables = tables_of(before)
    snapshot = Snapshot(tables)
    copy: list[Fact] = []
    for commit in commits:
        made = [fact for fact in commit if applied_as_made(tables, fact)]
        taken = snapshot.take(size) or []
        copy += [*made, *taken] if slice_last else [*taken, *made]
    while (rest := snapshot.take(size)) is not None:
        copy += rest
    assert picture(tables_of(decode(encode(fact)) for fact in copy)) == picture(tables)


def test_a_snapshot_ends_under_a_steady_stream_of_jobs() -> None:
    world = World()
    world.create()
    for _ in range(20):
        world.add()
    slices, snapshot = 0, Snapshot(world.tables)
    while snapshot.take(5):
        slices += 1
        for _ in range(7):
            world.add(priority=slices % 3 - 1)
        assert slices < 20
    assert slices == 1 + 4


def test_a_snapshot_reads_no_pages_of_jobs_added_after_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.create()
    for priority in (1, 0):
        world.add(priority=priority)
    snapshot, pages, page = Snapshot(world.tables), list[Any](), QueueTable.page
    assert snapshot.take(1)
    for _ in range(50):
        world.add(priority=1)

    def counted(*given: Any) -> Any:
        pages.append(given)
        return page(*given)

    monkeypatch.setattr(QueueTable, "page", counted)
    jobs = [fact for _ in range(2) for fact in snapshot.take(2) or ()]
    assert [fact.job.spec.priority for fact in jobs if isinstance(fact, JobAdded)] == [1, 0]
    assert snapshot.take(2) is None
    assert len(pages) <= 3
    assert len(world.tables.queues["q"].jobs) == 52


def test_the_counted_live_bytes_are_about_the_length_of_a_new_snapshot() -> None:
    world = World()
    world.create("q")
    empty = world.tables.live_bytes
    jobs = [world.add(content=b'"' + b"x" * 1000 + b'"') for _ in range(10)]
    assert 10_000 < world.tables.live_bytes - empty < 13_000
    for job in jobs:
        world.delete(job.spec.uid)
    assert world.tables.live_bytes == empty
    world.delete_queue()
    assert world.tables.live_bytes == 0


ENDED = Attempt(worker="列" * 20, started=1_700_000_000_000, ended=1_700_000_000_000, outcome="complete")


@pytest.mark.parametrize(
    "notes",
    [
        Notes(history=(ENDED,)),
        Notes(history=(ENDED,) * HISTORY_LENGTH),
        Notes(history=(replace(ENDED, outcome="failed", error='"\n' * 1_000),) * HISTORY_LENGTH, error="列" * 4_000),
        Notes(history=(ENDED,), result=b'["' + b"x" * 10_000 + b'"]'),
    ],
    ids=["one attempt", "many attempts", "errors", "a result"],
)
def test_the_counted_live_bytes_include_errors_results_and_history_of_jobs(notes: Notes) -> None:
    world = World()
    world.create("q")
    job = world.add()
    empty = world.tables.live_bytes
    standing = replace(job.standing, worker="列" * 20, notes=notes)
    world.tables.apply([JobChanged("q", job.spec.uid, standing)])
    more = len(encode(JobAdded("q", Job(job.spec, standing)))) - len(encode(JobAdded("q", job)))
    assert more / 1.2 < world.tables.live_bytes - empty < more * 1.2


class Counted(SortedList[Any]):
    """A list that counts its operations."""

    asked = 0

    def add_all(self, run: list[Any]) -> None:
        Counted.asked += len(run)
        super().add_all(run)

    def remove_all(self, run: list[Any]) -> None:
        Counted.asked += len(run)
        super().remove_all(run)

    def first(self) -> Any:
        Counted.asked += 1
        return super().first()

    def __iter__(self) -> Iterator[Any]:
        for value in super().__iter__():
            Counted.asked += 1
            yield value


def index_steps(jobs: int, work: Callable[[World], Any]) -> int:
    """The number of index operations of some work, with this many jobs in the queue."""
    world = World()
    world.create()
    table = world.tables.queues["q"]
    table.deadlines = Counted()
    table.places = {place: Counted() for place in Place}
    table.ready = table.places[Place.READY]
    world.tables.deadlines = Counted()
    for _ in range(jobs):
        world.add()
    Counted.asked = 0
    work(world)
    return Counted.asked


@pytest.mark.slow
@pytest.mark.parametrize(
    "work",
    [
        lambda world: [world.claim() for _ in range(20)],
        lambda world: [world.add(priority=n % 3) for n in range(20)],
        lambda world: [world.update(world.claim().spec.uid, State.COMPLETE) for _ in range(20)],
        lambda world: [world.peek() for _ in range(20)],
    ],
    ids=["claim", "add", "claim and complete", "peek"],
)
def test_the_number_of_index_operations_does_not_depend_on_the_number_of_jobs(work: Callable[[World], Any]) -> None:
    few = index_steps(100, work)
    assert few > 0
    assert index_steps(20_000, work) == few


def test_facts_about_missing_jobs_and_queues_are_ignored() -> None:
    world = World()
    world.create()
    job = world.add()
    before = picture(world.tables)
    world.tables.apply([JobAdded("none", job)])
    assert picture(world.tables) == before


def test_a_fact_that_can_not_be_applied_leaves_the_effects_of_earlier_facts_complete() -> None:
    world = World()
    world.create()
    world.add()
    other: Any = object()
    with pytest.raises(KeyError):
        world.tables.apply([JobRemoved("q", next(iter(world.tables.queues["q"].jobs))), other])
    assert list(world.tables.queues["q"].claim_order((), world.now, 1)) == []
    assert len(world.tables.queues["q"].ready) == 0


def test_creating_an_identical_queue_again_keeps_its_jobs() -> None:
    world = World()
    world.create()
    world.add()
    before = picture(world.tables)
    world.tables.apply([QueueCreated(world.tables.queues["q"].queue)])
    assert picture(world.tables) == before
