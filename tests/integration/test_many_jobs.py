"""Long queues are streamed in bounded memory, between other requests; a large request is one commit."""

import json
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from time import monotonic
from typing import Any, Final

import pytest
from attrs import define, field

from .daemons import Client, Daemon

JOBS: Final = 100_000
BULK: Final = 10_000
MIB: Final = 1 << 20


@pytest.fixture(scope="module")
def long_queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with many jobs in a queue, and few in another."""
    daemon = Daemon(Path(tmp_path_factory.mktemp("long")) / "home").start()
    with daemon.client(sampled=True, timeout=60) as client:
        client.make_queue("long")
        client.make_queue()
        for first in range(0, JOBS, BULK):
            jobs = [{"content": {"n": n, "to": "somebody@example.org"}} for n in range(first, first + BULK)]
            assert client.add_many(jobs, "long").status == 201
    yield daemon
    daemon.kill()
    assert "Traceback" not in daemon.log


@define
class Download:
    """Reads a whole long queue, in a thread of its own."""

    daemon: Daemon
    began: float = 0
    ended: float = 0
    parts: list[bytes] = field(factory=list)
    _thread: "threading.Thread | None" = None

    def __enter__(self) -> "Download":
        connection = HTTPConnection("127.0.0.1", self.daemon.port, timeout=60)
        connection.request("GET", "/api/v1/queue?name=long", headers={"X-Access-Key": "key"})
        response = connection.getresponse()
        assert response.status == 200
        self.began = monotonic()
        self._thread = threading.Thread(target=self._read, args=[response])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._thread is not None
        self._thread.join()

    def _read(self, response: Any) -> None:
        while part := response.read(1 << 16):
            self.parts.append(part)
        self.ended = monotonic()


def _work(client: Client, n: int) -> tuple[float, float]:
    """Add a job, claim it, and complete it; returns the times of begin and end."""
    began = monotonic()
    client.add({"n": n})
    job = client.claim().json
    assert job["content"] == {"n": n}
    assert client.update(job["uid"], "complete").status == 200
    return began, monotonic()


def test_a_queue_of_100_000_jobs_is_streamed_in_little_memory_while_other_requests_are_served(
    long_queue: Daemon,
) -> None:
    Path(f"/proc/{long_queue.pid}/clear_refs").write_text("5")
    before = long_queue.memory("VmRSS")
    worked: list[tuple[float, float]] = []
    with long_queue.client(sampled=True) as client, Download(long_queue) as download:
        while not download.ended:
            worked.append(_work(client, len(worked)))
    meanwhile = [times for times in worked if download.began < times[0] and times[1] < download.ended]
    assert len(meanwhile) >= 3
    assert long_queue.memory("VmHWM") - before < 12 * MIB
    whole = json.loads(b"".join(download.parts))
    assert sum(map(len, download.parts)) > 24 * MIB, "it would have had room in what it may take"
    assert whole["size"] == len(whole["jobs"]) == JOBS
    assert [job["content"]["n"] for job in whole["jobs"]] == list(range(JOBS))


def test_a_client_that_requests_a_long_list_and_reads_nothing_costs_little_memory(long_queue: Daemon) -> None:
    before = long_queue.memory("VmRSS")
    connections = [HTTPConnection("127.0.0.1", long_queue.port) for _ in range(10)]
    for connection in connections:
        connection.request("GET", "/api/v1/queue?name=long", headers={"X-Access-Key": "key"})
        assert connection.getresponse().status == 200
    with long_queue.client(sampled=True) as client:
        for n in range(20):
            _work(client, n)
    assert long_queue.memory("VmRSS") - before < 12 * MIB
    for connection in connections:
        connection.close()
