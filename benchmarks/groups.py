"""
What do groups cost? Run from the root: `python -m benchmarks.groups`.

A queue gets 100,000 groups of 10 jobs, and a queue without flow 1,000,000 jobs without a group. Then jobs are added,
claimed and completed one by one, and 1,000 at a time. One part measures memory, restart, a long queue of held jobs, and
how long a change of the limits delays other requests.
"""

import signal
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from time import perf_counter
from typing import Any, Final

from .calls import CONTENT, Conversation, claim_many, complete_many, converse, request, uids_in
from .machine import Effort
from .results import TIMES, Outcome, Results, Row, run_alone, say
from .servers import Failed, JobEngine, Run
from .servers.jobengine import QUEUE, additions
from .stalls import longest
from .wrk import lives

_GROUPS, _JOBS = 100_000, 1_000_000
_SIZE, _CONNECTIONS, _SECONDS = 1_000, 4, 4
_LIMIT: Final[Mapping[str, Any]] = {"group_limits": {"in_progress": 2}}
_FAIR: Final[Mapping[str, Any]] = {"group_order": "fair"}
#: The rate never holds a job back: only its bookkeeping is measured.
_RATE: Final[Mapping[str, Any]] = {"group_limits": {"rate": {"count": 100, "seconds": 60}}}
#: The settings of each kind of queue, and the least share of a plain queue's rate, one by one and many at a time.
_KINDS: Final[Mapping[str, tuple[Mapping[str, Any], float, float]]] = {
    "limit 2": (_LIMIT, 0.85, 0.75),
    "fair": (_FAIR, 0.8, 0.75),
    "fair, limit 2": ({**_FAIR, **_LIMIT}, 0.8, 0.7),
    "rate": (_RATE, 0.7, 0.65),
}
#: Targets: bytes of memory a group; restart time and rate, divided by those without groups; milliseconds of a stall.
_MEMORY, _RESTART, _SHARE, _STALL = 600, 1.3, 0.9, 20


def measure(results: Results) -> None:
    """Add the rows of rates, and the rows of a long queue."""
    _rates(results)
    _long_queue(results)


def _rates(results: Results) -> None:
    """Compare the rates of queues with and without groups, one by one and many at a time."""
    runs: dict[str | None, list[tuple[Run, Run]]] = {name: [] for name in (None, *_KINDS)}
    for _ in range(TIMES):
        for name, those in runs.items():
            those.append(_both(_KINDS[name][0] if name else None))
            say(f"{name or 'no groups'}: {', '.join(f'{run.jobs:,.0f}' for run in those[-1])} jobs/s")
    for at, how in enumerate(("one by one", "bulk of 1,000")):
        ways = {name: Outcome(name or "no groups", [both[at] for both in those]) for name, those in runs.items()}
        for name, (_, *targets) in _KINDS.items():
            results.compare(f"100,000 groups of 10, {name}, {how}", ways[name], ways[None], targets[at])


def _both(settings: Mapping[str, Any] | None) -> tuple[Run, Run]:
    """Fill a server once, and work on it one by one, then many at a time."""
    server = JobEngine()
    with server.running():
        _fill(server, settings)
        return lives(server.port, _SECONDS, 0 if settings is None else _GROUPS), _bulk(server, settings)


