"""Sets schedules over HTTP, for tests of the pages that show them."""

from typing import Any

from tests.integration.daemons import Client

#: A schedule that fires each night, so that only a run by hand adds a job during a test.
NIGHTLY = {"cron": "0 3 * * *", "timezone": "Europe/Berlin", "job": {"content": {"report": "sales"}, "priority": 5}}
_JOB: dict[str, Any] = {"content": {}}
_LONG_NAME = "monthly invoices of all customers, with reminders for those that are overdue"


def put_schedule(client: Client, queue: str, name: str, **settings: Any) -> Any:
    """Set a schedule, nightly unless the settings differ, and return it."""
    body = {"queue_name": queue, "name": name, **(settings or NIGHTLY)}
    return client.call("PUT", "/api/v1/schedule", body=body).json


def read_schedule(client: Client, queue: str, name: str) -> Any:
    """The schedule, or the problem in the answer if it does not exist."""
    return client.call("GET", "/api/v1/schedule", query={"queueName": queue, "name": name}).json


def run_schedule(client: Client, queue: str, name: str, state: str = "queued") -> str:
    """Run a schedule now and bring its job to a state; returns the job's uid."""
    uid: str = client.call("POST", "/api/v1/schedule/run", body={"queue_name": queue, "name": name}).json["uid"]
    if state == "queued":
        return uid
    if state == "inprogress":
        assert client.claim(queue).json["uid"] == uid
        return uid
    body = {
        "queue_name": queue,
        "uid": uid,
        "new_status": state,
        **({"error": "no route"} if state == "failed" else {}),
    }
    assert client.call("POST", "/api/v1/job", body=body).status == 200
    return uid


def fill_schedules(client: Client, queue: str) -> None:
    """Schedules in every state."""
    put_schedule(
        client, queue, "cleanup", every_seconds=604_800, job={"content": {"days": 30}, "priority": 9}, if_running="add"
    )
    for state in ("complete", "complete", "failed", "inprogress", "queued"):
        run_schedule(client, queue, "cleanup", state)
    put_schedule(client, queue, "nightly sales report")
    for number in range(20):
        run_schedule(client, queue, "nightly sales report", "failed" if number in (6, 13) else "complete")
    put_schedule(client, queue, "heartbeat", every_seconds=1, job={"content": {}})
    put_schedule(client, queue, _LONG_NAME, cron="30 2 1 * *", timezone="America/Argentina/Buenos_Aires", job=_JOB)
    stock = {"cron": "*/15 6-22 * * MON-FRI", "timezone": "Europe/London"}
    put_schedule(client, queue, "sync stock", **stock, job=_JOB, paused=True)
    rates = {"every_seconds": 1, "pause_after_failures": 2, "if_running": "add"}
    put_schedule(client, queue, "exchange rates", **rates, job=_JOB)
    for _ in range(2):
        run_schedule(client, queue, "exchange rates", "failed")
