"""
The files of the dashboard, for browsers: read and compressed once.

The page is at `/`, for requests that accept HTML. In it, "dashboard/NAME" becomes "dashboard/DIGEST/NAME", with a
digest of all files: the file at such a path never changes, so a browser caches it without revalidation.
"""

import gzip
import re
from collections.abc import Mapping
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files
from pathlib import PurePath
from typing import Final

from attrs import frozen

from ..http.problem import Problem
from ..http.request import JobRequest, answer

_INDEX: Final = "index.html"
#: Media types by file extension; files with other extensions are not sent.
_TYPES: Final = {
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
_FOR_EVER: Final = b"public, max-age=31536000, immutable"
#: Caches may keep the page, but must revalidate it each time.
_ASK_EACH_TIME: Final = b"no-cache"
_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    b"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS: Final = (
    (b"Content-Security-Policy", _POLICY),
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"X-Content-Type-Options", b"nosniff"),
)
#: gzip in Accept-Encoding, unless it is refused with q=0.
_TAKES_GZIP: Final = re.compile(rb"(?:^|[,\s])gzip\s*(?!;\s*q=0(?:\.0*)?\s*(?:,|$))(?:[;,]|$)")
_METHODS: Final = (b"GET", b"HEAD")


@frozen
class _File:
    """One file, ready to be sent."""

    type: bytes
    plain: bytes
    packed: bytes
    caching: bytes
    #: The header Vary: the request headers that the answer depends on.
    vary: bytes = b"Accept-Encoding"
    tag: bytes = b""


class DashboardFiles:
    """Answers requests for the dashboard."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        """`contents` are the files by their names, index.html among them."""
        digest = _digest(contents)
        place = b'"dashboard/%b/' % digest.encode()
        page = contents[_INDEX].replace(b'"dashboard/', place)
        self._page = _file(_INDEX, page, _ASK_EACH_TIME, b"Accept, Accept-Encoding", b'W/"%b"' % digest.encode())
        self._files = {
            f"/dashboard/{digest}/{name}".encode(): _file(name, content, _FOR_EVER)
            for name, content in contents.items()
            if name != _INDEX
        }

    def answers(self, request: JobRequest) -> bool:
        """Answer a request for one of the files, or return False."""
        file = self._page if request.path == b"/" and _wants_html(request) else self._files.get(request.path)
        if file is None:
            return False
        if request.method in _METHODS:
            _send(request, file)
        else:
            refusal = Problem(HTTPStatus.METHOD_NOT_ALLOWED, "This path takes GET, HEAD.", {"Allow": "GET, HEAD"})
            request.end(answer(request, refusal))
        return True


def read_dashboard() -> DashboardFiles:
    """The dashboard that is installed with this package."""
    folder = files(__package__).joinpath("dashboard")
    names = [file.name for file in folder.iterdir() if PurePath(file.name).suffix in _TYPES]
    return DashboardFiles({name: folder.joinpath(name).read_bytes() for name in names})


def _digest(contents: Mapping[str, bytes]) -> str:
    """A digest of all these contents, in hexadecimal digits."""
    whole = sha256()
    for name, content in sorted(contents.items()):
        whole.update(b"%b %d\n%b" % (name.encode(), len(content), content))
    return whole.hexdigest()[:16]


def _file(name: str, content: bytes, caching: bytes, vary: bytes = b"Accept-Encoding", tag: bytes = b"") -> _File:
    return _File(_TYPES[PurePath(name).suffix], content, gzip.compress(content, mtime=0), caching, vary, tag)


def _wants_html(request: JobRequest) -> bool:
    return b"text/html" in b",".join(request.sent.get(b"accept", ())).lower()


def _send(request: JobRequest, file: _File) -> None:
    for name, value in _HEADERS:
        request.setHeader(name, value)
    request.may_be_kept(file.caching)
    # Add the header instead of setting it: CORS may have added a Vary header already.
    request.responseHeaders.addRawHeader(b"Vary", file.vary)
    if file.tag:
        request.setHeader(b"ETag", file.tag)
        if file.tag in _tags(request):
            request.end(request.reply(b"", HTTPStatus.NOT_MODIFIED))
            return
    body = request.reply(_encoded(request, file), type_=file.type)
    request.end(b"" if request.method == b"HEAD" else body)


def _tags(request: JobRequest) -> list[bytes]:
    """The browser's cached versions of the page."""
    return [tag.strip() for tag in b",".join(request.sent.get(b"if-none-match", ())).split(b",")]


def _encoded(request: JobRequest, file: _File) -> bytes:
    """The content, compressed if the client accepts gzip."""
    if not _TAKES_GZIP.search(b",".join(request.sent.get(b"accept-encoding", ())).lower()):
        return file.plain
    request.setHeader(b"Content-Encoding", b"gzip")
    return file.packed
