"""How long a job holds its unique key, and what an add does while another job holds it."""

from typing import Any

import pytest

from jobengine.core.commands import AddKey, CloseBatch, NewJob, ReturnClaims, SetBatch
from jobengine.core.errors import ThenExists, UniqueKeyTaken
from jobengine.core.fact_codec import decode, encode
from jobengine.core.facts import JobAdded, JobChanged
from jobengine.core.model import Context, Defaults, Job, Role, State
from jobengine.core.unique_rule import Debounce, IfInProgress, IfQueued, UniqueRule, Until
from tests.core.worlds import KEY, NOW, World, picture

UID = "00000000-0000-4000-8000-000000000001"
SECOND = 1_000

STARTED = UniqueRule(until=Until.STARTED)
REPLACE = UniqueRule(if_queued=IfQueued.REPLACE)
BESIDE = UniqueRule(if_running=IfInProgress.ADD)
BESIDE_REPLACE = UniqueRule(if_running=IfInProgress.ADD, if_queued=IfQueued.REPLACE)


def new(rule: UniqueRule | None = None, **more: Any) -> NewJob:
    return NewJob(**{"content": b"{}", "unique_key": "k", "unique": rule, **more})


def put(world: World, rule: UniqueRule | None = None, **more: Any) -> tuple[Job, str]:
    """Add a job with the key k; the outcome is "new", "kept" or "replaced"."""
    (added,) = world.add_all(new(rule, **more))
    assert world.read(added.job.spec.uid) == added.job
    assert picture(world.tables)
    return added.job, "new" if added.new else "replaced" if added.replaced else "kept"


def outcome(world: World, rule: UniqueRule | None = None, **more: Any) -> str:
    return put(world, rule, **more)[1]


# until


def test_a_key_held_until_started_is_free_as_soon_as_the_job_is_claimed(world: World) -> None:
    assert [outcome(world, STARTED) for _ in range(2)] == ["new", "kept"]
    world.hold()
    assert [outcome(world, STARTED) for _ in range(2)] == ["new", "kept"]


def test_the_rule_of_the_holder_decides_how_long_the_key_is_held(world: World) -> None:
    put(world, STARTED)
    world.hold()
    assert outcome(world) == "new"
    world.hold()
    assert outcome(world, STARTED) == "kept"


def test_a_job_that_is_queued_again_holds_its_key_again(world: World) -> None:
    first, _ = put(world, STARTED, max_attempts=2)
    world.hold()
    world.update(first.spec.uid, State.FAILED)
    assert put(world, STARTED) == (world.read(first.spec.uid), "kept")


def test_a_job_whose_claim_is_undone_holds_its_unique_key_again(world: World) -> None:
    first, _ = put(world, STARTED)
    held = world.hold()
    world.ask(ReturnClaims(queue="q", access_key=KEY, claims=((held.spec.uid, held.standing.lease or ""),)))
    assert put(world, STARTED)[0].spec.uid == first.spec.uid


def test_of_two_queued_holders_of_a_key_keep_returns_the_older_and_replace_changes_the_newer(world: World) -> None:
    first, _ = put(world, STARTED, max_attempts=2)
    world.hold()
    second, how = put(world, STARTED)
    assert how == "new"
    world.update(first.spec.uid, State.FAILED)
    assert put(world, STARTED)[0].spec.uid == first.spec.uid
    replaced, how = put(world, REPLACE, content=b'{"n":1}')
    assert (how, replaced.spec.uid) == ("replaced", second.spec.uid)


# seconds


@pytest.mark.parametrize("end", [State.COMPLETE, State.FAILED])
def test_a_unique_key_with_seconds_stays_taken_after_its_job_is_finished(world: World, end: State) -> None:
    first, _ = put(world, UniqueRule(seconds=90))
    world.hold()
    world.update(first.spec.uid, end)
    world.now += 90 * SECOND - 1
    assert put(world) == (world.read(first.spec.uid), "kept")
    world.now += 1
    assert outcome(world) == "new"


@pytest.mark.parametrize("minutes", [None, 0, 1, 1_000])
def test_a_finished_job_is_kept_while_the_job_holds_its_unique_key(world: World, minutes: int | None) -> None:
    job, _ = put(world, UniqueRule(seconds=90), keep_minutes=minutes)
    assert (job.spec.keep.minutes, job.spec.keep.failed_minutes) == {
        None: (60, 4_320), 0: (2, 2), 1: (2, 2), 1_000: (1_000, 1_000)
    }[minutes]  # fmt: skip


