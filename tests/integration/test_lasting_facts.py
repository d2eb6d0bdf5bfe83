"""Queues and jobs survive kill -9 unchanged: leases, attempts, pauses, keys and everything else."""

import time
from typing import Any

import pytest
from attrs import define

from .daemons import Client, Daemon, until


def _killed(daemon: Daemon, deaths: int) -> Daemon:
    """Kill and restart the daemon this many times; the second start reads the snapshot of the first recovery."""
    for _ in range(deaths):
        daemon.kill()
        daemon.start()
    return daemon


@define
class ClaimedJob:
    """A claimed job, and the updates that its worker sent."""

    uid: str
    lease: str


def _held(client: Client, **job: Any) -> ClaimedJob:
    client.add(**job)
    (claimed,) = client.take(worker="w").json["jobs"]
    return ClaimedJob(claimed["uid"], claimed["lease"])


def _everything(client: Client) -> Any:
    """Everything that the API shows of the queue, except counts since the start."""
    stats = client.call("GET", "/api/v1/queue/stats", query={"name": "q"}).json
    ages = ("oldest_ready_seconds", "last_claim", "workers_waiting")
    since_start = ("last_minute", "last_hour", "minutes", "wait_seconds", "run_seconds", *ages)
    keys = client.call("GET", "/api/v1/queue/key", query={"name": "q"}).json
    return client.list().json, {name: stats[name] for name in stats if name not in since_start}, keys


@pytest.mark.parametrize("deaths", [1, 2])
def test_jobs_in_every_state_are_unchanged_after_the_server_was_killed(daemon: Daemon, deaths: int) -> None:
    with daemon.client() as client:
        client.make_queue()
        tried = _held(client, max_attempts=3, timeout_seconds=60)
        assert client.change(tried.uid, lease=tried.lease, new_status="failed", error="once").status == 200
        (again,) = client.take(worker="w2").json["jobs"]
        assert (again["uid"], again["attempts"]) == (tried.uid, 2)
        working = _held(client, timeout_seconds=60)
        assert client.change(working.uid, lease=working.lease, progress=40, result={"half": 1}).status == 200
        stopping = _held(client, timeout_seconds=60)
        assert client.change(stopping.uid, cancel=True).json["cancel_requested"] is True
        done = _held(client, max_attempts=2)
        assert client.change(done.uid, lease=done.lease, new_status="complete", result=[1]).status == 200
        client.add(delay_seconds=3600, tags=["later"])
        client.add(not_before=int(time.time()) + 3600, priority=3)
        before = _everything(client)
    with _killed(daemon, deaths).client() as client:
        assert _everything(client) == before
        assert client.claim().status == 204, "what is delayed was given out"
        heartbeat = client.change(stopping.uid, lease=stopping.lease, new_status="inprogress")
        assert heartbeat.json["cancel_requested"] is True
        finished = client.change(working.uid, lease=working.lease, new_status="complete")
        assert (finished.json["progress"], finished.json["result"]) == (40, {"half": 1})
        # The answer may have been lost with the server: repeating the request changes nothing.
        assert client.change(done.uid, lease=done.lease, new_status="complete").status == 200
        lost = client.change(tried.uid, lease=tried.lease, new_status="complete")
        assert (lost.status, lost.json["state"], lost.json["worker"]) == (409, "inprogress", "w2")
        outcome = client.change(again["uid"], lease=again["lease"], new_status="failed").json
        assert ([one["outcome"] for one in outcome["history"]], outcome["attempts"]) == (["failed", "failed"], 2)


GROUPS = ("slow", "fast", "held", "own")


def _own(client: Client, name: str, **own: Any) -> None:
    assert client.call("PUT", "/api/v1/group", body={"queue_name": "q", "group": name, **own}).status == 200


def _groups(client: Client) -> list[Any]:
    """What the API shows of the groups, except ages."""
    queries = ({"queueName": "q", "group": name} for name in GROUPS)
    groups = [client.call("GET", "/api/v1/group", query=query).json for query in queries]
    return [{**group, "oldest_ready_seconds": 0} for group in groups]


def _held_by(client: Client) -> dict[str, str]:
    """The reasons that hold the queued jobs of each group."""
    queued = {uid: job for uid, job in client.jobs().items() if job["state"] == "queued"}
    queries = {uid: {"queueName": "q", "jobUID": uid} for uid in queued}
    answers = {uid: client.call("GET", "/api/v1/job/explain", query=query).json for uid, query in queries.items()}
    return {job["group"]: answers[uid]["held_by"] for uid, job in queued.items()}


def test_limits_rates_and_holds_are_unchanged_after_the_server_was_killed(daemon: Daemon) -> None:
    with daemon.client() as client:
        client.make_queue()
        client.set_up(group_limits={"in_progress": 2, "rate": {"count": 3, "seconds": 3_600}})
        for group in ("slow", "slow", "slow", "fast", "fast", "fast", "fast", "held", "own"):
            client.add(group=group)
        _own(client, "held", held_until=int(time.time()) + 3_600)
        _own(client, "own", paused=True, weight=3)
        for taken in (4, 1):
            jobs = client.take(count=9).json["jobs"]
            assert len(jobs) == taken
            last = jobs[-1]
            assert client.change(last["uid"], lease=last["lease"], new_status="complete").status == 200
        before = _groups(client)
    with _killed(daemon, 2).client() as client:
        assert client.take(count=9).status == 204, "a limit, a rate, a hold or a pause was forgotten"
        assert _groups(client) == before
        assert _held_by(client) == {"slow": "group_limit", "fast": "group_rate", "held": "hold", "own": "hold"}


def test_a_restart_does_not_extend_a_lease(daemon: Daemon) -> None:
    with daemon.client() as client:
        client.make_queue()
        began = time.monotonic()
        held = _held(client, timeout_seconds=6, max_attempts=2)
        claimed = time.monotonic()
    with _killed(daemon, 2).client() as client:
        back = time.monotonic()
        assert client.read(held.uid).json["state"] == "inprogress" or time.monotonic() - began > 6
        until("it is queued again", lambda: client.read(held.uid).json["state"] == "queued")
        ended = time.monotonic()
        assert ended - began > 6 - 0.005, "the file has milliseconds"
        assert ended < max(claimed + 6, back) + 3
        assert client.change(held.uid, lease=held.lease, new_status="complete").status == 409
