"""
How long does a request take at 1,000 requests a second? Run from the root: `python -m benchmarks.latency`.

Requests add, claim and complete jobs. Each is due at a fixed time and is timed from then on, so a stall affects all
requests due during it. They are measured once without other work, and once while a file with 100,000 live jobs is
compacted.
"""

import gc
import selectors
from collections import deque
from math import inf
from time import perf_counter
from typing import Any

from attrs import define, field

from .calls import Connection, add, add_many, claim, complete, complete_many, converse, make_queue, uids_in
from .results import TIMES, Results, run_alone, say
from .servers import Failed, JobEngine
from .servers.jobengine import QUEUE, additions

RATE = 1_000
_CONNECTIONS = 64
#: Seconds: of the measurement without other work; for which requests go on after a compaction; and the most until the
#: compaction is over.
_PLAIN, _BEFORE_AND_AFTER, _MOST = 10.0, 1.0, 120.0
#: Seconds in which the old file is freed after a compaction.
_FREED = 0.6
#: Seconds of the first requests, which are not counted, since caches are cold.
_WARM_UP = 1.0
_LIVE = 100_000
#: Garbage is made until the file is `_CLOSE` bytes short of a compaction; the measured requests do the rest. The
#: garbage is jobs of `_WASTE` bytes, `_AT_ONCE` in a request.
_WASTE, _AT_ONCE, _CLOSE = 100_000, 20, 1 << 18
#: Seconds between two checks whether a compaction is running.
_LOOK = 0.005


@define
class OpenLoop:
    """One thread that acts as all clients, and records when a compaction was running."""

    server: JobEngine
    #: When each request was due, in seconds since the first one, and the seconds from then to its answer.
    due: list[float] = field(factory=list)
    took: list[float] = field(factory=list)
    compaction: tuple[float, float] = (inf, inf)
    #: The greatest length of the file, in bytes.
    longest: int = 0
    _free: deque[Connection] = field(factory=deque)
    _waiting: dict[Connection, float] = field(factory=dict)
    _selector: Any = field(factory=selectors.SelectSelector)
    #: Claimed jobs that are not completed.
    _claimed: deque[bytes] = field(factory=deque)
    _sent: int = 0
    _began: float = 0
    _polled: float = 0

    def run(self, seconds: float = inf) -> None:
        """Run for this many seconds, by default until a compaction is over; raises Failed if there is none."""
        for _ in range(_CONNECTIONS):
            connection = Connection(self.server.port)
            self._selector.register(connection, selectors.EVENT_READ)
            self._free.append(connection)
        gc.collect()
        gc.disable()  # a pause of the client is not the server's
        try:
            self._run(seconds)
        finally:
            gc.enable()
            for connection in [*self._free, *self._waiting]:
                connection.close()

    def _run(self, seconds: float) -> None:
        self._began = perf_counter()
        while (now := perf_counter() - self._began) < seconds:
            if seconds == inf and self._over(now):
                break
            while self._free and self._sent / RATE <= now:
                self._send()
            self._receive(max(0.0, min(self._sent / RATE - now, _LOOK)))
        while self._waiting:
            self._receive(_LOOK)

    def _over(self, now: float) -> bool:
        """Whether a compaction has begun and ended."""
        if now - self._polled > _LOOK:
            self._polled, (begin, end) = now, self.compaction
            self.longest = max(self.longest, self.server.size)
            if self.server.compacts:
                self.compaction = min(begin, now), inf
            elif begin < inf:
                self.compaction = begin, min(end, now)
        if now > _MOST:
            raise Failed(f"no compaction ended within {_MOST:.0f} s")
        return now > self.compaction[1] + _BEFORE_AND_AFTER

    def _send(self) -> None:
        connection, due = self._free.popleft(), self._sent / RATE
        kind, self._sent = self._sent % 3, self._sent + 1
        if kind == 1:
            connection.send(_CLAIM)
        elif kind == 2 and self._claimed:
            connection.send(complete(QUEUE, self._claimed.popleft()))
        else:
            connection.send(_ADD)
        self._waiting[connection] = due

    def _receive(self, timeout: float) -> None:
        for key, _ in self._selector.select(timeout):
            connection = key.fileobj
            answer = connection.receive()
            if answer is None:
                continue
            due = self._waiting.pop(connection)
            self.due.append(due)
            self.took.append(perf_counter() - self._began - due)
            self._free.append(connection)
            if b'"inprogress"' in answer:
                self._claimed += uids_in(answer)

    def in_compaction(self) -> list[float]:
        """Like `during`, for the compaction and the time in which the old file is freed."""
        begin, end = self.compaction
        return self.during(begin, end + _FREED)

    def during(self, begin: float, end: float) -> list[float]:
        """The latencies, in milliseconds and sorted, of the requests that were due in this time."""
        return sorted(took * 1000 for due, took in zip(self.due, self.took, strict=True) if begin <= due <= end)


