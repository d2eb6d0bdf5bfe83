"""An answer goes to the operating system when it is written, not after the timed calls of the reactor's next turn."""

import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import define
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Server
from twisted.internet.testing import MemoryReactor

from jobengine.http.unsent_bytes import send_now
from tests.doubles import MemoryServer
from tests.http.connection import parse, request


@define
class Pair:
    """A client's socket, and the server's side of its connection in a reactor that is never run."""

    client: socket.socket
    accepted: socket.socket
    reactor: Any

    def serve(self, protocol: Any) -> Server:
        """Connect the server's side to a protocol."""
        port: Any = None
        transport = Server(self.accepted, protocol, ("127.0.0.1", 1), port, 0, self.reactor)
        protocol.makeConnection(transport)
        return transport

    @property
    def has_more(self) -> bool:
        """Whether the reactor will write."""
        return bool(self.reactor.getWriters())


@pytest.fixture
def pair() -> Iterator[Pair]:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        with accepted:
            accepted.setblocking(False)
            yield Pair(client, accepted, MemoryReactor())


def test_an_answer_is_sent_in_the_turn_of_its_request(server: MemoryServer, pair: Pair) -> None:
    channel: Any = server.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    pair.serve(channel)
    for _ in range(2):
        channel.dataReceived(request("GET", "/test"))
        (answer,) = parse(pair.client.recv(10_000, socket.MSG_DONTWAIT))
        assert (answer.status, pair.has_more) == (200, False)


def test_the_reactor_sends_what_the_system_does_not_take_at_once(pair: Pair) -> None:
    transport, received = pair.serve(Protocol()), 0
    transport.write(b"x" * 1_000_000)
    send_now(transport)
    while pair.has_more:
        received += len(pair.client.recv(1 << 20))
        transport.doWrite()
    transport.connectionLost(connectionDone)
    while data := pair.client.recv(1 << 20):
        received += len(data)
    assert received == 1_000_000


def test_the_reactor_finds_the_error_of_a_broken_connection(pair: Pair) -> None:
    transport = pair.serve(Protocol())
    pair.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    pair.client.close()
    transport.write(b"x")
    send_now(transport)
    assert pair.has_more
    assert isinstance(transport.doWrite(), Exception)