def test_a_job_whose_content_is_replaced_gets_the_retention_that_the_new_rule_needs(world: World) -> None:
    put(world, keep_minutes=0)
    job, _ = put(world, UniqueRule(seconds=90, if_queued=IfQueued.REPLACE), keep_minutes=1_000)
    assert (job.spec.keep.minutes, job.spec.keep.failed_minutes) == (2, 2)


def test_deleting_a_finished_job_frees_its_key(world: World) -> None:
    first, _ = put(world, UniqueRule(seconds=90))
    world.update(first.spec.uid, State.COMPLETE)
    world.delete(first.spec.uid)
    assert outcome(world) == "new"


def test_a_new_job_takes_the_key_from_finished_jobs_permanently(world: World) -> None:
    first, _ = put(world, UniqueRule(seconds=90))
    world.update(first.spec.uid, State.COMPLETE)
    world.now += 90 * SECOND
    second, how = put(world, UniqueRule(seconds=90))
    assert how == "new"
    assert world.read(first.spec.uid).standing.notes.key_passed_on
    assert world.read(first.spec.uid).updated == NOW
    assert [job.spec.uid for job in world.tables.queues["q"].holders("k")] == [second.spec.uid]


def test_completing_a_cancelled_job_does_not_give_it_back_a_unique_key_that_a_newer_job_took(world: World) -> None:
    first, _ = put(world, UniqueRule(seconds=60))
    world.update(first.spec.uid, cancel=True)
    world.now += 60 * SECOND
    second, _ = put(world)
    world.delete(second.spec.uid)
    world.update(first.spec.uid, State.COMPLETE)
    assert outcome(world) == "new"


def test_a_retried_job_holds_its_lost_key_again(world: World) -> None:
    first, _ = put(world, UniqueRule(seconds=90))
    world.update(first.spec.uid, State.COMPLETE)
    world.now += 90 * SECOND
    world.update(put(world)[0].spec.uid, State.COMPLETE)
    world.update(first.spec.uid, State.QUEUED)
    assert put(world)[0].spec.uid == first.spec.uid
    world.update(first.spec.uid, State.COMPLETE)
    assert put(world) == (world.read(first.spec.uid), "kept")


def test_an_add_with_if_running_add_does_not_take_the_key_of_a_finished_job(world: World) -> None:
    first, _ = put(world, UniqueRule(seconds=60, if_running=IfInProgress.ADD))
    world.update(first.spec.uid, State.COMPLETE)
    assert outcome(world, BESIDE) == "kept"
    world.now += 60 * SECOND
    assert outcome(world, BESIDE) == "new"


# if_queued


def test_replacing_a_job_changes_its_content_and_settings_but_not_its_uid_and_arrival(world: World) -> None:
    first, _ = put(
        world,
        content=b'{"n":1}',
        priority=1,
        tags=("a",),
        keep_minutes=7,
        timeout_seconds=8,
        max_attempts=9,
        retry_delay_seconds=10,
        context=Context(meta='{"m":1}', traceparent="t"),
    )
    world.now += 5
    replaced, how = put(
        world,
        REPLACE,
        content=b'{"n":2}',
        priority=2,
        tags=("b",),
        keep_minutes=70,
        timeout_seconds=80,
        max_attempts=90,
        retry_delay_seconds=100,
        context=Context(meta='{"m":2}'),
        delay_seconds=3,
    )
    assert how == "replaced"
    changed = {"content": b'{"n":2}', "priority": 2, "tags": ("b",)}
    for name in first.spec.__struct_fields__:
        if name not in ("rank", "rare"):
            assert getattr(replaced.spec, name) == changed.get(name, getattr(first.spec, name)), name
    assert (replaced.spec.rare.context, replaced.spec.rare.unique) == (Context(meta='{"m":2}'), REPLACE)
    assert replaced.standing.ready_at == world.now + 3 * SECOND
    assert replaced.updated == world.now
    assert len(world.list()) == 1


