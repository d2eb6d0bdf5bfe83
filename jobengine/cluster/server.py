"""The lead's side: accepts links, and carries out the calls that come through them."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.errors import DomainError
from ..engine.door import Busy, Door, Unavailable
from .codec import STREAMS, argument_decoder, command_decoder, encode
from .items import CANCEL, END, ERROR, NEXT, NOTHING, VALUE, item
from .link import ITEM, Identity, Item, LeadLink, SealedLink

#: The most connections at the same time that have not shown the key yet.
STRANGERS: Final = 32
#: The most calls in flight of one follower.
CALLS: Final = 10_000
_TOO_LARGE: Final = "The answer is too large to be sent to another server; request less at a time."


class Doorkeeper:
    """Carries out the calls of one follower."""

    def __init__(self, link: SealedLink, door: Callable[[], Door], most: int = CALLS) -> None:
        """`door` returns the engine, or raises a kind of Unavailable."""
        self._link, self._door, self._most = link, door, most
        self._running: dict[int, Deferred[Any]] = {}
        self._streams: dict[int, AsyncGenerator[Any, None]] = {}
        self._log = Logger()

    def carry_out(self, call: Item) -> None:
        """Begin a call, or cancel it."""
        if call.verb == CANCEL:
            self._cancel(call.number)
            return
        try:
            answer = self._begin(call)
        except Exception as error:  # any: the follower gets it
            self._failed(Failure(error), call.number)
            return
        number = call.number
        running = self._running[number] = Deferred.fromCoroutine(_awaited(answer))
        if call.verb == NEXT:
            running.addCallbacks(self._send_value, self._ended, (number,), errbackArgs=(number,))
        elif call.verb in STREAMS:
            running.addCallbacks(self._opened, self._failed, (number,), errbackArgs=(number,))
        else:
            running.addCallbacks(self._send_value, self._failed, (number,), errbackArgs=(number,))

    def _begin(self, call: Item) -> Any:
        verb = call.verb
        if verb == NEXT:
            return anext(self._streams[call.number])
        if len(self._running) + len(self._streams) >= self._most:
            raise Busy("Too many requests of one server are in progress at the lead; this one was not carried out.")
        door = self._door()
        if verb == "ask":
            return door.ask(command_decoder(call.name)(call.body))
        argument = argument_decoder(verb)(call.body)
        return door.backup() if verb == "backup" else getattr(door, verb)(argument)

    def _send_value(self, value: object, number: int) -> None:
        self._running.pop(number, None)
        try:
            encoded = encode(value)
            if len(encoded) > ITEM:
                raise Unavailable(_TOO_LARGE)
        except Exception as error:  # any: the follower must get an answer
            self._failed(Failure(error), number)
            return
        self._link.send(item(number, VALUE, "", encoded))

    def _opened(self, stream: AsyncGenerator[Any, None], number: int) -> None:
        self._streams[number] = stream
        self._send_value(None, number)

    def _ended(self, failure: Failure, number: int) -> None:
        """A stream has given its last item, or failed."""
        self._streams.pop(number, None)
        if failure.check(StopAsyncIteration):
            self._running.pop(number, None)
            self._link.send(item(number, END, "", NOTHING))
        else:
            self._failed(failure, number)

    def _failed(self, failure: Failure, number: int) -> None:
        self._running.pop(number, None)
        if not failure.check(DomainError, Unavailable, CancelledError):
            self._log.failure("a request of another server failed", failure)
        self._link.send(item(number, ERROR, "", encode(failure.value)))

    def _cancel(self, number: int) -> None:
        running, stream = self._running.get(number), self._streams.pop(number, None)
        if running is not None:
            running.cancel()
        # Cancelling the opening of a stream, or the wait for an item, may have been too late.
        stream = self._streams.pop(number, None) or stream
        if stream is not None:
            Deferred.fromCoroutine(_awaited(stream.aclose())).addErrback(self._not_closed)

    def _not_closed(self, failure: Failure) -> None:
        self._log.failure("a stream of another server was not closed", failure)

    def leave(self) -> None:
        """The follower is gone: cancel all that it requested."""
        for number in [*self._running, *self._streams]:
            self._cancel(number)


class _Factory(Factory):
    noisy = False

    def __init__(self, accept: Callable[[], LeadLink | None]) -> None:
        self._accept = accept

    def buildProtocol(self, _address: object) -> LeadLink | None:
        return self._accept()


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


class LinkServer:
    """Makes the lead's side of links; `factory()` is for `reactor.listenTCP`, or an endpoint."""

    def __init__(
        self,
        key: bytes,
        server_id: str,
        cell: str,
        door: Callable[[], Door],
        clock: IReactorTime,
        calls: int = CALLS,
    ) -> None:
        """`key`: 32 bytes derived from the database's key; `server_id`: random text of this process."""
        self._identity = Identity(key=key, server=server_id, cell=cell)
        self._door, self._clock, self._calls = door, clock, calls
        self._strangers: set[SealedLink] = set()
        self._keepers: dict[SealedLink, Doorkeeper] = {}

    @property
    def followers(self) -> int:
        """How many servers have a link to this one."""
        return len(self._keepers)

    def factory(self) -> Factory:
        """A factory of the lead's side of links."""
        return _Factory(self.accept)

    def accept(self) -> LeadLink | None:
        """The lead's side of a new connection; None if there are too many strangers."""
        if len(self._strangers) >= STRANGERS:
            return None
        link = LeadLink(self._identity, self, self._clock)
        self._strangers.add(link)
        return link

    def link_ready(self, link: SealedLink) -> None:
        self._strangers.discard(link)
        self._keepers[link] = Doorkeeper(link, self._door, self._calls)

    def link_items(self, link: SealedLink, items: list[Item]) -> None:
        keeper = self._keepers.get(link)
        if keeper is not None:
            for call in items:
                keeper.carry_out(call)

    def link_lost(self, link: SealedLink, reason: str) -> None:
        self._strangers.discard(link)
        if (keeper := self._keepers.pop(link, None)) is not None:
            keeper.leave()

    def stop(self) -> None:
        """End all links."""
        for link in [*self._strangers, *self._keepers]:
            link.finish("this server stops to lead")
