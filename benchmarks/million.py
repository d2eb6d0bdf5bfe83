"""
What do 1,000,000 queued jobs cost? Run from the root: `python -m benchmarks.million`.

One daemon is given the jobs, 1,000 in a request; another has an empty queue. In turn, jobs are added to both, claimed
and deleted again, so that the queues keep their lengths. Then requests come at 1,000 a second while the file is
compacted, and the daemon is restarted after a stop and after a kill. Rates are also measured at shorter lengths. Last,
the daemon is given 5,000,000 jobs, and killed again.
"""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median

from .calls import converse, make_queue
from .latency import OpenLoop, percentile, through_a_compaction
from .queue_length import Crowd, turn
from .results import TIMES, Results, Row, run_alone, say
from .servers import JobEngine
from .servers.jobengine import QUEUE, additions

JOBS = 1_000_000
#: Shorter lengths at which rates are measured.
_LENGTHS = (0, 1_000, 10_000, 100_000, 300_000)
_CONNECTIONS = 4
#: Turns of adding and claiming whose median is a rate.
_TURNS = 5
#: Targets: bytes of memory a job; rates compared with an empty queue; milliseconds during a compaction.
_MEMORY, _SHARE, _P99 = 700, 0.9, 25
#: Targets after a stop or a kill: seconds until it is ready, for each million jobs, and bytes of memory a job.
_READY, _MEMORY_AGAIN = 5, 550
_MANY = 5 * JOBS
#: Seconds before and after a compaction that the chart shows.
_AROUND = 1.0
#: The bytes that the file may have beyond twice its live data.
_SLACK = 64 << 20

_Rates = tuple[float, float]


def measure(results: Results) -> None:
    """Measure queues of up to 5,000,000 jobs; adds the rows to `results`, and the data of the charts."""
    empty, full = JobEngine(), JobEngine()
    with ExitStack() as stack:
        stack.enter_context(empty.running())
        stack.enter_context(full.running())
        bare = full.memory
        memory = _fill(full, results)
        _compare_rates(results, empty, full)
        results.bound("1,000,000 queued jobs, memory a job", [memory], "bytes", _MEMORY)
        _compact(results, full)
        for how, name in ((signal.SIGTERM, "stopped"), (signal.SIGKILL, "killed")):
            seconds = [_again(full, how) for _ in range(TIMES)]
            results.bound(f"1,000,000 queued jobs, ready again once {name}", seconds, "s", _READY)
        results.bound(
            "1,000,000 queued jobs that were read back, memory a job",
            [(full.memory - bare) / JOBS],
            "bytes",
            _MEMORY_AGAIN,
        )
        _read_back_many(results, full, bare)


def _fill(server: JobEngine, results: Results) -> float:
    """Add the jobs, and measure rates at each length; returns the bytes of memory a job."""
    before, length = server.memory, 0
    for next_length in (*_LENGTHS, JOBS):
        _grow(server, next_length - length)
        length = next_length
        grown = server.memory - before
        adding, claiming = _rates(server)
        results.rates.append((length, adding, claiming))
        say(f"{length:,} jobs, {grown >> 20} MiB: {adding:,.0f} adding, {claiming:,.0f} claiming a second")
    return grown / JOBS


def _grow(server: JobEngine, jobs: int) -> None:
    converse(server.port, [additions(QUEUE, jobs // _CONNECTIONS, 250) for _ in range(_CONNECTIONS if jobs else 0)])


def _rates(server: JobEngine) -> _Rates:
    """Requests a second for adding and for claiming; the queue keeps its length."""
    with _crowd(server) as crowd:
        turns = [turn(crowd, QUEUE) for _ in range(_TURNS)]
    return median(adding for adding, _ in turns), median(claiming for _, claiming in turns)


@contextmanager
def _crowd(server: JobEngine) -> Iterator[Crowd]:
    crowd = Crowd(server.port)
    try:
        yield crowd
    finally:
        crowd.close()


def _compare_rates(results: Results, empty: JobEngine, full: JobEngine) -> None:
    pairs = [(_rates(empty), _rates(full)) for _ in range(TIMES)]
    for number, kind in enumerate(("add", "claim")):
        short, long = ([pair[which][number] for pair in pairs] for which in (0, 1))
        ratios = [far / near for near, far in zip(short, long, strict=True)]
        results.rows.append(
            Row(
                f"1,000,000 queued jobs, {kind}",
                f"{median(long):,.0f} requests/s",
                f"on an empty queue: {median(short):,.0f} requests/s",
                f"{median(ratios):.2f}",
                f"≥ {_SHARE}",
                median(ratios) >= _SHARE,
                f"{min(ratios):.2f} to {max(ratios):.2f}",
            )
        )


def _compact(results: Results, server: JobEngine) -> None:
    """Measure compactions; the last one is drawn as a chart."""
    server.ask(make_queue("waste"))
    runs, sizes = [], []
    for _ in range(TIMES):
        loop = through_a_compaction(server)
        sizes.append(_share_of_limit(server, loop.longest))
        runs.append(percentile(loop.in_compaction(), 0.99))
    _draw(results, loop)
    results.bound("1,000,000 queued jobs, p99 at 1,000 requests/s through a compaction", runs, "ms", _P99)
    results.bound("1,000,000 queued jobs, file beside the most that it may be", sizes, "", 1)


def _share_of_limit(server: JobEngine, longest: int) -> float:
    """The greatest length of the file, divided by the greatest allowed one."""
    live = server.metric("jobengine_live_bytes")
    say(f"the file had {longest / (1 << 20):,.0f} MiB at most, {live / (1 << 20):,.0f} MiB of them live")
    return longest / (2 * live + _SLACK)


def _draw(results: Results, loop: OpenLoop) -> None:
    begin, end = loop.compaction
    results.compaction_seconds = end - begin
    results.compaction = [
        (due - begin, took * 1000)
        for due, took in zip(loop.due, loop.took, strict=True)
        if begin - _AROUND <= due <= end + _AROUND
    ]


def _read_back_many(results: Results, server: JobEngine, bare: int) -> None:
    """Measure 5,000,000 jobs once, not in rounds: it takes minutes."""
    _grow(server, _MANY - JOBS)
    millions = _MANY / 1_000_000
    seconds = _again(server, signal.SIGKILL) / millions
    results.bound("5,000,000 queued jobs, ready again once killed, each million", [seconds], "s", _READY)
    memory = (server.memory - bare) / _MANY
    results.bound("5,000,000 queued jobs that were read back, memory a job", [memory], "bytes", _MEMORY_AGAIN)


def _again(server: JobEngine, how: signal.Signals) -> float:
    seconds = server.again(how)
    say(f"ready again in {seconds:.1f} s after {how.name}")
    return seconds


if __name__ == "__main__":
    raise SystemExit(run_alone(measure))
