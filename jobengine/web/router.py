"""
Routes requests to handlers.

Klein's resource matches each request against rules that may have variables, and passes it through a dozen Deferreds:
close to half of a request's cost (benchmarks/lab-book.md). The paths of this API are fixed, so here they are looked up
in a dict. HEAD, unknown paths and unknown methods go to Klein's resource. Routes are still declared once, in Klein.
"""

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, ClassVar, Final

from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from werkzeug.exceptions import MethodNotAllowed

from ..http.browsers import Browsers
from ..http.request import JobRequest
from ..wire.query_parameters import Call

#: Answers a request: calls `reply` and returns the body, or returns None after writing the answer itself.
Handler = Callable[[JobRequest], Awaitable[bytes | None]]

#: Answers a request outside the API, or returns False.
Others = Callable[[JobRequest], bool]

#: Methods that Klein answers, even for known paths.
_KLEINS: Final = frozenset({"HEAD", "OPTIONS"})


def no_others(_request: JobRequest) -> bool:
    """Answer no requests outside the API."""
    return False


class Routes(Klein):
    """
    The routes of a class, each for one method, with the names of its query parameters; see Call.

    For a request with a query, the class's `check_query` is called before the handler.
    """

    #: All calls by method and path. HEAD takes the parameters of GET.
    calls: ClassVar[dict[tuple[str, str], Call]] = {}

    def route(self, url: str, method: str, parameters: str = "", *, v1: bool = False) -> Callable[[Any], Any]:  # type: ignore[override]  # Klein's may have several methods
        """Declare a route."""
        call = self.calls[method, url] = Call(parameters, v1=v1)
        register = super().route(url, methods=[method])

        def routed(handler: Any) -> Any:
            """Register a handler that checks the query first."""

            @wraps(handler)
            def checked(api: Any, request: JobRequest) -> Any:
                """Check the query, then handle the request."""
                if len(request.uri) > len(request.path):
                    api.check_query(call, request)
                return handler(api, request)

            register(checked)
            # Dispatcher checks the query itself: that saves a call.
            return handler

        return routed


class Dispatcher(Resource):
    """The root resource of a Klein app."""

    isLeaf = True

    def __init__(
        self,
        app: Klein,
        handler: Callable[[str], Handler],
        check_query: Callable[[Call, JobRequest], None],
        failed: Callable[[IRequest, Failure], Any],
        browsers: Browsers,
        others: Others,
    ) -> None:
        """
        `handler` looks up the handler of an endpoint; `failed` makes the body for an error.

        `check_query` raises BadInput if a request's query is not valid for its call. `others` gets requests without a
        handler.
        """
        super().__init__()
        self._klein = app.resource()
        self._check_query = check_query
        self._failed = failed
        self._browsers = browsers
        self._others = others
        self._log = Logger()
        self._handlers = {
            (rule.rule.encode(), method.encode()): (handler(str(rule.endpoint)), Routes.calls[method, rule.rule])
            for rule in app.url_map.iter_rules()
            if not rule.arguments
            for method in (rule.methods or set()) - _KLEINS
        }
        self._methods: dict[bytes, set[str]] = {}
        for rule in app.url_map.iter_rules():
            self._methods.setdefault(rule.rule.encode(), set()).update(rule.methods or ())

    def begin(self, request: JobRequest) -> bool:
        """Start to answer a request without Klein, or return False: then `render` answers it."""
        if self._browsers.answers(request):
            return True
        found = self._handlers.get((request.path, request.method))
        if found is None:
            return self._others(request)
        # One coroutine does everything: callbacks and errbacks would double the cost.
        answering = Running(self._answer(request, *found))
        if not answering.ended:
            request.answering = answering
        return True

    def render(self, request: IRequest) -> Any:
        """Answer a request that `begin` did not, now or later."""
        methods = self._methods.get(request.path)
        if methods is None or request.method.decode("latin-1") in methods:
            return self._klein.render(request)
        # Klein would accept `delete` for DELETE; methods are case-sensitive (RFC 9110, 9.1).
        assert isinstance(request, JobRequest)
        request.end(self._answer_for(Failure(MethodNotAllowed(sorted(methods))), request) or b"")
        return NOT_DONE_YET

    async def _answer(self, request: JobRequest, handler: Handler, call: Call) -> None:
        """Call the handler, and write its answer or the answer to its error."""
        try:
            try:
                if len(request.uri) > len(request.path):
                    self._check_query(call, request)
                body = await handler(request)
            except Exception:  # every error is answered, an unexpected one with an incident id
                body = self._answer_for(Failure(), request)
            if not request.gone:
                request.end(body or b"")
        except Exception:  # there may be no memory for the answer or the log
            if not request.gone:
                request.abort()
            self._log.failure("an answer could not be made")

    def _answer_for(self, failure: Failure, request: JobRequest) -> bytes | None:
        if not request.gone:
            body: bytes | None = self._failed(request, failure)
            return body
        if not failure.check(CancelledError):
            request.incident(failure)
        return None


class Running:
    """
    Runs a request's coroutine, which awaits Deferreds. The coroutine is started at once, and must not raise.

    Deferred.fromCoroutine also makes a Deferred for the result, which is not needed: without it, this takes half the
    time (benchmarks/lab-book.md).
    """

    __slots__ = ("_awaited", "_coroutine")

    def __init__(self, coroutine: "Coroutine[Deferred[Any], Any, None]") -> None:
        self._coroutine = coroutine
        #: The Deferred that the coroutine waits for.
        self._awaited: Deferred[Any] | None = None
        self._go_on(None)

    @property
    def ended(self) -> bool:
        """Whether the coroutine has ended."""
        return self._awaited is None

    def cancel(self) -> None:
        """Cancel the awaited Deferred, so that the coroutine gets a CancelledError."""
        if self._awaited is not None:
            self._awaited.cancel()

    def _go_on(self, result: object) -> None:
        """Run the coroutine until it waits or ends. `result` comes from the awaited Deferred."""
        try:
            awaited = self._awaited = (
                result.throwExceptionIntoGenerator(self._coroutine)
                if isinstance(result, Failure)
                else self._coroutine.send(None)
            )
        except StopIteration:
            self._awaited = None
        else:
            awaited.addBoth(self._go_on)
