"""Links between servers in memory, on a simulated clock."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from attrs import define, field
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from jobengine.cluster.remote import RemoteDoor
from jobengine.cluster.server import LinkServer

SHARED = bytes(range(32))
ADDRESS = "lead.test:8081"


@define(eq=False)
class Line:
    """A connection in memory. `pump` carries what was written; `altering` may change what a side receives."""

    lead: Any
    follower: Any
    altering: Callable[[bytes, str], bytes] = lambda data, _to: data
    at_lead: StringTransport = field(factory=StringTransport)
    at_follower: StringTransport = field(factory=StringTransport)
    closed: bool = False

    def open(self) -> "Line":
        self.lead.makeConnection(self.at_lead)
        self.follower.makeConnection(self.at_follower)
        return self

    def pump(self) -> bool:
        """Carry what was written to the other side; returns whether there was anything."""
        if self.closed:
            return False
        to_follower, to_lead = self.at_lead.value(), self.at_follower.value()
        self.at_lead.clear()
        self.at_follower.clear()
        for data, side, name in ((to_follower, self.follower, "follower"), (to_lead, self.lead, "lead")):
            if data:
                side.dataReceived(self.altering(data, name))
        if self.at_lead.disconnecting or self.at_follower.disconnecting:
            # What was written before the end arrives.
            for transport, side in ((self.at_lead, self.follower), (self.at_follower, self.lead)):
                if data := transport.value():
                    side.dataReceived(data)
            self.cut()
        return bool(to_follower or to_lead)

    def cut(self) -> None:
        """Break the connection."""
        if not self.closed:
            self.closed = True
            for side in (self.lead, self.follower):
                side.connectionLost(Failure(ConnectionDone()))


class _Connector:
    def disconnect(self) -> None:
        pass


@define(eq=False)
class Lines:
    """The network: `connect` reaches the server, if there is one."""

    server: LinkServer | None
    clock: Clock
    lines: list[Line] = field(factory=list)
    dialled: list[tuple[str, int]] = field(factory=list)

    def connect(self, host: str, port: int, factory: Any) -> Any:
        self.dialled.append((host, port))
        lead = self.server and self.server.factory().buildProtocol(None)
        if lead is None:
            factory.clientConnectionFailed(_Connector(), Failure(ConnectionRefusedError("refused")))
        else:
            self.lines.append(Line(lead, factory.buildProtocol(None)).open())
        return _Connector()

    def pump(self) -> None:
        """Let everything happen that needs no time."""
        for _ in range(1000):
            self.clock.advance(0)
            moved = [line.pump() for line in self.lines]
            if not any(moved) and not self._due():
                return
        raise AssertionError("it never came to an end")

    def _due(self) -> bool:
        return any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls())


def joined(door: Callable[[], Any], clock: Clock, **parts: Any) -> tuple[RemoteDoor, Lines, LinkServer]:
    """A door that is linked to a server around an engine."""
    server = LinkServer(SHARED, "lead", "main", door, clock, **parts)
    lines = Lines(server, clock)
    remote = RemoteDoor(SHARED, "follower", "main", clock, lines.connect)
    remote.lead_is(ADDRESS, "lead")
    with suppress(AssertionError):
        lines.pump()
    assert remote.connected, remote.trouble
    return remote, lines, server


def records(data: bytes) -> Iterator[bytes]:
    """The records in some bytes, each with its length."""
    while data:
        end = 4 + int.from_bytes(data[:4], "big")
        yield data[:end]
        data = data[end:]
