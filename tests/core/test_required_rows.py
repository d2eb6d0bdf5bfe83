"""A command has the same outcome on a table loaded with only its needs as on the whole table."""

from collections.abc import Callable, Iterable
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobengine.core import commands as c
from jobengine.core import required_rows as n
from jobengine.core.access import authorise
from jobengine.core.batches import BATCH
from jobengine.core.dependencies import OnDependencyFailure
from jobengine.core.errors import DomainError
from jobengine.core.model import Defaults, Grant, Job, Role, State
from jobengine.core.schedules import ScheduledJob
from jobengine.core.sorting import Sort
from jobengine.engine.postgres.batch.begin import Now
from jobengine.engine.postgres.batch.loaded import LoadedTables
from jobengine.engine.postgres.batch.pages import PageRows
from jobengine.engine.postgres.batch.plan import PlannedPart
from jobengine.engine.postgres.batch.tables import LoadedTable, NotLoaded
from jobengine.engine.tables.queue_table import QueueTable
from jobengine.engine.tables.state import Tables
from tests.core.test_rules import batch_commands, every_command, kinds, schedule_commands
from tests.core.worlds import KEY, World
from tests.doubles import CountedIds, NoActivity

TAGS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=3, unique=True).map(tuple)
UIDS = [f"00000000-0000-4000-8000-00000000000{at}" for at in range(6)]
STATES = st.sampled_from(State)
KEYS = {Role.PRODUCER: b"producer", Role.WORKER: b"worker", Role.VIEWER: b"viewer"}

NEW_JOBS = st.builds(
    c.NewJob,
    content=st.just(b"{}"),
    priority=st.integers(0, 2),
    tags=TAGS,
    uid=st.none() | st.sampled_from(UIDS),
    idempotency_key=st.sampled_from([None, "once", "twice"]),
    unique_key=st.none() | st.sampled_from(["u", "v"]),
    delay_seconds=st.sampled_from([0, 0, 5]),
    batch=st.sampled_from([None, None, "b"]),
    depends_on=st.lists(st.sampled_from(UIDS), max_size=2, unique=True).map(
        lambda uids: tuple(("q", one) for one in uids)
    ),
    on_dependency_failure=st.sampled_from(OnDependencyFailure),
)
CHANGES = st.builds(c.Changes, state=st.none() | STATES, cancel=st.booleans(), priority=st.none() | st.integers(0, 2))
FILTERS = st.builds(c.Filter, state=st.none() | STATES, tag=st.none() | st.sampled_from(["a", "b"]))
SOME_UIDS = st.lists(st.sampled_from(UIDS), max_size=3).map(tuple)
UPDATES = st.builds(c.JobUpdate, uid=st.sampled_from(UIDS), changes=CHANGES, lease=st.none() | st.just("wrong"))
WHO: dict[str, Any] = {"queue": st.just("q"), "access_key": st.sampled_from([KEY] * 12 + [*KEYS.values(), b"wrong"])}
SLICES: dict[str, Any] = {**WHO, "filter": FILTERS, "limit": st.integers(1, 4)}
ONE: dict[str, Any] = {**WHO, "uid": st.sampled_from(UIDS)}

#: The page of failures that is loaded: the page that `every_command` requests.
FIRST_PAGE = n.FailuresOf(None, 10)
ADDS = st.builds(
    c.AddJobs,
    **WHO,
    jobs=st.lists(NEW_JOBS, min_size=1, max_size=3).map(tuple),
    defaults=st.just(Defaults()),
    many=st.booleans(),
)
SCHEDULES = st.sampled_from(
    [
        *schedule_commands(queue="q", access_key=KEY),
        *schedule_commands(queue="q", access_key=KEY, job=ScheduledJob(content="{}", unique_key="u"))[:1],
    ]
)
BATCHES = st.sampled_from(batch_commands(queue="q", access_key=KEY))
COMMANDS: "st.SearchStrategy[c.QueueCommand[Any]]" = st.one_of(
    ADDS,
    st.builds(c.Claim, **WHO, count=st.integers(0, 4), tags=TAGS, uids=st.none() | SOME_UIDS),
    st.builds(c.Peek, **WHO),
    st.builds(c.ReadJob, **ONE),
    st.builds(c.DeleteJob, **ONE),
    st.builds(c.ExplainJob, **ONE),
    st.builds(c.UpdateJob, **ONE, changes=CHANGES),
    st.builds(c.UpdateJobs, **WHO, updates=st.lists(UPDATES, max_size=3).map(tuple)),
    st.builds(c.ListJobs, **SLICES, scan=st.integers(1, 4), sort=st.none() | st.sampled_from(Sort)),
    st.builds(c.UpdateMatching, **SLICES, changes=CHANGES, uids=st.none() | SOME_UIDS),
    st.builds(c.DeleteMatching, **SLICES),
    SCHEDULES,
    BATCHES,
    st.builds(c.ReadLinks, **WHO, uids=SOME_UIDS, most=st.integers(0, 2)),
    st.builds(c.WaitFor, **ONE, jobs=st.lists(NEW_JOBS, max_size=2).map(tuple), defaults=st.just(Defaults())),
    st.builds(c.ReadStats, **WHO),
    st.builds(c.ReadHistory, **WHO),
    st.builds(c.CountFailures, **WHO),
    st.builds(c.ListFailures, **WHO, limit=st.just(FIRST_PAGE.limit)),
    st.builds(c.ListKeys, **WHO),
    st.builds(c.ListClaimers, **WHO),
    st.builds(c.DeleteQueue, **WHO),
    st.builds(c.ChangeQueue, **WHO, paused=st.none() | st.booleans(), max_jobs=st.sampled_from([None, 4])),
    st.builds(
        c.ReturnClaims,
        **WHO,
        claims=st.lists(st.tuples(st.sampled_from(UIDS), st.just("lease")), max_size=2).map(tuple),
    ),
)


