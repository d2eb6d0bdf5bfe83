"""Answers are written to the socket at once, and in order even if the client reads slowly."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import frozen
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactorClock, StringTransport
from zope.interface import directlyProvides

from jobengine.http.direct_write import writer


@frozen
class _Pair:
    """A transport and the other end of its socket."""

    transport: Connection
    client: socket.socket
    reactor: MemoryReactorClock

    def read(self) -> bytes:
        """The bytes that have arrived; b"" if there are none."""
        try:
            return self.client.recv(1 << 20)
        except BlockingIOError:
            return b""

    @property
    def is_writing(self) -> bool:
        """Whether the transport waits for room in its socket."""
        return self.transport in self.reactor.getWriters()


@pytest.fixture
def pair() -> Iterator[_Pair]:
    server, client = socket.socketpair()
    client.setblocking(False)
    reactor: Any = MemoryReactorClock()
    transport = Connection(server, Protocol(), reactor)
    transport.connected = 1
    with server, client:
        yield _Pair(transport, client, reactor)


def test_bytes_arrive_without_a_turn_of_the_reactor(pair: _Pair) -> None:
    write = writer(pair.transport)
    write(b"one ")
    write(b"two")
    assert pair.read() == b"one two"
    assert not pair.is_writing


def test_bytes_for_which_the_socket_has_no_room_are_sent_later_in_order(pair: _Pair) -> None:
    write, sent = writer(pair.transport), [b"%d" % number * 200_000 for number in range(5)]
    for piece in sent:
        write(piece)
    received = b""
    while pair.is_writing:
        received += pair.read()
        assert pair.transport.doWrite() is None
    assert received + pair.read() == b"".join(sent)


def test_bytes_are_sent_after_the_bytes_already_waiting_in_the_transport(pair: _Pair) -> None:
    pair.transport.write(b"first ")
    writer(pair.transport)(b"second")
    assert pair.read() == b""
    pair.transport.doWrite()
    assert pair.read() == b"first second"


def test_the_transport_handles_a_connection_found_lost_at_a_direct_write(pair: _Pair) -> None:
    pair.client.close()
    writer(pair.transport)(b"answer")
    assert pair.is_writing
    assert isinstance(pair.transport.doWrite(), Exception)


def test_nothing_is_written_after_the_connection_is_lost(pair: _Pair) -> None:
    pair.transport.connected = 0
    writer(pair.transport)(b"answer")
    assert pair.read() == b""


def test_bytes_are_never_written_past_tls(pair: _Pair) -> None:
    directlyProvides(pair.transport, ISSLTransport)
    writer(pair.transport)(b"answer")
    assert pair.read() == b""
    assert pair.is_writing


def test_bytes_for_a_transport_that_is_no_socket_are_written_by_the_transport() -> None:
    transport = StringTransport()
    writer(transport)(b"answer")
    assert transport.value() == b"answer"
