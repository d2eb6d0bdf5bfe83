"""The part of AMQP 0-9-1 that a benchmark needs: publish, confirm, deliver and acknowledge messages."""

import socket
import struct

from attrs import define, field

from .calls import connect

_END = b"\xce"
_METHOD = 1
#: Bytes of a frame around its payload.
_AROUND = 8
#: Methods by class and number.
_ACK, _NACK, _GET_EMPTY = (60, 80), (60, 120), (60, 72)
_DELIVERED, _CLOSED = ((60, 60), (60, 71)), ((10, 50), (20, 40))


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + _END


def _method(channel: int, name: tuple[int, int], arguments: bytes) -> bytes:
    return _frame(_METHOD, channel, struct.pack(">HH", *name) + arguments)


def _short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def _long(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


@define(eq=False)
class Channel:
    """A connection with one channel to a quorum queue; raises RuntimeError if it is closed or refused."""

    port: int
    queue: bytes
    #: How many messages may be delivered before one is acknowledged; 0: each message is fetched by a get.
    prefetch: int
    #: How many messages were fetched by a get.
    gets: int = 0
    #: How many messages were delivered.
    delivered: int = 0
    #: All messages up to this number are confirmed.
    _all_up_to: int = 0
    #: The numbers of confirmed messages beyond `_all_up_to`.
    _beyond: set[int] = field(factory=set)
    _socket: socket.socket = field(init=False)
    _received: bytearray = field(factory=bytearray)

    def __attrs_post_init__(self) -> None:
        self._socket = connect(self.port)
        self._open()
        self._declare()
        if self.prefetch:
            self._consume()

    def _open(self) -> None:
        self._socket.sendall(b"AMQP\x00\x00\x09\x01")
        self._expect(10, 10)
        login = _long(b"") + _short(b"PLAIN") + _long(b"\0guest\0guest") + _short(b"en_US")
        self._call(0, (10, 11), login, (10, 30))
        self._socket.sendall(_method(0, (10, 31), struct.pack(">HIH", 16, 131072, 0)))
        self._call(0, (10, 40), _short(b"/") + _short(b"") + b"\0", (10, 41))
        self._call(1, (20, 10), _short(b""), (20, 11))

    def _declare(self) -> None:
        quorum = _short(b"x-queue-type") + b"S" + _long(b"quorum")
        durable = b"\x02"
        self._call(1, (50, 10), b"\0\0" + _short(self.queue) + durable + _long(quorum), (50, 11))
        self._call(1, (85, 10), b"\0", (85, 11))

    def _consume(self) -> None:
        self._call(1, (60, 10), struct.pack(">IHB", 0, self.prefetch, 0), (60, 11))
        self._call(1, (60, 20), b"\0\0" + _short(self.queue) + _short(b"") + b"\0" + _long(b""), (60, 21))

    def _call(self, channel: int, name: tuple[int, int], arguments: bytes, answer: tuple[int, int]) -> None:
        self._socket.sendall(_method(channel, name, arguments))
        self._expect(*answer)

    def _expect(self, *name: int) -> None:
        while True:
            if name in [struct.unpack_from(">HH", payload) for payload in self._methods()]:
                return

    def fileno(self) -> int:
        """The file descriptor, for select."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def message(self, body: bytes) -> bytes:
        """The bytes that publish a persistent message."""
        publish = _method(1, (60, 40), b"\0\0" + _short(b"") + _short(self.queue) + b"\0")
        header = _frame(2, 1, struct.pack(">HHQHB", 60, 0, len(body), 0x1000, 2))
        return publish + header + _frame(3, 1, body)

    def send(self, data: bytes) -> None:
        """Send bytes from `message` or `acknowledge`."""
        self._socket.sendall(data)

    def get(self) -> None:
        """Send a get, which fetches one message."""
        self.gets += 1
        self.send(_method(1, (60, 70), b"\0\0" + _short(self.queue) + b"\0"))

    def acknowledge(self) -> bytes:
        """The bytes that acknowledge all delivered messages."""
        return _method(1, _ACK, struct.pack(">QB", self.delivered, 1))

    def receive(self) -> None:
        """Count the messages and confirms that have arrived."""
        for payload in self._methods():
            name = struct.unpack_from(">HH", payload)
            if name in _DELIVERED:
                self.delivered += 1
            elif name == _GET_EMPTY:
                self.gets -= 1
            elif name == _ACK:
                self._confirm(*struct.unpack_from(">QB", payload, 4))

    def _confirm(self, tag: int, multiple: int) -> None:
        # Confirms come in any order; one that is "multiple" confirms all messages up to its tag.
        if multiple:
            self._all_up_to = max(self._all_up_to, tag)
            self._beyond = {one for one in self._beyond if one > self._all_up_to}
        else:
            self._beyond.add(tag)

    @property
    def confirmed(self) -> int:
        """How many messages were confirmed."""
        return self._all_up_to + len(self._beyond)

    def _methods(self) -> list[bytes]:
        """The AMQP methods that arrive next, without the contents of messages."""
        part = self._socket.recv(1 << 18)
        if not part:
            raise RuntimeError("the connection was closed")
        data, at, methods = self._received + part, 0, []
        while len(data) - at > _AROUND:
            kind, _, length = struct.unpack_from(">BHI", data, at)
            if len(data) - at < length + _AROUND:
                break
            if kind == _METHOD:
                methods.append(self._checked(bytes(data[at + 7 : at + 7 + length])))
            at += length + _AROUND
        self._received = data[at:]
        return methods

    def _checked(self, payload: bytes) -> bytes:
        name = struct.unpack_from(">HH", payload)
        if name in _CLOSED or name == _NACK:
            raise RuntimeError(f"RabbitMQ refused: {payload[6:200]!r}")
        return payload