def _named(whole: QueueTable, needs: n.Needs, now: int) -> list[Job]:
    """The jobs that `needs` names."""
    found = [job for uid in needs.uids if (job := whole.job(uid)) is not None]
    found += [job for key in needs.unique_keys for job in whole.holders(key)]
    if needs.ready is not None:
        # Load one job more than needed, to detect a rule that takes too many.
        found += whole.claim_order(needs.ready.tags, now, needs.ready.count + 1)
    return found


def _table(whole: QueueTable, needs: n.Needs, ahead: int, now: int) -> LoadedTable:
    """The table that an engine would load for a queue."""
    page = needs.page
    paged, following = ([], None) if page is None else whole.page(page.after, page.limit, page.state, page.sort)
    jobs = {job.spec.uid: job for job in [*_named(whole, needs, now), *paged]}
    table = LoadedTable(
        whole.queue,
        ahead,
        jobs,
        whole.next_arrival,
        needs=needs,
        unloaded=whole.size() - len(jobs) if needs.size else None,
        counted=whole.counts() if needs.counts else None,
        oldest=whole.oldest_ready() if needs.counts else None,
        places={job.spec.rank: whole.ahead(job.spec.rank) for job in jobs.values()} if needs.ahead else {},
        paged=None if page is None else PageRows([job.spec.uid for job in paged], following),
        named={key: value for key, value in whole.named.items() if key in needs.items or key[0] in needs.kinds},
        schedule_counts=whole.schedules() if needs.count_schedules else None,
    )
    names = {name for kind, name in whole.named if kind == BATCH}
    table.batch_jobs = {name: whole.batch_counts(name) for name in names if needs.counts_batches}
    table.batch_jobs |= {name: whole.batch_counts(name) for name in needs.counted_batches}
    table.numbers = {kind: whole.number_of(kind) for kind in needs.numbers}
    if needs.batches:
        table.of_jobs = {(BATCH, name) for job in jobs.values() if (name := job.spec.rare.batch) is not None}
        table.named |= {key: value for key, value in whole.named.items() if key in table.of_jobs}
    table.find_dependants = whole.dependants
    table.find_alike, table.count_failed = whole.alike, whole.count_failures
    table.find_failures = lambda when: whole.failures(FIRST_PAGE.after, FIRST_PAGE.limit, when)

    def load_more(uids: Iterable[str], unique_keys: Iterable[str]) -> None:
        found = _named(whole, n.Needs(uids=frozenset(uids), unique_keys=frozenset(unique_keys)), now)
        more = {job.spec.uid: job for job in found if job.spec.uid not in table.jobs}
        table.jobs.update(more)
        if table.unloaded is not None:
            table.unloaded -= len(more)

    table.load_more = load_more
    return table


def load(tables: Tables, command: c.QueueCommand[object], now: int) -> LoadedTables:
    """Load the tables that an engine would load for a command."""
    loaded = LoadedTables(now=Now(0, tables.ahead, {}), planned=(), locked=True)
    whole = tables.queues.get(command.queue)
    if whole is None:
        return loaded
    try:
        needs = command.needs(whole.queue, authorise(whole.queue, command, now))
    except DomainError:
        needs = n.Needs()
    loaded.queues[command.queue] = _table(whole, needs, tables.ahead, now)
    return loaded


def decided(tables: Any, command: c.QueueCommand[Any], now: int) -> Any:
    return command.decide(tables, now, CountedIds(), NoActivity())


