"""Long queues and large requests: streamed in bounded memory, between other requests; one commit each."""

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
    """Add a job, claim it, and complete it; returns when that began and ended."""
    began = monotonic()
    client.add({"n": n})
    job = client.claim().json
    assert job["content"] == {"n": n}
    assert client.update(job["uid"], "complete").status == 200
    return began, monotonic()


def test_a_queue_of_100_000_jobs_is_streamed_in_little_memory_while_others_are_served(long_queue: Daemon) -> None:
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


def test_a_client_that_does_not_read_a_long_queue_costs_little_memory(long_queue: Daemon) -> None:
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


def test_a_request_for_thousands_of_jobs_is_one_commit(daemon: Daemon) -> None:
    with daemon.client(sampled=True) as client:
        client.make_queue()

        def commits(body: Any, method: str) -> tuple[float, Any]:
            """Make a request; returns the number of commits that it made, and its answer."""
            before = client.metric("jobengine_commits_total")
            reply = client.call(method, "/api/v1/jobs", body={"queue_name": "q", **body})
            return client.metric("jobengine_commits_total") - before, reply.json

        number, added = commits({"jobs": [{"content": {"n": n}} for n in range(BULK)]}, "PUT")
        assert (number, len(added["jobs"])) == (1, BULK)
        updates = [{"uid": job["uid"], "new_status": "complete", "result": 1} for job in added["jobs"][1000:]]
        number, updated = commits({"updates": updates}, "POST")
        assert (number, {result["status"] for result in updated["results"]}) == (1, {200})
        before = client.metric("jobengine_commits_total")
        assert len(client.take(count=1000).json["jobs"]) == 1000
        assert client.metric("jobengine_commits_total") - before == 1


def test_only_requests_for_many_jobs_may_be_longer_than_1_mib_and_they_no_longer_than_16(daemon: Daemon) -> None:
    def contents(size: int) -> list[dict[str, Any]]:
        """Contents with this many bytes together; no job may have more than 1 MiB."""
        return [{"text": "x" * (size // 20)} for _ in range(20)]

    def status(path: str, size: int, query: dict[str, str] | None = None) -> int:
        """The status for a body of this length, on a connection of its own, since a refusal ends the connection."""
        with daemon.client() as client:
            return client.call("PUT", path, query=query, body={"a": "x" * size}).status

    with daemon.client() as client:
        client.make_queue()
        for mib in (2, 15):
            body = {"queue_name": "q", "jobs": [{"content": content} for content in contents(mib * MIB)]}
            added = client.call("PUT", "/api/v1/jobs", query={"queueName": "q"}, body=body)
            assert added.status == 201
        pairs = zip(added.json["jobs"], contents(2 * MIB), strict=True)
        updates = [{"uid": job["uid"], "content": content} for job, content in pairs]
        body = {"queue_name": "q", "updates": updates}
        assert client.call("POST", "/api/v1/jobs", query={"queueName": "q"}, body=body).status == 200
    assert status("/api/v1/jobs", 16 * MIB, {"queueName": "q"}) == 413
    assert status("/api/v1/jobs", 16 * MIB - 100, {"queueName": "q"}) == 400
    for path in ("/api/v1/job", "/api/v1/jobs", "/api/v1/queue", "/api/v1/queue/key"):
        assert status(path, MIB) == 413
        assert status(path, MIB - 100) == 400
