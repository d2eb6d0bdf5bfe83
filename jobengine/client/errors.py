"""What a call of the client can fail with, and which answer of the server is which."""

from collections.abc import Mapping
from typing import Any, Final

__all__ = [
    "AccessDenied",
    "BadRequest",
    "BadSettings",
    "Conflict",
    "EventsLost",
    "Forbidden",
    "JobEngineError",
    "JobNotFound",
    "KeyNotFound",
    "LeaseLost",
    "OutcomeUnknown",
    "QueueExists",
    "QueueNotFound",
    "TooManyRequests",
    "Unavailable",
    "error_of",
]


class JobEngineError(Exception):
    """A call that was not carried out; str() of it says why and what can be done."""

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        index: int | None = None,
    ) -> None:
        super().__init__(detail)
        #: What is wrong, in words.
        self.detail = detail
        #: The HTTP status of the answer, or None if there was no answer.
        self.status = status
        #: Names the request in the server's log, if the server has answered it.
        self.request_id = request_id
        #: Seconds after which the server wants to be asked again, if it said so.
        self.retry_after = retry_after
        #: Which one of many was refused, counted from 0.
        self.index = index

    def again(self) -> "JobEngineError":
        """The same error once more, for another caller: an exception that is raised twice mixes up its tracebacks."""
        copy = type(self)(self.detail)
        copy.__dict__.update(self.__dict__)
        return copy


class BadSettings(JobEngineError, ValueError):
    """A setting of the client can't be used."""


class BadRequest(JobEngineError):
    """The server can't take what was sent."""


class AccessDenied(JobEngineError):
    """The key is missing, or does not open the queue."""


class Forbidden(JobEngineError):
    """The role of the key does not cover the call."""


class QueueNotFound(JobEngineError):
    """No queue has the name."""


class JobNotFound(JobEngineError):
    """The queue holds no such job; it may have been deleted or have expired."""


class KeyNotFound(JobEngineError):
    """The queue has no key with that id."""


class QueueExists(JobEngineError):
    """The name of a new queue is taken."""


class Conflict(JobEngineError):
    """What the queue or the job is now does not allow the call."""


class LeaseLost(Conflict):
    """The job is no longer held under the lease that was sent: stop working on it."""


class TooManyRequests(JobEngineError):
    """The queue is full, or too many keys from this address have failed."""


class Unavailable(JobEngineError):
    """The server can't be reached, or can't do it now. Nothing was done, unless it is OutcomeUnknown."""


class OutcomeUnknown(Unavailable):
    """The answer was lost: the call may have been carried out or not."""


class EventsLost(JobEngineError):
    """Events after the last one that was seen are no longer kept: read the jobs anew, then watch again."""


_BY_STATUS: Final[Mapping[int, type[JobEngineError]]] = {
    400: BadRequest,
    401: AccessDenied,
    403: Forbidden,
    404: JobNotFound,
    405: BadRequest,
    408: Unavailable,
    409: Conflict,
    413: BadRequest,
    415: BadRequest,
    429: TooManyRequests,
    431: BadRequest,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
    507: Unavailable,
}
#: How the detail of a 404 begins if it is the queue that is not there; the problem's type is the same for all.
_NO_QUEUE: Final = "There is no queue"


def error_of(
    status: int,
    problem: Mapping[str, Any],
    *,
    request_id: str | None = None,
    retry_after: float | None = None,
    special: Mapping[int, type[JobEngineError]] | None = None,
) -> JobEngineError:
    """
    The error that an answer stands for.

    `problem` is its JSON, with the words in `detail` or `error`; `special` says what a status means for this call.
    """
    detail = str(problem.get("detail") or problem.get("error") or f"The server answered with status {status}.")
    kind = (special or {}).get(status) or _BY_STATUS.get(status, JobEngineError)
    if status == 404 and detail.startswith(_NO_QUEUE):
        kind = QueueNotFound
    index = problem.get("index")
    return kind(
        detail,
        status=status,
        request_id=request_id,
        retry_after=retry_after,
        index=index if isinstance(index, int) else None,
    )
