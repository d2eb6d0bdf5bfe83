"""Parts of requests and answers that several calls share."""

from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from ..http.request import JobRequest
from ..wire.cursors import cursor_text
from ..wire.request_head import BadInput, Query, check_encoding, once, preferred_return
from ..wire.shown_job import to_json

#: The media type of bodies.
_JSON: Final = b"application/json"
#: The Content-Type of nearly all requests.
_JSON_ALONE: Final = [_JSON]


def answer_page(request: JobRequest, name: str, items: list[Any], following: Any, **more: Any) -> bytes:
    """Answer with a page of a list, and with a cursor and a link (RFC 8288) to the page after `following`, if any."""
    cursor = None if following is None else cursor_text(following)
    if cursor is not None:
        query = urlencode({**request.args, b"cursor": [cursor]}, doseq=True)
        request.setHeader(b"Link", b'<%b?%b>; rel="next"' % (request.path, query.encode()))
    return request.reply(to_json({name: items, "next_cursor": cursor, **more}))


def json_body(request: JobRequest) -> bytes:
    """The body of a request with the media type of JSON; raises BadInput or UnsupportedEncoding."""
    sent = request.sent
    if b"content-encoding" in sent or sent.get(b"content-type") != _JSON_ALONE:
        _check_media(sent)
    return request.body()


def _check_media(sent: Query) -> None:
    check_encoding(sent.get(b"content-encoding", ()))
    kind = once(sent.get(b"content-type", ()), "Content-Type")
    if kind.split(b";")[0].strip().lower() != _JSON:
        raise BadInput("The body must be JSON, with the header Content-Type: application/json.")


def is_minimal(request: JobRequest) -> bool:
    """Whether the client prefers a short answer; if so, a header of the answer confirms it (RFC 7240)."""
    minimal = preferred_return(request.sent.get(b"prefer", ())) == "minimal"
    if minimal:
        request.setHeader(b"Preference-Applied", b"return=minimal")
    return minimal


def nothing(request: JobRequest) -> bytes:
    """An answer without content: nothing was found."""
    return empty(request, HTTPStatus.NO_CONTENT)


def empty(request: JobRequest, status: HTTPStatus) -> bytes:
    """An answer with a status and no body."""
    return request.reply(b"", status)
