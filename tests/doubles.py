"""Stand-ins that are injected, and a server in memory to use them in."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from attrs import define, field, frozen
from treq.client import HTTPClient
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from jobengine.core.claimers import Claimers
from jobengine.core.history import KeptPeriod, QueueHistory
from jobengine.core.model import Defaults
from jobengine.core.stats import Recent, Spread
from jobengine.engine.engine import Engine
from jobengine.engine.executor import Executor
from jobengine.http.browsers import Browsers
from jobengine.http.cors import Cors
from jobengine.http.fair_turns import Turns
from jobengine.http.hosts import Hosts
from jobengine.http.limits import Limits
from jobengine.http.site import JobSite
from jobengine.storage.files import Files
from jobengine.storage.frames import Kdf
from jobengine.storage.journal import Journal
from jobengine.web.api import Api
from jobengine.web.router import Others, no_others
from jobengine.wire.requests import Wire
from tests.schema import check_answer

R = TypeVar("R")

#: A key derivation that takes no time.
QUICK_KDF = Kdf(passes=1, kib=8)
SECRET = b"a secret"
#: When every clock starts: seconds since the epoch.
START = 1_800_000_000


class AtOnce:
    """A writer thread that runs each call at once."""

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def __call__(self, call: Callable[[], R], /) -> "Deferred[R]":
        return maybeDeferred(call)


class Stepped:
    """A writer thread that runs one call at each `step`."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def __call__(self, call: Callable[[], R], /) -> "Deferred[R]":
        done: Deferred[R] = Deferred()
        self.waiting.append((call, done))
        return done

    def step(self) -> None:
        call, done = self.waiting.pop(0)
        maybeDeferred(call).chainDeferred(done)


class ByHand(Turns):
    """Reactor turns, one at each `go`."""

    waiting: "list[Deferred[None]]"

    def __init__(self) -> None:
        self.waiting = []

    def next(self) -> "Deferred[None]":
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def go(self) -> None:
        self.waiting.pop(0).callback(None)


class CountedIds:
    """UUIDs that count up, as text."""

    def __init__(self) -> None:
        self.given = 0

    def __call__(self) -> str:
        self.given += 1
        return str(UUID(int=self.given))


class NoActivity:
    """The recent activity of queues in which nothing was counted."""

    def recent(self, _name: str, _now: int, _kept: Iterable[KeptPeriod]) -> Recent:
        return Recent(last_minute={}, last_hour={})

    def history(self, _name: str, _now: int, _kept: Iterable[KeptPeriod]) -> QueueHistory:
        return QueueHistory(minutes={}, hours={})

    def times(self, _name: str) -> tuple[Spread, Spread]:
        return Spread(), Spread()

    def since_start(self, _name: str) -> Mapping[str, int]:
        return {}

    def claimers(self, _name: str) -> Claimers:
        return Claimers()

    def waiting(self, _name: str) -> int:
        return 0

    def claims(self, _name: str) -> tuple[int, int | None]:
        return 0, None


class ToldClock(Clock):
    """A clock that calls a function with the new time before anything happens at this time."""

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = float(START)
        self.told: list[Callable[[float], None]] = []

    def advance(self, amount: float) -> None:
        # A sum of floats may be just below the whole millisecond at which something is due.
        self.rightNow = round(self.rightNow + amount, 4)
        if amount:
            for tell in self.told:
                tell(self.rightNow)
        super().advance(0)


def new_clock() -> ToldClock:
    return ToldClock()


def make_engine(path: Path, clock: Clock, **more: Any) -> Engine:
    """A Engine, not started, on `path`; by default its parts are quick and quiet."""
    files = more.pop("files", None) or Files()
    kind = more.pop("kind", Executor)
    parts: dict[str, Any] = {
        "journal": Journal(str(path), files=files, kdf=QUICK_KDF),
        "thread": AtOnce(),
        "clock": clock,
        "now": lambda: int(clock.seconds() * 1000),
        "new_id": CountedIds(),
        "on_failure": lambda _error: None,
    }
    secret = more.pop("secret", lambda: SECRET)
    reader = more.pop("reader", None) or more.get("thread") or AtOnce()
    return Engine(executor=kind(**{**parts, **more}), secret=secret, reader=reader)


def start(engine: Any, settle: Callable[[], None]) -> None:
    """Start an engine; `settle` makes all calls that are due now. Raises the error of a failed start."""
    engine.open()
    results: list[Any] = []
    ensureDeferred(engine.start()).addBoth(results.append)
    settle()
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()


