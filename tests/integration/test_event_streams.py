"""Streams of events under load: none missing, none out of order, and a client that does not read costs little."""

import json
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from typing import Any, Final

from attrs import define, field

from .daemons import Client, Daemon, until

_HEAD: Final = "GET /api/v1/events?queueName=q HTTP/1.1\r\nHost: x\r\nX-Access-Key: key\r\n"
_CREATED_CLAIMED_DONE: Final = [(None, "queued"), ("queued", "inprogress"), ("inprogress", "complete")]


@define
class Reader:
    """Reads a stream until it ends or is left."""

    daemon: Daemon
    #: The data of each event `job`, with its id; None for a `gone`.
    seen: list[Any] = field(factory=list)
    ended: bool = False
    _socket: "socket.socket | None" = None
    _thread: "threading.Thread | None" = None

    def open(self) -> "Reader":
        self._socket = socket.create_connection(("127.0.0.1", self.daemon.port), timeout=30)
        self._socket.sendall(f"{_HEAD}\r\n".encode())
        response = HTTPResponse(self._socket)
        response.begin()
        assert response.status == 200
        assert response.readline() == b":\n", "from here on nothing is missed"
        self._thread = threading.Thread(target=self._read, args=[response])
        self._thread.start()
        return self

    def leave(self) -> None:
        """Go away in the middle."""
        assert self._socket is not None
        assert self._thread is not None
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def changes(self) -> dict[str, list[tuple[str | None, str | None]]]:
        """The changes of each job that were seen, in order."""
        by_uid = defaultdict(list)
        for event in self.seen:
            by_uid[event["uid"]].append((event["before"], event["state"]))
        return by_uid

    def _read(self, response: HTTPResponse) -> None:
        fields: dict[str, str] = {}
        try:
            while line := response.readline().decode():
                name, _, value = line.rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif fields:
                    self._take(fields)
                    fields = {}
        except (OSError, HTTPException, ValueError):
            pass
        self.ended = True

    def _take(self, fields: dict[str, str]) -> None:
        if fields["event"] == "gone":
            self.seen.append(None)
        else:
            self.seen.append({**json.loads(fields["data"]), "id": fields["id"]})


@contextmanager
def _reading(daemon: Daemon) -> Iterator[Reader]:
    reader = Reader(daemon).open()
    yield reader
    reader.leave()


def _live(daemon: Daemon, jobs: int) -> None:
    """Add this many jobs, claim and complete each, on one connection."""
    with daemon.client(sampled=True) as client:
        for _ in range(jobs):
            client.add()
            (job,) = client.take(wait=10).json["jobs"]
            assert client.change(job["uid"], lease=job["lease"], new_status="complete").status == 200


@contextmanager
def _load(daemon: Daemon, threads: int = 8, jobs: int = 60) -> Iterator[int]:
    """Run lives of jobs while the block runs; yields their number."""
    all_threads = [threading.Thread(target=_live, args=[daemon, jobs]) for _ in range(threads)]
    for thread in all_threads:
        thread.start()
    yield threads * jobs
    for thread in all_threads:
        thread.join()


def _numbers(reader: Reader) -> list[int]:
    return [int(event["id"].rpartition("-")[2]) for event in reader.seen]


def _has_seen(reader: Reader, number: int) -> None:
    until(f"{number} events are read", lambda: len(reader.seen) >= number)


def _add_many(client: Client, number: int) -> None:
    assert client.add_many([{"content": {}}] * number).status == 201


def test_every_change_under_load_is_seen_once_and_in_order(daemon: Daemon) -> None:
    with daemon.client() as client:
        client.make_queue()
    with _reading(daemon) as reader:
        with _load(daemon) as jobs:
            pass
        _has_seen(reader, 3 * jobs)
        assert _numbers(reader) == sorted(set(_numbers(reader)))
        assert list(reader.changes().values()) == [_CREATED_CLAIMED_DONE] * jobs
        # A watcher that reads is not dropped because of thousands of events at once.
        with daemon.client(sampled=True) as client:
            _add_many(client, 10_000)
            _add_many(client, 2_000)
            _has_seen(reader, 3 * jobs + 12_000)
        assert not reader.ended


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
        # The first turns fill what is kept of a queue.
        assert used[-1] - used[3] < 15 << 20
    for sleeper in sleepers:
        # The events under way still arrive, then the end, although most have not arrived.
        assert sleeper.read().count(b"event: job") < 16 * 5_000 / 2
        sleeper.close()
    assert "Traceback" not in daemon.log


def _turn_all(client: Client, turn: int) -> None:
    """Change the state of all jobs."""
    state = "queued" if turn % 2 else "failed"
    answer = client.call("POST", "/api/v1/jobs", body={"queue_name": "q", "all": True, "new_status": state})
    assert answer.json == {"matched": 5_000}
