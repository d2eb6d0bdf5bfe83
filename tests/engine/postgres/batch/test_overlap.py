"""Batches of one server that overlap: while the database works for one, the server works for another."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from attrs import define
from psycopg import Connection

from jobengine.core import commands as c
from jobengine.core.model import Defaults, State
from jobengine.engine.postgres.database.rows import Rows
from tests.contract.asking import KEY, Asker, new_job
from tests.doubles import AtOnce
from tests.engine.postgres.world import Held, PostgresWorld, session_on
from tests.pending import Pending
from tests.postgres import Database

pytestmark = pytest.mark.slow

COMPLETE = c.Changes(state=State.COMPLETE)


class OverlappingWorld(PostgresWorld):
    """A server whose lanes hold back their results until the test releases them."""

    def __init__(self, url: str, **parts: Any) -> None:
        self.lanes: list[Held] = []
        super().__init__(url, thread=self._thread, **parts)
        self.ask = Asker(self)

    def _thread(self, name: str) -> AtOnce:
        if not name.startswith("lane"):
            return AtOnce()
        self.lanes.append(Held())
        return self.lanes[-1]

    def adding(self, *, settle: bool = True, **job: Any) -> Pending:
        return self.begin(self.engine.ask(new_job(**job)), settle=settle)

    def hold(self) -> None:
        for lane in self.lanes:
            lane.holds = True

    @property
    def under_way(self) -> list[Held]:
        return [lane for lane in self.lanes if lane.kept]

    def let_go(self) -> None:
        for lane in self.lanes:
            lane.let_go()
        self.settle()


@pytest.fixture
def world(database: Database) -> Iterator[OverlappingWorld]:
    database.clear()
    world = OverlappingWorld(database.url)
    world.ask.create()
    yield world
    world.let_go()
    world.close()


def test_an_add_is_executed_while_an_earlier_add_is_in_flight(world: OverlappingWorld) -> None:
    world.hold()
    first = world.adding()
    (lane,) = world.under_way
    second = world.adding()
    (other,) = (one for one in world.under_way if one is not lane)
    other.let_go()
    assert second.answered
    assert not first.answered
    lane.let_go()
    assert first.answered
    assert len(world.ask.jobs()) == 2


def test_commands_submitted_in_one_reactor_turn_form_one_batch(world: OverlappingWorld) -> None:
    world.hold()
    for _ in range(3):
        world.adding(settle=False)
    world.settle()
    assert len(world.under_way) == 1


def test_a_job_is_completed_during_a_claim_but_small_claims_wait_for_each_other(world: OverlappingWorld) -> None:
    for _ in range(3):
        world.ask.add()
    job = world.ask.hold()
    world.hold()
    claim, later = world.ask.claiming(), world.ask.claiming()
    (lane,) = world.under_way
    update = world.begin(world.engine.ask(c.UpdateJob(queue="q", access_key=KEY, uid=job.spec.uid, changes=COMPLETE)))
    (other,) = (one for one in world.under_way if one is not lane)
    other.let_go()
    assert update.answered
    assert not claim.answered
    world.let_go()
    assert claim.answer.jobs[0].job.spec.arrival < later.answer.jobs[0].job.spec.arrival


@pytest.mark.parametrize(("jobs", "under_way"), [(99, 1), (100, 2)])
def test_two_large_claims_do_not_wait_for_each_other(world: OverlappingWorld, jobs: int, under_way: int) -> None:
    many = tuple(c.NewJob(content=b"{}") for _ in range(2 * jobs))
    world.ask.ask(c.AddJobs, jobs=many, defaults=Defaults())
    world.hold()
    claims = [world.ask.claiming(count=jobs) for _ in range(2)]
    assert len(world.under_way) == under_way
    world.let_go()
    claimed = [[one.job.spec.arrival for one in claim.answer.jobs] for claim in claims]
    assert list(map(len, claimed)) == [jobs, jobs]
    assert max(claimed[0]) < min(claimed[1])


def test_adds_with_a_unique_key_wait_for_each_other(world: OverlappingWorld) -> None:
    world.hold()
    adding = [world.adding(unique_key="k") for _ in range(2)]
    assert len(world.under_way) == 1
    world.let_go()
    assert adding[0].answer[0].job.spec.uid == adding[1].answer[0].job.spec.uid


def test_a_waiting_claim_gets_a_job_added_while_its_first_search_is_under_way(world: OverlappingWorld) -> None:
    world.hold()
    claim = world.ask.claiming()
    (lane,) = world.under_way
    world.adding()
    (other,) = (one for one in world.under_way if one is not lane)
    other.let_go()
    world.settle()
    lane.let_go()
    world.advance(0.05)
    assert claim.answered


@pytest.mark.parametrize("frees", [True, False])
def test_a_claim_that_finds_all_ready_jobs_locked_is_repeated_once(world: OverlappingWorld, frees: bool) -> None:
    job = world.ask.add()
    world.control.execute("BEGIN")
    world.control.execute("SELECT 1 FROM job FOR UPDATE")
    world.hold()
    claim = world.ask.claiming(wait=0)
    if frees:
        world.control.execute("ROLLBACK")
    world.let_go()
    assert [one.job.spec.uid for one in claim.answer.jobs] == [job.spec.uid] * frees
    world.control.execute("ROLLBACK")


@define
class NotedTurn(AbstractContextManager[None]):
    """A lane's turn that is always free, and records its uses."""

    seen: list[str]

    def __enter__(self) -> None:
        self.seen.append("turn begins")

    def __exit__(self, *_: object) -> None:
        self.seen.append("turn ends")


@pytest.mark.parametrize(
    ("jobs", "steps"),
    [
        (100, ["trip", "made", "trip"]),
        (101, ["trip", "turn begins", "made", "turn ends", "trip"]),
        (501, ["trip", "turn begins", "made", "made", "made", "turn ends", "trip"]),
    ],
)
def test_large_batches_take_turns_with_other_lanes_and_small_batches_do_not_wait(
    database: Database, monkeypatch: pytest.MonkeyPatch, jobs: int, steps: list[str]
) -> None:
    database.clear()
    seen: list[str] = []
    session = session_on(database.url, turn=NotedTurn(seen))
    session.carry_out([c.CreateQueue(queue="q", access_key=KEY)])
    session.carry_out([new_job()])
    note(monkeypatch, Rows, "sealed_jobs", seen, "made")
    note(monkeypatch, Connection, "wait", seen, "trip")
    many = tuple(c.NewJob(content=b"{}") for _ in range(jobs))
    added = session.carry_out([c.AddJobs(queue="q", access_key=KEY, jobs=many, defaults=Defaults())])
    assert len(added.outcomes[0].get()) == jobs
    assert seen == steps
    session.close()


def note(monkeypatch: pytest.MonkeyPatch, kind: type, method: str, seen: list[str], what: str) -> None:
    """Record each call of a method."""
    real = getattr(kind, method)

    def noted(*args: Any, **how: Any) -> Any:
        seen.append(what)
        return real(*args, **how)

    monkeypatch.setattr(kind, method, noted)