class Wrapping:
    """An engine that passes on all calls that a subclass does not replace."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._engine, verb)


class Counting(Wrapping):
    """An engine that records its commands."""

    def __init__(self, engine: Any, asked: list[Any]) -> None:
        super().__init__(engine)
        self._asked = asked

    async def ask(self, command: Any) -> Any:
        self._asked.append(command)
        return await self._engine.ask(command)


@frozen
class Answer:
    """An answer of a server in memory."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@implementer(IBodyProducer)
class _WholeBody:
    """A request's body, sent in one piece; treq's own would wait for the real reactor."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.length = len(body)

    def startProducing(self, consumer: Any) -> "Deferred[None]":
        consumer.write(self.body)
        return succeed(None)

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        pass


class _Agent(RequestTraversalAgent):
    """treq's agent in memory; requests go to our own site instead of a plain one."""

    def __init__(self, site: JobSite) -> None:
        super().__init__(site.resource)
        self._serverFactory = site


@define
class MemoryServer:
    """
    A whole server, except for sockets and threads; `call` makes a request and returns the answer.

    Every answer must be documented in api_schema.yml.
    """

    path: Path
    limits: Limits = field(factory=Limits)
    cors_origins: frozenset[bytes] = frozenset()
    allowed_hosts: frozenset[str] = frozenset()
    admin_key: bytes | None = None
    defaults: Defaults = field(factory=Defaults)
    wire_parts: dict[str, Any] = field(factory=dict)
    clock: Clock = field(factory=new_clock)
    engine_parts: dict[str, Any] = field(factory=dict)
    #: Answers requests that are no calls of the API.
    others: Others = no_others
    #: Makes the turns for long work.
    turns: Callable[[Clock], Turns] = Turns
    #: Makes its engine; see make_engine.
    make: Callable[..., Any] = make_engine
    #: Wraps the engine for the API, for example in an engine that fails.
    door: Callable[[Any], Any] = lambda engine: engine
    engine: Any = field(init=False)
    site: JobSite = field(init=False)
    _agent: "_Agent" = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.engine = self.make(self.path, **{"clock": self.clock, **self.engine_parts})
        start(self.engine, lambda: self.clock.advance(0))
        wire = Wire(defaults=self.defaults, max_depth=self.limits.json_depth, **self.wire_parts)
        turns = self.turns(self.clock)
        api = Api(engine=self.door(self.engine), wire=wire, clock=self.clock, admin_key=self.admin_key, turns=turns)
        reactor = MemoryReactorClock()
        reactor.rightNow = self.clock.rightNow
        resource = api.resource(Browsers(Cors(self.cors_origins), Hosts(self.allowed_hosts)), self.others)
        observe, begin = api.metrics.observe, resource.begin
        self.site = JobSite(resource, self.limits, observe, reactor, begin, admit=api.keys.admit, turns=turns)
        self._agent = _Agent(self.site)

    def stop(self) -> None:
        done = ensureDeferred(self.engine.stop())
        self.pump()
        assert done.called

    def restart(self) -> None:
        self.stop()
        self.start()

    def pump(self) -> None:
        """Let everything happen that needs no time."""
        reactor: Any = self.site.reactor
        for _ in range(20):
            self.clock.advance(0)
            reactor.advance(0)
            self._agent.flush()

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        key: str | None = "key",
        body: Any = None,
        raw: bytes | None = None,
        headers: Mapping[str, str | list[str]] | None = None,
    ) -> "Deferred[Answer]":
        """A Deferred of the Answer; pump to get it."""
        sent: Any = dict(headers or {})
        if key is not None:
            sent.setdefault("X-Access-Key", key)
        data = raw
        if body is not None:
            data = json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        url = "http://jobengine.test" + path + ("?" + urlencode(query) if query else "")
        lists = {name: [value] if isinstance(value, str) else value for name, value in sent.items()}
        client = HTTPClient(self._agent, data_to_body_producer=_WholeBody)
        asked = client.request(method, url, headers=Headers(lists), data=data)

        async def read(response: Any) -> Answer:
            names = {k.decode(): v[0].decode() for k, v in response.headers.getAllRawHeaders()}
            content = await response.content()
            check_answer(method, path, response.code, names, content)
            return Answer(response.code, names, content)

        return asked.addCallback(lambda response: Deferred.fromCoroutine(read(response)))

    def begin(self, method: str, path: str, **more: Any) -> list[Answer]:
        """Make a request, and let everything happen that needs no time; the list gets its answer."""
        answers: list[Any] = []
        self.ask(method, path, **more).addBoth(answers.append)
        self.pump()
        return answers

    def call(self, method: str, path: str, **more: Any) -> Answer:
        """The answer to one request."""
        answers: list[Any] = []
        self.ask(method, path, **more).addBoth(answers.append)
        self.pump()
        (answer,) = answers
        if not isinstance(answer, Answer):
            answer.raiseException()
        return answer
