"""
The way from a request to its handler.

Klein's resource matches each request anew, by rules that could hold variables, and passes it through a chain of a dozen
Deferreds: over half of what a request costs. The paths of this API are fixed, so they are looked up, and their handlers
called by Klein's own `execute_endpoint`. All else (HEAD, unknown paths and methods) goes to Klein's resource. The
routes stay declared once, in Klein.
"""

from collections.abc import Callable
from typing import Any, Final

from klein import Klein
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from .site import JobRequest

__all__ = ["Dispatcher"]

#: Methods that are Klein's to answer, even where a rule names them.
_KLEINS: Final = frozenset({"HEAD", "OPTIONS"})


class Dispatcher(Resource):
    """The root resource of a Klein app."""

    isLeaf = True

    def __init__(self, app: Klein, failed: Callable[[IRequest, Failure], Any]) -> None:
        """`failed` answers for an error: what it returns is written."""
        super().__init__()
        self._app = app
        self._klein = app.resource()
        self._failed = failed
        self._log = Logger()
        self._endpoints = {
            (rule.rule.encode(), method.encode()): rule.endpoint
            for rule in app.url_map.iter_rules()
            if not rule.arguments
            for method in (rule.methods or set()) - _KLEINS
        }

    def render(self, request: IRequest) -> Any:
        """Answer a request, now or later."""
        assert isinstance(request, JobRequest)
        endpoint = self._endpoints.get((request.path, request.method))
        if endpoint is None:
            return self._klein.render(request)
        answered: Deferred[Any] = maybeDeferred(self._app.execute_endpoint, endpoint, request)
        if not answered.called:
            # A client that goes away cancels what is done for it, as in Klein's resource.
            request.notifyFinish().addErrback(lambda _: answered.cancel())
        answered.addErrback(self._answer_for, request)
        answered.addCallback(self._write, request)
        answered.addErrback(lambda failure: self._log.failure("an answer could not be written", failure))
        return NOT_DONE_YET

    def _answer_for(self, failure: Failure, request: JobRequest) -> Any:
        if request.gone:
            if not failure.check(CancelledError):
                request.incident(failure)
            return None
        return self._failed(request, failure)

    def _write(self, body: bytes | None, request: JobRequest) -> None:
        if request.gone:
            return
        if body:
            request.write(body)
        request.finish()
