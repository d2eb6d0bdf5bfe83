"""Reads the head of a request: query parameters and headers."""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Final, TypeVar

from msgspec import Meta

from ..core.batches import NAME_LENGTH as BATCH_LENGTH
from ..core.commands import Filter
from ..core.flow import GROUP_LENGTH
from ..core.model import State
from ..core.schedules import NAME_LENGTH
from ..core.sorting import GroupSort, Sort
from ..core.values import Value

E = TypeVar("E", bound=StrEnum)

#: A query string or a set of headers: the values of each name, as bytes.
Query = Mapping[bytes, Sequence[bytes]]

#: The longest wait that a client may request, in seconds.
MAX_WAIT: Final = 60
#: The longest wait that is granted, in seconds: proxies give up after 60.
LONGEST_WAIT: Final = 55
#: The longest time span in a filter, in seconds: 30 years.
_LONGEST_SPAN: Final = 946_080_000
_Span = Annotated[int, Meta(ge=0, le=_LONGEST_SPAN)]
#: A text in a body.
Text = Annotated[str, Meta(min_length=1)]
_LONGEST_TEXT: Final = 256
_PREFER_RETURN: Final = re.compile(
    r"(?:^|[,;])\s*return\s*=\s*\"?(minimal|representation)\"?\s*(?:$|[,;])", re.IGNORECASE
)
_PREFER_WAIT: Final = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?:$|[,;])", re.IGNORECASE)

#: W3C Trace Context, version 00. Ids of zeros alone are invalid.
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_STATES: Final = {state.value: state for state in State}
#: A number as in JSON; libraries also write floats with an exponent.
_NUMBER: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,9})?")


class BadInput(ValueError):
    """The request is invalid; str() is a message for the client."""

    def __init__(self, text: str, index: int | None = None) -> None:
        super().__init__(text)
        #: The index of the bad item, from 0; None if the error is not about one item.
        self.index = index


class UnsupportedEncoding(ValueError):
    """The body is compressed; str() is a message for the client."""


def access_key(values: Sequence[bytes], authorization: Sequence[bytes] = ()) -> bytes:
    """
    The access key of a request, from X-Access-Key or from `Authorization: Bearer`.

    Raises BadInput unless there is exactly one. Other Authorization schemes are left to proxies, and ignored.
    """
    if len(values) == 1 and values[0] and not authorization:
        return values[0]
    sent = bearer(authorization) if authorization else None
    if sent is not None:
        if values:
            raise BadInput("Send the access key in X-Access-Key or as Authorization: Bearer, not in both.")
        return sent
    if not values or not values[0]:
        raise BadInput(
            "The header X-Access-Key is missing; send the access key of the queue in it, "
            "or as Authorization: Bearer KEY."
        )
    return once(values, "X-Access-Key")


def bearer(values: Sequence[bytes]) -> bytes | None:
    """The key in `Authorization: Bearer KEY`; None if the header is missing or has another scheme; raises BadInput."""
    if not values:
        return None
    scheme, _, key = once(values, "Authorization").partition(b" ")
    if scheme.lower() != b"bearer":
        return None
    if not key.strip():
        raise BadInput("The header Authorization has no key after Bearer.")
    return key.strip()


def once(values: Sequence[bytes], name: str) -> bytes:
    """The value of a header, empty if the header is missing; raises BadInput if it occurs more than once."""
    if len(values) > 1:
        raise BadInput(f"The header {name} occurs more than once.")
    return values[0] if values else b""


def check_encoding(values: Sequence[bytes]) -> None:
    """Raise UnsupportedEncoding if the Content-Encoding headers name an encoding."""
    if not values:
        return
    named = b", ".join(values).strip().lower()
    if named not in (b"", b"identity"):
        raise UnsupportedEncoding(
            "The body is compressed, which JobEngine does not accept: its limits count bytes on the wire. Send it "
            "uncompressed, without Content-Encoding."
        )


def idempotency_key(values: Sequence[bytes] | None) -> str | None:
    """The key in the Idempotency-Key headers, or None; raises BadInput."""
    if not values:
        return None
    key = _text(values, "Idempotency-Key", "header")
    if not 0 < len(key) <= _LONGEST_TEXT:
        raise BadInput(f"The header Idempotency-Key must have 1 to {_LONGEST_TEXT} characters.")
    return key


