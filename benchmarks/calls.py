"""Calls of JobEngine's API as bytes, and connections that send them at little cost for the client."""

import json
import re
import selectors
import socket
import struct
from collections.abc import Generator, Iterable, Sequence
from typing import Any

from attrs import define, field

#: The content of a job, the same for every server.
CONTENT = {"foo": "bar", "n": 12345, "path": "/data/in/file-000123.csv"}
CONTENT_BYTES = json.dumps(CONTENT, separators=(",", ":")).encode()
#: The most seconds to wait for an answer.
_PATIENCE = 60
_UID = re.compile(rb'"uid":"([^"]+)"')
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


def request(method: str, path: str, body: object = None) -> bytes:
    """A request; a body of bytes is sent unchanged, any other as JSON."""
    data = body if isinstance(body, bytes) else b"" if body is None else _compact(body)
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "X-Access-Key: key"]
    lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"] if data else []
    return "\r\n".join([*lines, "", ""]).encode() + data


def _compact(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def make_queue(name: str) -> bytes:
    """A request that makes a queue."""
    return request("PUT", "/api/v1/queue", {"name": name, "access_key": "key"})


def add(queue: str, content: object = CONTENT, **more: object) -> bytes:
    """A request that adds a job."""
    return request("PUT", "/api/v1/job", {"queue_name": queue, "job": {"content": content, **more}})


def add_many(queue: str, number: int, content: object = CONTENT, **more: object) -> bytes:
    """A request that adds this many jobs."""
    jobs = b",".join([_compact({"content": content, **more})] * number)
    path = f"/api/v1/jobs?queueName={queue}"  # without the name, a body of over 1 MiB is refused
    return request("PUT", path, b'{"queue_name":"%s","jobs":[%s]}' % (queue.encode(), jobs))


def claim(queue: str) -> bytes:
    """A request that claims a job."""
    return request("GET", f"/api/v1/job/next?queueName={queue}&markQueued=true")


def claim_many(queue: str, number: int) -> bytes:
    """A request that claims this many jobs."""
    return request("POST", "/api/v1/job/next", {"queue_names": [queue], "count": number})


def complete(queue: str, uid: bytes) -> bytes:
    """A request that completes a job."""
    return request("POST", "/api/v1/job", {"queue_name": queue, "uid": uid.decode(), "new_status": "complete"})


def complete_many(queue: str, uids: Sequence[bytes]) -> bytes:
    """A request that completes these jobs."""
    updates = b",".join([b'{"uid":"%s","new_status":"complete"}' % uid for uid in uids])
    return request("POST", "/api/v1/jobs", b'{"queue_name":"%s","updates":[%s]}' % (queue.encode(), updates))


def uids_in(answer: bytes) -> list[bytes]:
    """The uids of the jobs in an answer."""
    return _UID.findall(answer)


def connect(port: int) -> socket.socket:
    """
    A connection to a server on this machine; reading raises BlockingIOError if nothing comes for a minute.

    Python's own time-out would cost one more system call for each read.
    """
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _PATIENCE, 0))
    return connection


@define(eq=False)
class Connection:
    """A connection with at most one request in flight."""

    port: int
    _socket: socket.socket = field(init=False)
    _received: bytearray = field(factory=bytearray)
    #: The length of the answer, once its head has arrived.
    _length: int = 0
    _head: int = 0

    def __attrs_post_init__(self) -> None:
        self._socket = connect(self.port)

    def fileno(self) -> int:
        """The file descriptor, for select."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Begin a request."""
        self._socket.sendall(data)

    def receive(self) -> bytes | None:
        """The body of an answer, or None while it is incomplete; raises RuntimeError if the status is not 2xx."""
        part = self._socket.recv(1 << 18)
        if not part:
            raise RuntimeError("the connection was closed")
        self._received += part
        if not self._length:
            self._read_head()
        if not self._length or len(self._received) < self._length:
            return None
        answer = bytes(self._received)
        body, self._received, self._length = answer[self._head :], bytearray(), 0
        if answer[9:10] != b"2":
            raise RuntimeError(answer[:500].decode())
        return body

    def _read_head(self) -> None:
        self._head = self._received.find(b"\r\n\r\n") + 4
        if self._head > 3:
            length = _LENGTH.search(self._received, 0, self._head)
            self._length = self._head + (int(length[1]) if length else 0)

    def ask(self, data: bytes) -> bytes:
        """The body of the answer to a request."""
        self.send(data)
        while (body := self.receive()) is None:
            pass
        return body


#: A generator that yields requests, and is sent the body of each answer.
Conversation = Generator[bytes, bytes, None]


def converse(port: int, conversations: Iterable[Conversation]) -> None:
    """Run conversations (generators of requests) concurrently, each on its own connection, until all have ended."""
    converse_with((port, conversation) for conversation in conversations)


def converse_with(conversations: Iterable[tuple[int, Conversation]]) -> None:
    """Like `converse`, but each conversation is with the server at its own port."""
    with selectors.DefaultSelector() as selector:
        for port, conversation in conversations:
            connection = Connection(port)
            selector.register(connection, selectors.EVENT_READ, conversation)
            connection.send(next(conversation))
        while selector.get_map():
            ready = selector.select(_PATIENCE)
            if not ready:
                raise RuntimeError("no answer came for a minute")
            for key, _ in ready:
                _go_on(selector, key.fileobj, key.data)


def _go_on(selector: selectors.BaseSelector, connection: Any, conversation: Conversation) -> None:
    answer = connection.receive()
    if answer is None:
        return
    try:
        connection.send(conversation.send(answer))
    except StopIteration:
        selector.unregister(connection)
        connection.close()
