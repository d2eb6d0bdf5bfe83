"""The history of a queue over HTTP, and the timer that keeps it."""

import pytest

from tests.doubles import MemoryServer
from tests.web.asking import add, claim, update


def test_a_history_has_counts_and_times_in_seconds(server: MemoryServer) -> None:
    add(server)
    server.clock.advance(0.5)
    uid = claim(server).json["uid"]
    update(server, uid, "complete")
    history = server.call("GET", "/api/v1/queue/history", query={"name": "q"}).json
    assert {len(column) for column in history["minutes"].values()} == {60}
    assert {len(column) for column in history["hours"].values()} == {168}
    last = {what: numbers[-1] for what, numbers in history["hours"].items()}
    assert last == {
        "added": 1,
        "claimed": 1,
        "complete": 1,
        "failed": 0,
        "attempts_failed": 0,
        "cancelled": 0,
        "wait_p50": 0.5,
        "wait_p99": 0.5,
        "run_p50": 0,
        "run_p99": 0,
    }


@pytest.mark.only_on_a_file("a server sweeps each second")
def test_the_history_of_an_idle_server_sets_no_timers(server: MemoryServer) -> None:
    add(server)
    server.pump()
    # Only one timer exists: it stores the counts, and is not set again.
    (keeping,) = server.clock.getDelayedCalls()
    server.clock.advance(keeping.getTime() - server.clock.seconds())
    server.pump()
    assert server.clock.getDelayedCalls() == []
