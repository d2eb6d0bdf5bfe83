"""
What do 10,000 schedules cost? Run from the root: `python -m benchmarks.schedules`.

Ten queues have 1,000 schedules each. Those of one queue are due at each full minute, the others once a year. While they
fire, a client sends a ping every millisecond. Then the server is left alone, with 9,000 schedules that are not due.
"""

import re
from collections.abc import Iterator
from time import perf_counter, sleep, time

from .calls import Connection, Conversation, converse, make_queue, request
from .results import Results, run_alone, say
from .servers import Failed, JobEngine

_QUEUES, _SCHEDULES, _ROUNDS = 10, 1_000, 3
#: Targets: seconds until all schedules have fired, and the most milliseconds that other requests wait meanwhile.
_FIRED, _STALL = 1, 20
#: Seconds without requests, and the target of the milliseconds of processor time that the server uses in each.
_IDLE, _IDLE_MS = 10, 2
_PING = request("GET", "/test")
_METRICS = request("GET", "/metrics")
_TOTAL = re.compile(rb'^jobengine_schedule_fired_total\{queue="q0"\} (\d+)', re.MULTILINE)
#: Pings between two reads of the number of firings.
_PINGS = 20


def measure(results: Results) -> None:
    """Add rows for the firing, for other requests during it, and for an idle server."""
    server = JobEngine()
    with server.running():
        for number in range(_QUEUES):
            server.ask(make_queue(f"q{number}"))
        converse(server.port, [_setting(number) for number in range(_QUEUES)])
        rounds = [_one_round(server.port) for _ in range(_ROUNDS)]
        results.bound("1,000 of 10,000 schedules due at once, all fired", [fired for fired, _ in rounds], "s", _FIRED)
        stalls = [stall for _, stall in rounds]
        results.bound("1,000 of 10,000 schedules due at once, longest stall of others", stalls, "ms", _STALL)
        server.ask(request("DELETE", "/api/v1/queue?queueName=q0"))
        results.bound(
            "9,000 schedules that are not due, processor time of the reactor a second",
            [_idle(server.pid) * 1000],
            "ms",
            _IDLE_MS,
        )


def _setting(queue: int) -> Conversation:
    """Requests that set the schedules of a queue."""
    for number in range(_SCHEDULES):
        body = {"queue_name": f"q{queue}", "name": f"schedule-{number}", "job": {"content": {"n": number}}}
        cron = "0 0 1 1 *" if queue else "* * * * *"
        yield request("PUT", "/api/v1/schedule", {**body, "cron": cron, "if_running": "add"})


def _one_round(port: int) -> tuple[float, float]:
    """The seconds from a full minute until all schedules have fired, and the milliseconds of the longest ping."""
    minute = (time() // 60 + 1) * 60
    sleep(max(0, minute - time() - 0.5))
    # Connect only now: the server closes a connection that sends nothing for a while.
    connection, longest = Connection(port), 0.0
    before = _fired(connection)  # only now: schedules of the minute before may have fired until now
    fired = None
    for ping in _pings():
        began = perf_counter()
        connection.ask(_PING)
        longest = max(longest, perf_counter() - began)
        if ping % _PINGS == 0 and _fired(connection) == before + _SCHEDULES:
            fired = time() - minute
            break
    connection.close()
    if fired is None:
        raise Failed("not all schedules have fired")
    say(f"{fired:.2f} s, longest ping {longest * 1000:.1f} ms")
    return fired, longest * 1000


def _pings() -> Iterator[int]:
    """Yields numbers, a millisecond apart, for 30 seconds."""
    for number in range(30_000):
        yield number
        sleep(0.001)


def _fired(connection: Connection) -> int:
    """How many times the schedules of the queue have fired."""
    found = _TOTAL.search(connection.ask(_METRICS))
    return int(found[1]) if found else 0


def _idle(pid: int) -> float:
    """The processor time that the reactor uses in a second without requests."""
    sleep(2)
    before = processor_time(pid)
    sleep(_IDLE)
    return (processor_time(pid) - before) / _IDLE


def processor_time(pid: int) -> float:
    """The seconds of processor time of a process's main thread, the reactor's."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e9


if __name__ == "__main__":
    raise SystemExit(run_alone(measure))
