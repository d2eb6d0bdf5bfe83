"""The clock of a real PostgreSQL is set while servers run, stop and start: no lease, delay or retention moves."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from attrs import define

from tests.doubles import SECRET
from tests.postgres import Cluster, Database, running

from .conftest import MakeDaemon
from .daemons import Client, Daemon

#: Seconds of each step of the clock.
STEPS: Final = [3_600, -3_600, 10, -10]
#: Queues: so many that each connection of a server serves some of them.
QUEUES: Final = [f"q{number}" for number in range(6)]
#: Settings of libfaketime: fake only the wall clock, and read it from the file at each call.
_FAKED: Final = {"FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DISABLE_SHM": "1"}


@define
class _FakedCluster:
    """A PostgreSQL whose clock is set by a file."""

    cluster: Cluster
    _file: Path
    #: Seconds by which the faked clock is ahead of the real one.
    ahead: int = 0

    def set_clock(self, seconds: int) -> None:
        self.ahead += seconds
        # Replaced atomically: a process may be reading the file.
        new = self._file.with_suffix(".new")
        new.write_text(f"{self.ahead:+d}\n", encoding="ascii")
        new.rename(self._file)

    def now(self) -> float:
        return time.time() + self.ahead


@pytest.fixture(scope="module")
def faked() -> Iterator[_FakedCluster]:
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    assert libraries, "libfaketime is not installed: see tests/debian-packages.txt"
    with TemporaryDirectory(prefix="je-clock-") as place:
        # PostgreSQL does not run as root.
        Path(place).chmod(0o755)
        file = Path(place) / "ahead"
        file.write_text("+0\n", encoding="ascii")
        environment = {**_FAKED, "LD_PRELOAD": str(libraries[0]), "FAKETIME_TIMESTAMP_FILE": str(file)}
        with running(None, environment, autovacuum="off") as cluster:
            yield _FakedCluster(cluster, file)


def _begin_spans(client: Client) -> dict[str, tuple[str, str]]:
    """In each queue claim, finish and delay a job, for a minute each; returns the uids of the first two by queue."""
    uids = {}
    for name in QUEUES:
        client.make_queue(name)
        client.add_many([{"content": {}, "timeout_seconds": 60, "keep_minutes": 1}] * 2, name)
        held, finished = (client.claim(name).json["uid"] for _ in range(2))
        client.add(queue=name, delay_seconds=60)
        client.update(finished, "complete", name)
        uids[name] = (held, finished)
    return uids


def _check_spans(client: Client, uids: dict[str, tuple[str, str]], now: float) -> None:
    """No queue has a job to claim, and leases end within the minute."""
    for name, (held, finished) in uids.items():
        assert client.claim(name).status == 204
        assert client.read(finished, name).json["state"] == "complete"
        job = client.read(held, name).json
        assert job["state"] == "inprogress"
        assert 0 < job["lease_expires"] - now <= 61


def test_setting_the_database_clock_shifts_no_lease_delay_or_retention(
    faked: _FakedCluster, make_daemon: MakeDaemon
) -> None:
    """The first step is made while no server runs, the others with three servers."""
    database = Database.make(faked.cluster, "servers")
    database.clear(secret=SECRET)
    settings = {"DATABASE_URL": database.url, "SECRET": SECRET.decode()}
    servers = [make_daemon("server 0", settings=settings).start()]
    with servers[0].client() as client:
        uids = _begin_spans(client)
    for index, step in enumerate(STEPS):
        _restart(servers[index % len(servers)], faked, step, is_down=index % 2 == 0)
        if index == 0:
            _check_spans_of(servers, uids, faked.now())
            servers += [make_daemon(f"server {at}", settings=settings).start() for at in (1, 2)]
        _check_spans_of([*servers[index % len(servers) :], *servers], uids, faked.now())


def _check_spans_of(servers: Sequence[Daemon], uids: dict[str, tuple[str, str]], now: float) -> None:
    for server in servers:
        with server.client() as client:
            _check_spans(client, uids, now)


def _restart(daemon: Daemon, faked: _FakedCluster, step: int, *, is_down: bool) -> None:
    """Restart a server, and set the clock of its database, while it is down or just after its start."""
    daemon.stop()
    if is_down:
        faked.set_clock(step)
    daemon.start()
    if not is_down:
        faked.set_clock(step)
