"""Moves of jobs by uid, in steps between which other commands run."""

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from jobengine.core import commands as c
from jobengine.core.dead_letters import COMPLETE, NOT_FOUND
from jobengine.core.model import State
from jobengine.core.moves import Pace
from jobengine.engine.sweeps import move_matching
from tests.core.worlds import KEY, NOW, World

_MISSING = "00000000-0000-4000-8000-000000000007"


def _nothing() -> None:
    """Change nothing between two steps."""


@define
class Engine:
    """The part of an engine that a sweep uses; changes jobs `between` two steps, a millisecond apart."""

    world: World
    between: Callable[[], object] = _nothing
    #: How many uids each step had.
    steps: list[int] = field(factory=list)

    async def ask(self, command: Any) -> Any:
        if self.steps:
            self.world.now += 1
            self.between()
        self.steps.append(len(command.uids))
        return self.world.ask(command)


def _world(jobs: int) -> tuple[World, list[str]]:
    """A world with jobs in `q`, and an empty queue `other`; and the uids."""
    world = World()
    world.create()
    world.create("other")
    added = world.add_all(*[c.NewJob(content=b"{}") for _ in range(jobs)])
    return world, [one.job.spec.uid for one in added]


def _move(engine: Engine, uids: list[str], **more: Any) -> c.Moved:
    wanted = c.MoveMatching(queue="q", to="other", access_key=KEY, filter=c.Filter(), uids=tuple(uids), **more)
    clock, moves = Clock(), list[c.Moved]()
    Deferred.fromCoroutine(move_matching(engine, clock, wanted)).addCallback(moves.append)
    clock.pump([0] * len(uids))
    return moves[0]


def test_jobs_given_by_uid_move_in_that_order_in_steps_of_200_at_one_pace() -> None:
    world, uids = _world(401)
    engine = Engine(world)
    uids.reverse()
    moved = _move(engine, [_MISSING, *uids], pace=Pace(per_second=4))
    assert moved == c.Moved(matched=401, moved=401, left={NOT_FOUND: 1})
    assert engine.steps == [200, 200, 2]
    there, wall = world.list("other"), world.tables.wall(NOW)
    assert [job.spec.uid for job in there] == uids
    assert [job.standing.not_before for job in there] == [0, *range(wall + 250, wall + 401 * 250, 250)]


def test_jobs_given_by_uid_that_change_or_come_back_during_the_move_are_each_moved_once() -> None:
    world, uids = _world(201)
    engine = Engine(world)

    def change() -> None:
        """Retry the job of the next step, and return one of the first step to its queue."""
        world.update(uids[200], State.QUEUED)
        world.ask(c.MoveJobs(queue="other", to="q", access_key=KEY, filter=c.Filter(), uids=(uids[0],)))

    engine.between = change
    assert _move(engine, uids) == c.Moved(matched=201, moved=201)
    assert [job.spec.uid for job in world.list()] == [uids[0]]
    assert len(world.list("other")) == 200


def test_a_dry_run_by_uid_counts_like_the_move_and_changes_nothing() -> None:
    world, uids = _world(3)
    world.update(uids[1], State.COMPLETE)
    expected = c.Moved(matched=3, moved=2, left={COMPLETE: 1, NOT_FOUND: 1})
    assert _move(Engine(world), [*uids, _MISSING], dry_run=True) == expected
    assert (len(world.list()), world.list("other")) == (3, [])
    assert _move(Engine(world), [*uids, _MISSING]) == expected
    assert [job.spec.uid for job in world.list()] == [uids[1]]
