"""Short forms of what tests ask again and again."""

from typing import Any

from tests.doubles import Answer, MemoryServer

__all__ = ["add", "claim", "listed", "peek", "read", "update"]


def add(server: MemoryServer, content: Any = None, **job: Any) -> Any:
    """A job as it was added."""
    answer = server.call("PUT", "/api/v1/job", body={"queue_name": "q", "job": {"content": content or {}, **job}})
    assert answer.status == 201, answer
    return answer.json


def read(server: MemoryServer, uid: str) -> Answer:
    return server.call("GET", "/api/v1/job", query={"queueName": "q", "jobUID": uid})


def claim(server: MemoryServer) -> Answer:
    return server.call("GET", "/api/v1/job/next", query={"queueName": "q", "markQueued": "true"})


def peek(server: MemoryServer) -> Answer:
    return server.call("GET", "/api/v1/job/next", query={"queueName": "q"})


def update(server: MemoryServer, uid: str, status: str) -> Answer:
    return server.call("POST", "/api/v1/job", body={"queue_name": "q", "uid": uid, "new_status": status})


def listed(server: MemoryServer) -> Any:
    """The queue with all its jobs."""
    return server.call("GET", "/api/v1/queue", query={"name": "q"}).json
