"""
How many jobs a second, one by one over 32 connections? Run from the root: `python -m benchmarks.singles`.

Each job is added, claimed and completed. JobEngine and Klein's no-op get the same requests from wrk (lifecycle.lua),
and the others the same work from a client for their own protocol. All but the no-op sync before they answer. JobEngine
needs an HTTP request for each step, and the others do not. benchmarks.bulk measures clients that batch.
"""

from .results import Results, rounds, run_alone
from .servers import Beanstalkd, JobEngine, Noop, PostgreSQL, RabbitMQ, Run, Server

_SECONDS = 4


def measure(results: Results) -> None:
    """Compare JobEngine with each contender; adds a row for each to `results`."""
    noops = [Noop(), Noop(name="Klein no-op with a log of requests", logs=True)]
    others = [Beanstalkd(name="beanstalkd -f 0", syncs=True), PostgreSQL(), *_rabbits()]
    servers = [JobEngine(), *noops, *others]
    results.saw(*servers[1:])
    ours, bare, logging, *theirs = rounds([(server, _work) for server in servers])
    for noop, target in ((bare, 0.9), (logging, None)):
        results.compare("single calls, requests", ours, noop, target, unit="requests/s", of=lambda run: run.requests)
    for outcome in theirs:
        results.compare("single calls, add → claim → complete", ours, outcome)


def _rabbits() -> list[Server]:
    return [RabbitMQ(name="RabbitMQ quorum queue, get", gets=True), RabbitMQ(name="RabbitMQ quorum queue, consume")]


def _work(server: Server) -> Run:
    return server.singles(_SECONDS)


if __name__ == "__main__":
    raise SystemExit(run_alone(measure))
