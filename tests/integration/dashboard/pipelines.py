"""Adds jobs that wait for others, and batches, over HTTP, for tests of the pages that show them."""

from typing import Any

from tests.integration.daemons import Client

_LONG_NAME = "all orders of the spring sale in every shop, with returns and vouchers"


def uid(number: int) -> str:
    """A uid whose first characters are those of the number."""
    return f"{number:08}-0000-4000-8000-000000000000"


def add(client: Client, queue: str, number: int, *depends_on: int, **more: Any) -> str:
    """Add a job with the uid of a number, which depends on others of the queue."""
    job = {"uid": uid(number), "content": {"step": number}, "depends_on": [uid(one) for one in depends_on], **more}
    answer = client.call("PUT", "/api/v1/job", body={"queue_name": queue, "job": job})
    assert answer.status == 201, answer
    return uid(number)


def change(client: Client, queue: str, number: int, **changes: Any) -> None:
    body = {"queue_name": queue, "uid": uid(number), **changes}
    assert client.call("POST", "/api/v1/job", body=body).status == 200


def start(client: Client, queue: str, *numbers: int, worker: str = "loader-1") -> None:
    """Claim jobs, which must be the next ones."""
    for number in numbers:
        body = {"queue_names": [queue], "worker": worker}
        (job,) = client.call("POST", "/api/v1/job/next", body=body).json["jobs"]
        assert job["uid"] == uid(number)


def put_batch(client: Client, queue: str, name: str, **more: Any) -> None:
    assert client.call("PUT", "/api/v1/batch", body={"queue_name": queue, "name": name, **more}).status == 201


def change_batch(client: Client, queue: str, name: str, **change: Any) -> None:
    assert client.call("POST", "/api/v1/batch", body={"queue_name": queue, "name": name, **change}).status == 200


def read_batch(client: Client, queue: str, name: str) -> Any:
    return client.call("GET", "/api/v1/batch", query={"queueName": queue, "name": name}).json


def fill_pipeline(client: Client, queue: str) -> str:
    """A pipeline with jobs in every state, and batches; returns a job in its middle that waits."""
    for number in (1, 2, 3):
        add(client, queue, number, priority=9 - number, tags=["extract"])
    add(client, queue, 4, 1)
    add(client, queue, 5, 1, 2, 3, on_dependency_failure="wait", tags=["join"])
    add(client, queue, 6, 2, 4)
    _fill_batches(client, queue)
    add(client, queue, 7, 5, batch="import-7")
    add(client, queue, 8, 5, 6)
    add(client, queue, 9, 8)
    start(client, queue, 1, 2)
    change(client, queue, 1, new_status="complete")
    change(client, queue, 2, new_status="inprogress", progress=40)
    change(client, queue, 3, new_status="failed", error="no route to host 192.0.2.7")
    return uid(5)


def _fill_batches(client: Client, queue: str) -> None:
    put_batch(client, queue, "import-7", then={"uid": uid(20), "content": {"publish": True}})
    put_batch(client, queue, "letters-2027-04", then={"uid": uid(40), "content": {}}, then_on="finish")
    put_batch(client, queue, _LONG_NAME)
    for first, name in ((100, "import-7"), (200, "letters-2027-04"), (300, _LONG_NAME)):
        for number in range(first, first + 12):
            add(client, queue, number, batch=name)
    for number in (*range(100, 106), *range(200, 211), *range(300, 312)):
        change(client, queue, number, new_status="complete")
    for number in (106, 211):
        change(client, queue, number, new_status="failed", error="wrong checksum")
    for name in ("letters-2027-04", _LONG_NAME):
        change_batch(client, queue, name, open=False)
