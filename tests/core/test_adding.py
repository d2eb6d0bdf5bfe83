"""Adding jobs: repeated requests, all or none, and the limits of a queue."""

from typing import Any

import pytest

from jobengine.core.commands import AddKey, NewJob
from jobengine.core.errors import BadItem, QueueDraining, QueueFull, UidTaken, UniqueKeyTaken
from jobengine.core.model import Context, Defaults, Role, State
from tests.core.worlds import KEY, NOW, World, picture

UID = "00000000-0000-4000-8000-000000000001"
OTHER_UID = "00000000-0000-4000-8000-000000000002"


def new(**more: Any) -> NewJob:
    return NewJob(**{"content": b"{}", **more})


def add_key(world: World, role: Role, key: bytes) -> str:
    key_id: str = world.ask(AddKey(queue="q", access_key=KEY, role=role, new_access_key=key)).id
    return key_id


# Defaults


def test_missing_fields_get_the_defaults_of_the_queue_or_the_server(world: World) -> None:
    server = Defaults(keep_minutes=1, timeout_seconds=2, max_attempts=3, retry_delay_seconds=4)
    queue = Defaults(keep_minutes=5, timeout_seconds=6, max_attempts=7, retry_delay_seconds=8)

    def numbers(**more: Any) -> tuple[int, ...]:
        (added,) = world.add_all(new(**more), defaults=server)
        spec = added.job.spec
        return spec.keep.minutes, spec.timeout_seconds, spec.max_attempts, spec.retry_delay_seconds

    assert numbers() == (1, 2, 3, 4)
    world.set_up(defaults=queue)
    assert numbers() == (5, 6, 7, 8)
    assert numbers(keep_minutes=0, timeout_seconds=0, max_attempts=1, retry_delay_seconds=0) == (0, 0, 1, 0)


# Repeated requests


@pytest.mark.parametrize("named", [{"uid": UID}, {"idempotency_key": "once"}])
def test_a_repeated_add_returns_the_existing_job_in_its_present_state(world: World, named: dict[str, str]) -> None:
    (first,) = world.add_all(new(tags=("t",), **named))
    world.hold()
    world.now += 5
    (again,) = world.add_all(new(tags=("t",), **named))
    assert (first.new, again.new) == (True, False)
    assert again.job == world.read(first.job.spec.uid)
    assert again.job.state is State.INPROGRESS
    assert len(world.list()) == 1


@pytest.mark.parametrize("named", [{"uid": UID}, {"idempotency_key": "once"}])
@pytest.mark.parametrize(
    "more",
    [
        {"content": b"{ }"},
        {"priority": 1},
        {"keep_minutes": 60},
        {"timeout_seconds": 600},
        {"timeout_time": 1 << 40},
        {"tags": ("t",)},
        {"max_attempts": 1},
        {"retry_delay_seconds": 0},
        {"unique_key": "k"},
        {"delay_seconds": 1},
        {"not_before": 1},
    ],
    ids=lambda more: next(iter(more)),
)
def test_a_different_job_with_the_same_uid_or_idempotency_key_is_refused(
    world: World, named: dict[str, str], more: dict[str, Any]
) -> None:
    (first,) = world.add_all(new(**named))
    before = picture(world.tables)
    with pytest.raises(UidTaken, match=first.job.spec.uid):
        world.add_all(new(**named, **more), many=False)
    assert picture(world.tables) == before


@pytest.mark.parametrize(
    ("more", "digest"),
    [
        ({}, "e464b6ae4de9bf1041ba692269d193c5"),
        ({"unique_key": "k"}, "95645cf01975cf84a5ad872c67c6a65b"),
        ({"context": Context(meta='{"a":1}')}, "cca0deb46bf9891aa4944a81a9a3eb10"),
        (
            {"unique_key": "k", "priority": 5, "tags": ("a", "b"), "context": Context(meta='{"a":1}', traceparent="x")},
            "7530139194d8e465991b0a0fe5cff6e6",
        ),
    ],
)
def test_the_digest_of_a_request_equals_the_digest_in_existing_files(
    world: World, more: dict[str, Any], digest: str
) -> None:
    assert world.add(uid=UID, content=b'{"n":1}', **more).spec.rare.request_digest == digest


def test_a_repeated_add_is_recognised_after_the_job_was_changed(world: World) -> None:
    world.add(uid=UID)
    world.update(UID, priority=5, content=b'{"n":1}')
    (again,) = world.add_all(new(uid=UID))
    assert (again.new, again.job.spec.priority) == (False, 5)


def test_adding_a_job_with_a_uid_that_the_server_chose_is_refused(world: World) -> None:
    uid = world.add().spec.uid
    with pytest.raises(UidTaken):
        world.add(uid=uid)


def test_a_uid_can_be_reused_after_its_job_is_removed(world: World) -> None:
    world.add(uid=UID)
    world.delete(UID)
    (again,) = world.add_all(new(uid=UID, priority=2))
    assert (again.new, again.job.spec.uid) == (True, UID)


def test_an_idempotency_key_applies_to_one_queue_and_one_access_key(world: World) -> None:
    add_key(world, Role.PRODUCER, b"p")
    world.create("other")
    uids = {
        world.add(idempotency_key="once").spec.uid,
        world.add("other", idempotency_key="once").spec.uid,
        world.add_all(new(idempotency_key="once"), access_key=b"p")[0].job.spec.uid,
    }
    assert len(uids) == 3


def test_adds_with_a_unique_key_return_the_same_job_until_it_is_finished(world: World) -> None:
    first = world.add(unique_key="k")
    (again,) = world.add_all(new(unique_key="k", priority=9))
    assert (again.new, again.job) == (False, first)
    held = world.hold()
    assert world.add_all(new(unique_key="k"))[0].job == held
    world.update(first.spec.uid, State.COMPLETE)
    assert world.add_all(new(unique_key="k"))[0].new


