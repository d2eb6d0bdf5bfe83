"""While the database is read back, the port is open and reports the progress."""

import re
import shutil
import socket
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path

import pytest

from .conftest import MakeDaemon
from .daemons import DEADLINE, STRACE, Daemon, Reply, until

BULK, REQUESTS = 1_000, 15
#: Makes each read of the database slow.
SLOWLY = (*STRACE, "-e", "trace=pread64", "-e", "inject=pread64:delay_enter=50ms")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a daemon that was killed, with some thousand jobs."""
    daemon = Daemon(tmp_path_factory.mktemp("recorded") / "home").start()
    with daemon.client(sampled=True) as client:
        client.make_queue()
        for _ in range(REQUESTS):
            assert client.add_many([{"content": {}}] * BULK).status == 201
    daemon.kill()
    return daemon.db_path


@pytest.fixture
def killed(recorded: Path, make_daemon: MakeDaemon) -> Daemon:
    """A daemon with that database; its start takes seconds."""
    daemon = make_daemon(prefix=SLOWLY)
    daemon.home.mkdir()
    shutil.copy(recorded, daemon.db_path)
    return daemon


def _reason(daemon: Daemon) -> str:
    """The daemon's own line on stderr; strace may have written other lines."""
    (line,) = (line for line in daemon.errors.splitlines() if line.startswith("jobengine: "))
    return line


def test_a_recovering_server_is_alive_reports_progress_and_refuses_other_calls(killed: Daemon) -> None:
    killed.launch()
    shares = []
    with killed.client() as client:
        get = partial(client.call, "GET")
        # Only one request in each round: with more there would be too few rounds to see progress.
        calls: Iterator[Callable[[], Reply]] = cycle(
            (client.claim, client.list, partial(get, "/metrics"), partial(get, "/test"))
        )
        while (ready := client.ready()).status == 503:
            found = re.fullmatch(r"recovering, (\d+) %", ready.json["detail"])
            assert found is not None, ready
            shares.append(int(found[1]))
            assert client.call("GET", "/healthz").status == 200
            reply = next(calls)()
            if reply.status != 200:
                assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
                assert "nothing was carried out" in reply.json["detail"]
    assert ready.status == 200
    assert shares == sorted(shares)
    assert len({share for share in shares if 0 < share < 100}) >= 2
    assert re.search(r"recovering, \d+ %", killed.log)
    killed.kill()
    killed.prefix = ()
    with killed.start().client(sampled=True) as client:
        assert len(client.jobs()) == REQUESTS * BULK


def test_systemd_gets_progress_readiness_and_stop(killed: Daemon) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(killed.home / "notify"))
        systemd.settimeout(DEADLINE)
        killed.settings["NOTIFY_SOCKET"] = str(killed.home / "notify")
        killed.launch()
        told = [systemd.recv(1000).decode()]
        while told[-1] != "READY=1\nSTATUS=ready":
            told.append(systemd.recv(1000).decode())
        assert killed.is_ready()
        assert killed.stop() == 0
        assert systemd.recv(1000) == b"STOPPING=1\nSTATUS=stopping"
    *before, _ = told
    assert len(set(before)) >= 2
    assert all(re.fullmatch(r"STATUS=recovering, \d+ %\nEXTEND_TIMEOUT_USEC=10000000", one) for one in before)


def test_damage_found_after_the_port_is_open_ends_the_server_with_4(killed: Daemon) -> None:
    whole = bytearray(killed.db_path.read_bytes())
    whole[len(whole) // 2] ^= 1
    killed.db_path.write_bytes(whole)
    killed.launch()
    with killed.client() as client:
        until("it recovers", lambda: "recovering" in client.ready().json["detail"])
    assert killed.wait() == 4
    line = _reason(killed)
    assert "Nothing was changed" in line
    assert "`jobengine db check` says whether the last backup is whole" in line
    assert "`jobengine db repair`" in line
    assert killed.db_path.read_bytes() == whole
    assert "Traceback" not in killed.all_output()
