"""The server's admin key, keys with a role, and addresses that try many keys."""

from typing import Any

import pytest

from tests.doubles import Answer, MemoryServer
from tests.http.connection import Connection, request
from tests.web.asking import ADMIN, add

WRONG: list[dict[str, Any]] = [{}, {"X-Admin-Key": "wrong"}, {"X-Admin-Key": ""}]


def _create(server: MemoryServer, name: str, headers: Any = None) -> Answer:
    return server.call("PUT", "/api/v1/queue", body={"name": name, "access_key": "k"}, key=None, headers=headers)


def _asks_for_admin(answer: Answer) -> bool:
    return answer.status == 401 and answer.headers["WWW-Authenticate"] == 'X-Admin-Key realm="server"'


@pytest.mark.parametrize("headers", WRONG)
def test_creating_and_deleting_queues_needs_the_admin_key_if_the_server_has_one(
    guarded: MemoryServer, headers: dict[str, Any]
) -> None:
    assert _asks_for_admin(_create(guarded, "new", headers))
    for name in ("q", "none"):
        assert _asks_for_admin(guarded.call("DELETE", "/api/v1/queue", query={"name": name}, headers=headers))
    assert guarded.call("GET", "/api/v1/queue", query={"name": "q"}).status == 200
    assert guarded.call("GET", "/api/v1/queue", query={"name": "new"}).status == 404


def test_a_malformed_request_gets_400_whatever_the_admin_key(guarded: MemoryServer) -> None:
    for headers in WRONG:
        assert guarded.call("PUT", "/api/v1/queue", body={"name": ""}, key=None, headers=headers).status == 400
        assert guarded.call("DELETE", "/api/v1/queue", key=None, headers=headers).status == 400


def test_a_server_without_an_admin_key_ignores_the_admin_header(server: MemoryServer) -> None:
    assert _create(server, "new", {"X-Admin-Key": "any"}).status == 201
    answer = server.call("GET", "/api/v1/queue", query={"name": "q"}, key=None, headers=ADMIN)
    assert (answer.status, answer.json["detail"].partition(":")[0]) == (400, "This server has no admin key")
    assert server.call("GET", "/api/v1/queue", query={"name": "q"}, headers=ADMIN).status == 200
    assert _asks_for_admin(server.call("GET", "/api/v1/queues", headers=ADMIN))


def test_a_server_without_an_admin_key_refuses_admin_calls(server: MemoryServer) -> None:
    assert "This server has no admin key, which this call needs; start it with ADMIN_KEY." in _detail(server, {})
    assert "This server has no admin key" in _detail(server, {"X-Admin-Key": "any"})


def test_a_wrong_admin_key_is_distinguished_from_a_missing_admin_key(guarded: MemoryServer) -> None:
    assert _detail(guarded, {}) == "Send the server's admin key in X-Admin-Key."
    assert _detail(guarded, {"X-Admin-Key": "wrong"}).startswith("The admin key is wrong; ")
    read = guarded.call("GET", "/api/v1/queue", query={"name": "q"}, headers={"X-Admin-Key": "wrong"})
    assert read.json["detail"].startswith("The admin key is wrong; ")


def _detail(server: MemoryServer, headers: dict[str, Any]) -> str:
    """The detail of the problem in the answer to a list of all queues."""
    answer = server.call("GET", "/api/v1/queues", headers=headers)
    assert _asks_for_admin(answer)
    return str(answer.json["detail"])


def test_the_list_of_queues_is_sorted_by_name_and_has_their_stats(guarded: MemoryServer) -> None:
    for name in ("z", "a"):
        _create(guarded, name, ADMIN)
    add(guarded)
    shown = guarded.call("GET", "/api/v1/queues", key=None, headers=ADMIN).json["queues"]
    assert [(queue["name"], queue["size"]) for queue in shown] == [("a", 0), ("q", 1), ("z", 0)]
    assert shown[1] == guarded.call("GET", "/api/v1/queue/stats", query={"name": "q"}).json


def test_with_the_admin_key_a_queue_key_is_not_needed_and_a_wrong_queue_key_ignored(guarded: MemoryServer) -> None:
    uid = add(guarded)["uid"]
    query = {"queueName": "q", "jobUID": uid}
    for key in (None, "wrong"):
        assert guarded.call("GET", "/api/v1/job", query=query, key=key, headers=ADMIN).status == 200


# Keys with a role


def _add_key(server: MemoryServer, role: Any = "worker", key: Any = "w") -> Answer:
    return server.call("PUT", "/api/v1/queue/key", body={"queue_name": "q", "role": role, "access_key": key})


def _keys(server: MemoryServer) -> Any:
    return server.call("GET", "/api/v1/queue/key", query={"name": "q"}).json["keys"]