def _fill(server: JobEngine, settings: Mapping[str, Any] | None, jobs: int = _JOBS) -> None:
    """Make a queue with these settings, and add its jobs; settings of None stand for a queue without groups."""
    if settings is None:
        converse(server.port, [additions(QUEUE, jobs // _CONNECTIONS, _SIZE) for _ in range(_CONNECTIONS)])
        return
    server.ask(request("POST", "/api/v1/queue", {"name": QUEUE, **settings}))
    bodies = _bodies()
    converse(server.port, [_sent(bodies[at::_CONNECTIONS], jobs // _CONNECTIONS) for at in range(_CONNECTIONS)])


def _bodies() -> list[bytes]:
    """Requests that add a job to each group, a thousand at a time."""
    return [
        request(
            "PUT",
            "/api/v1/jobs",
            {
                "queue_name": QUEUE,
                "jobs": [{"content": CONTENT, "group": f"customer-{at + n}"} for n in range(_SIZE)],
            },
        )
        for at in range(0, _GROUPS, _SIZE)
    ]


def _sent(bodies: Sequence[bytes], jobs: int) -> Conversation:
    """Requests that add this many jobs by sending these bodies again and again."""
    for number in range(jobs // _SIZE):
        yield bodies[number % len(bodies)]


def _bulk(server: JobEngine, settings: Mapping[str, Any] | None) -> Run:
    done: list[int] = []
    deadline = perf_counter() + _SECONDS
    adding: list[bytes] = _bodies() if settings is not None else [next(additions(QUEUE, _SIZE, _SIZE))]
    with Effort.measured() as effort:
        converse(server.port, [_lives(adding[at:] + adding[:at], deadline, done) for at in range(_CONNECTIONS)])
    return Run(sum(done) / effort.seconds, effort.share)


def _lives(adding: Sequence[bytes], deadline: float, done: list[int]) -> Conversation:
    """Add, claim and complete a thousand jobs at a time until the deadline; record each time in `done`."""
    for body in _forever(adding):
        yield body
        uids = uids_in((yield claim_many(QUEUE, _SIZE)))
        answer = yield complete_many(QUEUE, uids)
        if len(uids) != _SIZE or answer.count(b'"status":200') != _SIZE:
            raise Failed(f"{len(uids)} of {_SIZE} jobs were claimed; the answer to completing them: {answer[:200]!r}")
        done.append(_SIZE)
        if perf_counter() >= deadline:
            return


def _forever(bodies: Sequence[bytes]) -> Iterator[bytes]:
    while True:
        yield from bodies


def _long_queue(results: Results) -> None:
    plain, grouped = JobEngine(), JobEngine()
    with plain.running(), grouped.running():
        before = grouped.memory - plain.memory
        _fill(plain, None)
        _fill(grouped, _LIMIT)
        memory = (grouped.memory - plain.memory - before) / _GROUPS
        results.bound("100,000 groups of 10, memory a group", [memory], "bytes", _MEMORY)
        stalls = [longest(grouped.port, _limit(number + 3)) for number in range(TIMES)]
        results.bound("100,000 groups of 10, longest stall by a changed limit", stalls, "ms", _STALL)
        times = [grouped.again(signal.SIGTERM) / plain.again(signal.SIGTERM) for _ in range(TIMES)]
        results.bound("100,000 groups of 10, restart beside no groups", times, "", _RESTART)
    _held(results)


def _limit(most: int) -> bytes:
    return request("POST", "/api/v1/queue", {"name": QUEUE, "group_limits": {"in_progress": most}})


def _held(results: Results) -> None:
    """Compare the rate beside a paused group of 1,000,000 jobs with the rate beside a paused group without jobs."""
    empty, full = JobEngine(), JobEngine()
    held = request(
        "PUT",
        "/api/v1/jobs",
        {"queue_name": QUEUE, "jobs": [{"content": {"n": 1}, "group": "held"} for _ in range(_SIZE)]},
    )
    with empty.running(), full.running():
        for server in (empty, full):
            server.ask(request("PUT", "/api/v1/group", {"queue_name": QUEUE, "group": "held", "paused": True}))
        converse(full.port, [_sent([held], _JOBS)])
        pairs = [(lives(empty.port, _SECONDS, 10).jobs, lives(full.port, _SECONDS, 10).jobs) for _ in range(TIMES)]
    ratios = [far / near for near, far in pairs]
    short, long = (median(pair[at] for pair in pairs) for at in (0, 1))
    results.rows.append(
        Row(
            "1,000,000 held jobs of one group, one by one",
            f"{long:,.0f} jobs/s",
            f"no held jobs: {short:,.0f} jobs/s",
            f"{median(ratios):.2f}",
            f"≥ {_SHARE}",
            median(ratios) >= _SHARE,
            f"{min(ratios):.2f} to {max(ratios):.2f}",
        )
    )


if __name__ == "__main__":
    raise SystemExit(run_alone(measure))
