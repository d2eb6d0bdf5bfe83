"""The contract of engines about the rules of unique keys."""

from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core import errors as e
from jobengine.core.flow import Limits
from jobengine.core.model import Defaults, Job, State
from jobengine.core.schedules import IfRunning, ScheduledJob, Settings
from jobengine.core.unique_rule import Debounce, IfInProgress, IfQueued, UniqueRule, Until
from tests.contract.asking import KEY, Asker, Contract
from tests.contract.world import World
from tests.core.worlds import EDGE

REPLACE = UniqueRule(if_queued=IfQueued.REPLACE)
STARTED = UniqueRule(until=Until.STARTED)
BESIDE = UniqueRule(if_running=IfInProgress.ADD, if_queued=IfQueued.REPLACE)


def adding(*jobs: dict[str, Any], **more: Any) -> c.AddJobs:
    made = tuple(c.NewJob(**{"content": b"{}", "unique_key": "k", **job}) for job in jobs)
    return c.AddJobs(queue="q", access_key=KEY, jobs=made, defaults=Defaults(), many=True, **more)


def put(ask: Asker, rule: UniqueRule | None = None, number: int = 0, **job: Any) -> tuple[Job, str]:
    """Add a job with the key k; the outcome is "new", "kept" or "replaced"."""
    content = b'{"n":%d}' % number
    (added,) = ask.get(ask.world.engine.ask(adding({"unique": rule, "content": content, **job})))
    assert ask.read(added.job) == added.job
    return added.job, "new" if added.new else "replaced" if added.replaced else "kept"