def _revoke(server: MemoryServer, key_id: str) -> Answer:
    return server.call("DELETE", "/api/v1/queue/key", query={"name": "q", "keyID": key_id})


def test_keys_are_added_listed_and_revoked(server: MemoryServer) -> None:
    added = [_add_key(server, role, f"secret-{role}") for role in ("viewer", "worker", "producer")]
    assert [answer.status for answer in added] == [201, 201, 201]
    keys = [answer.json for answer in added]
    assert [(key["role"], key["created"]) for key in keys] == [
        (role, int(server.clock.seconds())) for role in ("viewer", "worker", "producer")
    ]
    assert _keys(server) == keys
    assert not any(b"secret" in answer.body for answer in added)
    assert _add_key(server, "viewer", "secret-worker").status == 409
    assert _revoke(server, keys[1]["id"]).status == 204
    assert _revoke(server, keys[1]["id"]).status == 404
    assert _keys(server) == [keys[0], keys[2]]


@pytest.mark.parametrize("role", ["owner", "", "admin", "WORKER", None, 1])
def test_a_key_needs_a_known_role(server: MemoryServer, role: Any) -> None:
    assert _add_key(server, role).status == 400
    assert _keys(server) == []


@pytest.mark.parametrize("key", ["", " w", "w\n", "w" * 1025, None, 1])
def test_a_key_must_fit_in_a_header(server: MemoryServer, key: Any) -> None:
    assert _add_key(server, key=key).status == 400
    assert _keys(server) == []


def test_a_producer_may_wait_for_a_job_that_it_added(server: MemoryServer) -> None:
    _add_key(server, "producer", "p")
    body = {"queue_name": "q", "job": {"content": {}}}
    answers = server.begin("PUT", "/api/v1/job", body=body, key="p", headers={"Prefer": "wait=5"})
    server.clock.advance(5)
    server.pump()
    assert [answer.status for answer in answers] == [201]


# Addresses that try many keys


def _try(server: MemoryServer, key: str = "wrong", path: str = "/api/v1/queue?name=q") -> Answer:
    return server.call("GET", path, key=key)


def test_the_eleventh_wrong_key_within_a_minute_gets_429(server: MemoryServer) -> None:
    for _ in range(10):
        assert _try(server).status == 401
        server.clock.advance(1)
    answer = _try(server)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "51")
    assert answer.json["detail"].startswith("The access key does not open the queue 'q'; ")
    assert answer.json["detail"].endswith(" refused for 51 seconds; a right key works at once.")
    server.clock.advance(50)
    assert [_try(server).status for _ in range(2)] == [401, 429]


def test_a_right_key_is_never_throttled(server: MemoryServer) -> None:
    for _ in range(50):
        _try(server)
        assert _try(server, "key").status == 200
    assert _try(server).status == 429


def test_only_wrong_keys_count_towards_the_throttle(server: MemoryServer) -> None:
    for _ in range(20):
        assert _try(server, path="/api/v1/queue?name=none").status == 404
        assert _try(server, path="/api/v1/queue").status == 400
    assert _try(server).status == 401


def test_a_wrong_admin_key_counts_towards_the_throttle(guarded: MemoryServer) -> None:
    for _ in range(10):
        assert guarded.call("GET", "/metrics", headers={"X-Admin-Key": "guess"}).status == 401
    assert guarded.call("GET", "/metrics", headers={"X-Admin-Key": "guess"}).status == 429
    assert guarded.call("GET", "/api/v1/queues", headers={"X-Admin-Key": "guess"}).status == 429
    assert _create(guarded, "new", {"X-Admin-Key": "guess"}).status == 429
    assert guarded.call("GET", "/metrics", headers=ADMIN).status == 200
    assert guarded.call("GET", "/metrics").status == 401, "it has tried none"


def test_a_missing_admin_key_does_not_count_towards_the_throttle(guarded: MemoryServer) -> None:
    for _ in range(20):
        assert guarded.call("GET", "/metrics").status == 401
    assert guarded.call("GET", "/metrics", headers={"X-Admin-Key": "guess"}).status == 401


def test_wrong_keys_from_one_address_do_not_throttle_another_address(server: MemoryServer) -> None:
    for _ in range(11):
        _try(server)
    elsewhere = Connection(server)
    elsewhere.channel._networkProducer = None
    elsewhere.transport.peerAddr = type(elsewhere.transport.getPeer())("TCP", "192.0.2.1", 2)
    elsewhere.send(request("GET", "/api/v1/queue?name=q", "X-Access-Key: wrong"))
    assert [answer.status for answer in elsewhere.answers] == [401]
