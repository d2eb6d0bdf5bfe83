"""
Does a long queue cost more than a short one? Run from the root: `python -m benchmarks.queue_length [jobs]`.

A live daemon has a queue of 100 jobs and one of 100,000. In turn, jobs are added to each, and as many are claimed and
deleted, so that each keeps its length. The rates of adding and of claiming at both lengths are printed, and their
ratios.
"""

import json
import socket
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

from tests.integration.daemons import Daemon

from .calls import make_queue, request

CONNECTIONS = 32
SHORT, LONG = 100, 100_000
#: Turns of each queue, and requests of each kind in a turn.
TURNS, REQUESTS = 25, 640
TARGET = 1.3


class Crowd:
    """Connections that all send at once, so that the daemon never waits for its clients."""

    def __init__(self, port: int) -> None:
        self._sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]

    def close(self) -> None:
        """Close all connections."""
        for connection in self._sockets:
            connection.close()

    def ask(self, requests: Sequence[bytes]) -> list[bytes]:
        """The bodies of the answers to requests of the same kind, in order; raises if one is not a 2xx."""
        return [
            answer
            for begin in range(0, len(requests), CONNECTIONS)
            for answer in self._round(requests[begin : begin + CONNECTIONS])
        ]

    def _round(self, requests: Sequence[bytes]) -> Iterable[bytes]:
        pairs = list(zip(self._sockets, requests, strict=False))
        for connection, data in pairs:
            connection.sendall(data)
        return [self._read(connection) for connection, _ in pairs]

    def _read(self, connection: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        if head[9:10] != b"2":
            raise RuntimeError(data.decode())
        length = int(head.lower().partition(b"content-length:")[2].split()[0]) if b"204" not in head[:13] else 0
        while len(body) < length:
            body += connection.recv(65536)
        return body


def addition(queue: str) -> bytes:
    """A request that adds a job."""
    return request("PUT", "/api/v1/job", {"queue_name": queue, "job": {"content": {"to": "ada@example.org"}}})


def turn(crowd: Crowd, queue: str) -> tuple[float, float]:
    """Requests a second for adding and for claiming. The queue keeps its length."""
    additions = [addition(queue)] * REQUESTS
    claims = [request("GET", f"/api/v1/job/next?queueName={queue}&markQueued=true")] * REQUESTS
    began = perf_counter()
    crowd.ask(additions)
    added = perf_counter()
    jobs = crowd.ask(claims)
    claimed = perf_counter()
    uids = [json.loads(job)["uid"] for job in jobs]
    crowd.ask([request("DELETE", f"/api/v1/job?queueName={queue}&jobUID={uid}") for uid in uids])
    return REQUESTS / (added - began), REQUESTS / (claimed - added)


def measure(daemon: Daemon, long: int) -> bool:
    """Print the rates; returns whether the ratios meet the target."""
    lengths = {"short": SHORT, "long": long}
    crowd = Crowd(daemon.port)
    for queue, length in lengths.items():
        crowd.ask([make_queue(queue)])
        crowd.ask([addition(queue)] * length)
    turns: dict[str, list[tuple[float, float]]] = {queue: [] for queue in lengths}
    for _ in range(TURNS):
        for queue in lengths:
            turns[queue].append(turn(crowd, queue))
    good = True
    for number, kind in enumerate(("add", "claim")):
        short, far = (median(rates[number] for rates in turns[queue]) for queue in ("short", "long"))
        good = good and short / far <= TARGET
        sys.stdout.write(
            f"{kind:>6}: {short:6.0f}/s with {SHORT} jobs, {far:6.0f}/s with {long}: ratio {short / far:.2f}\n"
        )
    return good


def main() -> int:
    """Run the benchmark; returns 1 if a long queue costs too much, otherwise 0."""
    long = int(sys.argv[1]) if len(sys.argv) > 1 else LONG
    with tempfile.TemporaryDirectory() as directory:
        daemon = Daemon(Path(directory)).start()
        try:
            return 0 if measure(daemon, long) else 1
        finally:
            daemon.kill()


if __name__ == "__main__":
    raise SystemExit(main())
