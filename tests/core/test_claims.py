"""Updates and claims over several queues in one request."""

from typing import Any

import pytest

from jobengine.core.commands import (
    AddKey,
    Changes,
    Claim,
    Claims,
    JobUpdate,
    QueueCommand,
    QueueUpdate,
    RevokeKey,
    UpdateJobs,
)
from jobengine.core.errors import AccessDenied, JobNotFound, NotAllowed, QueueNotFound
from jobengine.core.model import INPROGRESS, Role, State
from tests.core.worlds import KEY, World, picture


class Engine:
    """Decides and applies each part at once, and records the parts."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.parts: list[Any] = []

    def __call__(self, command: QueueCommand[Any]) -> Any:
        self.parts.append(command)
        return self.world.ask(command)

    def carry_out(self, claims: Claims) -> Any:
        world = self.world
        return claims.carry_out(world.tables, world.now, self, lambda _now: self.parts.append("served"))


@pytest.fixture
def engine(world: World) -> Engine:
    world.create("other")
    return Engine(world)


def claims(*queues: str, **more: Any) -> Claims:
    return Claims(**{"queues": queues, "access_key": KEY, **more})


def completed(uid: str, queue: str = "q") -> QueueUpdate:
    return QueueUpdate(queue, JobUpdate(uid=uid, changes=Changes(state=State.COMPLETE)))


def uids(result: Any) -> list[tuple[str, str]]:
    return [(one.queue, one.job.spec.uid) for one in result.jobs]


def test_a_claim_from_several_queues_takes_jobs_of_earlier_queues_first(engine: Engine) -> None:
    world = engine.world
    later = [world.add("other", priority=9).spec.uid for _ in range(3)]
    first = [world.add("q").spec.uid for _ in range(2)]
    result = engine.carry_out(claims("q", "other", count=4))
    assert uids(result) == [("q", first[0]), ("q", first[1]), ("other", later[0]), ("other", later[1])]
    assert [part.count for part in engine.parts] == [4, 2]


def test_a_request_makes_its_updates_then_serves_waiters_and_then_claims(engine: Engine) -> None:
    world = engine.world
    held = [world.add(queue).spec.uid for queue in ("q", "q", "other")]
    ready = world.add("q").spec.uid
    updates = (completed(held[0]), completed(held[1]), completed(held[2], "other"), completed("none"))
    result = engine.carry_out(claims("q", updates=updates, count=5))
    assert [type(part) for part in engine.parts] == [UpdateJobs, UpdateJobs, UpdateJobs, str, Claim]
    assert [one if isinstance(one, JobNotFound) else one.state for one in result.results[:3]] == [State.COMPLETE] * 3
    assert isinstance(result.results[3], JobNotFound)
    assert uids(result) == [("q", ready)]


def test_a_claim_without_updates_does_not_serve_waiters_first(engine: Engine) -> None:
    assert engine.carry_out(claims("q", "other")).jobs == []
    assert [type(part) for part in engine.parts] == [Claim, Claim]


@pytest.mark.parametrize(
    ("queues", "error"), [(("q", "none"), QueueNotFound), (("q", "foreign"), AccessDenied), (("q", "seen"), NotAllowed)]
)
@pytest.mark.parametrize("updates", [False, True])
def test_a_claim_request_changes_nothing_if_the_key_does_not_allow_all_its_parts(
    engine: Engine, queues: tuple[str, ...], error: type[Exception], *, updates: bool
) -> None:
    world = engine.world
    world.create("foreign", key=b"another")
    world.create("seen", key=b"another")
    world.ask(AddKey(queue="seen", access_key=b"another", role=Role.VIEWER, new_access_key=KEY))
    uid = world.add().spec.uid
    before = picture(world.tables)
    several = (completed(uid), completed(uid, queues[1]))
    command = claims("q", updates=several) if updates else claims(*queues)
    with pytest.raises(error):
        engine.carry_out(command)
    assert (engine.parts, picture(world.tables)) == ([], before)


def test_a_waiter_claims_only_offered_jobs_that_are_still_ready(engine: Engine) -> None:
    world = engine.world
    first, second, third = (world.add(queue).spec.uid for queue in ("q", "other", "other"))
    taken = world.hold(queue="other", uids=(second,)).standing.lease
    offer = [("q", (first,)), ("other", (second, third))]
    result = claims("q", "other", count=3).carry_out_offer(world.tables, world.now, engine, offer)
    assert uids(result) == [("q", first), ("other", third)]
    assert [one.job.state for one in result.jobs] == [INPROGRESS] * 2
    assert world.read(second, "other").standing.lease == taken


def test_a_waiter_for_several_queues_gets_no_job_if_one_queue_has_revoked_its_key(engine: Engine) -> None:
    world = engine.world
    keys = {
        queue: world.ask(AddKey(queue=queue, access_key=KEY, role=Role.WORKER, new_access_key=b"worker")).id
        for queue in ("q", "other")
    }
    uid = world.add().spec.uid
    world.ask(RevokeKey(queue="other", access_key=KEY, key_id=keys["other"]))
    command = claims("q", "other", access_key=b"worker")
    with pytest.raises(AccessDenied):
        command.carry_out_offer(world.tables, world.now, engine, [("q", (uid,))])
    assert world.read(uid).state is State.QUEUED
