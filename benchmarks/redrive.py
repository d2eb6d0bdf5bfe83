"""
How long does moving jobs between queues delay other requests? Run from the root: `python -m benchmarks.redrive`.

Many jobs fail in a queue with a dead-letter queue, and then move back at a pace. Meanwhile another client sends a cheap
request, a ping, every millisecond. Each row has the longest time of a ping, or the jobs that moved per second.
"""

import sys
from time import perf_counter

from .calls import add_many, make_queue, request
from .results import Results, run_alone, say
from .servers import JobEngine
from .servers.jobengine import QUEUE
from .stalls import longest

_DEAD = "dead"
_JOBS = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 100_000
#: The most milliseconds by which a step may delay other requests.
_TARGET = 20
_CALLS = {
    "failing, with a move each": {"queue_name": QUEUE, "all": True, "new_status": "failed"},
    "moving back at a pace": {"queue_name": _DEAD, "all": True, "move_to": QUEUE, "per_second": 1_000},
}


def measure(results: Results) -> None:
    """Measure how long each call delays pings, and how many jobs it moves per second."""
    server = JobEngine()
    with server.running():
        server.ask(make_queue(_DEAD))
        server.ask(request("POST", "/api/v1/queue", {"name": QUEUE, "dead_letter": {"queue_name": _DEAD}}))
        for _ in range(_JOBS // 10_000):
            server.ask(add_many(QUEUE, 10_000))
        for name, body in _CALLS.items():
            began = perf_counter()
            stall = longest(server.port, request("POST", "/api/v1/jobs", body))
            speed = _JOBS / (perf_counter() - began)
            say(f"{_JOBS:,} jobs {name}: longest ping {stall:.1f} ms, {speed:,.0f} jobs/s")
            results.bound(f"longest stall, {_JOBS:,} jobs {name}", [stall], "ms", _TARGET)


if __name__ == "__main__":
    raise SystemExit(run_alone(measure))
