"""Claims that bring the results of the jobs' dependencies."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from jobengine.core import commands as c
from jobengine.core.dependencies import OnDependencyFailure
from jobengine.core.model import State
from jobengine.engine.door import Busy
from tests.doubles import Counting, MemoryServer, Wrapping
from tests.http.connection import Connection, request
from tests.web.asking import add_key, change, make_queue, read, take, update
from tests.web.linking import add_jobs, close_batch, job, run, set_batch, uid

#: A result a little shorter than half of the most bytes of results in an answer.
HALF = "x" * 500_000


def _finish(server: MemoryServer, number: int, result: Any = None, state: str = "complete", **more: Any) -> None:
    assert change(server, uid(number), new_status=state, result=result, **more).status == 200


def _claimed(server: MemoryServer, **more: Any) -> Any:
    (claimed,) = take(server, with_results=True, **more).json["jobs"]
    return claimed


def _results(claimed: Any) -> list[Any]:
    return [one.get("result") for one in claimed["dependencies"]]


def test_a_claimed_job_has_the_results_of_its_dependencies(server: MemoryServer) -> None:
    run_anyway = OnDependencyFailure.RUN
    add_jobs(server, job(1), job(2), job(3), job(4, 1, 2, 3, on_dependency_failure=run_anyway))
    _finish(server, 1, {"rows": 7})
    _finish(server, 2)
    _finish(
        server,
        3,
        state="failed",
        error='Traceback (most recent call last):\n  File "a.py", line 1, in b\nOSError: no route',
    )
    claimed = _claimed(server)
    assert claimed["dependencies"] == [
        {"queue_name": "q", "uid": uid(1), "state": "complete", "result": {"rows": 7}},
        {"queue_name": "q", "uid": uid(2), "state": "complete", "result": None},
        {"queue_name": "q", "uid": uid(3), "state": "failed", "result": None, "error": "OSError: no route"},
    ]
    assert "results_left_out" not in claimed


def test_a_claim_returns_results_only_on_request_and_only_for_jobs_with_dependencies(server: MemoryServer) -> None:
    add_jobs(server, job(1), job(2, 1), job(3, 1, priority=-1), job(4, priority=-2))
    _finish(server, 1)
    (plain,) = take(server).json["jobs"]
    assert "dependencies" not in plain
    others = take(server, count=2, with_results=True).json["jobs"]
    assert [("dependencies" in one) for one in others] == [True, False]


def test_a_claim_by_get_also_returns_the_results_of_dependencies(server: MemoryServer) -> None:
    add_jobs(server, job(1), job(2, 1))
    _finish(server, 1, 5)
    query = {"queueName": "q", "withResults": "true"}
    assert "dependencies" not in server.call("GET", "/api/v1/job/next", query=query).json
    wrong = {**query, "withResults": "perhaps", "markQueued": "true"}
    assert server.call("GET", "/api/v1/job/next", query=wrong).status == 400
    claimed = server.call("GET", "/api/v1/job/next", query={**query, "markQueued": "true"}).json
    assert _results(claimed) == [5]


def test_a_claim_returns_results_of_jobs_completed_by_its_updates(server: MemoryServer) -> None:
    add_jobs(server, job(1), job(2, 1))
    done = {"queue_name": "q", "uid": uid(1), "new_status": "complete", "result": 5}
    assert _results(_claimed(server, updates=[done])) == [5]


def test_a_claimed_job_with_results_can_be_added_again_unchanged(server: MemoryServer) -> None:
    add_jobs(server, job(1), job(2, 1))
    _finish(server, 1, 5)
    claimed = _claimed(server)
    again = server.call("PUT", "/api/v1/job", body={"queue_name": "q", "job": {**claimed, "uid": uid(3)}})
    assert (again.status, again.json["state"]) == (201, "queued")


def test_a_retried_job_gets_the_results_of_its_dependencies_again(server: MemoryServer) -> None:
    add_jobs(server, job(1, keep_minutes=0), job(2, 1, max_attempts=2))
    _finish(server, 1, 5)
    lease = _claimed(server)["lease"]
    change(server, uid(2), lease=lease, new_status="failed")
    assert _results(_claimed(server)) == [5]


def test_the_results_in_an_answer_have_at_most_1_mib_together(server: MemoryServer) -> None:
    add_jobs(server, *map(job, range(1, 5)), job(5, 1, 2, 3, 4), job(6, 1, 4, priority=-1))
    for number in range(1, 4):
        _finish(server, number, HALF)
    _finish(server, 4, "short")
    first, second = take(server, count=2, with_results=True).json["jobs"]
    assert [_results(first), _results(second)] == [[HALF, HALF, None, "short"], [None, "short"]]
    assert [one["results_left_out"] for one in (first, second)] == [1, 1]
    assert [one["state"] for one in first["dependencies"]] == ["complete"] * 4


def test_a_claim_of_the_job_at_the_batch_end_returns_the_outcome_of_the_batch(server: MemoryServer) -> None:
    set_batch(server, "b", then=job(9))
    add_jobs(server, job(1, batch="b"), job(2, batch="b"))
    close_batch(server)
    add_key(server, "worker", "worker")
    for number in (1, 2):
        _finish(server, number)
    counts = {"open": False, "total": 2, "queued": 0, "inprogress": 0, "complete": 2, "failed": 0}
    claimed = _claimed(server, key="worker")
    assert claimed["dependencies"] == [{"queue_name": "q", "batch": "b", "state": "complete", **counts}]
    assert "results_left_out" not in claimed


def test_results_of_removed_jobs_and_of_unreadable_queues_are_left_out(server: MemoryServer) -> None:
    make_queue(server, "other")
    add_jobs(server, job(1), queue="other")
    add_jobs(server, job(2), job(3, 2, ("other", uid(1)), on_dependency_failure=OnDependencyFailure.RUN))
    run(server, c.DeleteJob(queue="q", access_key=b"key", uid=uid(2)))
    run(server, c.UpdateJob(queue="other", access_key=b"key", uid=uid(1), changes=c.Changes(state=State.COMPLETE)))
    add_key(server, "worker", "worker")
    claimed = _claimed(server, key="worker")
    assert [one["state"] for one in claimed["dependencies"]] == ["removed", "unknown"]
    assert claimed["results_left_out"] == 2


class _Refusing(Wrapping):
    """An engine that refuses reads because it is busy."""

    async def ask(self, command: Any) -> Any:
        if isinstance(command, c.ReadLinks):
            raise Busy("Too many requests.")
        return await self._engine.ask(command)


def test_a_job_is_claimed_even_if_the_results_can_not_be_read(start: Callable[..., MemoryServer]) -> None:
    server = start(door=_Refusing)
    add_jobs(server, job(1), job(2, 1))
    update(server, uid(1), "complete")
    claimed = _claimed(server)
    assert (claimed["uid"], claimed["results_left_out"]) == (uid(2), 1)
    assert claimed["dependencies"] == [{"queue_name": "q", "uid": uid(1), "state": "unknown"}]


class _Slow(_Refusing):
    """An engine whose reads never end."""

    async def ask(self, command: Any) -> Any:
        return await (Deferred() if isinstance(command, c.ReadLinks) else self._engine.ask(command))


def test_a_claim_is_undone_if_the_client_disconnects_while_results_are_read(
    start: Callable[..., MemoryServer],
) -> None:
    server = start(door=_Slow)
    add_jobs(server, job(1), job(2, 1))
    update(server, uid(1), "complete")
    claim = request("GET", "/api/v1/job/next?queueName=q&markQueued=true&withResults=true", "X-Access-Key: key")
    poll = Connection(server).send(claim)
    assert read(server, uid(2)).json["state"] == "inprogress"
    poll.go()
    left = read(server, uid(2)).json
    assert (left["state"], "attempts" in left) == ("queued", False)


@pytest.mark.parametrize(("jobs", "commands"), [([job(1)], 0), ([job(1), job(2, 1)], 1)])
def test_jobs_without_dependencies_need_no_command_for_results(
    start: Callable[..., MemoryServer], jobs: list[c.NewJob], commands: int
) -> None:
    asked: list[Any] = []
    server = start(door=lambda engine: Counting(engine, asked))
    add_jobs(server, *jobs)
    if commands:
        update(server, uid(1), "complete")
    _claimed(server)
    assert sum(isinstance(one, c.ReadLinks) for one in asked) == commands