def test_with_priority_ageing_a_job_keeps_its_age_when_an_add_replaces_its_priority(world: World) -> None:
    world.set_up(seconds_per_priority=60)
    first, _ = put(world, priority=5)
    world.now += 30 * SECOND
    more, less = world.add(priority=1), world.add()
    put(world, REPLACE)
    assert [world.hold().spec.uid for _ in range(3)] == [more.spec.uid, first.spec.uid, less.spec.uid]


def test_a_unique_key_without_a_rule_never_replaces_a_job(world: World) -> None:
    first, _ = put(world, REPLACE)
    assert put(world, content=b'{"n":1}') == (first, "kept")


def test_replacing_without_a_delay_makes_a_delayed_job_ready(world: World) -> None:
    put(world, delay_seconds=60)
    assert put(world, REPLACE)[0].ready


def test_a_job_whose_content_is_replaced_starts_over_and_keeps_only_its_history(world: World) -> None:
    first, _ = put(world, REPLACE, max_attempts=3, retry_delay_seconds=50)
    world.hold()
    world.update(first.spec.uid, State.FAILED, error="no", progress=5, result=b"1")
    replaced, how = put(world, REPLACE)
    standing = replaced.standing
    assert (how, standing.attempts, replaced.ready, replaced.retrying) == ("replaced", 0, True, False)
    assert (standing.notes.error, standing.notes.progress, standing.notes.result) == (None, None, None)
    assert [one.error for one in standing.notes.history] == ["no"]


def test_a_job_in_progress_is_never_replaced(world: World) -> None:
    put(world, REPLACE)
    held = world.hold()
    assert put(world, REPLACE, content=b'{"n":1}') == (held, "kept")
    assert put(world, BESIDE_REPLACE, content=b'{"n":2}')[1] == "new"
    assert world.read(held.spec.uid) == held


def test_a_job_whose_content_is_replaced_still_waits_for_the_jobs_on_which_it_depends(world: World) -> None:
    awaited = world.add(uid=UID).spec.uid
    put(world, depends_on=(("q", awaited),))
    replaced, how = put(world, REPLACE, content=b'{"n":1}')
    assert (how, replaced.waits, replaced.standing.ended) == ("replaced", True, "-")
    world.update(awaited, State.COMPLETE)
    assert world.hold().spec.content == b'{"n":1}'


def test_a_repeated_request_with_the_same_uid_replaces_no_job(world: World) -> None:
    put(world, REPLACE, uid=UID)
    replaced, how = put(world, REPLACE, content=b'{"n":1}')
    assert (replaced.spec.uid, how) == (UID, "replaced")
    assert put(world, REPLACE, uid=UID) == (replaced, "kept")


@pytest.mark.parametrize("set_up", [{"draining": True}, {"max_jobs": 1}])
def test_a_job_can_be_replaced_in_a_full_or_draining_queue(world: World, set_up: dict[str, Any]) -> None:
    put(world)
    world.set_up(**set_up)
    assert outcome(world, REPLACE) == "replaced"


def test_a_producer_may_add_beside_a_job_of_another_producer_but_may_not_replace_the_job(world: World) -> None:
    world.ask(AddKey(queue="q", access_key=KEY, role=Role.PRODUCER, new_access_key=b"p"))
    put(world)
    before = picture(world.tables)
    with pytest.raises(UniqueKeyTaken):
        world.add_all(new(REPLACE), access_key=b"p", many=False)
    assert picture(world.tables) == before
    world.hold()
    assert world.add_all(new(BESIDE_REPLACE), access_key=b"p")[0].new
    assert world.add_all(new(BESIDE_REPLACE), access_key=b"p")[0].replaced


def test_the_last_job_of_a_batch_replaces_no_other_job(world: World) -> None:
    first, _ = put(world)
    with pytest.raises(ThenExists):
        world.ask(SetBatch(queue="q", access_key=KEY, defaults=Defaults(), name="b", then=new(REPLACE)))
    assert world.read(first.spec.uid) == first


# if_running


def test_at_most_one_job_is_queued_beside_jobs_in_progress(world: World) -> None:
    assert outcome(world, BESIDE) == "new"
    for _ in range(3):
        world.hold()
        assert [outcome(world, BESIDE) for _ in range(2)] == ["new", "kept"]
    assert outcome(world) == "kept"


