from pathlib import Path

from tests.doubles import MemoryServer


def test_a_job_goes_through_its_life(tmp_path: Path) -> None:
    server = MemoryServer(tmp_path / "db")
    assert server.call("PUT", "/api/v1/queue", body={"name": "q", "access_key": "key"}, key=None).status == 201
    added = server.call("PUT", "/api/v1/job", body={"queue_name": "q", "job": {"content": {"n": 1}}})
    assert added.status == 201
    claimed = server.call("GET", "/api/v1/job/next", query={"queueName": "q", "markQueued": "true"})
    assert claimed.json["uid"] == added.json["uid"]
    update = {"queue_name": "q", "uid": added.json["uid"], "new_status": "complete"}
    assert server.call("POST", "/api/v1/job", body=update).status == 200
    server.restart()
    shown = server.call("GET", "/api/v1/queue", query={"name": "q"})
    assert [job["state"] for job in shown.json["jobs"]] == ["complete"]
    assert shown.json["size"] == 1
