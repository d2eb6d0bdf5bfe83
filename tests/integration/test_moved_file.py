"""The file of a running server is moved or replaced: nothing is acknowledged that the next start would not find."""

from pathlib import Path

import pytest

from .conftest import MakeDaemon
from .daemons import Client, Daemon, until

ADMIN = "admin-key-of-this-test"


def _refuses_changes_and_says_why(client: Client, uids: list[str], why: str = "put it back") -> None:
    readiness = client.ready()
    assert readiness.status == 503
    assert why in readiness.json["detail"]
    reply = client.add()
    assert reply.status == 507
    assert "moved, deleted, replaced or overwritten" in reply.json["detail"]
    assert set(client.jobs()) == set(uids)
    assert client.metric("jobengine_accepts_changes") == 0


def _works_again(client: Client) -> None:
    until("it continues by itself", lambda: client.ready().status == 200)
    assert client.add().status == 201


def test_a_server_whose_file_was_moved_refuses_changes_until_it_is_back(daemon: Daemon) -> None:
    with daemon.client() as client:
        client.make_queue()
        uids = [client.add().json["uid"] for _ in range(3)]
        moved = daemon.db_path.rename(daemon.db_path.with_name("moved"))
        _refuses_changes_and_says_why(client, uids)
        assert not daemon.db_path.exists()
        moved.rename(daemon.db_path)
        _works_again(client)
        jobs = client.jobs()
    daemon.kill()
    with daemon.start().client() as client:
        assert client.jobs() == jobs


def test_a_backup_of_a_server_whose_file_was_deleted_has_all_its_jobs(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    daemon = make_daemon(settings={"ADMIN_KEY": ADMIN}).start()
    with daemon.client(admin_key=ADMIN) as client:
        client.make_queue()
        uids = [client.add().json["uid"] for _ in range(3)]
        daemon.db_path.unlink()
        _refuses_changes_and_says_why(client, uids)
        backup = client.call("GET", "/api/v1/backup").body
    assert daemon.stop() == 0
    assert not daemon.db_path.exists()
    daemon.db_path.write_bytes(backup)
    with daemon.start().client() as client:
        assert set(client.jobs()) == set(uids)


@pytest.mark.parametrize(("removed", "why"), [(True, "put it back"), (False, "another program has written")])
def test_a_server_does_not_write_to_another_file_in_the_place_of_its_own(
    make_daemon: MakeDaemon, removed: bool, why: str
) -> None:
    daemon = make_daemon(settings={"ADMIN_KEY": ADMIN}).start()
    with daemon.client(admin_key=ADMIN) as client:
        client.make_queue()
        older = daemon.db_path.read_bytes()
        uids = [client.add().json["uid"] for _ in range(3)]
        if removed:
            daemon.db_path.unlink()
        daemon.db_path.write_bytes(older)
        _refuses_changes_and_says_why(client, uids, why)
        assert client.call("GET", "/api/v1/backup").status == (200 if removed else 503)
    assert daemon.stop() == 0
    assert daemon.db_path.read_bytes() == older
    with daemon.start().client() as client:
        assert client.jobs() == {}
