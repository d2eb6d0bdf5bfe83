"""Sets up dead-letter queues over HTTP, for tests of the pages that show them."""

from tests.integration.daemons import Client


def set_dead_letter(client: Client, queue: str, dead: str) -> None:
    """Let the failed jobs of a queue move into another one."""
    body = {"name": queue, "dead_letter": {"queue_name": dead}}
    assert client.call("POST", "/api/v1/queue", body=body).status == 200
