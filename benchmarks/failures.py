"""
What does a failing job cost? Run from the root: `python -m benchmarks.failures`.

1,000 jobs are added, claimed and ended in one request, again and again: completed, failed without an error, or failed
with an error: a known one, one that differs from earlier ones only in its numbers, one with new words, or a log of 30
lines with new words. Each row compares the processor time of the server's reactor with that of completing. Then the
failures are listed for the first time, which builds their index, while another client sends a cheap request, a ping,
every millisecond.
"""

from statistics import median
from typing import Any

from .calls import Connection, add_many, claim_many, request, uids_in
from .results import Results, run_alone, say
from .schedules import processor_time
from .servers import JobEngine
from .servers.jobengine import QUEUE
from .stalls import longest

_SIZE, _ROUNDS = 1_000, 15
#: The target: the most milliseconds for which the first list may hold up other requests.
_STALL = 20
_ERROR = (
    'Traceback (most recent call last):\n  File "/srv/app/jobs.py", line {0}, in run\n    send({0})\n'
    '  File "/srv/app/mail.py", line 12, in send\n    raise ValueError("no {1} to host {0}")\n'
    "ValueError: no {1} to host {0}"
)
#: The kinds of failures, each with its target: its processor time divided by that of completing a job. With an error
#: there is more to send and to store.
_KINDS = {
    "without an error": 1.2,
    "with a known error": 1.8,
    "with new numbers": 1.8,
    "with new words": 2.5,
    "with a log of 30 new lines": 5,
}


def measure(results: Results) -> None:
    """Add a row for each kind of failure, and one for the first list."""
    server = JobEngine()
    with server.running():
        connection, number = Connection(server.port), 0
        costs: dict[str, list[float]] = {kind: [] for kind in ("complete", *_KINDS)}
        for _ in range(_ROUNDS):
            for kind, found in costs.items():
                found.append(_cost(connection, server.pid, kind, number))
                number += _SIZE
        connection.close()
        for kind, target in _KINDS.items():
            # The least of all rounds, since other work on the machine only adds to it.
            ratio = min(costs[kind]) / min(costs["complete"])
            say(f"failing {kind}: {min(costs[kind]):.1f} us, median {median(costs[kind]):.1f} us")
            results.bound(f"bulk of 1,000, failing {kind}, processor time beside completing", [ratio], "", target)
        stall = longest(server.port, request("GET", f"/api/v1/failures?queueName={QUEUE}"))
        failed = _ROUNDS * len(_KINDS) * _SIZE
        results.bound(f"longest stall, the first list of {failed:,} failures", [stall], "ms", _STALL)


def _cost(connection: Connection, pid: int, kind: str, number: int) -> float:
    """The microseconds of processor time for each job that ends, in a request that ends 1,000."""
    connection.ask(add_many(QUEUE, _SIZE))
    uids = uids_in(connection.ask(claim_many(QUEUE, _SIZE)))
    updates = [{"uid": uid.decode(), **_end(kind, number + at)} for at, uid in enumerate(uids)]
    ending = request("POST", "/api/v1/jobs", {"queue_name": QUEUE, "updates": updates})
    before = processor_time(pid)
    connection.ask(ending)
    return (processor_time(pid) - before) / _SIZE * 1e6


def _end(kind: str, number: int) -> dict[str, Any]:
    """The fields of an update that ends a job."""
    if kind == "complete":
        return {"new_status": "complete"}
    word = "".join("abcdefghij"[int(digit)] for digit in str(number))
    error = {
        "with a known error": _ERROR.format(1, "route"),
        "with new numbers": _ERROR.format(number, "route"),
        "with new words": _ERROR.format(number, word),
        "with a log of 30 new lines": f"copying {word} to the store\n" * 30 + "cp: no room",
    }
    return {"new_status": "failed", **({"error": error[kind]} if kind in error else {})}


if __name__ == "__main__":
    raise SystemExit(run_alone(measure))
