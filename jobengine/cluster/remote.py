"""The follower's side: a door to the engine of the server that leads."""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Final, TypeVar, cast

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConnector, IReactorTime
from twisted.internet.protocol import ClientFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core import commands as c
from ..core.model import Job
from ..engine.door import NoLead, OutcomeUnknown, Unavailable, Watched
from .codec import Decode, answer_decoder, decode_error, encode, result_decoder
from .items import CANCEL, END, ERROR, NEXT, NOTHING, item
from .link import ITEM, FollowerLink, Identity, Item, SealedLink

A = TypeVar("A")
T = TypeVar("T")
#: Opens a connection, like reactor.connectTCP.
Connect = Callable[[str, int, ClientFactory], IConnector]
#: Seconds before the lead is dialled again: doubled from the first to the last.
_FIRST_PAUSE, _LAST_PAUSE = 0.1, 1.0
_LOST: Final = (
    "The lead was lost while it carried out this request: the change may or may not have been made. Look before you "
    "repeat it."
)
_LOST_READ: Final = "The lead was lost while it carried out this request, which changes nothing. Try again."
_TOO_LARGE: Final = "The request is too large to be sent to the server that leads; send less at a time."


@define(eq=False)
class _Call:
    """A call that waits for its answer."""

    answer: "Deferred[Any]"
    decode: Decode
    reads: bool
    #: The link's turn in which it was sent: the call leaves at the end of that turn.
    turn: int


class RemoteDoor:
    """
    The methods of Door that take commands, and `backup`, carried out by the server that leads.

    Every method raises NoLead if there is no link to a lead, or if the link breaks before the call has left or while
    the call only reads; OutcomeUnknown if the link breaks later. No call is sent twice.
    """

    def __init__(self, key: bytes, server_id: str, cell: str, clock: IReactorTime, connect: Connect) -> None:
        """`key`, `server_id` and `cell`: see LinkServer."""
        self.identity = Identity(key=key, server=server_id, cell=cell)
        self.clock, self.connect = clock, connect
        #: Why the lead can't be reached; empty if it can, or if no lead is known.
        self.trouble = ""
        self._address: str | None = None
        self._holder = ""
        self._dialler: _Dialler | None = None
        self._link: SealedLink | None = None
        self._number = 0
        self._calls: dict[int, _Call] = {}
        #: Cancelled claims that the lead has not answered yet: it may have claimed jobs for them.
        self._cancelled: dict[int, c.Claims] = {}

    # The lead

    @property
    def connected(self) -> bool:
        """Whether calls can be sent."""
        return self._link is not None

    def lead_is(self, address: str | None, holder: str) -> None:
        """The server `holder` leads, at an address such as `host:port`; without an address, no server leads."""
        if (address, holder) == (self._address, self._holder):
            return
        self._address, self._holder, self.trouble = address, holder, ""
        dialler, self._dialler = self._dialler, None
        if dialler is not None:
            dialler.stop()
        if address is not None:
            self._dialler = _Dialler(self, address, holder)
            self._dialler.dial()

    def stop(self) -> None:
        """End the link; all calls fail."""
        self.lead_is(None, "")

    def link_ready(self, link: SealedLink) -> None:
        self._link, self.trouble = link, ""
        if self._dialler is not None:
            self._dialler.pause = _FIRST_PAUSE

    def link_lost(self, link: SealedLink, reason: str) -> None:
        """Fail all calls of the link."""
        if link is self._link:
            self._link = None
            calls, self._calls = self._calls, {}
            self._cancelled.clear()
            for call in calls.values():
                call.answer.errback(_lost(call, link))

    # Calls

    async def ask(self, command: c.Command[A]) -> A:
        kind = type(command)
        return cast("A", await self._call("ask", kind.__name__, command, answer_decoder(kind), reads=kind.reads))

    async def claim(self, command: c.Claims) -> c.ClaimResult:
        return cast("c.ClaimResult", await self._call_verb("claim", command, reads=False))

    async def peek(self, command: c.Peek) -> Job | None:
        return cast("Job | None", await self._call_verb("peek", command))

    async def read_job(self, command: c.ReadJob) -> Job:
        return cast("Job", await self._call_verb("read_job", command))

    async def move_matching(self, command: c.MoveMatching) -> c.Moved:
        return cast("c.Moved", await self._call_verb("move_matching", command, reads=False))

    async def update_matching(self, command: c.UpdateMatching) -> int:
        return cast("int", await self._call_verb("update_matching", command, reads=False))

    async def delete_matching(self, command: c.DeleteMatching) -> int:
        return cast("int", await self._call_verb("delete_matching", command, reads=False))

    async def read_queue(self, command: c.ListJobs) -> AsyncGenerator[Sequence[Job], None]:
        return await self._stream("read_queue", command)

    async def watch(self, command: c.Subscribe) -> AsyncGenerator[Watched, None]:
        return await self._stream("watch", command)

    async def backup(self) -> AsyncGenerator[bytes, None]:
        return await self._stream("backup", None)

    def _call_verb(self, verb: str, command: object, *, reads: bool = True) -> "Deferred[Any]":
        return self._call(verb, "", command, result_decoder(verb), reads=reads)

    def _call(self, verb: str, name: str, command: object, decode: Decode, *, reads: bool) -> "Deferred[Any]":
        link = self._link
        if link is None:
            raise NoLead
        body = encode(command)
        if len(body) > ITEM:
            raise Unavailable(_TOO_LARGE)
        self._number = number = self._number + 1

        def cancel(_answer: "Deferred[Any]") -> None:
            if self._calls.pop(number, None) is not None:
                if isinstance(command, c.Claims):
                    self._cancelled[number] = command
                link.send(item(number, CANCEL, "", NOTHING))

        answer: Deferred[Any] = Deferred(cancel)
        self._calls[number] = _Call(answer, decode, reads, link.turn)
        link.send(item(number, verb, name, body))
        return answer

    async def _stream(self, verb: str, command: object) -> "_Stream[Any]":
        waiting = self._call(verb, "", command, _nothing, reads=True)
        link, number = self._link, self._number
        assert link is not None
        await waiting
        return _Stream(self, link, number, result_decoder(verb))

    def next_of(self, link: SealedLink, number: int, decode: Decode) -> "Deferred[Any]":
        """The next item of a stream; fails with StopAsyncIteration at its end."""
        if link is not self._link:
            raise NoLead(_LOST_READ)

        def cancel(_answer: "Deferred[Any]") -> None:
            if self._calls.pop(number, None) is not None:
                link.send(item(number, CANCEL, "", NOTHING))

        answer: Deferred[Any] = Deferred(cancel)
        self._calls[number] = _Call(answer, decode, reads=True, turn=link.turn)
        link.send(item(number, NEXT, "", NOTHING))
        return answer

    def close(self, link: SealedLink, number: int) -> None:
        """Close a stream at the lead."""
        if link is self._link:
            link.send(item(number, CANCEL, "", NOTHING))

    # Answers

    def link_items(self, link: SealedLink, items: list[Item]) -> None:
        for one in items:
            call = self._calls.pop(one.number, None)
            if call is None:
                self._too_late(link, one)
            elif one.verb == ERROR:
                call.answer.errback(decode_error(one.body))
            elif one.verb == END:
                call.answer.errback(_End())
            else:
                _answer(call, one)

    def _too_late(self, link: SealedLink, answer: Item) -> None:
        """Put back what the lead claimed before it read that the claim is cancelled."""
        claims = self._cancelled.pop(answer.number, None)
        if claims is None or answer.verb == ERROR:
            return
        by_queue: dict[str, list[tuple[str, str]]] = {}
        for one in result_decoder("claim")(answer.body).jobs:
            by_queue.setdefault(one.queue, []).append((one.job.spec.uid, one.job.standing.lease))
        for queue, its in by_queue.items():
            command = c.ReturnClaims(queue=queue, access_key=claims.access_key, admin=claims.admin, claims=tuple(its))
            returned = self._call("ask", "ReturnClaims", command, answer_decoder(c.ReturnClaims), reads=False)
            returned.addErrback(_not_returned)


