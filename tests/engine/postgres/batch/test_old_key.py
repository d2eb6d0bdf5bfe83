"""Replaced access keys: an old key opens the queue until it expires; a digest of the Go version until its first use."""

from hashlib import sha512

import pytest
from attrs import evolve

from jobengine.core.access import digest_of_sha512
from jobengine.core.commands import ChangeQueue, DeleteQueue
from jobengine.core.errors import AccessDenied, QueueNotFound
from jobengine.engine.postgres.database.rows import Rows
from jobengine.engine.postgres.database.schema import opened
from tests.contract.asking import KEY, Asker
from tests.doubles import SECRET
from tests.engine.postgres.world import PostgresWorld

pytestmark = pytest.mark.slow


def test_an_old_key_opens_a_cached_queue_until_the_key_expires(world: PostgresWorld) -> None:
    ask = Asker(world)
    ask.create()
    ask.reconfigure(new_access_key=b"new", old_key_seconds=60)
    # The first add caches the queue; the second uses the cached queue.
    for _ in range(2):
        ask.add(key=KEY)
    world.advance(61)
    for _ in range(2):
        with pytest.raises(AccessDenied):
            ask.add(key=KEY)
        ask.add(key=b"new")


def _have_the_key_of_go(world: PostgresWorld) -> None:
    """Give the queue a digest as an import from the Go version makes it."""
    rows = Rows(opened(world.control, SECRET))
    ((number, rev, digest, sealed),) = world.control.execute(
        "SELECT id, rev, name_digest, sealed FROM queue"
    ).fetchall()
    queue = rows.queue(number, rev, digest, sealed)
    queue = evolve(queue, digest=digest_of_sha512(sha512(KEY).hexdigest(), queue.salt))
    world.control.execute("UPDATE queue SET rev = rev + 1, sealed = %s", [rows.sealed_queue(queue)])


def test_the_first_use_of_a_go_version_key_may_change_or_delete_the_queue(world: PostgresWorld) -> None:
    ask = Asker(world)
    ask.create()
    _have_the_key_of_go(world)
    assert ask.ask(ChangeQueue, paused=True).paused
    _have_the_key_of_go(world)
    ask.ask(DeleteQueue)
    with pytest.raises(QueueNotFound):
        ask.jobs()