def outcome(decide: Callable[[], Any]) -> Any:
    """The facts and the answer, or the error. NotLoaded is raised."""
    try:
        facts, answer = decide()
    except DomainError as error:
        return type(error), str(error)
    return list(facts), [str(one) if isinstance(one, DomainError) else one for one in answer] if isinstance(
        answer, list
    ) else answer


def after(commands: list[Any]) -> World:
    """A world after these commands; its queue has a key for every role."""
    world = World()
    world.create()
    for role, key in KEYS.items():
        world.ask(c.AddKey(queue="q", access_key=KEY, role=role, new_access_key=key))
    for command in commands:
        try:
            world.ask(command)
        except DomainError:
            continue
    world.now += 3_000
    world.expire()
    return world


@pytest.mark.slow
@settings(max_examples=200)
@given(
    st.lists(ADDS | BATCHES, min_size=1, max_size=5),
    st.lists(COMMANDS, max_size=3),
    st.none() | COMMANDS,
    st.sampled_from([None, 3, 100]),
)
def test_a_command_has_the_same_outcome_on_loaded_rows_as_on_the_whole_table(
    adds: list[Any], others: list[Any], command: Any, max_jobs: int | None
) -> None:
    """If `command` is None, the first command is repeated, as by a client whose answer was lost."""
    command = command or adds[0]
    world = after([c.ChangeQueue(queue="q", access_key=KEY, max_jobs=max_jobs), *adds, *others])
    whole = outcome(lambda: decided(world.tables, command, world.now))
    part = outcome(lambda: decided(load(world.tables, command, world.now), command, world.now))
    assert part == whole


def test_every_command_on_a_queue_is_tested() -> None:
    """Commands that need only the queue's settings are left out."""
    tried = {type(one) for one in every_command()}
    assert tried == kinds()
    world = after([])
    for command in every_command():
        whole = outcome(lambda: decided(world.tables, command, world.now))  # noqa: B023  # called at once
        part = outcome(
            lambda: decided(load(world.tables, command, world.now), command, world.now)  # noqa: B023  # called at once
        )
        assert part == whole


#: Reads of a table that need loaded rows.
READS: Final[tuple[Callable[[Any, Job], Any], ...]] = (
    lambda table, job: table.job(job.spec.uid),
    lambda table, job: table.holders("u"),
    lambda table, job: table.size(),
    lambda table, job: list(table.claim_order((), 0, 1)),
    lambda table, job: table.page(None, 1),
    lambda table, job: table.ahead(job.spec.rank),
    lambda table, job: table.counts(),
    lambda table, job: table.oldest_ready(),
    lambda table, job: table.kept_periods(),
    lambda table, job: table.failures(FIRST_PAGE.after, FIRST_PAGE.limit, 0),
    lambda table, job: table.count_failures(0),
    lambda table, job: table.alike("a"),
)


@pytest.mark.parametrize("read", READS)
def test_reading_a_value_that_is_not_loaded_raises_not_loaded(world: World, read: Callable[[Any, Job], Any]) -> None:
    job = world.add(unique_key="u")
    with pytest.raises(NotLoaded):
        read(_table(world.tables.queues["q"], n.Needs(), 0, world.now), job)


NEEDS = n.Needs(
    uids=frozenset([UIDS[0]]),
    unique_keys=frozenset(["u"]),
    ready=n.ReadyOf(5, ()),
    page=n.PageOf(None, 1, None),
    size=True,
    counts=True,
    periods=True,
    ahead=True,
    failures=FIRST_PAGE,
    count_failures=True,
    alike=True,
)


@pytest.mark.parametrize("read", READS)
def test_a_command_can_not_read_rows_loaded_only_for_another_command_of_the_batch(
    world: World, read: Callable[[Any, Job], Any]
) -> None:
    job = world.add(unique_key="u", uid=UIDS[0])
    table = _table(world.tables.queues["q"], NEEDS, 0, world.now)
    read(table, job)
    del table.jobs[UIDS[0]]
    command = c.ListKeys(queue="q", access_key=KEY)
    table.restrict_to(PlannedPart(command, Grant(Role.OWNER), n.NOTHING_MORE))
    with pytest.raises(NotLoaded):
        read(table, job)


def test_a_command_that_reads_more_ready_jobs_than_it_declares_is_detected(world: World) -> None:
    for _ in range(3):
        world.add()
    table = load(world.tables, c.Peek(queue="q", access_key=KEY), world.now).queues["q"]
    assert len(list(table.claim_order((), world.now, 1))) == 1
    with pytest.raises(NotLoaded, match="the first 2 ready jobs"):
        table.claim_order((), world.now, 2)


def test_looking_up_a_uid_without_a_job_returns_none(world: World) -> None:
    table = load(world.tables, c.ReadJob(queue="q", access_key=KEY, uid="none"), world.now).queues["q"]
    assert table.job("none") is None
