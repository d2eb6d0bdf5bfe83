"""What many calls read of a request, and answer, in the same way."""

from http import HTTPStatus
from typing import Final

from ..http.request import JobRequest
from ..wire.parameters import BadInput, check_encoding, once, preferred_return

__all__ = ["empty", "is_minimal", "json_body", "next_link", "nothing"]

#: What a body has to be.
_JSON: Final = b"application/json"


def next_link(request: JobRequest, cursor: str) -> bytes:
    """RFC 8288: the same request, from the cursor on."""
    kept = [part for part in request.uri.partition(b"?")[2].split(b"&") if part and not part.startswith(b"cursor=")]
    query = b"&".join([*kept, b"cursor=" + cursor.encode()])
    return b'<%b?%b>; rel="next"' % (request.path, query)


def json_body(request: JobRequest) -> bytes:
    """The body of a request that says that it is JSON; raises BadInput or UnsupportedEncoding."""
    check_encoding(request.sent(b"content-encoding"))
    kind = once(request.sent(b"content-type"), "Content-Type")
    if kind != _JSON and kind.split(b";")[0].strip().lower() != _JSON:
        raise BadInput("The body must be JSON, with the header Content-Type: application/json.")
    return request.body()


def is_minimal(request: JobRequest) -> bool:
    """Whether the client prefers a short answer, which is said in it then (RFC 7240)."""
    minimal = preferred_return(request.sent(b"prefer")) == "minimal"
    if minimal:
        request.setHeader(b"Preference-Applied", b"return=minimal")
    return minimal


def nothing(request: JobRequest) -> bytes:
    """The answer that there is nothing."""
    return empty(request, HTTPStatus.NO_CONTENT)


def empty(request: JobRequest, status: HTTPStatus) -> bytes:
    """An answer that is its status alone."""
    return request.reply(b"", status)
