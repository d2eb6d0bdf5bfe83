"""
Does reading a long queue delay other requests? Run from the root: `python -m benchmarks.long_list [jobs]`.

A live daemon has a queue of 1,000,000 jobs. One client reads the whole queue with one request, a GET of the API's first
version, while another adds, claims and deletes jobs in a short queue, one after the other. The time of the long answer,
its memory, and the times of the other requests are printed.
"""

import sys
import tempfile
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from time import perf_counter

from attrs import define, field

from tests.integration.daemons import Client, Daemon

JOBS, BULK = 1_000_000, 10_000
#: The most seconds that any other request may take.
TARGET = 0.05


@define
class Reader:
    """Reads the whole queue in a thread of its own."""

    port: int
    ended: bool = False
    size: int = 0
    seconds: float = 0
    _thread: Thread = field(init=False)

    def start(self) -> None:
        """Start to read the queue."""
        self._thread = Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        began = perf_counter()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", "/api/v1/queue?name=long", headers={"X-Access-Key": "key"})
        response = connection.getresponse()
        while part := response.read(1 << 20):
            self.size += len(part)
        self.seconds = perf_counter() - began
        self.ended = True

    def join(self) -> None:
        """Wait until the queue is read."""
        self._thread.join()


def fill(client: Client, jobs: int) -> None:
    """Add this many jobs to the long queue."""
    for first in range(0, jobs, BULK):
        many = [{"content": {"n": n}} for n in range(first, min(jobs, first + BULK))]
        status = client.add_many(many, "long").status
        if status != 201:
            raise RuntimeError(f"the server did not add the jobs: status {status}")


def work(client: Client) -> list[float]:
    """The seconds of each request that adds, claims and deletes one job."""
    took = []

    def timed(began: float) -> None:
        took.append(perf_counter() - began)

    began = perf_counter()
    client.add()
    timed(began)
    began = perf_counter()
    uid = client.claim().json["uid"]
    timed(began)
    began = perf_counter()
    client.delete(uid)
    timed(began)
    return took


def report(what: str, took: list[float]) -> None:
    """Print the percentiles of some times."""
    took.sort()
    at = {name: took[min(len(took) - 1, int(len(took) * part))] for name, part in (("p50", 0.5), ("p99", 0.99))}
    times = ", ".join(f"{name} {value * 1000:.1f} ms" for name, value in [*at.items(), ("max", took[-1])])
    sys.stdout.write(f"{what}: {len(took)} requests, {times}\n")


def main() -> int:
    """Run the benchmark; returns 1 if other requests take too long, otherwise 0."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else JOBS
    with tempfile.TemporaryDirectory() as directory:
        daemon = Daemon(Path(directory) / "home").start()
        try:
            with daemon.client(sampled=True, timeout=60) as client:
                client.make_queue("long")
                client.make_queue()
                fill(client, jobs)
                alone = [time for _ in range(300) for time in work(client)]
                Path(f"/proc/{daemon.pid}/clear_refs").write_text("5")  # resets the peak of its memory
                before = daemon.memory("VmRSS")
                reader, meanwhile = Reader(daemon.port), []
                reader.start()
                while not reader.ended:
                    meanwhile += work(client)
                reader.join()
            grown = daemon.memory("VmHWM") - before
        finally:
            daemon.kill()
    sys.stdout.write(
        f"{jobs} jobs: {reader.size >> 20} MiB in {reader.seconds:.1f} s, for which the daemon grew by "
        f"{grown / (1 << 20):.1f} MiB from {before >> 20} MiB\n"
    )
    report("   alone", alone)
    report("meanwhile", meanwhile)
    return 0 if meanwhile[-1] <= TARGET else 1


if __name__ == "__main__":
    raise SystemExit(main())