def test_an_add_with_if_queued_keep_returns_the_oldest_unfinished_holder(world: World) -> None:
    put(world, BESIDE)
    held = world.hold()
    put(world, BESIDE)
    assert put(world)[0] == held


# debounce


@pytest.mark.parametrize("rule", [None, REPLACE])
def test_each_add_delays_a_debounced_job_again(world: World, rule: UniqueRule | None) -> None:
    debounced = UniqueRule(if_queued=IfQueued.REPLACE, debounce=Debounce(5, 12))
    first, _ = put(world, debounced)
    assert first.standing.ready_at == NOW + 5 * SECOND
    ends = []
    for _ in range(4):
        world.now += 3 * SECOND
        job, how = put(world, debounced, content=b'{"at":%d}' % world.now)
        assert (job.spec.uid, how) == (first.spec.uid, "replaced")
        ends.append(job.standing.ready_at and job.standing.ready_at - NOW)
    assert ends == [8 * SECOND, 11 * SECOND, 12 * SECOND, 0]
    assert world.hold().spec.content == b'{"at":%d}' % (NOW + 12 * SECOND)
    assert put(world, debounced) == (world.list()[0], "kept")


def test_a_ready_debounced_job_is_delayed_again_if_its_latest_time_has_not_come(world: World) -> None:
    debounced = UniqueRule(if_queued=IfQueued.REPLACE, debounce=Debounce(2, 60))
    put(world, debounced)
    world.now += 10 * SECOND
    assert world.peek() is not None
    assert put(world, debounced)[0].standing.ready_at == world.now + 2 * SECOND


# Several in one request


def test_adds_in_one_request_give_the_same_jobs_as_separate_requests(world: World) -> None:
    requests = [new(BESIDE_REPLACE, content=b'{"n":%d}' % number) for number in range(3)]
    put(world, content=b'{"n":9}')
    world.hold()
    outcomes = world.add_all(*requests)
    assert [(one.new, one.replaced) for one in outcomes] == [(True, False), (False, True), (False, True)]
    assert len({one.job.spec.uid for one in outcomes}) == 1
    assert [job.spec.content for job in world.list()] == [b'{"n":9}', b'{"n":2}']
    again = world.add_all(*requests)
    assert all(one.replaced for one in again)
    assert [job.spec.content for job in world.list()] == [b'{"n":9}', b'{"n":2}']
    assert picture(world.tables)


def test_a_job_replaced_by_the_request_that_added_it_is_still_found_by_its_uid(world: World) -> None:
    added = world.add_all(new(REPLACE, uid=UID), new(REPLACE, content=b'{"n":1}'), new(REPLACE, uid=UID))
    assert [(one.new, one.replaced) for one in added] == [(True, False), (False, True), (False, False)]
    assert added[2].job == added[1].job == world.read(UID)


def test_of_several_jobs_in_a_request_only_one_takes_the_unique_key_of_a_finished_job(world: World) -> None:
    first, _ = put(world, UniqueRule(seconds=1))
    world.update(first.spec.uid, State.COMPLETE)
    world.now += SECOND
    added = world.add_all(new(STARTED), new(STARTED), new(unique_key="other"))
    assert [one.new for one in added] == [True, False, True]
    assert world.read(first.spec.uid).standing.notes.key_passed_on


# Storage


def test_the_rule_of_a_unique_key_and_the_loss_of_the_key_survive_encoding(world: World) -> None:
    rule = UniqueRule(seconds=90, if_queued=IfQueued.REPLACE, debounce=Debounce(1, 2))
    job, _ = put(world, rule)
    world.update(job.spec.uid, State.COMPLETE)
    world.now += 90 * SECOND
    put(world, rule)
    lost = world.read(job.spec.uid)
    for fact in (JobAdded("q", lost), JobChanged("q", lost.spec.uid, lost.standing)):
        assert decode(encode(fact)) == fact


def test_replacing_a_job_does_not_change_its_batch(world: World) -> None:
    world.ask(SetBatch(queue="q", access_key=KEY, defaults=Defaults(), name="b"))
    first, _ = put(world, batch="b")
    replaced, _ = put(world, REPLACE, content=b'{"n":1}')
    assert (replaced.spec.uid, replaced.spec.rare.batch) == (first.spec.uid, "b")
    assert world.ask(CloseBatch(queue="q", access_key=KEY, name="b")).counts.states[State.QUEUED] == 1
