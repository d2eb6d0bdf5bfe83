"""What stands in query strings and headers."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ..core.commands import Filter
from ..core.model import Position, State
from ..core.sorting import Sort

__all__ = [
    "BadInput",
    "Query",
    "UnsupportedEncoding",
    "access_key",
    "check_encoding",
    "check_named",
    "cursor",
    "cursor_text",
    "filter_of",
    "flag",
    "idempotency_key",
    "number",
    "once",
    "one",
    "optional",
    "preferred_return",
    "preferred_wait",
    "seconds",
    "sent_trace",
    "shortened",
    "some_or_all",
    "sort_of",
    "trace_of",
]

#: What a query string or a set of headers is: every value of each name, as bytes.
Query = Mapping[bytes, Sequence[bytes]]

#: The most seconds for which a client may ask to wait, and the most that it does: proxies give up after 60.
MAX_WAIT: Final = 60
LONGEST_WAIT: Final = 55
#: The longest span of time in a filter: 30 years in seconds.
LONGEST_SPAN: Final = 946_080_000
_LONGEST_TEXT: Final = 256
_PREFER_RETURN: Final = re.compile(
    r"(?:^|[,;])\s*return\s*=\s*\"?(minimal|representation)\"?\s*(?:$|[,;])", re.IGNORECASE
)
_PREFER_WAIT: Final = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?:$|[,;])", re.IGNORECASE)

#: W3C Trace Context, version 00; a trace or a parent of zeros alone is none.
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

#: As in JSON, and as libraries write floats.
_STATES: Final = {state.value: state for state in State}
_NUMBER: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,9})?")

_cursor: Final = msgspec.json.Decoder(tuple[int, int, str])
_sorted_cursor: Final = msgspec.json.Decoder(tuple[Sort, int, int, str])


class BadInput(ValueError):
    """What the client sent can't be used; str() is written for it."""

    def __init__(self, text: str, index: int | None = None) -> None:
        super().__init__(text)
        #: Which of many items is bad, counted from 0; None if it is none of them.
        self.index = index


class UnsupportedEncoding(ValueError):
    """The body is compressed; str() is written for the client."""


def access_key(values: Sequence[bytes], authorization: Sequence[bytes] = ()) -> bytes:
    """
    The access key in the X-Access-Key headers of a request, or as Bearer in its Authorization headers.

    Raises BadInput if there is not just one. Authorization of another scheme is for a proxy, and passed over.
    """
    bearer = _bearer(authorization) if authorization else None
    if bearer is not None:
        if values:
            raise BadInput("Send the access key in X-Access-Key or as Authorization: Bearer, not in both.")
        return bearer
    if not values or not values[0]:
        raise BadInput(
            "The header X-Access-Key is missing; send the access key of the queue in it, or as Authorization: Bearer."
        )
    return once(values, "X-Access-Key")


def _bearer(values: Sequence[bytes]) -> bytes | None:
    """The key in `Authorization: Bearer KEY`, or None if the scheme is another."""
    scheme, _, key = once(values, "Authorization").partition(b" ")
    if scheme.lower() != b"bearer":
        return None
    if not key.strip():
        raise BadInput("The header Authorization has no key behind Bearer.")
    return key.strip()


def once(values: Sequence[bytes], name: str) -> bytes:
    """The value of a header that may come once, or an empty one; raises BadInput if it comes more often."""
    if len(values) > 1:
        raise BadInput(f"The header {name} comes more than once.")
    return values[0] if values else b""


def check_encoding(values: Sequence[bytes]) -> None:
    """Raise UnsupportedEncoding if the Content-Encoding headers of a request name any encoding."""
    named = b", ".join(values).strip().lower()
    if named not in (b"", b"identity"):
        raise UnsupportedEncoding(
            "The body is compressed, which JobEngine does not take: its limits count bytes as they come. Send it "
            "plain, without Content-Encoding."
        )


def idempotency_key(values: Sequence[bytes] | None) -> str | None:
    """The key in the Idempotency-Key headers of a request, or None; raises BadInput."""
    if not values:
        return None
    key = _text(values, "Idempotency-Key", "header")
    if not 0 < len(key) <= _LONGEST_TEXT:
        raise BadInput(f"The header Idempotency-Key must have 1 to {_LONGEST_TEXT} characters.")
    return key


def sent_trace(values: Sequence[bytes] | None) -> str | None:
    """The trace in the traceparent headers of a request, or None; raises BadInput."""
    return trace_of(_text(values, "traceparent", "header"), "The header traceparent") if values else None


def trace_of(text: str, what: str) -> str:
    """A trace (W3C Trace Context) as it is given; raises BadInput, which calls it `what`."""
    if not _TRACEPARENT.fullmatch(text):
        raise BadInput(
            f"{what} must be as W3C Trace Context has it, version 00: 00-TRACE-PARENT-FLAGS, which are 32, 16 and 2 "
            "hexadecimal digits in lower case, the first two not all zeros."
        )
    return text


def preferred_wait(values: Sequence[bytes] | None) -> float:
    """The seconds of `wait` in the Prefer headers of a request (RFC 7240), at most LONGEST_WAIT; 0 if there is none."""
    found = _PREFER_WAIT.search(b",".join(values or ()).decode("latin-1"))
    return min(int(found.group(1)), LONGEST_WAIT) if found else 0


def preferred_return(values: Sequence[bytes] | None) -> str | None:
    """`minimal` or `representation`, as `return` in the Prefer headers of a request says (RFC 7240), or None."""
    found = _PREFER_RETURN.search(b",".join(values or ()).decode("latin-1"))
    return found.group(1).lower() if found else None


