"""Every acknowledged change survives, however the daemon ended."""

import random
import socket
import time
from pathlib import Path

import pytest

from tests.torture.crew import Caller, Crew, judge_all, make_owners
from tests.torture.kills import Kills
from tests.torture.owner import Owner
from tests.torture.trials import Tally

from .daemons import Client, Daemon, until

UNCLEAN = "not closed in good order"


def test_a_server_logs_an_unclean_end_after_kill_9_but_not_after_sigterm(daemon: Daemon) -> None:
    daemon.kill()
    assert UNCLEAN in daemon.start().log
    assert daemon.stop() == 0
    assert UNCLEAN not in daemon.start().log


def test_five_kills_of_a_server_under_load_lose_no_change_and_add_no_change(tmp_path: Path) -> None:
    tally = Tally()
    Kills(kills=5, cargo=10, patience=0.5).run(25, tmp_path, tally)
    assert tally.kills == 5
    assert tally.operations > 100, "that was no load"


def test_sigterm_under_load_ends_the_server_with_0_within_5_seconds_and_loses_nothing(daemon: Daemon) -> None:
    def connect() -> Client:
        return Caller(daemon.port, sampled=True)

    owners = make_owners(random.Random(5), loader=False)
    crew = Crew(owners, connect)
    crew.start()
    until("there is load", lambda: sum(owner.answered.total() for owner in owners) >= 300)
    assert daemon.stop(seconds=5) == 0
    crew.end()
    daemon.start()
    assert UNCLEAN not in daemon.log
    judge_all(owners, connect, Owner.judge)


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
def test_a_server_stops_although_a_client_is_still_connected(daemon: Daemon, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", daemon.port)) as connection:
        connection.sendall(sent)
        if sent.endswith(b"\r\n\r\n"):
            assert connection.recv(8).startswith(b"HTTP/1.1")
        else:
            with daemon.client() as client:  # the answer shows that everything sent before has reached the daemon
                assert client.call("GET", "/test").status == 200
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.log


def test_a_client_that_reads_nothing_and_a_second_sigterm_do_not_prevent_an_orderly_stop(daemon: Daemon) -> None:
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
