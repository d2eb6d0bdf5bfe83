"""The origin of a claim (host, pid, client), from fields of a body or parameters of a query."""

from typing import Annotated, Final

from msgspec import Meta

from ..core.claimers import Origin
from .request_head import BadInput, Query, optional

#: The most characters of each text.
_LONGEST: Final = 100
#: The query parameters of an origin.
_PARAMETERS: Final = frozenset({b"host", b"pid", b"client"})
#: The type of each field of a body.
OriginText = Annotated[str, Meta(min_length=1, max_length=_LONGEST)]


def claim_origin(query: Query) -> Origin | None:
    """The origin of a claim, from the query parameters host, pid and client; raises BadInput."""
    if _PARAMETERS.isdisjoint(query):
        return None
    given = [optional(query, name) for name in ("host", "pid", "client")]
    for name, value in zip(("host", "pid", "client"), given, strict=True):
        if value is not None and not 0 < len(value) <= _LONGEST:
            raise BadInput(f"The query parameter {name} must have 1 to {_LONGEST} characters.")
    return origin_of(*given)


def origin_of(host: str | None, pid: str | None, client: str | None) -> Origin | None:
    """The origin of a claim; None if nothing was sent."""
    if host is None and pid is None and client is None:
        return None
    return Origin(host=host, pid=pid, client=client)
