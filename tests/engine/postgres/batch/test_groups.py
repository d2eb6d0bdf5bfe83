"""Claims from groups on PostgreSQL get the same jobs as in memory, after any commands."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.errors import DomainError
from jobengine.core.flow import GroupOrder, Limits, OnFailure, Rate
from jobengine.core.model import Job, State
from jobengine.engine.postgres.batch import flow_changes, one_of_each, turns
from jobengine.engine.postgres.batch.groups import LoadedGroups
from jobengine.engine.postgres.database.pipeline import Row
from tests.contract.asking import KEY, Asker
from tests.contract.test_local import LocalWorld
from tests.contract.world import World
from tests.engine.postgres.world import PostgresWorld
from tests.postgres import Database

pytestmark = pytest.mark.slow

GROUPS: list[str | None] = ["a", "b", "c", None]
TAGS: list[tuple[str, ...]] = [(), (), ("x",), ("x", "y")]


class Pair:
    """One queue in memory and one on PostgreSQL, which get the same commands."""

    def __init__(self, *worlds: World, is_fair: bool) -> None:
        self.is_fair = is_fair
        self.groups, self.tags = GROUPS, TAGS
        self.askers = [Asker(world) for world in worlds]
        self.added = 0
        #: The jobs in both queues, by their number.
        self.jobs: list[dict[int, Job]] = [{} for _ in worlds]
        for ask in self.askers:
            ask.create()
            if is_fair:
                ask.reconfigure(group_order=GroupOrder.FAIR)

    def add(self, **spec: Any) -> None:
        self.added += 1
        for ask in self.askers:
            ask.add(content=b'{"n": %d}' % self.added, **spec)

    def both(self, kind: Any, **more: Any) -> list[Any]:
        answers = []
        for ask in self.askers:
            try:
                answers.append(ask.ask(kind, **more))
            except DomainError as error:
                answers.append(type(error))
        return answers

    def read(self) -> None:
        """Read the jobs of both, which must be the same."""
        self.jobs = [{number_of(job): job for job in ask.jobs()} for ask in self.askers]
        there = [{n: (job.state, job.spec.rare.group, job.ready) for n, job in jobs.items()} for jobs in self.jobs]
        assert there[0] == there[1]

    def claim(self, count: int, tags: tuple[str, ...], done: int | None = None) -> list[int]:
        """Claim from both queues, completing a job in the same request; returns the numbers of the claimed jobs."""
        found = []
        for ask, jobs in zip(self.askers, self.jobs, strict=True):
            updates: tuple[c.QueueUpdate, ...] = ()
            if done in jobs:
                update = c.JobUpdate(uid=jobs[done].spec.uid, changes=c.Changes(state=State.COMPLETE))
                updates = (c.QueueUpdate("q", update),)
            claims = c.Claims(queues=("q",), access_key=KEY, count=count, tags=tags, updates=updates)
            found.append([number_of(one.job) for one in ask.get(ask.world.engine.claim(claims)).jobs])
        assert found[0] == found[1]
        return found[0]

    def on_job(self, number: int, act: Any) -> None:
        for ask, jobs in zip(self.askers, self.jobs, strict=True):
            with suppress(DomainError):
                act(ask, jobs[number])

    def check(self) -> None:
        """Compare all that can be read of groups."""
        stats = self.both(c.ReadStats)
        assert len({(one.ready, one.held, one.delayed, one.held_until) for one in stats}) == 1
        for name in "abc":
            first, second = self.both(c.ReadGroup, group=name)
            gone = {type(one) for one in (first, second)} == {type}
            if not gone and isinstance(first, type) is isinstance(second, type):
                assert first.state == second.state
                assert first.held_until == second.held_until
            elif not gone:
                # A gate whose time has passed may be removed later.
                there = second if isinstance(first, type) else first
                assert (there.state.queued, there.state.in_progress) == (0, 0)


def number_of(job: Job) -> int:
    return int(json.loads(job.spec.content)["n"])


@contextmanager
def pair_on(url: str, path: Path, *, is_fair: bool) -> Iterator[Pair]:
    memory, postgres = LocalWorld(path / "db"), PostgresWorld(url)
    try:
        yield Pair(memory, postgres, is_fair=is_fair)
    finally:
        memory.stop()
        postgres.close()


def act(pair: Pair, random: Random) -> None:
    """Make one random change in both queues."""
    what = random.randrange(14)
    number = random.choice([*pair.jobs[0], 0]) if pair.jobs[0] else 0
    if what < 4:
        add(pair, random)
    elif what < 8:
        pair.claim(random.choice([1, 1, 2, 9]), random.choice(pair.tags), random.choice([None, number]))
    elif what < 12 and number:
        change(pair, random, number)
    elif what == 12:
        reconfigure(pair, random)
    else:
        seconds = random.choice([1, 3, 5, 21])
        for ask in pair.askers:
            ask.world.advance(seconds)


def add(pair: Pair, random: Random) -> None:
    pair.add(
        group=random.choice(pair.groups),
        priority=random.choice([0, 0, 1]),
        tags=random.choice(pair.tags),
        delay_seconds=random.choice([0, 0, 0, 5]),
        max_attempts=2,
        timeout_seconds=20,
    )


def change(pair: Pair, random: Random, number: int) -> None:
    """Change a job in both: mostly its state."""
    state, hold = random.choice([State.COMPLETE, State.FAILED, State.QUEUED]), random.choice([None, None, 4])
    more = {"hold_seconds": hold} if state is State.QUEUED and hold else {}
    group = random.choice(["a", "b", ""])
    match random.randrange(8):
        case 0:
            pair.on_job(number, lambda ask, job: ask.delete(job))
        case 1:
            pair.on_job(number, lambda ask, job: ask.update(job, group=group))
        case 2:
            pair.on_job(number, give_back)
        case _:
            pair.on_job(number, lambda ask, job: ask.update(job, state, **more))


def end(ask: Asker, job: Job, state: State) -> None:
    ask.update(job, state)


def give_back(ask: Asker, job: Job) -> None:
    ask.ask(c.ReturnClaims, claims=((job.spec.uid, job.standing.lease or ""),))


def reconfigure(pair: Pair, random: Random) -> None:
    limits = [None, Limits(in_progress=3), Limits(rate=Rate(2, 10)), Limits(in_progress=1, rate=Rate(3, 5))]
    match random.randrange(4):
        case 0:
            pair.both(c.ChangeQueue, limits=random.choice(limits))
        case 1:
            pair.both(c.ChangeQueue, group_limits=random.choice(limits))
        case 2:
            if not pair.is_fair:
                # A restart in memory would forget how long ago groups were served.
                order, on_failure = random.choice([GroupOrder.ARRIVAL, GroupOrder.STRICT]), random.choice([*OnFailure])
                pair.both(c.ChangeQueue, group_order=order, group_on_failure=on_failure)
        case 3:
            its: Any = random.choice([{"paused": True}, {"paused": False, "in_progress": 2}, {"group_weight": 3}])
            pair.both(c.ChangeGroup, group=random.choice("abc"), **its)


@pytest.mark.parametrize("seed", range(6))
def test_random_commands_give_the_same_jobs_in_the_same_order_on_both_engines(
    database: Database, tmp_path: Path, seed: int
) -> None:
    database.clear()
    random = Random(seed)
    with pair_on(database.url, tmp_path, is_fair=seed % 2 == 0) as pair:
        for _ in range(80):
            act(pair, random)
            pair.read()
            pair.check()


@pytest.mark.parametrize("seed", range(1, 5))
def test_claims_from_many_groups_give_the_same_jobs_on_both_engines(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    database.clear()
    random, found = Random(seed), list[list[Job] | None]()
    unwanted = list[Any]()
    monkeypatch.setattr(flow_changes, "begin_not_next", unwanted.append)

    # Otherwise only the groups of large claims are changed before the claim is decided.
    monkeypatch.setattr(one_of_each, "_LEAST", 1)

    def noted(groups: LoadedGroups, rows: Sequence[Row], count: int, *, begins: bool) -> list[Job] | None:
        found.append(one_of_each.one_of_each(groups, rows, count, begins=begins))
        return found[-1]

    monkeypatch.setattr(turns, "one_of_each", noted)
    with pair_on(database.url, tmp_path, is_fair=seed % 2 == 0) as pair:
        pair.groups, pair.tags = [*"abcdefgh"], [()]
        pair.both(c.ChangeQueue, group_limits=Limits(in_progress=seed))
        for _ in range(30):
            add(pair, random)
        for _ in range(30):
            add(pair, random)
            add(pair, random)
            for number in pair.claim(random.choice([1, 2, 4]), ()):
                pair.read()
                ends = [State.COMPLETE, State.COMPLETE, State.QUEUED, State.INPROGRESS]
                pair.on_job(number, partial(end, state=random.choice(ends)))
        # Jobs without a group, and a group with settings.
        pair.both(c.ChangeQueue, group_limits=Limits())
        for _ in range(4):
            pair.add(priority=2)
            pair.claim(1, ())
            pair.claim(1, ())
        pair.both(c.ChangeGroup, group="a", paused=True)
        pair.claim(2, ())
        pair.check()
    # Both code paths were used, and no change of groups was begun in vain.
    assert None in found
    assert any(found)
    assert unwanted == []


def test_a_claim_that_changed_the_wrong_groups_in_advance_is_retried(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.clear()
    begin, begun = one_of_each.begin_claim, list[int]()

    def wrong(groups: LoadedGroups, rows: Sequence[Row]) -> None:
        begin(groups, rows[1:])
        begun.append(groups.changes.begun is not None)

    monkeypatch.setattr(one_of_each, "_LEAST", 1)
    monkeypatch.setattr(one_of_each, "begin_claim", wrong)
    with pair_on(database.url, tmp_path, is_fair=False) as pair:
        pair.both(c.ChangeQueue, group_limits=Limits(in_progress=1))
        for group in "abcdabcd":
            pair.add(group=group)
        assert len(pair.claim(3, ())) == 3
        assert begun == [True, False]
        pair.read()
        pair.check()
