"""Connections that send what they are given at once, and not a turn of the reactor later."""

from collections.abc import Iterable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.tcp import Port, Server
from zope.interface import implementer

__all__ = ["PromptEndpoint", "PromptServer"]


class PromptServer(Server):
    """
    A connection that has the socket take at once what is written, as far as it does.

    Twisted keeps it until the system has been asked whether the socket can be written, has said so, and is asked no
    more: two calls of the system and a turn through the reactor, for a socket that nearly always can.
    """

    #: Whether something waits until the socket can be written: all else has to wait behind it.
    _waits = False

    def write(self, data: bytes) -> None:
        """Send data; what the socket does not take is sent when it does."""
        if data and not self._waits and self.connected and not self.disconnecting:
            sent = self.writeSomeData(data)
            # Anything but a number is an error: the reactor will meet it as well, and knows what is to be done.
            data = data[sent:] if isinstance(sent, int) else data
        if data:
            self._waits = True
            super().write(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send pieces of data as if they were one."""
        self.write(b"".join(iovec))

    def abortConnection(self) -> None:
        """Break it: nothing is sent any more."""
        super().abortConnection()
        self._waits = True

    def stopWriting(self) -> None:
        """Nothing waits any more."""
        self._waits = False
        super().stopWriting()


@implementer(IStreamServerEndpoint)
class PromptEndpoint:
    """
    An endpoint whose connections are of that kind where they are Twisted's own over TCP.

    Under TLS as well, which gathers what is written to it first.
    """

    def __init__(self, endpoint: IStreamServerEndpoint) -> None:
        self._endpoint = endpoint

    def listen(self, factory: IProtocolFactory) -> "Deferred[IListeningPort]":
        """As the endpoint does."""
        listening: Deferred[IListeningPort] = self._endpoint.listen(factory)
        return listening.addCallback(_made_prompt)


def _made_prompt(port: IListeningPort) -> IListeningPort:
    if isinstance(port, Port) and port.transport is Server:
        port.transport = PromptServer
    return port
