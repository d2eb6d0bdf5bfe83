"""
How many jobs a second, many at a time? Run from the root: `python -m benchmarks.bulk`.

JobEngine gets requests with 100 or 1,000 jobs each over 4 connections. beanstalkd, which syncs every 50 ms by default,
gets its jobs one by one over 32 connections, and for comparison 100 or 1,000 commands in each write, over 4. RabbitMQ
gets them one by one, and for comparison 100 or 1,000 messages in each write, which are confirmed, delivered and
acknowledged together.
"""

from .results import Results, Work, rounds, run_alone
from .servers import Beanstalkd, JobEngine, RabbitMQ, Run, Server

_SECONDS = 4
_SIZES = (100, 1_000)


def measure(results: Results) -> None:
    """Measure whole job lives (add, claim, complete) and adding alone; put a row for each comparison into `results`."""
    results.saw(Beanstalkd(), RabbitMQ())
    _lives(results)
    ours, theirs = rounds([(JobEngine(), _adding), (Beanstalkd(name="beanstalkd lazy, pipelined"), _adding)])
    what = "bulk of 1,000, adding alone"
    if ours.runs:
        results.bound(what, [run.jobs for run in ours.runs], "jobs/s", 70_000, least=True)
    results.compare(what, ours, theirs)


def _lives(results: Results) -> None:
    pairs: list[tuple[Server, Work]] = [
        (Beanstalkd(name="beanstalkd lazy, one by one"), _singles),
        (RabbitMQ(name="RabbitMQ quorum queue, get", gets=True), _singles),
        (RabbitMQ(name="RabbitMQ quorum queue, consume"), _singles),
    ]
    for size in _SIZES:
        pairs += [(server, _bulk(size)) for server in (JobEngine(), *_pipelined(size))]
    beanstalkd, get, consume, *bulks = rounds(pairs)
    for size, (ours, *pipelined) in zip(_SIZES, (bulks[:3], bulks[3:]), strict=True):
        what = f"bulk of {size:,}, add → claim → complete"
        results.compare(what, ours, beanstalkd, 1.3)
        results.compare(what, ours, get, 10)
        for outcome in (consume, *pipelined):
            results.compare(what, ours, outcome)


def _pipelined(size: int) -> tuple[Server, Server]:
    many = f"{size:,} pipelined"
    return Beanstalkd(name=f"beanstalkd lazy, {many}"), RabbitMQ(name=f"RabbitMQ quorum queue, consume, {many}")


def _singles(server: Server) -> Run:
    return server.singles(_SECONDS)


def _adding(server: Server) -> Run:
    return server.adding(1_000, _SECONDS)


def _bulk(size: int) -> Work:
    return lambda server: server.bulk(size, _SECONDS)


if __name__ == "__main__":
    raise SystemExit(run_alone(measure))
