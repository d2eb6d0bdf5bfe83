"""Cursors: positions in lists, as answers give them to clients and clients send them back."""

import base64
import binascii
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from ..core.failures import GroupPosition
from ..core.model import Position
from ..core.sorting import GroupSort, Sort
from .request_head import BadInput, Query, optional

T = TypeVar("T")

_jobs: Final = msgspec.json.Decoder(tuple[int, int, str])
_sorted_jobs: Final = msgspec.json.Decoder(tuple[Sort, int, int, str])
_groups: Final = msgspec.json.Decoder(tuple[GroupSort, int, str])
_failures: Final = msgspec.json.Decoder(tuple[int, str])
_names: Final = msgspec.json.Decoder(tuple[str])


def cursor_text(position: Any) -> str:
    """Encode a position as a cursor. A client sends the cursor to continue after that position."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def job_cursor(query: Query, sort: Sort | None) -> Position | None:
    """The position that the parameter cursor encodes, in a list of jobs in the order `sort`; raises BadInput."""
    position: Position | None = _after(_position(query, _decode_jobs), sort)
    return position


def group_cursor(query: Query, sort: GroupSort) -> tuple[int, str] | None:
    """The position in a list of groups, sorted by `sort`, that the parameter `cursor` encodes; raises BadInput."""
    position: tuple[int, str] | None = _after(_position(query, _groups.decode), sort)
    return position


def failures_cursor(query: Query) -> GroupPosition | None:
    """The position in a list of failures that the parameter `cursor` encodes; raises BadInput."""
    return _position(query, _failures.decode)


def name_cursor(query: Query) -> str | None:
    """The name that the parameter cursor encodes; raises BadInput."""
    position = _position(query, _names.decode)
    return position and position[0]


def _position(query: Query, decode: Callable[[bytes], T]) -> T | None:
    value = optional(query, "cursor")
    if value is None:
        return None
    try:
        return decode(base64.urlsafe_b64decode(value.encode() + b"=" * (-len(value) % 4)))
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise BadInput("The query parameter cursor must be the next_cursor of an earlier answer.") from None


def _decode_jobs(text: bytes) -> tuple[Any, ...]:
    """The order, which is None for execution order, and the position."""
    return _sorted_jobs.decode(text) if text.startswith(b'["') else (None, *_jobs.decode(text))


def _after(found: tuple[Any, ...] | None, sort: Sort | GroupSort | None) -> Any:
    """The position without the order of its list; raises BadInput if the order is not `sort`."""
    if found is None:
        return None
    given, *position = found
    if given is not sort:
        was = "without sort: leave sort out" if given is None else f"with sort={given}: send that sort"
        raise BadInput(f"The cursor is from a list {was}, or start again without a cursor.")
    return tuple(position)