class UniqueKeysContract(Contract):
    """Unique keys that replace jobs, are free early, or stay taken."""

    def test_a_key_held_until_started_is_free_after_the_claim_and_taken_after_the_retry(
        self, world: World, ask: Asker
    ) -> None:
        assert [put(ask, STARTED, max_attempts=2)[1] for _ in range(2)] == ["new", "kept"]
        job = ask.hold()
        world.reopen()
        second, how = put(ask, STARTED)
        assert how == "new"
        ask.delete(second)
        ask.update(job, State.FAILED)
        assert put(ask, STARTED)[0].spec.uid == job.spec.uid

    def test_a_key_with_seconds_is_taken_until_the_seconds_have_passed(self, world: World, ask: Asker) -> None:
        first, _ = put(ask, UniqueRule(seconds=90), keep_minutes=0)
        ask.update(ask.hold(), State.COMPLETE)
        world.advance(30)
        world.reopen()
        world.advance(59)
        assert put(ask) == (ask.read(first), "kept")
        world.advance(1)
        assert put(ask)[1] == "new"
        assert ask.read(first).standing.notes.key_passed_on
        world.advance(30)
        with pytest.raises(e.JobNotFound):
            ask.read(first)

    def test_setting_the_wall_clock_changes_no_key(self, world: World, ask: Asker) -> None:
        put(ask, UniqueRule(seconds=90))
        ask.update(ask.hold(), State.COMPLETE)
        world.set_wall_clock(3_600)
        assert put(ask)[1] == "kept"

    def test_a_key_taken_again_several_times_passes_from_each_job_to_the_next(self, world: World, ask: Asker) -> None:
        uids = set()
        for _ in range(5):
            job, how = put(ask, UniqueRule(seconds=1))
            assert how == "new"
            ask.update(ask.hold(), State.COMPLETE)
            uids.add(job.spec.uid)
            world.advance(1)
        lost = [job for job in ask.jobs() if job.standing.notes.key_passed_on]
        assert (len(uids), len(lost)) == (5, 4)

    @pytest.mark.parametrize("with_groups", [False, True])
    def test_a_job_whose_content_is_replaced_is_claimed_by_its_new_tags_and_priority(
        self, ask: Asker, with_groups: bool
    ) -> None:
        more: dict[str, Any] = {}
        if with_groups:
            ask.reconfigure(group_limits=Limits(in_progress=1))
            more = {"group": "g"}
        first, _ = put(ask, REPLACE, 1, tags=("a", "x"), **more)
        other = ask.add(priority=5, tags=("b",), **more)
        replaced, how = put(ask, REPLACE, 2, tags=("b", "x"), priority=9)
        assert (how, replaced.spec.uid, replaced.spec.rare.group) == ("replaced", first.spec.uid, more.get("group"))
        assert ask.claim(tags=("a",)) is None
        claimed = ask.hold(tags=("b",))
        assert (claimed.spec.uid, claimed.spec.content) == (first.spec.uid, b'{"n":2}')
        if with_groups:
            assert ask.claim() is None
            ask.update(claimed, State.COMPLETE)
        assert ask.hold().spec.uid == other.spec.uid
        assert put(ask, STARTED, 3, **more)[1] == ("new" if with_groups else "kept")

    def test_a_job_whose_content_was_replaced_survives_a_restart(self, world: World, ask: Asker) -> None:
        put(ask, REPLACE, 1, delay_seconds=60)
        job, _ = put(ask, UniqueRule(seconds=5, if_queued=IfQueued.REPLACE, debounce=Debounce(2, 3)), 2)
        world.reopen()
        assert ask.read(job) == job

    def test_a_delayed_job_that_an_add_replaces_without_delay_goes_to_a_waiter(self, world: World, ask: Asker) -> None:
        job, _ = put(ask, REPLACE, 1, delay_seconds=60)
        waiting = ask.claiming()
        assert not waiting.answered
        ask.get(world.engine.ask(adding({"unique": REPLACE, "content": b'{"n":2}'})))
        (claimed,) = waiting.answer.jobs
        assert (claimed.job.spec.uid, claimed.job.spec.content) == (job.spec.uid, b'{"n":2}')

    def test_a_debounced_job_goes_to_a_waiter_when_its_delay_passes_without_another_add(
        self, world: World, ask: Asker
    ) -> None:
        rule = UniqueRule(if_queued=IfQueued.REPLACE, debounce=Debounce(5, 12))
        waiting = ask.claiming(wait=60)
        for number in range(4):
            assert put(ask, rule, number)[1] == ("replaced" if number else "new")
            world.advance(3)
        assert waiting.answer.jobs[0].job.spec.content == b'{"n":3}'

    def test_at_most_one_job_is_queued_beside_jobs_in_progress(self, ask: Asker) -> None:
        for number in range(3):
            assert [put(ask, BESIDE, number)[1] for _ in range(2)] == ["new", "replaced"]
            ask.hold()
        assert put(ask)[1] == "kept"
        assert ask.counts() == {State.INPROGRESS: 3}

    def test_a_bulk_add_replaces_stored_jobs_and_its_own_earlier_jobs_but_none_if_refused(
        self, world: World, ask: Asker
    ) -> None:
        first, _ = put(ask, REPLACE, 1)
        its = [{"unique": REPLACE, "content": b'{"n":%d}' % n, "unique_key": key} for n, key in ((2, "k"), (3, "o"))]
        bad = {"uid": first.spec.uid, "unique_key": None}
        with pytest.raises(e.BadItem):
            ask.get(world.engine.ask(adding(*its, *its, bad)))
        assert ask.jobs() == [first]
        added = ask.get(world.engine.ask(adding(*its, *its)))
        assert [(one.new, one.replaced) for one in added] == [
            (False, True),
            (True, False),
            (False, True),
            (False, True),
        ]
        assert [job.spec.content for job in ask.jobs()] == [b'{"n":2}', b'{"n":3}']

    def test_of_concurrent_adds_with_a_key_the_first_adds_a_job_and_the_others_replace_it(
        self, world: World, ask: Asker
    ) -> None:
        requests = [adding({"unique": REPLACE, "content": b'{"n":%d}' % number}) for number in range(9)]
        added = [one for (one,) in world.all_of(*map(world.engine.ask, requests))]
        assert sorted((one.new, one.replaced) for one in added) == [(False, True)] * 8 + [(True, False)]
        (job,) = ask.jobs()
        assert job in [one.job for one in added]

    @pytest.mark.parametrize("end", [State.COMPLETE, State.FAILED])
    def test_a_job_of_a_batch_whose_content_is_replaced_still_counts_in_the_batch(self, ask: Asker, end: State) -> None:
        ask.ask(c.SetBatch, name="b", defaults=Defaults(), then=c.NewJob(content=b'{"then":1}'))
        first, _ = put(ask, REPLACE, 1, batch="b")
        replaced, how = put(ask, REPLACE, 2)
        assert (how, replaced.spec.rare.batch) == ("replaced", "b")
        ask.ask(c.CloseBatch, name="b")
        assert ask.ask(c.ReadBatch, name="b").counts.states[State.QUEUED] == 1
        ask.update(first, end)
        assert ask.ask(c.ReadBatch, name="b").counts.states[end] == 1

    def test_a_job_whose_content_is_replaced_still_waits_for_its_dependencies(self, ask: Asker) -> None:
        awaited = ask.add()
        put(ask, depends_on=(("q", awaited.spec.uid),))
        replaced, how = put(ask, REPLACE, 2)
        assert (how, replaced.waits) == ("replaced", True)
        ask.update(ask.hold(), State.COMPLETE)
        assert ask.hold().spec.content == b'{"n":2}'

    def test_a_schedule_skips_while_a_finished_job_holds_its_key(self, world: World, ask: Asker) -> None:
        put(ask, UniqueRule(seconds=90))
        ask.update(ask.hold(), State.COMPLETE)
        settings = Settings(every_seconds=60, job=ScheduledJob(content="{}", unique_key="k"), if_running=IfRunning.ADD)
        ask.ask(c.SetSchedule, name="s", settings=settings, edge=EDGE)
        world.advance(60)
        world.advance(60)
        firings = ask.ask(c.ReadSchedule, name="s").schedule.firings
        assert [one.skipped is None for one in firings] == [False, True]
        lost = [one for one in ask.jobs() if one.standing.notes.key_passed_on]
        assert len(lost) == 1