def sent_trace(values: Sequence[bytes] | None) -> str | None:
    """The trace in the traceparent headers, or None; raises BadInput."""
    return trace_of(_text(values, "traceparent", "header"), "The header traceparent") if values else None


def trace_of(text: str, what: str) -> str:
    """Check a trace (W3C Trace Context) and return it; raises BadInput, with a text that begins with `what`."""
    if not _TRACEPARENT.fullmatch(text):
        raise BadInput(
            f"{what} must have the form of W3C Trace Context, version 00: 00-TRACE-PARENT-FLAGS, with 32, 16 and 2 "
            "hexadecimal digits in lower case, where TRACE and PARENT are not all zeros."
        )
    return text


def preferred_wait(values: Sequence[bytes] | None) -> float:
    """The seconds of `wait` in the Prefer headers (RFC 7240), at most LONGEST_WAIT; 0 if there is none."""
    if not values:
        return 0
    found = _PREFER_WAIT.search(b",".join(values).decode("latin-1"))
    return min(int(found.group(1)), LONGEST_WAIT) if found else 0


def preferred_return(values: Sequence[bytes] | None) -> str | None:
    """The value of `return` in the Prefer headers (RFC 7240), `minimal` or `representation`; None without one."""
    if not values:
        return None
    found = _PREFER_RETURN.search(b",".join(values).decode("latin-1"))
    return found.group(1).lower() if found else None


def one(query: Query, name: str) -> str:
    """The value of a required query parameter; raises BadInput."""
    value = optional(query, name)
    if not value:
        raise BadInput(f"The query parameter {name} is missing.")
    return value


def check_named(query: Query, queue: str) -> None:
    """Raise BadInput if the query names a different queue than the body."""
    if b"queueName" in query and one(query, "queueName") != queue:
        raise BadInput("queueName in the query and queue_name in the body are different queues; send the same in both.")


def optional(query: Query, name: str) -> str | None:
    """The value of an optional query parameter, or None; raises BadInput."""
    values = query.get(name.encode(), ())
    return _text(values, name) if values else None


def flag(query: Query, name: str) -> bool:
    """
    The value of a query parameter that is true or false, in upper or lower case; false if missing.
    Raises BadInput.
    """
    return _choice(query, name) or False


def _choice(query: Query, name: str) -> bool | None:
    """As `flag`, but None if the parameter is missing."""
    given = optional(query, name)
    value = None if given is None else given.lower()
    if value not in (None, "true", "false"):
        raise BadInput(f"The query parameter {name} must be true or false.")
    return None if value is None else value == "true"


def number(query: Query, name: str, default: int, most: int) -> int:
    """A whole number from 1 to `most` in a query parameter, or `default` without one; raises BadInput."""
    value = optional(query, name)
    return default if value is None else _whole(value, name, 1, most)


def _span(query: Query, name: str) -> int | None:
    """A time span in whole seconds in a query parameter, or None; raises BadInput."""
    value = optional(query, name)
    return None if value is None else _whole(value, name, 0, _LONGEST_SPAN)


def _whole(value: str, name: str, least: int, most: int) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 9 or not least <= int(value) <= most:
        raise BadInput(f"The query parameter {name} must be a whole number from {least} to {most}.")
    return int(value)


def seconds(query: Query, name: str) -> float:
    """A wait in seconds in a query parameter, 0 if it is missing; raises BadInput."""
    value = optional(query, name)
    if value is None:
        return 0
    if not _NUMBER.fullmatch(value) or not 0 <= float(value) <= MAX_WAIT:
        raise BadInput(f"The query parameter {name} must be a number of seconds from 0 to {MAX_WAIT}.")
    return shortened(float(value))


def shortened(wait: float) -> float:
    """The wait in seconds that is granted for a requested wait: the answer must leave before a proxy gives up."""
    return min(wait, LONGEST_WAIT)


def worker_of(query: Query) -> str | None:
    """The worker's name in the query parameter worker, or None; raises BadInput."""
    name = optional(query, "worker")
    if name is not None and not 0 < len(name) <= _LONGEST_TEXT:
        raise BadInput(f"The query parameter worker must have 1 to {_LONGEST_TEXT} characters.")
    return name


