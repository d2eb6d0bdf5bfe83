"""An owner agrees with a correct server, and notices every difference; all in memory."""

import random
from collections.abc import Callable
from http.client import HTTPException
from typing import Any

import pytest
from attrs import define

from tests.doubles import Answer, MemoryServer
from tests.machine.api_driver import ApiDriver
from tests.torture.owner import WEIGHTS, WITH_GROUPS, Disagreement, Owner


@define
class Losing:
    """A server that loses its next answer, before or after carrying out the request."""

    server: MemoryServer
    lose: str = ""

    def call(self, *args: Any, **more: Any) -> Answer:
        lost, self.lose = self.lose, ""
        if lost == "request":
            raise HTTPException
        answer = self.server.call(*args, **more)
        if lost == "answer":
            raise HTTPException
        return answer


def _owner(server: Any, seed: int, weights: dict[str, int] | None = None) -> Owner:
    api = ApiDriver()
    api.server = server
    return Owner("its own", api, random.Random(seed), weights)


def _at_work(server: Any, steps: int, seed: int = 1, weights: dict[str, int] | None = None) -> Owner:
    """An owner that has taken this many steps, and more until there are jobs."""
    owner = _owner(server, seed, weights)
    while steps > 0 or "its own" not in owner.model.queues or len(owner.model.queues["its own"].jobs) < 3:
        assert owner.step()
        steps -= 1
    owner.judge()
    return owner


def _first_job(server: MemoryServer) -> dict[str, Any]:
    job: dict[str, Any] = server.call("GET", "/api/v1/queue", query={"name": "its own"}).json["jobs"][0]
    return job


@pytest.mark.slow
@pytest.mark.parametrize("weights", [WEIGHTS, WITH_GROUPS], ids=["plain", "groups"])
def test_a_correct_server_passes_every_kind_of_step_of_the_model(server: MemoryServer, weights: dict[str, int]) -> None:
    owner = _at_work(server, 400, weights=weights)
    assert owner.answered.keys() == {*weights, "create"}


@pytest.mark.slow
@pytest.mark.parametrize("weights", [WEIGHTS, WITH_GROUPS], ids=["plain", "groups"])
@pytest.mark.parametrize("lose", ["request", "answer"])
def test_the_model_accepts_either_outcome_of_a_request_without_an_answer(
    server: MemoryServer, lose: str, weights: dict[str, int]
) -> None:
    losing = Losing(server)
    owner = _at_work(losing, 20, weights=weights)
    kinds = set()
    for _ in range(60):
        losing.lose = lose
        assert not owner.step()
        assert owner.unanswered is not None
        kinds.add(owner.unanswered.name.split()[0])
        owner.judge()
        assert owner.step()
    assert {"add", "claim", "update", "delete"} <= kinds


@define
class Dying:
    """A server that is killed during a deletion of all jobs, after the first two."""

    server: MemoryServer

    def call(self, method: str, path: str, **more: Any) -> Answer:
        if (method, path) != ("DELETE", "/api/v1/jobs"):
            return self.server.call(method, path, **more)
        jobs = self.server.call("GET", "/api/v1/queue", query={"name": "its own"}).json["jobs"]
        for job in jobs[:2]:
            self.server.call("DELETE", "/api/v1/job", query={"queueName": "its own", "jobUID": job["uid"]})
        raise HTTPException


def test_after_a_crash_the_model_accepts_a_partial_deletion_of_a_queue_in_slices(server: MemoryServer) -> None:
    owner = _at_work(server, 20)
    before = len(owner.model.queues["its own"].jobs)
    owner.api.server = Dying(server)
    owner.weights = {"load": 1}
    assert not owner.step()
    owner.judge()
    assert len(owner.model.queues["its own"].jobs) == before - 2 > 0


def test_after_a_crash_the_model_refuses_a_partial_deletion_by_filter(server: MemoryServer) -> None:
    owner = _at_work(server, 20)
    owner.api.server = Dying(server)
    owner.weights = {"sweep_delete": 1}
    assert not owner.step()
    with pytest.raises(Disagreement, match="delete all"):
        owner.judge()


def _remove_one(server: MemoryServer) -> None:
    query = {"queueName": "its own", "jobUID": _first_job(server)["uid"]}
    assert server.call("DELETE", "/api/v1/job", query=query).status == 204


def _invent_a_job(server: MemoryServer) -> None:
    body = {"queue_name": "its own", "job": {"content": {}}}
    server.call("POST", "/api/v1/queue", body={"name": "its own", "max_jobs": 0})
    assert server.call("PUT", "/api/v1/job", body=body).status == 201


def _change_a_tag(server: MemoryServer) -> None:
    body = {"queue_name": "its own", "uid": _first_job(server)["uid"], "tags": ["other"]}
    server.call("POST", "/api/v1/queue", body={"name": "its own", "require_lease": False})
    assert server.call("POST", "/api/v1/job", body=body).status == 200


def _pause(server: MemoryServer) -> None:
    paused = server.call("GET", "/api/v1/queue/stats", query={"name": "its own"}).json["paused"]
    assert server.call("POST", "/api/v1/queue", body={"name": "its own", "paused": not paused}).status == 200


def _remove_all(server: MemoryServer) -> None:
    assert server.call("DELETE", "/api/v1/queue", query={"name": "its own"}).status == 204


@pytest.mark.parametrize("harm", [_remove_one, _invent_a_job, _change_a_tag, _pause, _remove_all])
def test_the_model_detects_differences_after_a_crash(
    server: MemoryServer, harm: Callable[[MemoryServer], None]
) -> None:
    owner = _at_work(server, 50)
    harm(server)
    with pytest.raises(Disagreement, match="its own"):
        owner.judge()


def test_the_model_detects_a_wrong_answer(server: MemoryServer) -> None:
    owner = _at_work(server, 50)
    _remove_all(server)
    with pytest.raises(Disagreement, match="404"):
        owner.step()
