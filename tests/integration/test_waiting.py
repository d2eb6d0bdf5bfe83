"""Many waiters for jobs: they cause no work, are served in order, and get no job after they have disconnected."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import MakeDaemon
from .daemons import Client, Daemon
from .polls import Poll, Polls, Traced

MANY = 1_000


@pytest.fixture
def traced(tmp_path: Path) -> Traced:
    """The system calls of the daemon; recorded only for tests that request this fixture."""
    return Traced(tmp_path / "calls")


@pytest.fixture
def polls(make_daemon: MakeDaemon, request: pytest.FixtureRequest) -> Iterator[Polls]:
    """Polls at a daemon that takes enough connections, with a queue."""
    prefix = request.getfixturevalue("traced").prefix if "traced" in request.fixturenames else ()
    daemon = make_daemon(settings={"MAX_CONNECTIONS": str(MANY + 100)}, prefix=prefix).start()
    with daemon.client() as client:
        client.make_queue()
    polls = Polls(daemon)
    yield polls
    polls.close()
    assert "Traceback" not in daemon.log


def _add(client: Client, numbers: range, **more: object) -> None:
    assert client.add_many([{"content": {"n": n}, **more} for n in numbers]).status == 201


def _given(polls: list[Poll]) -> list[int]:
    """The numbers of the jobs that these polls received."""
    return [poll.job()["content"]["n"] for poll in polls]


def _held(daemon: Daemon) -> list[int]:
    """The numbers of the jobs in progress."""
    with daemon.client() as client:
        return sorted(job["content"]["n"] for job in client.jobs().values() if job["state"] == "inprogress")


def test_1000_idle_waiting_claims_cost_nothing_and_are_served_in_order(polls: Polls, traced: Traced) -> None:
    waiting = polls.add(MANY)
    with polls.daemon.client(sampled=True) as client:
        client.add(delay_seconds=3600)
        assert traced.calls(2) == []
        assert traced.calls(0.1, client.ready), "a request was not seen: nothing would be"
        for n in range(20):
            assert client.add({"n": n}).status == 201
            assert _given([waiting[n]]) == [n]
        _add(client, range(20, MANY - 5))
        assert _given(waiting[20:-5]) == list(range(20, MANY - 5))
        # The other waiters still wait, and are served before later waiters.
        polls.begin(waiting[:5])
        _add(client, range(MANY - 5, MANY + 5))
        assert _given(waiting[-5:] + waiting[:5]) == list(range(MANY - 5, MANY + 5))


def _time_out(poll: Poll) -> None:
    assert poll.answer() == (204, None)


@pytest.mark.parametrize(
    ("goes", "wait"),
    [
        pytest.param(Poll.close, 50, id="closes"),
        pytest.param(Poll.half_close, 50, id="half-closes"),
        pytest.param(Poll.reset, 50, id="resets"),
        pytest.param(_time_out, 0.5, id="times out"),
    ],
)
def test_a_disconnected_client_gets_no_job(polls: Polls, goes: Callable[[Poll], None], wait: float) -> None:
    live, gone = [], []
    for _ in range(10):
        gone += polls.add(2, wait=wait)
        live += polls.add(1)
    polls.end(gone, goes)
    with polls.daemon.client() as client:
        # One by one: the daemon might notice the end of a connection only when it writes to it.
        for n in range(4):
            client.add({"n": n})
        _add(client, range(4, 20))
    assert _given(live) == list(range(10))
    assert _held(polls.daemon) == list(range(10)), "there is one that nobody holds"
    later = polls.add(10)
    assert _given(later) == list(range(10, 20))


def test_sigterm_answers_all_waiters_ends_the_streams_and_exits_with_0_within_5_seconds(polls: Polls) -> None:
    waiting = polls.add(200)
    streams = [Poll.connect(polls.daemon.port) for _ in range(5)]
    for stream in streams:
        stream.watch()
    polls.end([], Poll.close)
    assert polls.daemon.stop(seconds=5) == 0
    assert {poll.answer() for poll in waiting} == {(204, None)}
    for stream in streams:
        said = stream.rest()
        assert said.startswith(b"HTTP/1.1 200 ")
        assert said.endswith(b"0\r\n\r\n"), "it was cut off"
        stream.close()
