"""Which error becomes which status: the only place where domain errors meet HTTP."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from attrs import frozen
from werkzeug.exceptions import HTTPException

from ..core.model import AccessDenied, JobNotFound, QueueExists, QueueNotFound
from ..engine import Busy, Full, OutcomeUnknown
from ..wire import BadInput, problem_json

__all__ = ["Problem", "problem_of"]

_STATUS: Final[Mapping[type[Exception], HTTPStatus]] = {
    BadInput: HTTPStatus.BAD_REQUEST,
    AccessDenied: HTTPStatus.UNAUTHORIZED,
    QueueNotFound: HTTPStatus.NOT_FOUND,
    JobNotFound: HTTPStatus.NOT_FOUND,
    QueueExists: HTTPStatus.CONFLICT,
    Busy: HTTPStatus.SERVICE_UNAVAILABLE,
    Full: HTTPStatus.INSUFFICIENT_STORAGE,
    OutcomeUnknown: HTTPStatus.SERVICE_UNAVAILABLE,
}
#: Seconds after which a client may try again.
_RETRY_AFTER: Final[Mapping[type[Exception], int]] = {Busy: 1, Full: 5, OutcomeUnknown: 5}


@frozen
class Problem:
    """An answer that is an error."""

    #: The HTTP status.
    status: HTTPStatus
    #: For the client: what is wrong, and what it can do.
    detail: str
    #: Headers beside the content type.
    headers: Mapping[str, str] = {}

    @property
    def body(self) -> bytes:
        """The problem+json of RFC 9457."""
        return problem_json(self.status.value, self.status.phrase, self.detail)


def problem_of(error: Exception) -> Problem | None:
    """What to answer for an error, or None if it is one that nobody foresaw."""
    status = _STATUS.get(type(error))
    if status is not None:
        return Problem(status, str(error), _headers(type(error), status))
    if isinstance(error, HTTPException):
        return _routing_problem(error)
    return None


def _headers(kind: type[Exception], status: HTTPStatus) -> dict[str, str]:
    headers = {}
    if kind in _RETRY_AFTER:
        headers["Retry-After"] = str(_RETRY_AFTER[kind])
    if status is HTTPStatus.UNAUTHORIZED:
        # RFC 9110, 11.6.1: a 401 names a scheme.
        headers["WWW-Authenticate"] = 'X-Access-Key realm="queue"'
    return headers


def _routing_problem(error: HTTPException) -> Problem:
    status = HTTPStatus(error.code or 404)
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
        return Problem(status, f"This path takes {allowed}.", {"Allow": allowed})
    return Problem(HTTPStatus.NOT_FOUND, "There is nothing at this path; the calls are listed in api_schema.yml.")
