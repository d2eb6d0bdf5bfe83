"""What one key or queue must not learn of another, and limits that must not be bypassed."""

import pytest

from tests.doubles import MemoryServer
from tests.web.asking import add, claim, read


def _key(server: MemoryServer, role: str, key: str) -> int:
    body = {"queue_name": "q", "role": role, "access_key": key}
    return server.call("PUT", "/api/v1/queue/key", body=body).status


def _put(server: MemoryServer, key: str = "key", **job: object) -> tuple[int, dict[str, object]]:
    answer = server.call("PUT", "/api/v1/job", key=key, body={"queue_name": "q", "job": {"content": {}, **job}})
    return answer.status, answer.json


def test_a_key_that_opens_the_queue_already_is_not_added_again(server: MemoryServer) -> None:
    assert _key(server, "viewer", "key") == 409
    assert (_key(server, "viewer", "v"), _key(server, "worker", "v")) == (201, 409)
    assert server.call("POST", "/api/v1/queue", body={"name": "q", "new_access_key": "v"}).status == 409


def test_a_producer_is_not_shown_the_job_of_another_by_its_unique_key_or_uid(server: MemoryServer) -> None:
    _key(server, "producer", "p")
    uid = "11111111-1111-4111-8111-111111111111"
    _put(server, uid=uid, unique_key="u", content={"secret": 1})
    for asked in ({"unique_key": "u"}, {"uid": uid, "unique_key": "u", "content": {"secret": 1}}):
        status, problem = _put(server, "p", **asked)
        assert status == 409
        assert "content" not in problem


@pytest.mark.parametrize("more", [{"progress": 99}, {"result": 1}, {"content": {}}, {"new_status": "failed"}])
def test_a_cancellation_together_with_other_changes_is_refused(server: MemoryServer, more: dict[str, object]) -> None:
    server.call("POST", "/api/v1/queue", body={"name": "q", "require_lease": True})
    uid = add(server)["uid"]
    claim(server)
    before = read(server, uid).json
    body = {"queue_name": "q", "uid": uid, "cancel": True, **more}
    assert server.call("POST", "/api/v1/job", body=body).status == 400
    assert read(server, uid).json == before


def test_an_error_is_no_longer_than_4096_characters(server: MemoryServer) -> None:
    uid = add(server)["uid"]
    for length, status in ((4096, 200), (4097, 400)):
        body = {"queue_name": "q", "uid": uid, "error": "x" * length}
        assert server.call("POST", "/api/v1/job", body=body).status == status


def test_a_job_of_many_may_be_no_longer_than_a_single_job(server: MemoryServer) -> None:
    body = {"queue_name": "q", "jobs": [{"content": {"text": "x" * (1 << 20)}}]}
    answer = server.call("PUT", "/api/v1/jobs", query={"queueName": "q"}, body=body)
    assert (answer.status, "jobs[0].content" in answer.json["detail"]) == (400, True)
