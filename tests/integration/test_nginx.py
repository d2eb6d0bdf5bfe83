"""Through the real nginx: with its default settings, and with those of docs/behind-a-proxy.md."""

import json
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse, HTTPSConnection
from pathlib import Path

import pytest
from attrs import frozen

from .conftest import MakeDaemon
from .daemons import Client, Daemon, Reply, free_port, until
from .nginx import AS_IT_COMES, as_documented, nginx
from .polls import Traced

#: A body longer than nginx accepts by default.
CONTENT = {"text": "x" * (500 << 10)}
LARGE = {"queue_name": "q", "jobs": [{"content": CONTENT}] * 3}


@pytest.fixture
def port(daemon: Daemon, tmp_path: Path) -> Iterator[int]:
    """The port of nginx with default settings, in front of a daemon with a queue."""
    with daemon.client() as client:
        client.make_queue()
    port = free_port()
    with nginx(tmp_path / "nginx", AS_IT_COMES, port, daemon.port):
        yield port


def test_events_pass_nginx_with_default_settings_one_by_one(daemon: Daemon, port: int) -> None:
    with daemon.client() as client, socket.create_connection(("127.0.0.1", port), timeout=10) as stream:
        stream.sendall(b"GET /api/v1/events?queueName=q HTTP/1.1\r\nHost: x\r\nX-Access-Key: key\r\n\r\n")
        response = HTTPResponse(stream)
        response.begin()
        assert response.status == 200
        assert response.readline() == b":\n"
        for _ in range(3):
            uid = client.add().json["uid"]
            lines = iter(response.readline, b"")
            data = next(line for line in lines if line.startswith(b"data: "))
            assert json.loads(data.removeprefix(b"data: "))["uid"] == uid


def test_nginx_with_default_settings_refuses_a_large_body_as_documented(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        head = f"PUT /api/v1/jobs?queueName=q HTTP/1.1\r\nHost: x\r\nContent-Length: {len(json.dumps(LARGE))}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


@frozen
class Documented:
    """nginx with the page's configuration, over TLS, in front of a daemon with a queue."""

    #: The system calls of the daemon behind nginx.
    traced: Traced
    connection: HTTPSConnection
    errors: Path

    def call(self, method: str, path: str, body: object = None) -> Reply:
        headers = {"X-Access-Key": "key", "Content-Type": "application/json"}
        self.connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = self.connection.getresponse()
        return Reply(response.status, dict(response.getheaders()), response.read())


@pytest.fixture
def documented(make_daemon: MakeDaemon, certificate: Path, tmp_path: Path) -> Iterator[Documented]:
    traced = Traced(tmp_path / "calls")
    daemon = make_daemon(prefix=traced.prefix).start()
    with daemon.client() as client:
        client.make_queue()
    port = free_port()
    context = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    with nginx(tmp_path / "nginx", as_documented(certificate), port, daemon.port) as errors:
        connection = HTTPSConnection("localhost", port, timeout=30, context=context)
        yield Documented(traced, connection, errors)
        connection.close()


def test_nginx_as_documented_reuses_its_connections_to_the_server(documented: Documented) -> None:
    requests = 30

    def work() -> None:
        for _ in range(requests):
            added = documented.call("PUT", "/api/v1/job", {"queue_name": "q", "job": {"content": {}}})
            assert added.status == 201

    calls = documented.traced.calls(0.1, work)
    accepted = sum("accept4(" in call and "EAGAIN" not in call for call in calls)
    assert accepted < requests / 5


def test_nginx_as_documented_passes_large_bodies_and_answers_without_a_temporary_file(
    documented: Documented,
) -> None:
    added = documented.call("PUT", "/api/v1/jobs?queueName=q", LARGE)
    assert added.status == 201, added.body[:500]
    for _ in range(3):
        jobs = documented.call("GET", "/api/v1/queue?name=q").json["jobs"]
        assert [job["content"] for job in jobs] == [CONTENT] * 3
    assert "temporary file" not in documented.errors.read_text()


def test_a_waiting_claim_works_behind_nginx_with_its_default_settings(daemon: Daemon, port: int) -> None:
    with daemon.client() as client, Client(port) as behind, ThreadPoolExecutor(1) as pool:
        given = pool.submit(behind.take, wait=30)
        until("it waits", lambda: client.metric('jobengine_waiters{on="job"}') == 1)
        uid = client.add().json["uid"]
        assert given.result(10).json["jobs"][0]["uid"] == uid
