"""Short forms of requests that many tests make."""

import re
from typing import Any

from tests.doubles import Answer, MemoryServer

ADMIN = {"X-Admin-Key": "admin"}
#: The end of the reason for a job that can be claimed, while there are no claims.
NO_WORKER = " No worker waits for a job of the queue."
#: The fields of a job in the first version of the API.
V1_FIELDS = frozenset(
    [
        *["uid", "priority", "keep_minutes", "timeout_minutes", "created", "last_updated", "timeout_time", "content"],
        "state",
    ]
)


def v1(job: Any) -> Any:
    """A job as clients of the first API version see it."""
    return {name: value for name, value in job.items() if name in V1_FIELDS}


def add(server: MemoryServer, content: Any = None, **job: Any) -> Any:
    """Add a job; returns the answer's job."""
    answer = server.call("PUT", "/api/v1/job", body={"queue_name": "q", "job": {"content": content or {}, **job}})
    assert answer.status == 201, answer
    return answer.json


def read(server: MemoryServer, uid: str) -> Answer:
    return server.call("GET", "/api/v1/job", query={"queueName": "q", "jobUID": uid})


def claim(server: MemoryServer) -> Answer:
    return server.call("GET", "/api/v1/job/next", query={"queueName": "q", "markQueued": "true"})


def peek(server: MemoryServer) -> Answer:
    return server.call("GET", "/api/v1/job/next", query={"queueName": "q"})


def explain(server: MemoryServer, uid: str, queue: str = "q", key: str = "key") -> Any:
    answer = server.call("GET", "/api/v1/job/explain", query={"queueName": queue, "jobUID": uid}, key=key)
    assert answer.status == 200, answer
    return answer.json


def stats(server: MemoryServer) -> Any:
    answer = server.call("GET", "/api/v1/queue/stats", query={"name": "q"})
    assert answer.status == 200, answer
    return answer.json


def add_key(server: MemoryServer, role: str, key: str, queue: str = "q", owner: str = "key") -> None:
    body = {"queue_name": queue, "role": role, "access_key": key}
    assert server.call("PUT", "/api/v1/queue/key", body=body, key=owner).status == 201


def update(server: MemoryServer, uid: str, status: str) -> Answer:
    return server.call("POST", "/api/v1/job", body={"queue_name": "q", "uid": uid, "new_status": status})


def listed(server: MemoryServer) -> Any:
    """The queue with all its jobs."""
    return server.call("GET", "/api/v1/queue", query={"name": "q"}).json


def each(*values: Any) -> tuple[Any, ...]:
    """Values of any types, to go through one by one."""
    return values


def put(server: MemoryServer, *, key: str = "key", headers: Any = None, **job: Any) -> Answer:
    """Add a job; returns the answer, which may be a refusal."""
    body = {"queue_name": "q", "job": {"content": {}, **job}}
    return server.call("PUT", "/api/v1/job", body=body, key=key, headers=headers)


def change(server: MemoryServer, uid: str, **changes: Any) -> Answer:
    return server.call("POST", "/api/v1/job", body={"queue_name": "q", "uid": uid, **changes})


def take(server: MemoryServer, *names: str, key: str = "key", **more: Any) -> Answer:
    """Claim from the queues of these names, or from `q`."""
    return server.call("POST", "/api/v1/job/next", body={"queue_names": names or ["q"], **more}, key=key)


def hold(server: MemoryServer, **more: Any) -> Any:
    """Claim a job, which must be ready; returns it."""
    (job,) = take(server, **more).json["jobs"]
    return job


def waiting(server: MemoryServer, *names: str, key: str = "key", **more: Any) -> list[Answer]:
    """A claim that waits; the list gets its answer."""
    body = {"queue_names": names or ["q"], "wait": 30, **more}
    return server.begin("POST", "/api/v1/job/next", body=body, key=key)


def metrics(server: MemoryServer) -> str:
    return server.call("GET", "/metrics", key=None).body.decode()


def waiters(server: MemoryServer, on: str) -> int:
    """The number of clients that wait for jobs, for ends of jobs or for events."""
    (found,) = re.findall(rf'^jobengine_waiters{{on="{on}"}} (\d+)', metrics(server), re.MULTILINE)
    return int(found)


def make_queue(server: MemoryServer, name: str, key: str = "key") -> None:
    assert server.call("PUT", "/api/v1/queue", body={"name": name, "access_key": key}, key=None).status == 201


def set_up(server: MemoryServer, name: str = "q", key: str = "key", **more: Any) -> Answer:
    return server.call("POST", "/api/v1/queue", body={"name": name, **more}, key=key)


def page(server: MemoryServer, **query: Any) -> Any:
    """A page of the queue's jobs."""
    answer = server.call("GET", "/api/v1/jobs", query={"queueName": "q", **query})
    assert answer.status == 200, answer
    return answer.json
