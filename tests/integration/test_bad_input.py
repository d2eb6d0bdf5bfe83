"""Whatever a client sends, it gets a documented answer or the connection's end, never a 5xx, in bounded memory."""

import os
import random
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from .conftest import MakeDaemon
from .daemons import READABLE, SECRET, STRACE, Daemon

HEAD = b"PUT /api/v1/job HTTP/1.1\r\nHost: x\r\nX-Access-Key: key\r\nContent-Type: application/json\r\n"
TEN_GIB = 10 << 30
#: The most bytes that are read of a refused request (64 MiB), and room for the system's buffers.
READ = 96 << 20
#: The most bytes by which one connection may make the daemon grow.
GROWTH = 30 << 20


@contextmanager
def _connected(daemon: Daemon) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=20) as connection:
        yield connection


def _answer(connection: socket.socket) -> bytes:
    """The bytes until the connection ends."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def _offer(connection: socket.socket, piece: bytes, total: int) -> int:
    """Send this many bytes, or as many as are accepted; returns their number."""
    sent = 0
    try:
        while sent < total:
            connection.sendall(piece)
            sent += len(piece)
    except OSError:
        pass
    return sent


def _memory(daemon: Daemon) -> int:
    """The memory in use; the peak is reset here, because deriving the key took more than everything after it."""
    Path(f"/proc/{daemon.pid}/clear_refs").write_text("5")
    return daemon.memory("VmRSS")


CHUNK = 1 << 16


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        pytest.param(b"Content-Length: %d\r\n\r\n" % TEN_GIB, b"x" * CHUNK, id="with its length"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * CHUNK + b"\r\n", id="in chunks"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n280000000\r\n", b"x" * CHUNK, id="as one chunk"),
    ],
)
def test_a_body_of_10_gib_is_refused_with_413_while_it_arrives_and_memory_stays_flat(
    daemon: Daemon, head: bytes, piece: bytes
) -> None:
    before = _memory(daemon)
    with _connected(daemon) as connection:
        connection.sendall(HEAD + head)
        began = time.monotonic()
        sent = _offer(connection, piece, TEN_GIB)
        assert time.monotonic() - began < 10
        assert sent < READ, "reading went on after the answer"
    with _connected(daemon) as connection:
        connection.sendall(HEAD + head)
        # Send as much as a client does before it reads an answer.
        _offer(connection, piece, 4 << 20)
        assert _answer(connection).startswith(b"HTTP/1.1 413 ")
    # The peak, not only the present size.
    assert daemon.memory("VmHWM") - before < GROWTH


def test_of_1100_connections_1000_are_served_and_the_other_100_get_503(make_daemon: MakeDaemon) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    # The daemon starts with the usual limit of a shell.
    daemon = make_daemon(prefix=("prlimit", "--nofile=1024:"), settings={"HEADER_SECONDS": "60"}).start()
    try:
        with ExitStack() as stack:
            connections = [stack.enter_context(_connected(daemon)) for _ in range(1100)]
            answers = []
            for connection in connections:
                with suppress(
                    OSError
                ):  # the server may refuse the connection before the request is sent; the client still gets that answer
                    connection.sendall(b"GET /test HTTP/1.1\r\nHost: x\r\n\r\n")
                answers.append(connection.recv(65536))
        assert [answer[:13] for answer in answers] == [b"HTTP/1.1 200 "] * 1000 + [b"HTTP/1.1 503 "] * 100
        assert b"Retry-After: 1" in answers[-1]
        with daemon.client() as client:
            assert client.call("GET", "/test").status == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


GARBAGE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /test\r\n\r\n",
    b"\r\n\r\n\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\n\r\n",
    b"GET /%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://[::1/test HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET //// HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /test?" + b"a&" * 3000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /test HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET /test HTTP/1.1\r\nHost: \xff\xfe\r\nHost: b\r\n\r\n",
    b"GET /test HTTP/1.1\r\n folded: header\r\n\r\n",
    b"GET /test HTTP/1.1\r\nno colon\r\n\r\n",
    HEAD + b"Content-Length: -1\r\n\r\n",
    HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;" + b"x" * 20_000,
    HEAD + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\nnull",
    HEAD + b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 4\r\n\r\n--x\r",
    HEAD + b"Content-Length: 3\r\n\r\n\xff\xfe\xfd",
]


@pytest.mark.parametrize("batch", [GARBAGE, [random.Random(n).randbytes(400) + b"\r\n\r\n" for n in range(50)]])
def test_garbage_is_never_answered_with_a_5xx_nor_logged_as_an_error(daemon: Daemon, batch: list[bytes]) -> None:
    for garbage in batch:
        with _connected(daemon) as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            answer = _answer(connection)
            # Requests that were not refused at once ended with the connection.
            assert answer == b"" or answer[9:10] in b"124", (garbage, answer)
    assert "Traceback" not in daemon.log
    assert "incident" not in daemon.log
    with daemon.client() as client:
        assert client.call("GET", "/test").status == 200


def test_no_file_that_the_server_opens_has_a_key_or_content_in_plain_text(
    make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    canary, key = "canary-in-the-content", "canary-of-a-key"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    # A temporary file may have no name, so every file that is opened is checked.
    opened = tmp_path / "opened"
    strace = (*STRACE, "-o", str(opened), *READABLE, "-e", "trace=openat,prctl")
    settings = {"TMPDIR": str(temporary), "ADMIN_KEY": "canary-of-admin"}
    daemon = make_daemon(settings=settings, prefix=strace).start()
    with daemon.client(key=key, admin_key="canary-of-admin") as client:
        client.make_queue()
    with daemon.client(key=key) as client:
        uid = client.add({"secret": canary}).json["uid"]
        client.add({"secret": canary, "long": "x" * 500_000})
        assert client.claim().status == 200
        assert client.update(uid, "complete").status == 200
        # Errors are logged as well, and must not reveal secrets either.
        assert client.add(queue=canary).status == 404
        assert client.call("GET", "/api/v1/job/next", query={"queueName": canary, "markQueued": canary}).status == 400
    with daemon.client(key=key + " wrong") as client:
        assert client.peek().status == 401
        assert client.call("GET", "/metrics", headers={"X-Admin-Key": "wrong"}).status == 401
    daemon.kill()
    # A torn tail, so that there is a copy of it, and the file is rewritten.
    os.truncate(daemon.db_path, daemon.db_path.stat().st_size - 5)
    daemon.prefix = ()
    daemon.start()
    assert daemon.stop() == 0
    files = [file for file in daemon.home.iterdir() if file.is_file()]
    assert any(".torn-" in file.name for file in files)
    for file in files:
        content = file.read_bytes()
        for secret in (canary, key, SECRET, "canary-of-admin"):
            assert secret.encode() not in content, (file, secret)
    assert str(daemon.db_path) in opened.read_text()
    assert str(temporary) not in opened.read_text()