#: Complete jobs are not kept, so that the live data does not grow.
_ADD, _CLAIM = add(QUEUE, keep_minutes=0), claim(QUEUE)


def percentile(sorted_values: list[float], part: float) -> float:
    """A quantile of sorted values: with 0.5 as `part` the median."""
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * part))]


def waste(server: JobEngine) -> None:
    """Make garbage until compaction is about to begin, which is at 1.5 times the live data plus 32 MiB."""
    while (room := _room(server) - _CLOSE) > _WASTE:
        number = min(_AT_ONCE, room // _WASTE)
        uids = uids_in(server.ask(add_many("waste", number, {"x": "a" * _WASTE}, keep_minutes=0)))
        server.ask(complete_many("waste", uids))


def _room(server: JobEngine) -> int:
    live, size = server.metric("jobengine_live_bytes"), server.metric("jobengine_file_bytes")
    return int(live * 1.5 + (32 << 20) - size)


def through_a_compaction(server: JobEngine) -> OpenLoop:
    """The requests before, during and after a compaction that they cause."""
    waste(server)
    loop = OpenLoop(server)
    loop.run()
    begin, end = loop.compaction
    worst = percentile(loop.in_compaction(), 1)
    say(f"a compaction from {begin:.2f} s to {end:.2f} s; the longest request in it took {worst:.1f} ms")
    return loop


def measure(results: Results) -> None:
    """Measure the times of requests without and with a compaction; adds rows of percentiles to `results`."""
    plain, compacting = [], []
    for _ in range(TIMES):
        plain.append(_plain())
        compacting.append(_compacting())
    add_rows(results, "1,000 requests/s", plain, {"p50": (0.5, 1.5), "p99": (0.99, 8)})
    add_rows(results, "1,000 requests/s through a compaction", compacting, {"p50": (0.5, 1.5), "p99": (0.99, 8)})


def add_rows(results: Results, what: str, runs: list[list[float]], targets: dict[str, tuple[float, float]]) -> None:
    """Add a row to `results` for each percentile that has a target."""
    for name, (part, target) in targets.items():
        results.bound(f"{what}, {name}", [percentile(run, part) for run in runs], "ms", target)


def _plain() -> list[float]:
    server = JobEngine()
    with server.running():
        loop = OpenLoop(server)
        loop.run(_PLAIN + _WARM_UP)
    return loop.during(_WARM_UP, inf)


def _compacting() -> list[float]:
    """Measure the latencies, in milliseconds, of requests that were due during a compaction."""
    server = JobEngine()
    with server.running():
        server.ask(make_queue("waste"))
        server.ask(make_queue("live"))
        converse(server.port, [additions("live", _LIVE)])
        loop = through_a_compaction(server)
    return loop.in_compaction()


if __name__ == "__main__":
    raise SystemExit(run_alone(measure))
