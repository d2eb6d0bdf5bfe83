"""
A sealed connection between two servers that know one key.

The lead, which listens, sends a challenge; the follower answers with random bytes of its own. A session key for each
direction comes from both. From then on each record is encrypted with the number of records before it as its nonce: a
record that was repeated, dropped, altered or moved can't be opened, and ends the connection. The first record of each
side is its hello. A message may take several records; it is a list of items (see Item), all those of a reactor turn.
"""

from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from os import urandom
from typing import Any, Final, Protocol

from attrs import define, field, frozen
from msgspec import MsgspecError, Raw, Struct
from msgspec.msgpack import Decoder, Encoder
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from .. import __version__
from .codec import FINGERPRINT

#: The most bytes of a record before a hello was checked, and afterwards.
_GREETING: Final = 256
RECORD: Final = 64 << 10
#: The bytes of a message in one record: the seal takes 16, the flag one.
_PIECE: Final = RECORD - SecretBox.MACBYTES - 1
#: The most bytes of an item, and of a message.
ITEM: Final = 48 << 20
MESSAGE: Final = 64 << 20
#: A message takes no more items once it has this many bytes.
_FULL: Final = 256 << 10
#: How many records are encrypted in one turn, which takes about a millisecond.
_AT_ONCE: Final = 8
#: The seconds until a connection without a hello is closed, and between pings; how many pings a silent link lasts.
GREETING_SECONDS: Final = 5.0
PING_SECONDS: Final = 1.0
SILENT_PINGS: Final = 5
#: The flag at the beginning of a record.
_MORE, _LAST, _PING = b"m", b"l", b"p"
#: Sent instead of a hello to a follower with another key; the follower only shows it.
_REFUSED: Final = b"key"


class Item(Struct, array_like=True, frozen=True, gc=False):
    """A part of a message: a call or an answer."""

    #: The number of the call, chosen by the follower.
    number: int
    #: What is to be done, or was; see jobengine.cluster.remote.
    verb: str
    #: For `ask`, the class of the command.
    name: str
    #: See jobengine.cluster.codec.
    body: Raw


class Hello(Struct, array_like=True, frozen=True):
    """What a server says of itself."""

    fingerprint: str
    version: str
    #: Random text for each process.
    server: str
    cell: str


@frozen(kw_only=True)
class Identity:
    """A server, and the key that it shares with the others."""

    #: 32 bytes.
    key: bytes = field(repr=False)
    server: str
    cell: str

    @property
    def hello(self) -> bytes:
        """The server's hello; raises ValueError if it is too long for a record before the greeting."""
        hello = _encode(Hello(FINGERPRINT, __version__, self.server, self.cell))
        if len(hello) > _GREETING - SecretBox.MACBYTES - 1:
            raise ValueError("the name of the cell is too long")
        return hello


class User(Protocol):
    """What uses a link."""

    def link_ready(self, link: "SealedLink") -> None:
        """The other side was checked: from now on items can be sent."""

    def link_items(self, link: "SealedLink", items: list[Item]) -> None:
        """Items have come."""

    def link_lost(self, link: "SealedLink", reason: str) -> None:
        """The connection has ended; called once, also if it was never ready."""


_encode: Final = Encoder().encode
_read_hello: Final = Decoder(Hello).decode
_read_items: Final = Decoder(list[Item]).decode


@define
class _Seal:
    """Encrypts, or decrypts, the records of one direction."""

    _box: SecretBox
    _count: int = 0

    @classmethod
    def of(cls, key: bytes, nonces: bytes, direction: bytes) -> "_Seal":
        return cls(SecretBox(blake2b(nonces, key=key, digest_size=32, person=direction).digest()))

    def _nonce(self) -> bytes:
        self._count += 1
        return self._count.to_bytes(SecretBox.NONCE_SIZE, "big")

    def close(self, record: bytes) -> bytes:
        return self._box.encrypt(record, self._nonce()).ciphertext

    def open(self, record: bytes) -> bytes:
        """Raises CryptoError."""
        return self._box.decrypt(record, self._nonce())


