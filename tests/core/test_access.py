"""Tests each command with each role."""

from contextlib import suppress
from hashlib import sha512

import pytest
from attrs import evolve
from msgspec.structs import replace

from jobengine.core import access
from jobengine.core import commands as c
from jobengine.core.access import authorise
from jobengine.core.errors import AccessDenied, JobNotFound, KeyNotFound, KeyTaken, NotAllowed, QueueExists, TooManyKeys
from jobengine.core.facts import QueueChanged
from jobengine.core.model import AccessKey, Queue, Role
from tests.core.test_rules import every_command
from tests.core.worlds import KEY, World, picture

#: The commands of each role, in the words of the documentation; the owner may give all.
MAY = {
    Role.PRODUCER: {
        *(c.AddJobs, c.ReadJob, c.ReadLinks),
        *(c.SetBatch, c.CloseBatch, c.ReadBatch),
    },
    Role.WORKER: {
        c.Claim,
        c.Peek,
        c.ReturnClaims,
        c.UpdateJob,
        c.UpdateJobs,
        c.WaitFor,
        c.ReadLinks,
        c.ReadBatch,
        c.ReadDeadLetter,
    },
    Role.VIEWER: {
        *(c.ReadStats, c.ReadHistory, c.ListFailures, c.CountFailures, c.ListClaimers, c.ListGroups, c.ReadGroup),
        *(c.ListJobs, c.ReadJob, c.ExplainJob, c.Peek, c.Subscribe, c.ListSchedules, c.ReadSchedule),
        *(c.ListBatches, c.ReadBatch, c.ReadLinks),
    },
}


def add_key(world: World, role: Role, key: bytes) -> AccessKey:
    added: AccessKey = world.ask(c.AddKey(queue="q", access_key=KEY, role=role, new_access_key=key))
    return added


def with_key(key: bytes) -> list[c.QueueCommand[object]]:
    return every_command(key=key)


@pytest.mark.parametrize("role", Role)
def test_each_role_may_send_only_its_documented_commands(world: World, role: Role) -> None:
    key = KEY if role is Role.OWNER else b"another"
    if role is not Role.OWNER:
        add_key(world, role, key)
    before = picture(world.tables)
    for command in with_key(key):
        if role is Role.OWNER or type(command) in MAY[role] | {c.CheckKey}:
            assert authorise(world.tables.queues["q"].queue, command, 0).role is role
        else:
            with pytest.raises(NotAllowed, match=role):
                world.ask(command)
            assert picture(world.tables) == before, command


@pytest.mark.parametrize("key", [b"", b"wrong", b"revoked", b"others", b"k", b"keyy"])
def test_a_command_without_a_key_of_the_queue_is_refused(world: World, key: bytes) -> None:
    world.create("other", key=b"others")
    revoked = add_key(world, Role.WORKER, b"revoked")
    world.ask(c.RevokeKey(queue="q", access_key=KEY, key_id=revoked.id))
    for command in with_key(key):
        with pytest.raises(AccessDenied):
            world.ask(command)


