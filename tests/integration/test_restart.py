"""Everything that was answered is there again, however the daemon ended."""

import random
import signal
import socket
import time
from http.client import HTTPException

import pytest

from .conftest import MakeDaemon
from .daemons import Client, Daemon, until
from .load import Load, judge

UNCLEAN = "not closed in good order"


def _one_of_each(client: Client) -> dict[str, str]:
    """Jobs in each state, by uid."""
    client.make_queue()
    added, claimed, completed, failed = (client.add({"n": n}).json["uid"] for n in range(4))
    assert client.claim().json["uid"] == added
    assert client.update(added, "complete").status == 200
    assert client.claim().json["uid"] == claimed
    assert client.update(failed, "failed").status == 200
    return {added: "complete", claimed: "inprogress", completed: "queued", failed: "failed"}


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_added_claimed_and_completed_jobs_are_there_after_a_restart(daemon: Daemon, end: signal.Signals) -> None:
    with daemon.client() as client:
        states = _one_of_each(client)
        before = client.list().json
    assert daemon.process is not None
    daemon.process.send_signal(end)
    daemon.wait()
    daemon.start()
    with daemon.client() as client:
        assert client.list().json == before
        assert {uid: job["state"] for uid, job in client.jobs().items()} == states


def test_a_history_survives_a_restart_and_a_kill_takes_no_more_than_its_last_seconds(daemon: Daemon) -> None:
    def history(client: Client) -> list[int]:
        """The jobs added in each hour of the last week."""
        hours = client.call("GET", "/api/v1/queue/history", query={"name": "q"}).json["hours"]
        added: list[int] = hours["added"]
        return added

    with daemon.client() as client:
        client.make_queue()
        client.add()
        assert sum(history(client)) == 1
    assert daemon.stop() == 0
    daemon.start()
    with daemon.client() as client:
        assert sum(history(client)) == 1
        client.add()
    daemon.kill()
    daemon.start()
    with daemon.client() as client:
        assert sum(history(client)) in (1, 2)


def test_a_server_logs_a_rewrite_of_the_database_after_kill_9_but_not_after_sigterm(daemon: Daemon) -> None:
    daemon.kill()
    assert UNCLEAN in daemon.start().log
    assert daemon.stop() == 0
    assert UNCLEAN not in daemon.start().log


def test_a_server_killed_25_times_under_load_loses_and_invents_no_change(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon().start()
    chance = random.Random(25)
    histories = {}
    shown = 0
    for turn in range(25):
        queue = f"round {turn}"
        with daemon.client() as client:
            client.make_queue(queue)
        load = Load(lambda: daemon.client(sampled=True), queue)
        load.start()
        wanted = chance.randrange(150, 400)
        until("there is load", lambda: load.sent >= wanted)  # noqa: B023  # it is called in this round
        daemon.kill()
        histories[queue] = load.end()
        daemon.start()
        with daemon.client() as client:
            verdict = judge(histories[queue], client.jobs(queue))
        assert verdict.good, verdict
        shown += verdict.shown
    with daemon.client() as client:
        for queue, history in histories.items():
            assert judge(history, client.jobs(queue)).good, queue
    assert shown > 2_500, "that was no load"


def test_sigterm_under_load_ends_the_server_with_0_within_5_seconds_and_loses_nothing(daemon: Daemon) -> None:
    with daemon.client() as client:
        client.make_queue()
    load = Load(lambda: daemon.client(sampled=True), "q")
    load.start()
    until("there is load", lambda: load.sent >= 300)
    assert daemon.stop(seconds=5) == 0
    attempts = load.end()
    daemon.start()
    assert UNCLEAN not in daemon.log
    with daemon.client() as client:
        verdict = judge(attempts, client.jobs())
    assert verdict.good, verdict
    assert verdict.shown > 100


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET /test HTTP/1.1\r\nHost: x\r\n\r\n", id="a whole request, and keeps the connection"),
        pytest.param(b"PUT /api/v1/job HTTP/1.1\r\nHost: x\r\n", id="half a head"),
        pytest.param(b"PUT /api/v1/job HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", id="half a body"),
        pytest.param(b"\x00\r\n\r\n", id="garbage, and was refused"),
    ],
)
def test_a_connected_client_does_not_keep_the_server_from_ending(daemon: Daemon, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", daemon.port)) as connection:
        connection.sendall(sent)
        if sent.endswith(b"\r\n\r\n"):
            assert connection.recv(8).startswith(b"HTTP/1.1")
        else:
            with daemon.client() as client:  # once this is answered, everything sent before has reached the daemon
                assert client.call("GET", "/test").status == 200
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.log


def test_neither_a_client_that_does_not_read_nor_a_second_sigterm_prevents_an_orderly_end(daemon: Daemon) -> None:
    with daemon.client() as client:
        client.make_queue()
        for _ in range(20):
            assert client.add({"text": "x" * 900_000}).status == 201
    with socket.create_connection(("127.0.0.1", daemon.port)) as connection:
        connection.sendall(b"GET /api/v1/queue?name=q HTTP/1.1\r\nHost: x\r\nX-Access-Key: key\r\n\r\n")
        assert connection.recv(8).startswith(b"HTTP/1.1")
        daemon.terminate()
        time.sleep(0.2)
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.log
    assert UNCLEAN not in daemon.start().log


def test_a_stopping_server_accepts_no_new_connection(daemon: Daemon) -> None:
    port = daemon.port
    assert daemon.stop() == 0
    with Client(port) as client, pytest.raises((OSError, HTTPException)):
        client.call("GET", "/test")
