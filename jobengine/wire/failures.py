"""The groups of failures in the API's answers."""

import base64
import binascii
from typing import Any, Final

import msgspec

from ..core.commands import FailurePage
from ..core.failures import FailureGroup, GroupPosition
from .request_head import BadInput, Query, decoded_cursor, optional
from .shown_job import to_json

_cursor: Final = msgspec.json.Decoder(tuple[int, str])


def failures_json(page: FailurePage, next_cursor: str | None) -> bytes:
    """A page of the groups of failures, and the cursor of the next page, or None after the last."""
    failures = [_failures_value(one) for one in page.failures]
    return to_json({"failures": failures, "next_cursor": next_cursor, "dropped": page.dropped})


def _failures_value(group: FailureGroup) -> dict[str, Any]:
    return {
        "fingerprint": group.fingerprint,
        "error": group.error,
        "count": group.count,
        "first": group.first // 1000,
        "last": group.last // 1000,
        "uids": group.uids,
        "minutes": group.minutes,
    }


def failures_cursor(query: Query) -> GroupPosition | None:
    """The position in a list of failures that the parameter cursor encodes; raises BadInput."""
    value = optional(query, "cursor")
    if value is None:
        return None
    try:
        return _cursor.decode(decoded_cursor(value))
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise BadInput("The query parameter cursor must be the next_cursor of an earlier answer.") from None


def failures_cursor_text(position: GroupPosition) -> str:
    """The cursor for a position in a list of failures."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")