@implementer(IPushProducer)
class SealedLink(Int32StringReceiver):
    """One side of a connection; a subclass does its part of the handshake."""

    MAX_LENGTH = _GREETING
    transport: Any

    def __init__(self, identity: Identity, user: User, clock: IReactorTime, random: Callable[[int], bytes] = urandom):
        self.identity, self.user, self.clock, self._random = identity, user, clock, random
        #: The hello of the other side, once it was checked.
        self.peer: Hello | None = None
        #: Grows with every message: what was sent in the present turn has not left yet.
        self.turn = 0
        self._reason = ""
        self._is_closed = False
        self._items: list[bytes] = []
        self._messages: deque[tuple[bytes, int]] = deque()
        self._received: list[bytes] = []
        self._received_bytes = 0
        self._is_paused = False
        self._flushing: Any = None
        self._timer: Any = None
        #: How many pings were due since something came, and whether anything was sent since the last.
        self._silent = 0
        self._has_sent = False
        self._sealing: _Seal | None = None
        self._opening: _Seal | None = None

    # The greeting

    def connectionMade(self) -> None:
        if hasattr(self.transport, "setTcpNoDelay"):
            self.transport.setTcpNoDelay(True)
        self._timer = self.clock.callLater(GREETING_SECONDS, self.end, "it did not introduce itself in time")
        self._nonce = self._random(32)
        self.greet()

    def greet(self) -> None:
        """The first step of the handshake."""

    def first_string(self, nonce: bytes) -> None:
        """The second step: the other side's random bytes have come."""
        raise NotImplementedError

    def derive(self, challenge: bytes, nonce: bytes, sending: bytes, opening: bytes) -> None:
        """Derive the session keys."""
        self._sealing = _Seal.of(self.identity.key, challenge + nonce, sending)
        self._opening = _Seal.of(self.identity.key, challenge + nonce, opening)

    def write_hello(self) -> None:
        """Send the own hello."""
        self._write(_LAST + self.identity.hello)

    def stringReceived(self, string: bytes) -> None:
        if self._is_closed:
            return
        if self._opening is None:
            if len(string) == 32:
                self.first_string(string)
            else:
                self.end("it is not a JobEngine server")
            return
        try:
            record = self._opening.open(string)
        except (CryptoError, ValueError):
            self._not_opened(string)
            return
        self._silent = 0
        if self.peer is None:
            self._greeted(record)
        else:
            self._record(record)

    def _not_opened(self, string: bytes) -> None:
        if self.peer is not None:
            self.end("a record was altered, repeated or lost on the way")
            return
        if string != _REFUSED:
            self.sendString(_REFUSED)
        self.end("the two servers have different keys: both need the same SECRET")

    def _greeted(self, record: bytes) -> None:
        try:
            hello = _read_hello(record[1:])
        except MsgspecError:
            self.end("it sent no hello that this version can read")
            return
        self.answer_hello()
        if trouble := self.trouble_with(hello):
            self.end(trouble)
            return
        self.peer = hello
        self.MAX_LENGTH = RECORD
        self._timer.cancel()
        self._timer = self.clock.callLater(PING_SECONDS, self._ping)
        self.transport.registerProducer(self, True)
        self.user.link_ready(self)

    def answer_hello(self) -> None:
        """The other side has shown that it has the key."""

    def trouble_with(self, hello: Hello) -> str:
        """Why the other side can't be used; empty if it can."""
        if hello.server == self.identity.server:
            return "the address leads back to this server itself; set CLUSTER_ADDRESS of each server to its own address"
        if hello.cell != self.identity.cell:
            return f"the server there belongs to the cell {hello.cell!r}, this one to {self.identity.cell!r}; see CELL"
        if hello.fingerprint != FINGERPRINT:
            return f"the server there has version {hello.version}, this one {__version__}: they need the same version"
        return ""

    # Receiving

    def lengthLimitExceeded(self, length: int) -> None:
        self.end("it sent a record that is too long")

    def _record(self, record: bytes) -> None:
        flag = record[:1]
        if flag == _PING:
            return
        self._received_bytes += len(record)
        if self._received_bytes > MESSAGE:
            self.end("it sent a message that is too long")
        elif flag == _MORE:
            self._received.append(record[1:])
        else:
            message = b"".join([*self._received, record[1:]]) if self._received else memoryview(record)[1:]
            self._received, self._received_bytes = [], 0
            self._message(message)

    def _message(self, message: bytes | memoryview) -> None:
        try:
            items = _read_items(message)
        except MsgspecError:
            self.end("it sent a message that can't be read")
            return
        self.user.link_items(self, items)

    # Sending

    def send(self, item: bytes) -> None:
        """Send an encoded Item, with all others of this turn."""
        if self._is_closed:
            return
        self._items.append(item)
        if self._flushing is None:
            self._flushing = self.clock.callLater(0, self._flush)

    def finish(self, reason: str) -> None:
        """Write all that was sent, then close the connection."""
        if self.peer is not None and not self._is_closed:
            self._is_paused = False
            self._flush()
            while self._messages:
                self._pump()
                self._is_paused = False
        self.end(reason, abort=False)

    def _flush(self) -> None:
        if self._flushing is not None and self._flushing.active():
            self._flushing.cancel()
        self._flushing = None
        self.turn += 1
        items, self._items = self._items, []
        start = size = 0
        for index, item in enumerate(items):
            if size and size + len(item) > _FULL:
                self._messages.append((_list_of(items[start:index]), 0))
                start, size = index, 0
            size += len(item)
        if size:
            self._messages.append((_list_of(items[start:]), 0))
        self._pump()

    def _pump(self) -> None:
        """Encrypt and write some records; the rest follows in the next turn, or when the other side has read."""
        for _ in range(_AT_ONCE):
            if self._is_paused or self._is_closed or not self._messages:
                return
            message, start = self._messages.popleft()
            end = start + _PIECE
            if end < len(message):
                self._messages.appendleft((message, end))
                self._write(_MORE + message[start:end])
            else:
                self._write(_LAST + (message[start:] if start else message))
        if self._messages and self._flushing is None:
            self._flushing = self.clock.callLater(0, self._flush)

    def _write(self, record: bytes) -> None:
        assert self._sealing is not None
        self._has_sent = True
        self.sendString(self._sealing.close(record))

    def pauseProducing(self) -> None:
        self._is_paused = True

    def resumeProducing(self) -> None:
        self._is_paused = False
        if self._messages and self._flushing is None:
            self._flushing = self.clock.callLater(0, self._flush)

    def stopProducing(self) -> None:
        self._is_paused = True

    # Keeping alive, and the end

    def _ping(self) -> None:
        # Pings are counted, not seconds: after a pause of this process, what came meanwhile is yet to be read.
        self._silent += 1
        if self._silent > SILENT_PINGS:
            self.end("the server there is silent")
            return
        if not self._has_sent and not self._is_paused:
            self._write(_PING)
        self._has_sent = False
        self._timer = self.clock.callLater(PING_SECONDS, self._ping)

    def end(self, reason: str, *, abort: bool = True) -> None:
        """Close the connection, for a reason that operators understand."""
        if self._is_closed:
            return
        self._is_closed = True
        self._reason = reason
        for timer in (self._timer, self._flushing):
            if timer is not None and timer.active():
                timer.cancel()
        if self.peer is not None:
            self.transport.unregisterProducer()
        if self.peer is not None and abort:
            # A silent or false peer does not read what waits to be written.
            self.transport.abortConnection()
        else:
            self.transport.loseConnection()
        self.user.link_lost(self, reason)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._is_closed:
            self.end(self._reason or f"the connection was closed: {reason.getErrorMessage()}")


class LeadLink(SealedLink):
    """The listening side. It shows nothing encrypted by the key before the follower has shown that it has the key."""

    def greet(self) -> None:
        self.sendString(self._nonce)

    def first_string(self, nonce: bytes) -> None:
        self.derive(self._nonce, nonce, b"to follower", b"to lead")

    def answer_hello(self) -> None:
        self.write_hello()


class FollowerLink(SealedLink):
    """The dialling side; it expects a certain server."""

    #: The id of the server that must answer.
    expected: str = ""

    def first_string(self, nonce: bytes) -> None:
        self.sendString(self._nonce)
        self.derive(nonce, self._nonce, b"to lead", b"to follower")
        self.write_hello()

    def trouble_with(self, hello: Hello) -> str:
        if trouble := super().trouble_with(hello):
            return trouble
        return "" if hello.server == self.expected else "another server answers there than the one that leads"


def _list_of(items: list[bytes]) -> bytes:
    """Encoded items as an encoded list."""
    return b"\xdd" + len(items).to_bytes(4, "big") + b"".join(items)
