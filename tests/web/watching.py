"""A client that watches a queue."""

import json

from tests.doubles import MemoryServer
from tests.http.connection import Connection, request


class Watcher:
    """A client that watches the queue `q`."""

    def __init__(self, server: MemoryServer, *headers: str, key: str = "key") -> None:
        asked = request("GET", "/api/v1/events?queueName=q", f"X-Access-Key: {key}", *headers)
        self.connection = Connection(server).send(asked)

    @property
    def text(self) -> str:
        """What was sent of the body, which may have no end yet."""
        head, _, data = self.connection.sent.partition(b"\r\n\r\n")
        assert b"Content-Type: text/event-stream" in head
        body = b""
        while data:
            size, _, data = data.partition(b"\r\n")
            body, data = body + data[: int(size, 16)], data[int(size, 16) + 2 :]
        return body.decode()

    @property
    def events(self) -> list[dict[str, str]]:
        """Its events, by field; comments and blocks with only an id are left out."""
        blocks = [block for block in self.text.split("\n\n") if "data: " in block]
        return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]

    @property
    def changes(self) -> list[tuple[str, str | None, str | None]]:
        """Uid, state before and state now, of each event of a job."""
        told = [json.loads(event["data"]) for event in self.events if event["event"] == "job"]
        return [(each["uid"], each["before"], each["state"]) for each in told]

    @property
    def ended(self) -> bool:
        return self.connection.sent.endswith(b"0\r\n\r\n")