def one(query: Query, name: str) -> str:
    """The value of a query parameter that must be there once; raises BadInput."""
    value = optional(query, name)
    if not value:
        raise BadInput(f"The query parameter {name} is missing.")
    return value


def check_named(query: Query, queue: str) -> None:
    """Raise BadInput if the query names another queue than the body does."""
    if b"queueName" in query and one(query, "queueName") != queue:
        raise BadInput("queueName in the query is another queue than queue_name in the body.")


def optional(query: Query, name: str) -> str | None:
    """The value of a query parameter that may be there once, or None; raises BadInput."""
    values = query.get(name.encode(), ())
    return _text(values, name) if values else None


def flag(query: Query, name: str) -> bool:
    """The value of a query parameter that is true or false, in any case; false if it is not there. Raises BadInput."""
    given = optional(query, name)
    value = "false" if given is None else given.lower()
    if value not in ("true", "false"):
        raise BadInput(f"The query parameter {name} must be true or false.")
    return value == "true"


def number(query: Query, name: str, default: int, most: int) -> int:
    """The value of a query parameter that is a whole number from 1 to `most`; raises BadInput."""
    value = optional(query, name)
    return default if value is None else _whole(value, name, 1, most)


def _span(query: Query, name: str) -> int | None:
    """The value of a query parameter that is a span of time in whole seconds, or None; raises BadInput."""
    value = optional(query, name)
    return None if value is None else _whole(value, name, 0, LONGEST_SPAN)


def _whole(value: str, name: str, least: int, most: int) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 9 or not least <= int(value) <= most:
        raise BadInput(f"The query parameter {name} must be a whole number from {least} to {most}.")
    return int(value)


def seconds(query: Query, name: str) -> float:
    """The value of a query parameter that is a time to wait, 0 if it is not there; raises BadInput."""
    value = optional(query, name)
    if value is None:
        return 0
    if not _NUMBER.fullmatch(value) or not 0 <= float(value) <= MAX_WAIT:
        raise BadInput(f"The query parameter {name} must be a number of seconds from 0 to {MAX_WAIT}.")
    return shortened(float(value))


def shortened(wait: float) -> float:
    """The seconds that a request waits which may wait so long: it is answered before a proxy gives up."""
    return min(wait, LONGEST_WAIT)


def filter_of(query: Query) -> Filter:
    """Which jobs the parameters of a filter mean; raises BadInput."""
    return make_filter(
        state=optional(query, "state"),
        tag=optional(query, "tag"),
        q=optional(query, "q"),
        worker=optional(query, "worker"),
        error=optional(query, "error"),
        older_than=_span(query, "older_than"),
        updated_before=_span(query, "updated_before"),
    )


def make_filter(
    *,
    state: str | None,
    tag: str | None,
    q: str | None,
    worker: str | None,
    error: str | None,
    older_than: int | None,
    updated_before: int | None,
) -> Filter:
    """A Filter of what a client said; raises BadInput."""
    return Filter(
        state=None if state is None else state_of(state, "state"),
        tag=tag,
        text=None if q is None else q.casefold(),
        worker=worker,
        error=None if error is None else error.casefold(),
        older_than=older_than,
        updated_before=updated_before,
    )


def some_or_all(wanted: Filter, *, every: bool) -> Filter:
    """The filter of what acts on many jobs; raises BadInput if it means all of them and nobody has said so."""
    if every == (wanted != Filter()):
        raise BadInput(
            "Say which jobs are meant: send a filter, such as state, tag or q, or all=true for every job of the queue; "
            "not both."
        )
    return wanted


def state_of(value: str, name: str) -> State:
    """The State that a client names, in any case; raises BadInput."""
    state = _STATES.get(value.lower())
    if state is None:
        raise BadInput(f"{name} must be one of {', '.join(State)}.")
    return state


def sort_of(query: Query) -> Sort | None:
    """The order that the parameter sort asks for, None for that of execution; raises BadInput."""
    value = optional(query, "sort")
    if value is None:
        return None
    try:
        return Sort(value)
    except ValueError:
        raise BadInput(
            f"The query parameter sort must be one of {', '.join(Sort)}; leave it out for execution order."
        ) from None


def cursor(query: Query, sort: Sort | None) -> Position | None:
    """The place in the order `sort` that the parameter cursor stands for; raises BadInput."""
    value = optional(query, "cursor")
    if value is None:
        return None
    try:
        given, position = _read_cursor(base64.urlsafe_b64decode(value.encode() + b"=" * (-len(value) % 4)))
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise BadInput("The query parameter cursor is not one that an earlier answer gave.") from None
    if given is not sort:
        was = "without sort" if given is None else f"with sort={given}"
        raise BadInput(f"The cursor is of a list {was}: go on with the same, or begin anew without a cursor.")
    return position


def _read_cursor(text: bytes) -> tuple[Sort | None, Position]:
    if text.startswith(b'["'):
        sort, *_ = found = _sorted_cursor.decode(text)
        return sort, found[1:]
    return None, _cursor.decode(text)


def cursor_text(position: Position, sort: Sort | None) -> str:
    """What a client sends as cursor to go on behind a place in an order."""
    value = position if sort is None else (sort, *position)
    return base64.urlsafe_b64encode(msgspec.json.encode(value)).decode().rstrip("=")


def _text(values: Sequence[bytes], name: str, what: Any = "query parameter") -> str:
    if len(values) > 1:
        raise BadInput(f"The {what} {name} comes more than once.")
    try:
        return values[0].decode("utf-8")
    except UnicodeDecodeError:
        raise BadInput(f"The {what} {name} is not UTF-8.") from None
