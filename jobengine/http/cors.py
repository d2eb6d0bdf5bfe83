"""Answers CORS requests of browsers for pages of other origins (the Fetch standard, 3.2)."""

from http import HTTPStatus
from typing import Final

from attrs import frozen

from .request import JobRequest

_METHODS: Final = b"GET, HEAD, PUT, POST, DELETE"
_SENT: Final = (
    b"Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Prefer, traceparent, X-Access-Key, X-Admin-Key, "
    b"X-Request-Id"
)
_SHOWN: Final = b"Allow, Link, Retry-After, WWW-Authenticate, X-Request-Id"
#: Seconds for which a browser remembers the answer.
_REMEMBERED: Final = b"600"


@frozen
class Cors:
    """The origins whose pages may use the API, as browsers send them; * for all."""

    origins: frozenset[bytes] = frozenset()

    def answers(self, request: JobRequest) -> bool:
        """
        Let the page read the answer if its origin is configured. Returns True if `request` was a preflight, which is
        answered here. Call it only if origins are configured.
        """
        origin = b"".join(request.sent.get(b"origin", ())[:1])
        request.setHeader(b"Vary", b"Origin")
        if origin not in self.origins and (not origin or b"*" not in self.origins):
            return False
        request.setHeader(b"Access-Control-Allow-Origin", origin)
        request.setHeader(b"Access-Control-Expose-Headers", _SHOWN)
        if request.method != b"OPTIONS" or not request.sent.get(b"access-control-request-method", ()):
            return False
        request.setHeader(b"Access-Control-Allow-Methods", _METHODS)
        request.setHeader(b"Access-Control-Allow-Headers", _SENT)
        request.setHeader(b"Access-Control-Max-Age", _REMEMBERED)
        request.end(request.reply(b"", HTTPStatus.NO_CONTENT))
        return True
