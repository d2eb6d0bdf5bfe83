"""The daemon with TLS: a refusal is sent, closed in good order, and leaves no traceback in the log."""

import socket
import ssl
from pathlib import Path

import pytest

from .conftest import MakeDaemon
from .daemons import DEADLINE, Daemon, until


@pytest.fixture
def secure(make_daemon: MakeDaemon, certificate: Path) -> Daemon:
    listen = f"ssl:0:interface=127.0.0.1:privateKey={certificate}/key.pem:certKey={certificate}/cert.pem"
    daemon = make_daemon(settings={"LISTEN": listen})
    daemon.launch()
    return daemon


def _connect(daemon: Daemon) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=daemon.home.parent / "cert.pem")
    plain = socket.create_connection(("127.0.0.1", daemon.port), DEADLINE)
    # Without a close_notify the end is an error.
    return context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False)


def _exchange(daemon: Daemon, sent: bytes) -> bytes:
    """The bytes until the server announces the end."""
    parts = []
    with _connect(daemon) as connection:
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
def test_an_answer_that_closes_the_connection_closes_it_cleanly(secure: Daemon, sent: bytes, status: int) -> None:
    for _ in range(3):
        assert _exchange(secure, sent).startswith(b"HTTP/1.1 %d " % status)
    assert secure.stop() == 0
    assert "Traceback" not in secure.log


def test_a_client_that_never_closes_is_cut_after_two_seconds(secure: Daemon) -> None:
    with _connect(secure) as connection:
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
    until(
        "it tells", lambda: f"JobEngine is ready at https://127.0.0.1:{secure.port}, with the database " in secure.log
    )