class _End(Exception):
    """A stream has ended. A Deferred can't hold StopAsyncIteration for a coroutine that awaits it."""


class _Stream(AsyncGenerator[T, None]):
    """A stream of the lead; at most one item is on its way."""

    def __init__(self, door: RemoteDoor, link: SealedLink, number: int, decode: Decode) -> None:
        self._door, self._link, self._number, self._decode = door, link, number, decode
        self._ended = False

    async def asend(self, _value: None) -> T:
        if self._ended:
            raise StopAsyncIteration
        try:
            return cast("T", await self._door.next_of(self._link, self._number, self._decode))
        except _End:
            self._ended = True
            raise StopAsyncIteration from None
        except BaseException:
            self._ended = True
            raise

    async def athrow(self, kind: Any, value: Any = None, traceback: Any = None) -> T:
        self._close()
        raise kind if value is None else value

    async def aclose(self) -> None:
        self._close()

    def _close(self) -> None:
        if not self._ended:
            self._ended = True
            self._door.close(self._link, self._number)

    def __del__(self) -> None:
        self._close()


class _Dialler(ClientFactory):
    """Connects to the lead, again and again."""

    noisy = False

    def __init__(self, door: RemoteDoor, address: str, holder: str) -> None:
        self._door, self._holder = door, holder
        host, _, port = address.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self.pause = _FIRST_PAUSE
        self._stopped = False
        self._connector: IConnector | None = None
        self._link: FollowerLink | None = None
        self._timer: Any = None

    def dial(self) -> None:
        self._timer = None
        self._connector = self._door.connect(self._host, self._port, self)

    def buildProtocol(self, _address: object) -> FollowerLink:
        self._link = FollowerLink(self._door.identity, self, self._door.clock)
        self._link.expected = self._holder
        return self._link

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._retry(reason.getErrorMessage())

    def link_ready(self, link: SealedLink) -> None:
        self._door.link_ready(link)

    def link_items(self, link: SealedLink, items: list[Item]) -> None:
        self._door.link_items(link, items)

    def link_lost(self, link: SealedLink, reason: str) -> None:
        self._door.link_lost(link, reason)
        self._retry(reason)

    def _retry(self, reason: str) -> None:
        if self._stopped or self._timer is not None:
            return
        self._door.trouble = f"The lead at {self._host}:{self._port} can't be reached: {reason}."
        self._timer = self._door.clock.callLater(self.pause, self.dial)
        self.pause = min(2 * self.pause, _LAST_PAUSE)

    def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._link is not None:
            self._link.end("another server leads now")
        if self._connector is not None:
            self._connector.disconnect()


def _answer(call: _Call, answer: Item) -> None:
    try:
        value = call.decode(answer.body)
    except Exception as error:  # any: the caller must get an answer
        call.answer.errback(error)
        return
    call.answer.callback(value)


def _lost(call: _Call, link: SealedLink) -> Unavailable:
    """The error of a call whose link has broken."""
    if call.turn == link.turn:
        return NoLead()
    return NoLead(_LOST_READ) if call.reads else OutcomeUnknown(_LOST)


def _nothing(_body: object) -> None:
    return None


def _not_returned(failure: Failure) -> None:
    Logger().info("a cancelled claim was not put back: {error}", error=failure.getErrorMessage())