class SentFilter(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of a filter in a body; query parameters have the same names."""

    state: Text | None = None
    tag: Text | None = None
    group: Text | None = None
    batch: Text | None = None
    q: Text | None = None
    worker: Text | None = None
    error: Text | None = None
    fingerprint: Text | None = None
    moved_from: Text | None = None
    older_than: _Span | None = None
    updated_before: _Span | None = None
    retrying: bool | None = None
    cancelled: bool | None = None

    def made(self) -> Filter:
        """The filter; raises BadInput."""
        return Filter(
            state=None if self.state is None else state_of(self.state, "state"),
            tag=self.tag,
            group=self.group,
            batch=self.batch,
            text=None if self.q is None else self.q.casefold(),
            worker=self.worker,
            error=None if self.error is None else self.error.casefold(),
            fingerprint=self.fingerprint,
            moved_from=self.moved_from,
            older_than=self.older_than,
            updated_before=self.updated_before,
            retrying=self.retrying,
            cancelled=self.cancelled,
        )


#: The parameters of a filter that are texts.
_TEXTS: Final = ("state", "tag", "group", "batch", "q", "worker", "error", "fingerprint", "moved_from")


def filter_of(query: Query) -> Filter:
    """The filter in the query parameters; raises BadInput."""
    sent: dict[str, Any] = {
        **{name: optional(query, name) for name in _TEXTS},
        **{name: _span(query, name) for name in ("older_than", "updated_before")},
        **{name: _choice(query, name) for name in ("retrying", "cancelled")},
    }
    return SentFilter(**sent).made()


def some_or_all(wanted: Filter, *, every: bool, advice: str = "") -> Filter:
    """
    The filter of a change to many jobs. Raises BadInput, ending with `advice`, if it has no condition and `every` is
    not set, or both.
    """
    if every == (wanted != Filter()):
        raise BadInput(
            "Choose the jobs to change: send either a filter, such as state, tag or q, or all=true for every job of "
            f"the queue.{advice}"
        )
    return wanted


def state_of(value: str, name: str) -> State:
    """The State with the name `value`, in upper or lower case; raises BadInput."""
    state = _STATES.get(value.lower())
    if state is None:
        raise BadInput(f"{name} must be one of {', '.join(State)}.")
    return state


def one_of(kind: type[E], value: str, name: str) -> E:
    """The member of an enumeration with this value; raises BadInput."""
    if value not in set(kind):
        raise BadInput(f"{name} must be one of {', '.join(kind)}.")
    return kind(value)


def schedule_of(query: Query) -> str:
    """The schedule in the query parameter name; raises BadInput."""
    return _name(query, NAME_LENGTH)


def batch_of(query: Query) -> str:
    """The batch in the query parameter name; raises BadInput."""
    return _name(query, BATCH_LENGTH)


def _name(query: Query, most: int) -> str:
    name = one(query, "name")
    if len(name) > most:
        raise BadInput(f"The query parameter name must have at most {most} characters.")
    return name


def sort_of(query: Query) -> Sort | None:
    """The order in the parameter sort, None for execution order; raises BadInput."""
    value = optional(query, "sort")
    if value is None:
        return None
    try:
        return Sort(value)
    except ValueError:
        raise BadInput(
            f"The query parameter sort must be one of {', '.join(Sort)}; leave it out for execution order."
        ) from None


def group_of(query: Query) -> str:
    """The group in the query parameter group; raises BadInput."""
    name = one(query, "group")
    if len(name) > GROUP_LENGTH:
        raise BadInput(f"The query parameter group must have at most {GROUP_LENGTH} characters.")
    return name


def group_sort_of(query: Query) -> GroupSort:
    """The order of groups in the parameter sort, by queued jobs if it is missing; raises BadInput."""
    value = optional(query, "sort")
    try:
        return GroupSort.QUEUED if value is None else GroupSort(value)
    except ValueError:
        raise BadInput(f"The query parameter sort must be one of {', '.join(GroupSort)}.") from None


def _text(values: Sequence[bytes], name: str, what: Any = "query parameter") -> str:
    if len(values) > 1:
        raise BadInput(f"The {what} {name} occurs more than once.")
    try:
        return values[0].decode("utf-8")
    except UnicodeDecodeError:
        raise BadInput(f"The {what} {name} is not UTF-8.") from None
