"""Answers over real sockets: over TLS, and to a client that reads slowly."""

import json
import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

import pytest

from .conftest import MakeDaemon
from .daemons import Daemon, until

HEADERS = {"X-Access-Key": "key", "Content-Type": "application/json"}


@pytest.fixture
def over_tls(make_daemon: MakeDaemon, certificate: Path) -> Iterator[HTTPSConnection]:
    """A connection to a daemon that listens as the README has it."""
    listen = f"ssl:0:interface=127.0.0.1:privateKey={certificate}/key.pem:certKey={certificate}/cert.pem"
    daemon = make_daemon(settings={"LISTEN": listen})
    daemon.launch()
    context = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    connection = HTTPSConnection("localhost", daemon.port, timeout=30, context=context)
    yield connection
    connection.close()


def _ask(connection: HTTPConnection, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    connection.request(method, path, None if body is None else json.dumps(body), HEADERS)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_short_and_long_answers_are_the_same_over_tls(over_tls: HTTPSConnection) -> None:
    assert _ask(over_tls, "PUT", "/api/v1/queue", {"name": "q", "access_key": "key"})[0] == 201
    jobs = [{"content": {"n": n, "text": "x" * 1_000}} for n in range(2_000)]
    assert _ask(over_tls, "PUT", "/api/v1/jobs?queueName=q", {"queue_name": "q", "jobs": jobs})[0] == 201
    status, claimed = _ask(over_tls, "GET", "/api/v1/job/next?queueName=q&markQueued=true")
    assert (status, json.loads(claimed)["content"]["n"]) == (200, 0)
    status, listed = _ask(over_tls, "GET", "/api/v1/queue?name=q")
    assert status == 200
    assert [job["content"]["n"] for job in json.loads(listed)["jobs"]] == list(range(2_000))


def test_a_long_answer_comes_whole_to_a_client_that_reads_slowly(daemon: Daemon) -> None:
    with daemon.client() as client:
        client.make_queue()
        client.add_many([{"content": {"text": "x" * 10_000, "n": n}} for n in range(1_000)])
    slow = socket.socket()
    # It takes the answer in over a hundred pieces.
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 << 10)
    slow.settimeout(30)
    slow.connect(("127.0.0.1", daemon.port))
    slow.sendall(b"GET /api/v1/jobs?queueName=q&limit=1000 HTTP/1.1\r\nHost: x\r\nX-Access-Key: key\r\n\r\n")
    with daemon.client() as client:
        # No other request waits for the slow one.
        until("others are served", lambda: client.peek().status == 200)
    answer = slow.recv(1_000)
    length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    parts = [answer.partition(b"\r\n\r\n")[2]]
    missing = length - len(parts[0])
    while missing:
        parts.append(slow.recv(missing))
        missing -= len(parts[-1])
    page = json.loads(b"".join(parts))
    assert [job["content"]["n"] for job in page["jobs"]] == list(range(len(page["jobs"])))
    slow.close()


@pytest.mark.parametrize("path", ["/test", "/api/v1/jobs?queueName=q&limit=1000", "/api/v1/queue?name=q"])
def test_the_server_stops_reading_from_a_client_that_reads_no_answers(daemon: Daemon, path: str) -> None:
    with daemon.client() as client:
        client.make_queue()
        client.add_many([{"content": {"text": "x" * 10_000, "n": n}} for n in range(1_000)])
    before = daemon.memory("VmRSS")
    flood = socket.create_connection(("127.0.0.1", daemon.port), timeout=1)
    # The first one, or its answer, is under way when the others come.
    one = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Access-Key: key\r\n\r\n".encode()
    flood.sendall(one)
    sent = 0
    try:
        while sent < 200 << 20:
            sent += flood.send(one * 2_000)
    except TimeoutError:
        pass
    # The rest is in the buffers of both sockets.
    assert sent < 50 << 20
    assert daemon.memory("VmRSS") < before + (100 << 20)
    with daemon.client() as client:
        assert client.peek().status == 200
    flood.close()
