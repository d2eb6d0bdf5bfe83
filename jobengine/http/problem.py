"""An answer that is an error, in the form of RFC 9457."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from attrs import field, frozen

__all__ = ["Problem"]


@frozen
class Problem:
    """An answer that is an error."""

    #: The HTTP status.
    status: HTTPStatus
    #: For the client: what is wrong, and what it can do.
    detail: str
    #: Headers beside the content type.
    headers: Mapping[str, str] = field(factory=dict)
    #: Members of the problem beside those of RFC 9457.
    more: Mapping[str, Any] = field(factory=dict)

    @property
    def body(self) -> bytes:
        """The problem+json of RFC 9457."""
        problem = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
            # For clients of the first version.
            "error": self.detail,
            **self.more,
        }
        return msgspec.json.encode(problem)
