"""How many jobs a claim locks, while others claim from the same queue."""

from collections.abc import Iterator

import pytest

from jobengine.core import commands as c
from jobengine.core.flow import Limits
from jobengine.core.model import Defaults, State
from jobengine.engine.postgres.database.connection import connected
from tests.engine.postgres.server import WHO, Server
from tests.postgres import Database

pytestmark = pytest.mark.slow


@pytest.fixture
def servers(database: Database) -> Iterator[tuple[Server, Server]]:
    database.clear()
    servers = Server.on(database.url), Server.on(database.url)
    servers[0].ask(c.CreateQueue(**WHO))
    yield servers
    for server in servers:
        server.session.close()


def _ends(uids: list[str]) -> c.UpdateJobs:
    changes = c.Changes(state=State.COMPLETE)
    return c.UpdateJobs(**WHO, updates=tuple(c.JobUpdate(uid=uid, changes=changes) for uid in uids))


def test_a_claim_in_the_same_batch_as_updates_locks_only_the_claimed_jobs(servers: tuple[Server, Server]) -> None:
    server, other = servers
    uids = server.add(6)
    held = server.claim(count=3)
    others: list[str] = []
    server.meanwhile = lambda: others.extend(other.claim(count=2))
    assert server.claim(_ends(held), count=1) + others == uids[3:]


def test_a_claim_gets_jobs_that_earlier_commands_of_the_batch_neither_deleted_nor_ended(
    servers: tuple[Server, Server],
) -> None:
    server, _ = servers
    uids = server.add(4)
    assert server.claim(c.DeleteJob(**WHO, uid=uids[0]), _ends(uids[1:2]), count=2) == uids[2:]


def test_jobs_added_by_many_commands_of_a_batch_are_claimed_and_listed_in_command_order(
    servers: tuple[Server, Server],
) -> None:
    server, _ = servers
    add = c.AddJobs(**WHO, jobs=(c.NewJob(content=b"{}"), c.NewJob(content=b"{}")), defaults=Defaults())
    uids = [one.job.spec.uid for added in server.ask(add, add, add) for one in added]
    listed, after = list[str](), None
    while len(listed) < len(uids):
        (page,) = server.ask(c.ListJobs(**WHO, after=after, limit=1))
        listed += [job.spec.uid for job in page.jobs]
        after = page.following
    assert listed == server.claim(count=6) == uids


def test_a_claim_in_the_same_batch_as_many_updates_reads_the_queue_once(
    servers: tuple[Server, Server], database: Database
) -> None:
    server, _ = servers
    # PostgreSQL has no statistics of these jobs yet, so it may choose another index.
    for _ in range(8):
        server.add(500)
    held = server.claim(count=100)
    before = _rows_read(server, database)
    server.claim(_ends(held), count=100)
    # Of 3,900 ready jobs.
    assert _rows_read(server, database) - before < 3_900


def _rows_read(server: Server, database: Database) -> int:
    """How many rows of the table job were found by its indexes until now."""
    server.session.run(lambda connection: connection.execute("SELECT pg_stat_force_next_flush()"))
    with connected(database.url) as control:
        read = "SELECT idx_tup_fetch FROM pg_stat_user_tables WHERE relid = 'job'::regclass"
        ((rows,),) = control.execute(read).fetchall()
    return int(rows)


def _in_groups(server: Server, names: str) -> list[str]:
    """Add a job to each of these groups, limited to two jobs in progress each; returns the uids."""
    server.ask(c.ChangeQueue(**WHO, group_limits=Limits(in_progress=2)))
    return [server.add(group=name)[0] for name in names]


def test_a_claim_locks_the_second_job_of_a_group_only_if_it_takes_that_job(
    servers: tuple[Server, Server], database: Database
) -> None:
    server, _ = servers
    uids = _in_groups(server, "abca")
    unlocked: list[str] = []

    def find_unlocked() -> None:
        with connected(database.url) as connection:
            found = connection.execute("SELECT uid FROM job ORDER BY arrival FOR UPDATE SKIP LOCKED").fetchall()
            unlocked.extend(uid for (uid,) in found)

    server.meanwhile = find_unlocked
    assert server.claim(count=1) == uids[:1]
    assert unlocked == uids[2:]


def test_a_job_that_was_locked_but_not_changed_is_claimed_next(
    servers: tuple[Server, Server], database: Database
) -> None:
    server, _ = servers
    uids = _in_groups(server, "abaca")
    with connected(database.url) as connection, connection.transaction(force_rollback=True):
        connection.execute("SELECT FROM job WHERE uid = %s FOR UPDATE", [uids[2]])
        assert server.claim(count=1) == uids[:1]
        assert server.claim(count=2) == [uids[1], uids[3]]
    server.ask(_ends(uids[:1]))
    assert server.claim(count=2) == [uids[2], uids[4]]


def test_two_jobs_of_a_group_are_claimed_if_the_jobs_between_them_are_in_paused_groups(
    servers: tuple[Server, Server],
) -> None:
    server, _ = servers
    uids = _in_groups(server, "abca")
    for name in "bc":
        server.ask(c.ChangeGroup(**WHO, group=name, paused=True))
    assert server.claim(count=2) == [uids[0], uids[3]]