def test_every_key_of_a_queue_is_compared_even_after_a_match(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    add_key(world, Role.WORKER, b"first")
    add_key(world, Role.VIEWER, b"second")
    queue = world.tables.queues["q"].queue
    compared: list[tuple[str, str]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(access, "compare_digest", compare)
    for shown in (KEY, b"first", b"second", b"wrong"):
        compared.clear()
        with suppress(AccessDenied):
            authorise(queue, c.CheckKey(queue="q", access_key=shown), 0)
        digest = access.digest_of(shown, queue.salt)
        assert compared == [(digest, kept) for kept in (*(key.digest for key in queue.keys), queue.digest)]


def test_the_admin_key_may_send_every_command(world: World) -> None:
    for command in every_command():
        admin = replace(command, access_key=b"wrong", admin=True)
        assert authorise(world.tables.queues["q"].queue, admin, 0).role is Role.OWNER, command


def test_a_producer_reads_only_jobs_that_it_added_itself(world: World) -> None:
    for key in (b"p", b"r"):
        add_key(world, Role.PRODUCER, key)
    (own,) = world.add_all(c.NewJob(content=b"{}"), access_key=b"p")
    owners = world.add()
    assert world.ask(c.ReadJob(queue="q", access_key=b"p", uid=own.job.spec.uid)) == own.job
    for key, uid in ((b"r", own.job.spec.uid), (b"p", owners.spec.uid)):
        with pytest.raises(JobNotFound):
            world.ask(c.ReadJob(queue="q", access_key=key, uid=uid))


def test_a_key_is_listed_without_its_secret_and_revoked_by_its_id(world: World) -> None:
    key = add_key(world, Role.VIEWER, b"canary")
    other = add_key(world, Role.WORKER, b"w")
    keys = world.ask(c.ListKeys(queue="q", access_key=KEY))
    assert keys == (key, other)
    assert "canary" not in repr(keys)
    assert key.digest not in repr(keys)
    world.ask(c.RevokeKey(queue="q", access_key=KEY, key_id=key.id))
    with pytest.raises(KeyNotFound):
        world.ask(c.RevokeKey(queue="q", access_key=KEY, key_id=key.id))
    assert world.ask(c.ListKeys(queue="q", access_key=KEY)) == (other,)


def test_adding_a_key_that_already_opens_the_queue_is_refused(world: World) -> None:
    add_key(world, Role.WORKER, b"w")
    for key in (KEY, b"w"):
        with pytest.raises(KeyTaken):
            add_key(world, Role.VIEWER, key)
    with pytest.raises(KeyTaken):
        world.set_up(new_access_key=b"w")
    before = picture(world.tables)
    world.set_up(new_access_key=KEY)
    assert picture(world.tables) == before


def test_a_queue_has_a_limited_number_of_keys(world: World) -> None:
    for number in range(100):
        add_key(world, Role.WORKER, b"w%d" % number)
    with pytest.raises(TooManyKeys, match="100"):
        add_key(world, Role.WORKER, b"one more")


def test_a_new_owner_key_replaces_the_old_owner_key(world: World) -> None:
    add_key(world, Role.WORKER, b"w")
    world.add()
    world.set_up(new_access_key=b"fresh")
    with pytest.raises(AccessDenied):
        world.list()
    assert len(world.ask(c.ListJobs(queue="q", access_key=b"fresh", limit=5)).jobs) == 1
    assert world.ask(c.Claim(queue="q", access_key=b"w"))


def of_go(world: World) -> Queue:
    """Give a world's queue a key digest as imported from the Go version."""
    queue = world.tables.queues["q"].queue
    world.apply([QueueChanged(evolve(queue, digest=access.digest_of_sha512(sha512(KEY).hexdigest(), queue.salt)))])
    return world.tables.queues["q"].queue


def test_the_first_use_of_a_go_version_key_replaces_its_digest_by_a_salted_digest(world: World) -> None:
    own = world.tables.queues["q"].queue
    for command in every_command():
        taken_over = of_go(world)
        assert authorise(taken_over, command, 0).role is Role.OWNER
        assert command.renew_key(world.tables) == [QueueChanged(own)], command
        world.apply(command.renew_key(world.tables))
        assert authorise(world.tables.queues["q"].queue, command, 0).role is Role.OWNER
        assert command.renew_key(world.tables) == ()


@pytest.mark.parametrize("key", [b"wrong", b"", sha512(KEY).digest(), sha512(KEY).hexdigest().encode()])
def test_a_wrong_key_neither_opens_nor_changes_a_queue_of_the_go_version(world: World, key: bytes) -> None:
    taken_over = of_go(world)
    with pytest.raises(AccessDenied):
        world.ask(c.CheckKey(queue="q", access_key=key))
    world.ask(c.CheckKey(queue="q", access_key=key, admin=True))
    assert world.tables.queues["q"].queue == taken_over


def test_a_replaced_go_version_key_stays_valid_for_the_requested_seconds(world: World) -> None:
    of_go(world)
    world.ask(c.ChangeQueue(queue="q", access_key=b"", admin=True, new_access_key=b"new", old_key_seconds=60))
    for key in (KEY, b"new"):
        assert world.ask(c.CheckKey(queue="q", access_key=key)).role is Role.OWNER
    world.now += 60_000
    with pytest.raises(AccessDenied):
        world.ask(c.CheckKey(queue="q", access_key=KEY))


# The old key after the owner's key was replaced


def renew(world: World, old: bytes, new: bytes, seconds: int = 60) -> None:
    world.ask(c.ChangeQueue(queue="q", access_key=old, new_access_key=new, old_key_seconds=seconds))


def opens(world: World, key: bytes) -> bool:
    """Whether the key opens the queue."""
    try:
        world.ask(c.CheckKey(queue="q", access_key=key))
    except AccessDenied:
        return False
    return True


def test_only_the_most_recent_old_owner_key_stays_valid(world: World) -> None:
    renew(world, KEY, b"second")
    renew(world, b"second", b"third")
    assert [opens(world, key) for key in (KEY, b"second", b"third")] == [False, True, True]
    renew(world, b"third", b"fourth", 0)
    assert [opens(world, key) for key in (b"second", b"third", b"fourth")] == [False, False, True]


def test_an_old_owner_key_can_become_the_owner_key_again(world: World) -> None:
    renew(world, KEY, b"second")
    renew(world, KEY, KEY, 0)
    assert [opens(world, key) for key in (KEY, b"second")] == [True, False]
    renew(world, KEY, KEY)


def test_a_still_valid_old_owner_key_cannot_be_added_with_a_role(world: World) -> None:
    renew(world, KEY, b"second")
    command = c.AddKey(queue="q", access_key=b"second", role=Role.VIEWER, new_access_key=KEY)
    with pytest.raises(KeyTaken):
        world.ask(command)
    world.now += 60_000
    assert world.ask(command)


def test_a_go_version_key_is_compared_in_constant_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = of_go(world)
    compared: list[tuple[str, str]] = []
    monkeypatch.setattr(access, "compare_digest", lambda one, other: compared.append((one, other)))
    for shown in (KEY, b"wrong"):
        compared.clear()
        with suppress(AccessDenied):
            authorise(queue, c.CheckKey(queue="q", access_key=shown), 0)
        assert compared == [(access.digest_of_sha512(sha512(shown).hexdigest(), queue.salt), queue.digest)]


@pytest.mark.parametrize("key", [KEY, b"another"])
def test_an_existing_queue_name_is_refused_with_any_key(world: World, key: bytes) -> None:
    with pytest.raises(QueueExists):
        world.create(key=key)


def test_a_key_is_stored_as_a_digest_salted_for_its_queue(world: World) -> None:
    world.create("other")
    one, other = (world.tables.queues[name].queue for name in ("q", "other"))
    assert one.digest != other.digest
    assert one.salt != other.salt
    assert one.digest not in repr(one)
