"""Event streams: a client that does not read is dropped and costs little; one that reads is kept."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPResponse
from typing import Final

from attrs import define

from .daemons import Client, Daemon, until

_HEAD: Final = "GET /api/v1/events?queueName=q HTTP/1.1\r\nHost: x\r\nX-Access-Key: key\r\n"


@define
class Reader:
    """Counts the events of a stream until the block ends."""

    response: HTTPResponse
    seen: int = 0
    ended: bool = False

    def read(self) -> None:
        with suppress(OSError, HTTPException, ValueError):
            while line := self.response.readline():
                self.seen += line == b"event: job\n"
        self.ended = True


@contextmanager
def _reading(daemon: Daemon) -> Iterator[Reader]:
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=30) as connection:
        connection.sendall(f"{_HEAD}\r\n".encode())
        reader = Reader(HTTPResponse(connection))
        reader.response.begin()
        assert reader.response.readline() == b":\n", "from here on nothing is missed"
        thread = threading.Thread(target=reader.read)
        thread.start()
        yield reader
        connection.shutdown(socket.SHUT_RDWR)
        thread.join()


def _has_seen(reader: Reader, number: int) -> None:
    until(f"{number} events are read", lambda: reader.seen >= number)


def _add_many(client: Client, number: int) -> None:
    assert client.add_many([{"content": {}}] * number).status == 201


def _asleep(daemon: Daemon) -> HTTPResponse:
    """A stream that is not read yet."""
    sleeper = socket.socket()
    sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    sleeper.settimeout(20)
    sleeper.connect(("127.0.0.1", daemon.port))
    sleeper.sendall(f"{_HEAD}\r\n".encode())
    response = HTTPResponse(sleeper)
    response.begin()
    return response


def test_a_client_that_does_not_read_events_is_dropped_and_memory_stays_flat(daemon: Daemon) -> None:
    with daemon.client(sampled=True) as client:
        client.make_queue()
        _add_many(client, 5_000)
        sleepers = [_asleep(daemon) for _ in range(20)]
        used: list[int] = []
        with _reading(daemon) as reader:
            for turn in range(16):
                # A reader that is more than 10,000 events behind is dropped as well.
                _turn_all(client, turn)
                _has_seen(reader, (turn + 1) * 5_000)
                used.append(daemon.memory("VmRSS"))
            assert not reader.ended
        # The first rounds fill the buffer of past events.
        assert used[-1] - used[3] < 15 << 20
    for sleeper in sleepers:
        # Events under way still arrive, then the stream ends, although most events are missing.
        assert sleeper.read().count(b"event: job") < 16 * 5_000 / 2
        sleeper.close()
    assert "Traceback" not in daemon.log


def _turn_all(client: Client, turn: int) -> None:
    """Change the state of all jobs."""
    state = "queued" if turn % 2 else "failed"
    answer = client.call("POST", "/api/v1/jobs", body={"queue_name": "q", "all": True, "new_status": state})
    assert answer.json == {"matched": 5_000}
