"""The daemon with TLS: a refusal is sent, closed in good order, and leaves no traceback in the log."""

import datetime
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integration.daemons import DEADLINE, Daemon, until


def _make_certificate(path: Path) -> None:
    """A key and a certificate for 127.0.0.1 that it has signed itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Daemon]:
    pem = tmp_path / "server.pem"
    _make_certificate(pem)
    daemon = Daemon(tmp_path / "home", {"LISTEN": f"ssl:0:interface=127.0.0.1:privateKey={pem}:certKey={pem}"})
    daemon.launch()
    yield daemon
    daemon.kill()


def _connect(daemon: Daemon) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=daemon.home.parent / "server.pem")
    context.check_hostname = False
    plain = socket.create_connection(("127.0.0.1", daemon.port), DEADLINE)
    # Without a close_notify the end is an error.
    return context.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False)


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
