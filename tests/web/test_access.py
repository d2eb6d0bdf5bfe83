"""GET /api/v1/access: what a key may do."""

from typing import Any

import pytest

from tests.doubles import Answer, MemoryServer
from tests.web.asking import ADMIN


def _access(server: MemoryServer, queue: str | None = "q", key: str | None = "key", **headers: str) -> Answer:
    query = {} if queue is None else {"queueName": queue}
    shown: dict[str, Any] = headers
    return server.call("GET", "/api/v1/access", query=query, key=key, headers=shown)


@pytest.mark.parametrize("role", ["producer", "worker", "viewer"])
def test_the_access_call_returns_the_role_and_id_of_a_key(server: MemoryServer, role: str) -> None:
    body = {"queue_name": "q", "role": role, "access_key": "its key"}
    added = server.call("PUT", "/api/v1/queue/key", body=body).json
    assert _access(server, key="its key").json == {"queue_name": "q", "role": role, "key_id": added["id"]}


def test_the_access_call_returns_no_id_for_an_owner_key_in_either_header(server: MemoryServer) -> None:
    owner = {"queue_name": "q", "role": "owner", "key_id": None}
    assert _access(server).json == owner
    assert _access(server, key=None, Authorization="Bearer key").json == owner


@pytest.mark.parametrize("queue", ["q", None])
def test_the_access_call_returns_the_role_admin_for_the_admin_key_with_or_without_a_queue(
    guarded: MemoryServer, queue: str | None
) -> None:
    answer = _access(guarded, queue, None, **ADMIN)
    assert (answer.status, answer.json) == (200, {"queue_name": queue, "role": "admin", "key_id": None})


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        *[({"queue": None}, 401), ({"key": None}, 400), ({"queue": None, "key": "wrong"}, 401)],
        *[({"queue": "none"}, 404), ({"queue": "none", "key": "wrong"}, 404), ({"key": "wrong"}, 401)],
        *[({"queue": "none", **ADMIN}, 404), ({"X-Admin-Key": "wrong"}, 401)],
        *[({"queue": None, "X-Admin-Key": "wrong"}, 401), ({"queue": None, "X-Admin-Key": ""}, 401)],
    ],
)
def test_the_access_call_checks_parameters_then_queue_then_key(
    guarded: MemoryServer, asked: dict[str, Any], status: int
) -> None:
    assert _access(guarded, **asked).status == status


def test_wrong_keys_in_the_access_call_are_throttled(server: MemoryServer) -> None:
    statuses = [_access(server, key=f"guess {number}").status for number in range(11)]
    assert statuses == [401] * 10 + [429]
    assert _access(server).status == 200
