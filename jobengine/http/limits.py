"""Limits on what a client may send. This module imports no Twisted, so that the settings can use it early."""

from attrs import frozen


@frozen(kw_only=True)
class Limits:
    """Limits on what a client may send."""

    #: The most bytes of a body.
    body_bytes: int = 1 << 20
    #: The most bytes of a body with many jobs.
    bulk_body_bytes: int = 16 << 20
    #: The most header lines of a request.
    headers: int = 64
    #: The most bytes of the request line and all headers.
    header_bytes: int = 8 << 10
    #: Seconds from a request's first byte to the end of its headers. For the first request on a connection, the time
    #: counts from the start of the connection.
    header_seconds: float = 10
    #: Seconds from the end of the headers to the end of the body.
    body_seconds: float = 30
    #: Seconds a connection may be idle between requests.
    idle_seconds: float = 60
    #: The most open connections.
    connections: int = 1000
    #: The deepest nesting of JSON.
    json_depth: int = 32
