"""Answers over real sockets: to a client that reads slowly, and over TLS, where a refusal is closed in good order."""

import json
import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPSConnection

import pytest

from .daemons import DEADLINE, Daemon, until

HEADERS = {"X-Access-Key": "key", "Content-Type": "application/json"}


@pytest.fixture
def over_tls(secure: Daemon, context: ssl.SSLContext) -> Iterator[HTTPSConnection]:
    connection = HTTPSConnection("localhost", secure.port, timeout=30, context=context)
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
    # The slow client reads the answer in more than a hundred pieces.
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


def _connect(daemon: Daemon, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", daemon.port), DEADLINE)
    # Without a close_notify the connection's end would be an error.
    return context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False)


def _exchange(daemon: Daemon, context: ssl.SSLContext, sent: bytes) -> bytes:
    """The bytes until the server announces the end."""
    parts = []
    with _connect(daemon, context) as connection:
        connection.sendall(sent)
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


_KEYED = b"X-Access-Key: wrong\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /test HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /test HTTP/1.1\r\nX: " + b"x" * 10_000 + b"\r\n\r\n", 431),
        (b"PUT /api/v1/job HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 100_000, 413),
        (b"PUT /api/v1/jobs?queueName=q HTTP/1.1\r\n" + _KEYED + b"Content-Length: 9999999\r\n\r\nx", 404),
    ],
    ids=[200, 400, 431, 413, 404],
)
def test_the_server_closes_a_tls_connection_cleanly_after_an_answer_with_connection_close(
    secure: Daemon, context: ssl.SSLContext, sent: bytes, status: int
) -> None:
    for _ in range(3):
        assert _exchange(secure, context, sent).startswith(b"HTTP/1.1 %d " % status)
    assert secure.stop() == 0
    assert "Traceback" not in secure.log


def test_a_tls_connection_that_the_client_never_closes_is_cut_after_two_seconds(
    secure: Daemon, context: ssl.SSLContext
) -> None:
    with _connect(secure, context) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
        assert connection.recv(65536) == b""
        connection.setblocking(False)

        def is_cut() -> bool:
            try:
                connection.sendall(b"x" * 1000)
            except ssl.SSLWantReadError:
                return False
            except OSError:
                return True
            return False

        until("it is cut", is_cut)
    assert secure.stop() == 0
    assert "Traceback" not in secure.log


def test_the_log_has_the_address_with_https(secure: Daemon) -> None:
    until("it tells", lambda: f"JobEngine is ready at https://127.0.0.1:{secure.port}, with the database" in secure.log)
