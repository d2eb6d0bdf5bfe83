"""
HTTP/1.1 as pure state: encodes requests and parses responses. The sockets are in _sync and _async.

httptools does the parsing; it is llhttp, the parser of Node.
"""

import os
from collections.abc import Callable
from copy import copy
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from httptools import HttpParserError, HttpResponseParser

from .errors import BadSettings
from .secret import Secret

#: A request with a longer body names its queue in the query too, so that the server can check the key before it reads
#: the body.
_LONG_BODY: Final = 1 << 20
#: The most bytes of an answer that is kept in memory.
_LONGEST: Final = 1 << 30
#: OpenSSL's codes for a certificate whose issuer is not known, such as 18 for a self-signed one.
_UNKNOWN_ISSUER: Final = frozenset({2, 18, 19, 20, 21})
#: The codes among them for a certificate with another issuer, whose own certificate neither side has.
_MISSING_ISSUER: Final = frozenset({2, 20, 21})
#: The first bytes with which a TLS server answers plain HTTP.
_TLS_ALERT: Final = b"\x15\x03"
_PORTS: Final = {"http": 80, "https": 443}


class NotConnected(Exception):
    """The connection failed, so nothing was sent; str() is the reason."""


class Refused(NotConnected):
    """No server listens at the address."""


class BadCertificate(NotConnected):
    """The server's certificate is not trusted or not valid; str() is the reason, with advice."""


def not_connected(error: OSError) -> NotConnected:
    """The NotConnected for an error of a socket."""
    # An ssl.SSLError, compared by name: the module ssl is loaded only for TLS.
    reason = getattr(error, "reason", None)
    if reason == "WRONG_VERSION_NUMBER":
        return NotConnected("it does not speak TLS; try http:// instead of https://")
    if reason == "CERTIFICATE_VERIFY_FAILED":
        return BadCertificate(_what_is_wrong(error))
    kind = Refused if isinstance(error, ConnectionRefusedError) else NotConnected
    return kind(error.strerror or str(error) or type(error).__name__)


def _what_is_wrong(error: Any) -> str:
    """What is wrong with a certificate, from an ssl.SSLCertVerificationError."""
    why = str(error.verify_message).rstrip(".")
    if error.verify_code in _UNKNOWN_ISSUER:
        advice = "set SSL_CERT_FILE to its file or its issuer's"
        named = os.environ.get("SSL_CERT_FILE")
        if named and not os.access(named, os.R_OK):  # OpenSSL ignores the setting then
            advice = f"SSL_CERT_FILE names {named}, which can't be read: {advice}"
        if error.verify_code in _MISSING_ISSUER:
            advice += "; if a public authority issued it, the server must send its intermediate certificates too"
        return f"its certificate is not trusted ({why}); {advice}"
    return f"its certificate is not valid ({why})"


class Broken(Exception):
    """The connection broke, or the time-out passed, before the whole answer had arrived; str() says which."""

    def __init__(self, why: str, *, stale: bool = False) -> None:
        super().__init__(why)
        #: Whether a reused connection broke before the answer's first byte: the server may have closed the idle
        #: connection.
        self.stale = stale


def closed_without_answer(address: "Address", *, used_before: bool) -> Broken:
    """The Broken for a connection that the server has closed before the first byte of an answer."""
    # Some servers that speak TLS close a connection silently if its first bytes are plain HTTP.
    hint = "" if used_before or address.tls else "; if it is a port for TLS, use https:// instead of http://"
    return Broken(f"the connection was closed without an answer{hint}", stale=used_before)


class TooLong(Broken):
    """The answer is longer than any JobEngine sends."""


class Address:
    """The address of a server."""

    __slots__ = ("head", "host", "port", "prefix", "tls", "url")

    def __init__(self, url: str) -> None:
        parts = _split(url)
        self.tls = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port or _PORTS[parts.scheme]
        self.prefix = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
        self.url = f"{parts.scheme}://{parts.netloc}{self.prefix}"
        self.head = f"Host: {parts.netloc}\r\nUser-Agent: jobengine-client\r\n".encode("ascii")

    def __repr__(self) -> str:
        return f"Address({self.url!r})"

    def is_same(self, other: "Address") -> bool:
        """Whether the two addresses are equivalent."""
        return (self.tls, self.host, self.port, self.prefix) == (other.tls, other.host, other.port, other.prefix)


def _split(url: str) -> Any:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadSettings(f"The URL of the server is invalid: {error}.") from None
    if parts.username is not None or parts.password is not None:
        raise BadSettings("The URL of the server must have no user and no password; keys are set separately.")
    if parts.scheme not in _PORTS or not parts.hostname or port == 0 or not parts.netloc.isascii():
        raise BadSettings(f"The URL of the server must be like http://127.0.0.1:6006, not {url!r}.")
    if parts.query or parts.fragment or any(character <= " " for character in url):
        raise BadSettings("The URL of the server must have no query, no fragment and no space.")
    return parts


