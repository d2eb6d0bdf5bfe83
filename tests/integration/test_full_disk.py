"""When the disk is full: changes are refused, reads are answered, and changes resume when there is room."""

import os
from pathlib import Path
from typing import Any

import pytest

from .conftest import MakeDaemon
from .daemons import Client, Daemon, until

#: A content so long that a few jobs fill the disk.
CONTENT = {"text": "x" * 50_000}


def _fill(client: Client) -> list[str]:
    """Add jobs until there is no room; returns the acknowledged jobs."""
    uids: list[str] = []
    for _ in range(1000):
        reply = client.add(CONTENT)
        if reply.status == 507:
            assert "no room" in reply.json["detail"]
            return uids
        assert reply.status == 201
        uids.append(reply.json["uid"])
    raise AssertionError("the disk was not full after 1000 jobs")


def _changes(client: Client, uid: str) -> list[int]:
    """Try each kind of change; returns the status of each."""
    return [
        client.add().status,
        client.claim().status,
        client.update(uid, "complete").status,
        client.delete(uid).status,
        client.call("PUT", "/api/v1/queue", body={"name": "other", "access_key": "key"}).status,
    ]


def _is_full_but_readable(client: Client, uids: list[str]) -> None:
    assert _changes(client, uids[0]) == [507] * 5
    jobs = client.jobs()
    assert set(jobs) == set(uids)
    assert {job["state"] for job in jobs.values()} == {"queued"}
    assert client.read(uids[-1]).status == 200
    assert client.peek().json["uid"] == uids[0]
    assert client.call("GET", "/healthz").status == 200
    readiness = client.ready()
    assert readiness.status == 503
    assert "can't grow" in readiness.json["detail"]
    assert client.metric("jobengine_accepts_changes") == 0


def _works_again(daemon: Daemon, client: Client, uids: list[str]) -> dict[str, Any]:
    """Wait until changes are accepted, and make a few; returns the jobs."""
    until("it goes on by itself", lambda: client.ready().status == 200)
    assert client.metric("jobengine_accepts_changes") == 1
    assert client.claim().json["uid"] == uids[0]
    assert client.update(uids[1], "complete").status == 200
    assert client.add({"after": "the flood"}).status == 201
    assert "the database can be written again" in daemon.log
    return client.jobs()


@pytest.fixture
def on_small_disk(make_daemon: MakeDaemon, small_disk: Path) -> Daemon:
    (small_disk / "filler").write_bytes(bytes(1 << 20))
    return make_daemon(settings={"DB_PATH": str(small_disk / "db")}).start()


def test_a_server_on_a_full_disk_refuses_only_changes_until_space_is_freed(
    on_small_disk: Daemon, small_disk: Path
) -> None:
    with on_small_disk.client() as client:
        client.make_queue()
        uids = _fill(client)
        assert len(uids) > 5
        _is_full_but_readable(client, uids)
        (small_disk / "filler").unlink()
        jobs = _works_again(on_small_disk, client, uids)
        assert set(uids) <= set(jobs)
    on_small_disk.kill()
    with on_small_disk.start().client() as client:
        assert client.jobs() == jobs


@pytest.mark.parametrize("by_kill", [True, False])
def test_a_server_that_ended_on_a_full_disk_keeps_acknowledged_changes(
    on_small_disk: Daemon, small_disk: Path, by_kill: bool
) -> None:
    with on_small_disk.client() as client:
        client.make_queue()
        uids = _fill(client)
    if by_kill:
        on_small_disk.kill()
    else:
        assert on_small_disk.stop() == 0
        assert "changes dropped at the stop: 1; none was acknowledged" in on_small_disk.log
    with on_small_disk.start().client() as client:
        jobs = client.jobs()
    assert set(uids) <= set(jobs)
    assert len(jobs) <= len(uids) + 1, "the one that was refused may be there, but no more"


def test_a_server_killed_on_a_full_disk_starts_and_refuses_only_changes_until_space_is_freed(
    on_small_disk: Daemon, small_disk: Path
) -> None:
    with on_small_disk.client() as client:
        client.make_queue()
        uids = _fill(client)
    on_small_disk.kill()
    before = on_small_disk.db_path.read_bytes()
    assert os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize < len(str(CONTENT))
    with on_small_disk.start().client() as client:
        assert client.add(CONTENT).status == 507
        _is_full_but_readable(client, uids)
        assert on_small_disk.db_path.read_bytes() == before
        (small_disk / "filler").unlink()
        jobs = _works_again(on_small_disk, client, uids)
    assert set(uids) <= set(jobs)


def test_a_server_without_a_database_does_not_start_on_a_full_disk_and_says_so(
    make_daemon: MakeDaemon, small_disk: Path
) -> None:
    space = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes(space.f_bavail * space.f_bsize))
    daemon = make_daemon(settings={"DB_PATH": str(small_disk / "db")})
    assert daemon.run() == 1
    assert "the database can't be opened or made; free some space on its disk: " in daemon.errors
