"""
What do dependencies and batches cost? Run from the root: `python -m benchmarks.dependencies`.

One worker works off a chain of 10,000 jobs, completing a job and claiming the next one in one request, then 10,000 jobs
without dependencies in the same way. 100,000 jobs wait for one, and a client sends a ping every millisecond while they
are released. Then 1,000,000 jobs are added to a batch and claimed and completed, 1,000 at a time, beside jobs without a
batch. On PostgreSQL, the chain and a batch of 100,000 jobs are measured.
"""

import json
from time import perf_counter, sleep

from .calls import CONTENT, Connection, Conversation, claim_many, complete, complete_many, converse, request, uids_in
from .machine import Effort
from .postgres import OnPostgres
from .results import TIMES, Outcome, Results, measured, run_alone, say
from .servers import Failed, JobEngine, Run, Server
from .servers.jobengine import QUEUE

_CHAIN, _FAN_OUT, _BATCH = 10_000, 100_000, 1_000_000
_SIZE, _CONNECTIONS = 1_000, 4
#: The jobs of a batch on PostgreSQL. Of every _ENDED jobs of a batch, one is claimed and completed.
_ON_POSTGRES, _ENDED = 100_000, 4
#: Targets: the rates of a chain and of a batch, as shares of the plain rate; bytes a job; milliseconds of a stall.
_CHAINED, _BATCHED, _MEMORY, _STALL = 0.5, 0.9, 60, 20
_PING = request("GET", "/test")
_STATS = request("GET", f"/api/v1/queue/stats?queueName={QUEUE}")


def measure(results: Results) -> None:
    """Measure a chain, a fan-out and a batch on a file, and a chain and a batch on PostgreSQL."""
    _chain(results, JobEngine)
    _fan_out(results)
    _batch(results, JobEngine, _BATCH)
    if OnPostgres().found():
        _chain(results, OnPostgres, ", PostgreSQL")
        _batch(results, OnPostgres, _ON_POSTGRES, ", PostgreSQL")


def uid_of(number: int) -> str:
    """The uid of a job."""
    return f"00000000-0000-4000-8000-{number:012}"


def _add(jobs: list[dict[str, object]], **more: object) -> bytes:
    return request("PUT", "/api/v1/jobs", {"queue_name": QUEUE, **more, "jobs": jobs})


# A chain


def _chain(results: Results, make: type[JobEngine], where: str = "") -> None:
    chained, plain = [], []
    for _ in range(TIMES):
        plain.append(measured(make(), lambda server: _work_off(server, is_chain=False)))
        chained.append(measured(make(), lambda server: _work_off(server, is_chain=True)))
        say(f"chain {chained[-1].jobs:,.0f}, no dependencies {plain[-1].jobs:,.0f} jobs/s")
    ours, theirs = Outcome("a chain", chained), Outcome("no dependencies", plain)
    results.compare(f"a chain of 10,000 jobs, one worker{where}", ours, theirs, _CHAINED)


def _links(*, is_chain: bool) -> Conversation:
    """Requests that add the jobs, each of which depends on the one before."""
    for start in range(0, _CHAIN, _SIZE):
        yield _add(
            [
                {
                    "content": CONTENT,
                    "uid": uid_of(at),
                    **({"depends_on": [uid_of(at - 1)]} if is_chain and at else {}),
                }
                for at in range(start, start + _SIZE)
            ]
        )


def _work_off(server: Server, *, is_chain: bool) -> Run:
    converse(server.port, [_links(is_chain=is_chain)])
    with Effort.measured() as effort:
        converse(server.port, [_one_worker()])
    return Run(_CHAIN / effort.seconds, effort.share)


def _sent(body: bytes, times: int) -> Conversation:
    for _ in range(times):
        yield body


def _one_worker() -> Conversation:
    """Complete a job and claim the next in one request, until none is left."""
    answer = yield claim_many(QUEUE, 1)
    for _ in range(_CHAIN):
        (uid,) = uids_in(answer)[:1]
        update = {"queue_name": QUEUE, "uid": uid.decode(), "new_status": "complete"}
        answer = yield request("POST", "/api/v1/job/next", {"queue_names": [QUEUE], "count": 1, "updates": [update]})


