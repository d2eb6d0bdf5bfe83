"""The contract of engines about roles, keys and queue settings."""

import gc
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core import errors as e
from jobengine.core.model import Defaults, Role, State
from jobengine.engine.door import Door
from tests.contract.asking import ANY_UID, KEY, Asker, Contract, every_question, new_job
from tests.contract.world import World
from tests.core import test_access
from tests.core.test_rules import kinds

#: The commands that each role may give, according to the documentation; the owner may give all.
MAY = {role: may | {c.CheckKey} for role, may in test_access.MAY.items()}
MAY[Role.WORKER] |= {c.Claims}
#: The most objects that 2,000 refusals may leave in memory: a tenth of an object for each.
REFUSED = 200


def _objects_left_by(act: Callable[[], None], times: int) -> int:
    """The number of objects that `times` calls leave in memory."""
    # The first call fills caches.
    act()
    before = _objects()
    for _ in range(times):
        act()
    return _objects() - before


def _objects() -> int:
    gc.collect()
    return len(gc.get_objects())


class AccessContract(Contract):
    """Keys, roles, and the settings of a queue."""

    def test_the_contract_covers_every_command_and_method_of_an_engine(self, world: World) -> None:
        asked = every_question(world.engine)
        assert {type(command) for _, command, _ in asked} == {*kinds(), c.Claims, c.MoveMatching}
        verbs = {name for name in vars(Door) if not name.startswith("_")}
        life = {"open", "start", "abandon", "release", "stop", "readiness", "figures", "wall_clock_was_set"}
        of_no_queue = {"backup", "check_storage"}
        assert {verb.__name__ for verb, _, _ in asked} == verbs - life - of_no_queue

    @pytest.mark.parametrize("role", MAY)
    def test_a_key_with_a_role_may_do_only_what_is_documented(self, world: World, ask: Asker, role: Role) -> None:
        ask.add_key(role, b"role")
        job = ask.add()
        for verb, command, _ in every_question(world.engine, key=b"role", uid=job.spec.uid):
            if type(command) not in MAY[role]:
                with pytest.raises(e.NotAllowed):
                    ask.get(verb(command))
        assert ask.jobs() == [job]
        for verb, command, _ in every_question(world.engine, key=b"role"):
            if type(command) in MAY[role]:
                (result,) = world.all_of(verb(command))
                assert not isinstance(result, e.NotAllowed | e.AccessDenied)

    @pytest.mark.parametrize(("queue", "key"), [("none", KEY), ("q", b"wrong"), ("q", b"viewer")])
    def test_refused_commands_leave_no_objects_in_memory(
        self, world: World, ask: Asker, queue: str, key: bytes
    ) -> None:
        ask.add_key(Role.VIEWER, b"viewer")
        claims = c.Claims(queues=(queue,), access_key=key)

        def refuse() -> None:
            """Give 100 commands that are refused, half of them with each of two methods."""
            asked = [(world.engine.ask(new_job(queue, key)), world.engine.claim(claims)) for _ in range(50)]
            errors = world.all_of(*chain.from_iterable(asked))
            assert all(isinstance(one, e.DomainError) for one in errors)

        assert _objects_left_by(refuse, times=8) < REFUSED

    def test_refused_updates_with_a_claim_leave_no_objects_in_memory(self, world: World, ask: Asker) -> None:
        update = c.QueueUpdate("q", c.JobUpdate(uid=ANY_UID, changes=c.Changes(state=State.COMPLETE)))
        claims = c.Claims(queues=("q",), access_key=KEY, updates=(update,))

        def refuse() -> None:
            """Give a claim with 100 updates that are refused."""
            for found in world.all_of(*(world.engine.claim(claims) for _ in range(100))):
                assert [type(one) for one in found.results] == [e.JobNotFound]

        assert _objects_left_by(refuse, times=8) < REFUSED

    # Settings

    def test_a_paused_queue_gives_no_job_until_it_is_resumed(self, world: World, ask: Asker) -> None:
        job = ask.add()
        assert ask.reconfigure(paused=True).paused
        assert ask.claim() is None
        world.reopen()
        assert ask.claim() is None
        ask.reconfigure(paused=False)
        assert ask.hold().spec == job.spec

    def test_a_full_queue_refuses_jobs_and_names_the_first_refused_job(self, world: World, ask: Asker) -> None:
        ask.reconfigure(max_jobs=2)
        ask.add()
        many = c.AddJobs(queue="q", access_key=KEY, jobs=(c.NewJob(content=b"{}"),) * 3, defaults=Defaults(), many=True)
        with pytest.raises(e.BadItem) as caught:
            ask.get(world.engine.ask(many))
        assert (caught.value.index, type(caught.value.why)) == (1, e.QueueFull)
        assert len(ask.jobs()) == 1

    # Once

    @pytest.mark.parametrize("once", [{"uid": "00000000-0000-4000-8000-000000000001"}, {"idempotency_key": "once"}])
    def test_adding_a_stored_job_again_returns_the_job_but_a_different_job_is_refused(
        self, world: World, ask: Asker, once: dict[str, Any]
    ) -> None:
        job = ask.add(**once)
        ask.claim()
        world.reopen()
        (again,) = ask.get(world.engine.ask(new_job(**once)))
        assert (again.job.spec.uid, again.job.state, again.new) == (job.spec.uid, State.INPROGRESS, False)
        with pytest.raises(e.UidTaken):
            ask.add(**once, priority=1)

    def test_an_unfinished_job_is_the_only_job_with_its_unique_key(self, ask: Asker) -> None:
        job = ask.add(unique_key="u")
        assert ask.add(unique_key="u") == job
        ask.update(job, State.COMPLETE)
        another = ask.add(unique_key="u")
        assert another.spec.uid != job.spec.uid
        assert len(ask.jobs()) == 2

    # Stats

    def test_the_stats_of_a_queue_have_counts_ages_and_rates(self, world: World, ask: Asker) -> None:
        ask.create("empty")
        jobs = [ask.add(), ask.add(), ask.add(delay_seconds=60)]
        world.advance(3)
        ask.update(ask.hold(), State.COMPLETE)
        stats = ask.ask(c.ReadStats)
        assert (stats.queue.name, stats.ready, stats.delayed) == ("q", 1, 1)
        assert stats.counts == {**dict.fromkeys(State, 0), State.QUEUED: 2, State.COMPLETE: 1}
        assert stats.oldest_ready == world.now - jobs[1].spec.created
        counted = {"added": 3, "claimed": 1, "complete": 1, "failed": 0, "attempts_failed": 0, "cancelled": 0}
        assert stats.last_minute == counted
        assert stats.wait.p50 == 3_000
        assert [one.queue.name for one in ask.get(world.engine.ask(c.ListQueues()))] == ["empty", "q"]

    def test_metrics_have_unique_names_and_descriptions_that_end_with_a_full_stop(
        self, world: World, ask: Asker
    ) -> None:
        figures = ask.get(world.engine.figures())
        names = [(one.name, *chain.from_iterable(sorted(one.labels.items()))) for one in figures]
        assert len(set(names)) == len(names)
        assert all(one.help.endswith(".") for one in figures)
