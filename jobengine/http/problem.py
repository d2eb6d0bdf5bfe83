"""An error answer, in the form of RFC 9457."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from attrs import field, frozen


@frozen
class Problem:
    """An error answer."""

    #: The answer's HTTP status.
    status: HTTPStatus
    #: The error text: what is wrong, and what the client can do about it.
    detail: str
    #: Headers beside the content type.
    headers: Mapping[str, str] = field(factory=dict)
    #: Additional members of the JSON.
    more: Mapping[str, Any] = field(factory=dict)

    @property
    def body(self) -> bytes:
        """The JSON of RFC 9457."""
        problem = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
            # Read by clients of the API's first version.
            "error": self.detail,
            **self.more,
        }
        return msgspec.json.encode(problem)
