"""Failures at the worst moments: a sync that fails, a kill at every single call that writes."""

import re
from collections import Counter
from datetime import datetime, timedelta
from http.client import HTTPException
from itertools import pairwise

import pytest

from jobengine.tools.exporting import export

from .daemons import SECRET, STRACE, Client, Daemon, until

#: The system calls of a start that copies a torn tail and cuts it off.
CALLS = ("pwrite64", "fdatasync", "fsync", "ftruncate")


def _faults(call: str, fault: str) -> list[str]:
    # Without --seccomp-bpf, since with it some faults are not injected. The system call of a rename differs between
    # processors.
    calls = "/^rename" if call == "rename" else call
    return ["-e", f"trace={calls}", "-e", f"inject={calls}:{fault}"]


@pytest.fixture(scope="module")
def calls_of_a_start(tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    """How often a start makes each call that writes. One thread makes them all: strace counts them by thread."""
    daemon = Daemon(tmp_path_factory.mktemp("counted") / "home").start()
    with daemon.client() as client:
        client.make_queue()
    assert daemon.stop() == 0
    trace = daemon.home / "trace"
    written = f"{','.join(CALLS)},/^rename"
    daemon.prefix = ("strace", "-D", "-f", "-qq", "-o", str(trace), "-e", f"trace={written}", "-e", "signal=none")
    daemon.start()
    calls = re.findall(r"^(\d+) +(\w+)\(", trace.read_text(), re.MULTILINE)
    daemon.kill()
    assert len({thread for thread, _ in calls}) == 1
    return Counter("rename" if call.startswith("rename") else call for _, call in calls)


def _restart(daemon: Daemon, counted: Counter[str], call: str, fault: str, nth: int) -> None:
    """Restart the daemon under strace, which makes the nth such call after the start fail."""
    assert daemon.stop() == 0
    daemon.prefix = (*STRACE, *_faults(call, f"{fault}:when={counted[call] + nth}"))
    daemon.start()


def _add_until_it_ends(client: Client, most: int = 100, content: object = None) -> list[str]:
    """Add jobs until the daemon ends or refuses a job; returns the acknowledged jobs."""
    uids = []
    try:
        for _ in range(most):
            reply = client.add(content)
            if reply.status != 201:
                assert reply.status == 503
                assert "may or may not have been made" in reply.json["detail"]
                break
            uids.append(reply.json["uid"])
    except (OSError, HTTPException):
        pass
    return uids


def _found(daemon: Daemon) -> list[str]:
    daemon.prefix = ()
    daemon.start()
    with daemon.client() as client:
        return list(client.jobs())


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("nth", [1, 5])
def test_a_server_whose_sync_fails_acknowledges_no_further_change_and_exits_with_6(
    daemon: Daemon, calls_of_a_start: Counter[str], error: str, nth: int
) -> None:
    with daemon.client() as client:
        client.make_queue()
    _restart(daemon, calls_of_a_start, "fdatasync", f"error={error}", nth)
    with daemon.client() as client:
        uids = _add_until_it_ends(client)
        assert daemon.wait() == 6
    assert len(uids) == nth - 1
    assert "storage has failed" in daemon.log
    found = _found(daemon)
    assert found[: len(uids)] == uids
    assert len(found) <= len(uids) + 1


@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_server_killed_at_any_call_of_a_commit_keeps_acknowledged_changes(
    daemon: Daemon, calls_of_a_start: Counter[str], call: str, nth: int
) -> None:
    with daemon.client() as client:
        client.make_queue()
    _restart(daemon, calls_of_a_start, call, "signal=KILL", nth)
    with daemon.client() as client:
        uids = _add_until_it_ends(client)
        assert daemon.wait() == -9
    assert len(uids) == nth - 1
    found = _found(daemon)
    assert found[: len(uids)] == uids
    assert len(found) <= len(uids) + 1


@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
@pytest.mark.parametrize("firing", [1, 2])
def test_a_server_killed_at_any_call_while_a_schedule_fires_adds_one_job_for_each_time(
    daemon: Daemon, calls_of_a_start: Counter[str], call: str, firing: int
) -> None:
    with daemon.client() as client:
        client.make_queue()
    # The first commit is that of the schedule.
    _restart(daemon, calls_of_a_start, call, "signal=KILL", 1 + firing)
    settings = {"every_seconds": 1, "job": {"content": {}}, "if_running": "add", "missed": "all"}
    with daemon.client() as client:
        assert client.call("PUT", "/api/v1/schedule", body={"queue_name": "q", "name": "s", **settings}).status == 201
    assert daemon.wait() == -9
    daemon.prefix = ()
    daemon.start()
    with daemon.client() as client:
        until("the schedule has fired four times", lambda: len(client.jobs()) >= 4)
        times = sorted(datetime.fromisoformat(job["meta"]["schedule"]["time"]) for job in client.jobs().values())
    assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(seconds=1)}


@pytest.mark.parametrize("call", ["rename", "fsync"])
def test_a_server_killed_in_a_compaction_keeps_acknowledged_changes(
    daemon: Daemon, calls_of_a_start: Counter[str], call: str
) -> None:
    content = {"text": "x" * 900_000}
    with daemon.client() as client:
        client.make_queue()
        kept = [client.add().json["uid"] for _ in range(5)]
    _restart(daemon, calls_of_a_start, call, "signal=KILL", 1)
    with daemon.client() as client:
        for _ in range(100):
            big = _add_until_it_ends(client, most=1, content=content)
            try:
                deleted = bool(big) and client.delete(big[0]).status == 204
            except (OSError, HTTPException):
                deleted = False
            if not deleted:
                break
        assert daemon.wait() == -9
    assert "compaction begins" in daemon.log
    found = _found(daemon)
    assert found[: len(kept)] == kept
    assert len(found) <= len(kept) + 1


def test_the_release_of_dependants_continues_after_the_server_is_killed(daemon: Daemon) -> None:
    first, number = f"00000000-0000-4000-8000-{0:012}", 10_000
    with daemon.client() as client:
        client.make_queue()
        assert client.add_many([{"content": {}, "uid": first}]).status == 201
        for start in range(0, number, 1_000):
            jobs = [{"content": {}, "depends_on": [first]} for _ in range(start, start + 1_000)]
            assert client.add_many(jobs).status == 201
        assert (
            client.call("POST", "/api/v1/job", body={"queue_name": "q", "uid": first, "new_status": "complete"}).status
            == 200
        )
    daemon.kill()
    text = daemon.home / "left.jsonl"
    export(str(daemon.db_path), str(text), SECRET.encode())
    assert 0 < text.read_text().count('"ended":"-"') < number
    daemon.start()
    with daemon.client() as client:
        until("all are released", lambda: _stats(client)["waiting"] == 0)
        assert _stats(client)["ready"] == number


def _stats(client: Client) -> dict[str, int]:
    stats: dict[str, int] = client.call("GET", "/api/v1/queue/stats", query={"queueName": "q"}).json
    return stats