class Request:
    """A request. Its repr shows neither keys nor body."""

    __slots__ = (
        "_admin_key",
        "_key",
        "abandoned",
        "body",
        "headers",
        "method",
        "path",
        "query",
        "safe",
        "seconds",
        "waits",
    )

    def __init__(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        safe: bool,
        query: dict[str, str] | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        key: Secret | None = None,
        admin_key: Secret | None = None,
        waits: bool = False,
        abandoned: Callable[["Response"], Any] | None = None,
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.body = body
        self.headers = headers
        #: The time-out of one attempt.
        self.seconds = seconds
        #: Whether the request may be sent again after its answer was lost.
        self.safe = safe
        #: Whether the server may delay the answer until something happens.
        self.waits = waits
        #: Called with the answer if it arrives after the caller has stopped waiting.
        self.abandoned = abandoned
        self._key = key
        self._admin_key = admin_key

    def __repr__(self) -> str:
        return f"Request({self.method} {self.path})"

    @property
    def opens_with_access_key(self) -> bool:
        """Whether only an access key is sent."""
        return self._key is not None and self._admin_key is None

    def as_admin(self, admin_key: Secret) -> "Request":
        """A copy of the request with only the admin key."""
        other = copy(self)
        other._key, other._admin_key = None, admin_key
        return other

    def encode(self, address: Address) -> bytes:
        """The bytes to send. They contain the keys: don't keep the bytes in a variable."""
        head = [f"{self.method} {address.prefix}{self.path}{self._query_text()} HTTP/1.1\r\n".encode("ascii")]
        head.append(address.head)
        for name, value in (self.headers or {}).items():
            if not value.isprintable():
                raise ValueError(f"{name} can't be sent in a header: {value!r}")
            head.append(f"{name}: {value}\r\n".encode())
        if self._key is not None:
            head.append(b"X-Access-Key: %b\r\n" % self._key.reveal().encode())
        if self._admin_key is not None:
            head.append(b"X-Admin-Key: %b\r\n" % self._admin_key.reveal().encode())
        if self.body is None:
            return b"%b\r\n" % b"".join(head)
        kind = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(self.body)
        return b"%b%b%b" % (b"".join(head), kind, self.body)

    def _query_text(self) -> str:
        return f"?{urlencode(self.query, quote_via=quote)}" if self.query else ""


def long_body_query(queue: str, body: bytes) -> dict[str, str] | None:
    """The query that names the queue of a request with a long body; None for a short body."""
    return {"queueName": queue} if len(body) > _LONG_BODY else None


class Response:
    """An answer. Its repr hides the body, which may contain a lease."""

    __slots__ = ("body", "headers", "status", "url")

    def __init__(self, status: int, headers: dict[str, str], body: bytes, url: str = "") -> None:
        self.status = status
        #: The server's URL.
        self.url = url
        #: The values by header name in lower case.
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"Response({self.status}, {len(self.body)} bytes)"

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in lower case; empty if the header is missing."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def request_id(self) -> str | None:
        """The id of the request in the server's log."""
        return self.headers.get("x-request-id")

    @property
    def retry_after(self) -> float | None:
        """Seconds after which to retry, if the server gave a number."""
        value = self.headers.get("retry-after", "")
        return float(value) if value.isascii() and value.isdigit() else None


class ResponseParser:
    """Parses the answers on one connection, one after the other, from bytes as they arrive."""

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self._begin()

    def _begin(self) -> None:
        self.head: Response | None = None
        self.begun = False
        self.complete = False
        #: Whether the connection can be used for another request.
        self.reusable = False
        #: Whether the caller reads the body in parts, as they arrive.
        self.streamed = False
        self._surplus = False
        self._size = 0
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []

    def expect(self, *, streamed: bool = False) -> None:
        """Prepare for the next answer; `streamed`: the caller reads its body in parts, as they arrive."""
        self._begin()
        self.streamed = streamed

    def feed(self, data: bytes) -> None:
        """Parse bytes; afterwards `complete` tells whether the answer is complete. Raises Broken if it is not HTTP."""
        self.begun = True
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            is_tls = data.startswith(_TLS_ALERT)
            seen = "it speaks TLS; use https:// instead of http://" if is_tls else f"the answer is not HTTP ({error})"
            raise Broken(seen) from None
        if self._size > _LONGEST and not self.streamed:
            raise TooLong(f"it is longer than {_LONGEST} bytes")
        if self._surplus:
            self.reusable = False

    def end(self) -> None:
        """Record that the server has closed the connection; raises Broken if the answer is incomplete."""
        framed = "content-length" in self._headers or "transfer-encoding" in self._headers
        if self.head is None or framed:
            raise Broken("the connection was closed before the answer was complete")
        self.complete = True

    def response(self) -> Response:
        """The complete answer."""
        assert self.head is not None
        self.head.body = b"".join(self._parts)
        return self.head

    def take(self) -> bytes:
        """The bytes of a streamed body that have arrived since the last call."""
        parts, self._parts = self._parts, []
        return b"".join(parts)

    # Callbacks of httptools

    def on_message_begin(self) -> None:
        """Handle the beginning of an answer, which is surplus after a complete one."""
        if self.complete:
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header of the answer."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Set `head`: the headers are complete, and the body follows."""
        self.head = Response(self._parser.get_status_code(), self._headers, b"")

    def on_body(self, part: bytes) -> None:
        """Keep a part of the body."""
        self._size += len(part)
        self._parts.append(part)

    def on_message_complete(self) -> None:
        """Complete the answer, unless it is an interim one (status 1xx)."""
        assert self.head is not None
        if self.head.status >= 200:
            self.complete = True
            self.reusable = self._parser.should_keep_alive()  # the parser forgets it after this call
        else:  # an interim answer: the final one follows
            begun, streamed = self.begun, self.streamed
            self._begin()
            self.begun, self.streamed = begun, streamed