def test_a_finished_job_can_be_queued_again_beside_a_job_with_the_same_unique_key(world: World) -> None:
    first = world.add(unique_key="k").spec.uid
    world.update(first, State.FAILED)
    second = world.add(unique_key="k").spec.uid
    world.update(first, State.QUEUED)
    assert world.add(unique_key="k").spec.uid == first
    world.update(first, State.FAILED)
    assert world.add(unique_key="k").spec.uid == second
    world.update(second, State.FAILED)
    assert world.add(unique_key="k").spec.uid not in (first, second)
    assert picture(world.tables)


def test_jobs_with_the_same_uid_or_unique_key_in_one_request_become_one_job(world: World) -> None:
    added = world.add_all(
        new(uid=UID), new(unique_key="k"), new(uid=UID), new(unique_key="k", priority=3), new(uid=OTHER_UID)
    )
    assert [one.new for one in added] == [True, True, False, False, True]
    assert (added[2].job, added[3].job) == (added[0].job, added[1].job)
    assert [job.spec.arrival for job in world.list()] == [0, 1, 2]


def test_a_producer_can_not_read_jobs_of_another_producer(world: World) -> None:
    key_id = add_key(world, Role.PRODUCER, b"p")
    world.add(uid=UID, unique_key="k")
    with pytest.raises(UidTaken):
        world.add_all(new(uid=UID, unique_key="k"), access_key=b"p", many=False)
    with pytest.raises(UniqueKeyTaken):
        world.add_all(new(unique_key="k"), access_key=b"p", many=False)
    own = world.add_all(new(uid=OTHER_UID), access_key=b"p")[0].job
    assert own.spec.rare.author == key_id
    assert not world.add_all(new(uid=OTHER_UID), access_key=b"p")[0].new
    assert not world.add_all(new(uid=OTHER_UID))[0].new


# All or none


def test_a_bulk_add_adds_all_jobs_in_order_or_names_the_first_bad_job_and_adds_no_job(world: World) -> None:
    world.add(uid=UID)
    before = picture(world.tables)
    with pytest.raises(BadItem, match=r"jobs\[2\].*None of the jobs") as caught:
        world.add_all(new(), new(priority=1), new(uid=UID, priority=1), new(uid=UID, priority=2))
    assert (caught.value.index, type(caught.value.why)) == (2, UidTaken)
    assert picture(world.tables) == before
    added = world.add_all(*(new(content=b'{"n":%d}' % number) for number in range(5)))
    assert [job.spec for job in world.list()[1:]] == [one.job.spec for one in added]


def test_the_error_for_two_different_jobs_with_one_uid_says_that_both_are_in_the_request(world: World) -> None:
    with pytest.raises(BadItem, match=r"^jobs\[2\]: An earlier job of this request has the uid") as caught:
        world.add_all(new(uid=UID), new(), new(uid=UID, priority=1))
    assert type(caught.value.why) is UidTaken
    world.add(uid=UID)
    with pytest.raises(BadItem, match=r"^jobs\[0\]: The queue holds another job with uid"):
        world.add_all(new(uid=UID, priority=1), new(uid=UID, priority=1))


# Limits


def test_a_full_queue_refuses_new_jobs_but_recognises_repeated_adds(world: World) -> None:
    world.set_up(max_jobs=2)
    world.add_all(new(uid=UID), new(unique_key="k"))
    with pytest.raises(QueueFull, match="2"):
        world.add()
    assert [one.new for one in world.add_all(new(uid=UID), new(unique_key="k"))] == [False, False]
    world.delete(UID)
    with pytest.raises(BadItem) as caught:
        world.add_all(new(), new())
    assert (caught.value.index, type(caught.value.why)) == (1, QueueFull)
    assert world.add()
    world.set_up(max_jobs=0)
    assert world.add()


def test_finished_jobs_count_towards_max_jobs_until_they_are_removed(world: World) -> None:
    world.set_up(max_jobs=1)
    uid = world.add(keep_minutes=1).spec.uid
    world.update(uid, State.COMPLETE)
    with pytest.raises(QueueFull):
        world.add()
    world.now += 60_000
    assert world.add()


def test_a_draining_queue_refuses_new_jobs_but_allows_claims(world: World) -> None:
    uid = world.add(uid=UID).spec.uid
    world.set_up(draining=True)
    with pytest.raises(QueueDraining):
        world.add()
    assert not world.add_all(new(uid=UID))[0].new
    assert world.hold().spec.uid == uid
    assert world.update(uid, State.QUEUED).ready
    world.set_up(draining=False)
    assert world.add()


@pytest.mark.parametrize(
    ("more", "wait"),
    [
        ({}, 0),
        ({"delay_seconds": 9}, 9_000),
        ({"not_before": NOW // 1000 + 3}, 3_000),
        ({"not_before": NOW // 1000 - 3}, 0),
        ({"delay_seconds": 9, "not_before": NOW // 1000 + 3}, 9_000),
        ({"delay_seconds": 1, "not_before": NOW // 1000 + 3}, 3_000),
    ],
)
def test_a_job_is_ready_at_the_later_of_its_delay_end_and_its_not_before_time(
    world: World, more: dict[str, int], wait: int
) -> None:
    (added,) = world.add_all(new(**more))
    assert added.job.ready is not bool(wait)
    world.now += max(0, wait - 1)
    world.expire()
    assert world.read(added.job.spec.uid).ready is not bool(wait)
    world.now += 1
    world.expire()
    assert world.read(added.job.spec.uid).ready
