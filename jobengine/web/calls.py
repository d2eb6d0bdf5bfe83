"""The base class of the API's groups of routes."""

from typing import TypeVar

from attrs import Factory, define, field
from twisted.internet.interfaces import IReactorTime

from ..core import commands as c
from ..engine.door import Door
from ..http.fair_turns import Turns
from ..http.request import JobRequest
from ..wire.long_bodies import SHORT
from ..wire.requests import Wire
from .keys import Keys
from .metrics import Metrics
from .replies import json_body
from .request_log import RequestLog
from .router import Routes
from .throttle import KeyThrottle

A = TypeVar("A")


@define(eq=False, slots=False)  # Klein keeps a weak reference to itself in the instance
class Calls:
    """The base of the API's routes: the engine, keys, metrics and log that all of them use."""

    _app = Routes()

    #: Carries out commands.
    engine: Door
    #: Decodes bodies.
    wire: Wire
    #: The clock for waits, time-outs and pauses.
    clock: IReactorTime
    #: The server's admin key, if it has one.
    admin_key: bytes | None = None
    #: Turns for long work, so that other requests run in between.
    turns: Turns = field(default=Factory(lambda self: Turns(self.clock), takes_self=True))
    metrics: Metrics = field(init=False)
    keys: Keys = field(init=False)
    _request_log: RequestLog = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.metrics = Metrics(rule.rule for rule in self._app.url_map.iter_rules())
        self.keys = Keys(self.engine, self.admin_key, KeyThrottle(self.clock.seconds))
        self._request_log = RequestLog(self.engine, self.clock.seconds)

    async def _ask(self, request: JobRequest, command: c.Command[A]) -> A:
        """Record a command for the log, and carry it out."""
        self._request_log.logged(request, command)
        return await self.engine.ask(command)

    async def _body(self, request: JobRequest) -> bytes:
        """A JSON body; raises BadInput."""
        body = json_body(request)
        return body if len(body) <= SHORT else await self.wire.checked(body, self.turns.next)