# A fan-out


def _fan_out(results: Results) -> None:
    stalls, seconds = [], []
    for _ in range(TIMES):
        server = JobEngine()
        with server.running():
            stall, taken = _released(server)
            stalls.append(stall)
            seconds.append(taken)
            say(f"released in {taken:.2f} s, longest ping {stall:.1f} ms")
    results.bound("100,000 jobs that wait for one, longest stall of others when it completes", stalls, "ms", _STALL)
    results.bound("100,000 jobs that wait for one, all released", seconds, "s", 5)


def _released(server: JobEngine) -> tuple[float, float]:
    """The milliseconds of the longest ping, and the seconds, until all jobs are released."""
    first = uid_of(0)
    server.ask(_add([{"content": CONTENT, "uid": first}]))
    bulk = _add([{"content": CONTENT, "depends_on": [first]}] * _SIZE)
    converse(server.port, [_sent(bulk, _FAN_OUT // _SIZE)])
    ending, connection = Connection(server.port), Connection(server.port)
    connection.ask(_PING)
    began, longest, waiting = perf_counter(), 0.0, 1
    ending.send(complete(QUEUE, first.encode()))
    while waiting:
        for _ in range(20):
            sent = perf_counter()
            connection.ask(_PING)
            longest = max(longest, perf_counter() - sent)
            sleep(0.001)
        waiting = _waiting(connection)
        if perf_counter() - began > 60:
            raise Failed("not all jobs are released")
    return longest * 1000, perf_counter() - began


def _waiting(connection: Connection) -> int:
    return int(json.loads(connection.ask(_STATS))["waiting"])


# A batch


def _batch(results: Results, make: type[JobEngine], jobs: int, where: str = "") -> None:
    adds: dict[bool, list[Run]] = {False: [], True: []}
    ends: dict[bool, list[Run]] = {False: [], True: []}
    memory = []
    for _ in range(TIMES):
        used = {}
        for has_batch in (False, True):
            server = make()
            with server.running():
                added, used[has_batch], ended = _grow_and_end(server, jobs, has_batch=has_batch)
                adds[has_batch].append(added)
                ends[has_batch].append(ended)
            say(f"batch {has_batch}: {added.jobs:,.0f} added, {ended.jobs:,.0f} completed a second")
        memory.append((used[True] - used[False]) / jobs)
    for what, runs in (("added", adds), ("claimed and completed", ends)):
        ours, theirs = Outcome("a batch", runs[True]), Outcome("no batch", runs[False])
        results.compare(f"a batch of {jobs:,} jobs, {what}{where}", ours, theirs, _BATCHED)
    if make is JobEngine:
        results.bound(f"a batch of {jobs:,} jobs, memory a job more", memory, "bytes", _MEMORY)


def _grow_and_end(server: JobEngine, jobs: int, *, has_batch: bool) -> tuple[Run, int, Run]:
    """Add all jobs, then claim and complete a part of them; returns both runs, and the memory that the jobs took."""
    before = server.memory
    if has_batch:
        server.ask(request("PUT", "/api/v1/batch", {"queue_name": QUEUE, "name": "b", "then": {"content": CONTENT}}))
    bulk = _add([{"content": CONTENT}] * _SIZE, **({"batch": "b"} if has_batch else {}))
    each = jobs // _CONNECTIONS // _SIZE
    with Effort.measured() as adding:
        converse(server.port, [_sent(bulk, each) for _ in range(_CONNECTIONS)])
    memory = server.memory - before
    with Effort.measured() as ending:
        converse(server.port, [_ends(each // _ENDED) for _ in range(_CONNECTIONS)])
    return Run(jobs / adding.seconds, adding.share), memory, Run(jobs / _ENDED / ending.seconds, ending.share)


def _ends(times: int) -> Conversation:
    """Claim and complete a thousand jobs this many times."""
    for _ in range(times):
        uids = uids_in((yield claim_many(QUEUE, _SIZE)))
        yield complete_many(QUEUE, uids)


if __name__ == "__main__":
    raise SystemExit(run_alone(measure))
