"""What is written is sent at once and in order, whatever the socket takes of it."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import succeed
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Port, Server

from jobengine.http.prompt import PromptEndpoint, PromptServer

#: More than a socket takes at once.
LONG = bytes(range(256)) * 40_000


class _Reactor:
    """Knows who waits until a socket can be written; nothing is done later."""

    def __init__(self) -> None:
        self.writers: set[Any] = set()

    def addReader(self, _: Any) -> None:
        pass

    def removeReader(self, _: Any) -> None:
        pass

    def callLater(self, *_: Any) -> None:
        pass

    def addWriter(self, one: Any) -> None:
        self.writers.add(one)

    def removeWriter(self, one: Any) -> None:
        self.writers.discard(one)


@define
class _Pair:
    """A connection and its client."""

    client: socket.socket
    server: Any
    reactor: _Reactor = field(factory=_Reactor)

    @classmethod
    def made(cls) -> "_Pair":
        reactor, (ours, client) = _Reactor(), socket.socketpair()
        client.setblocking(False)
        parts: Any = (ours, Protocol(), ("127.0.0.1", 1), None, 1, reactor)
        return cls(client, PromptServer(*parts), reactor)

    def received(self) -> bytes:
        """What the client can read now."""
        parts = []
        try:
            while part := self.client.recv(1 << 20):
                parts.append(part)
        except BlockingIOError:
            pass
        return b"".join(parts)

    def turn(self) -> Any:
        """What the reactor does when the socket can be written; what it is told."""
        return self.server.doWrite() if self.server in self.reactor.writers else None


@pytest.fixture
def pair() -> Iterator[_Pair]:
    made = _Pair.made()
    yield made
    made.client.close()
    made.server.socket.close()


def test_what_is_written_is_sent_at_once_and_the_reactor_is_not_asked(pair: _Pair) -> None:
    pair.server.write(b"an answer, ")
    pair.server.writeSequence([b"and", b" another"])
    assert pair.received() == b"an answer, and another"
    assert pair.reactor.writers == set()


def test_what_the_socket_does_not_take_waits_and_all_else_waits_behind_it(pair: _Pair) -> None:
    pair.server.write(LONG)
    pair.server.write(b"behind")
    assert pair.reactor.writers == {pair.server}
    got = pair.received()
    assert 0 < len(got) < len(LONG)
    # There is room again, but not for what is written last.
    pair.server.writeSequence([b" it ", b"all"])
    while pair.reactor.writers:
        assert pair.turn() is None
        got += pair.received()
    assert got == LONG + b"behind it all"
    pair.server.write(b"!")
    assert (pair.received(), pair.reactor.writers) == (b"!", set())


def test_a_producer_is_paused_while_much_waits(pair: _Pair) -> None:
    told: list[str] = []

    class Producer:
        def pauseProducing(self) -> None:
            told.append("pause")

        def resumeProducing(self) -> None:
            told.append("resume")

    pair.server.registerProducer(Producer(), True)
    pair.server.write(b"short")
    assert told == []
    pair.server.write(LONG)
    assert told == ["pause"]
    while pair.reactor.writers:
        pair.received()
        pair.turn()
    assert told == ["pause", "resume"]


def test_a_client_that_is_gone_is_for_the_reactor_to_find(pair: _Pair) -> None:
    pair.client.close()
    pair.server.write(b"to nobody")
    assert pair.turn() is CONNECTION_LOST


def test_a_connection_that_is_to_be_closed_is_closed_when_all_was_sent(pair: _Pair) -> None:
    pair.server.write(LONG)
    pair.server.loseConnection()
    pair.server.write(b"the last")
    got, told = b"", None
    while told is None:
        told = pair.turn()
        got += pair.received()
    assert got == LONG + b"the last"
    assert told is CONNECTION_DONE


def test_nothing_is_sent_behind_what_was_broken_off(pair: _Pair) -> None:
    pair.server.write(b"some of it")
    pair.server.abortConnection()
    pair.server.write(b", and the end")
    pair.turn()
    assert pair.received() == b"some of it"


def test_nothing_is_sent_on_a_connection_that_is_lost(pair: _Pair) -> None:
    pair.server.connected = False
    pair.server.write(b"too late")
    assert (pair.received(), pair.reactor.writers) == (b"", set())


class _Endpoint:
    """Gives a port of which nobody knows what it is."""

    def __init__(self, port: Any) -> None:
        self.port = port

    def listen(self, _factory: Any) -> Any:
        return succeed(self.port)


def _listened(port: Any) -> Any:
    endpoint: Any = _Endpoint(port)
    results: list[Any] = []
    PromptEndpoint(endpoint).listen(Factory()).addCallback(results.append)
    return results[0]


def test_only_what_is_twisteds_own_is_replaced() -> None:
    class Own(Server):
        pass

    class Other(Port):
        transport = Own

    ports = [Port(0, Factory()), Other(0, Factory()), object()]
    assert [_listened(port) for port in ports] == ports
    assert (ports[0].transport, ports[1].transport) == (PromptServer, Own)  # type: ignore[attr-defined]  # the third is none
