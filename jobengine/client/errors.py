"""The errors that the client's calls raise, and which error each answer of the server becomes."""

from collections.abc import Mapping
from typing import Any, Final


class JobEngineError(Exception):
    """A call failed; str() says why and what to do."""

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
        #: What is wrong, as a sentence.
        self.detail = detail
        #: The HTTP status of the answer, or None if there was no answer.
        self.status = status
        #: The id of the request in the server's log, if the server has answered.
        self.request_id = request_id
        #: Seconds after which to retry, if the server sent them.
        self.retry_after = retry_after
        #: The index of the item that was refused, from 0.
        self.index = index

    def _again(self) -> "JobEngineError":
        """
        A copy of the error, to be raised in another caller: raising the same exception twice would mix up its
        tracebacks.
        """
        copy = type(self)(self.detail)
        copy.__dict__.update(self.__dict__)
        return copy


class BadSettings(JobEngineError, ValueError):
    """A setting of the client is invalid."""


class NotJobEngine(JobEngineError):
    """
    The answer did not come from a JobEngine: the URL leads to another program, or a proxy answered without contacting
    the server.
    """


class BadRequest(JobEngineError):
    """The server rejects the request."""


class AccessDenied(JobEngineError):
    """The key is missing, or does not open the queue."""


class Forbidden(JobEngineError):
    """The role of the key does not allow the call."""


class QueueNotFound(JobEngineError):
    """There is no queue of that name."""


class JobNotFound(JobEngineError):
    """The queue holds no such job; it may have been deleted or have expired."""


class KeyNotFound(JobEngineError):
    """The queue has no key with that id."""


class GroupNotFound(JobEngineError):
    """The queue has no such group: it has neither jobs nor settings of its own, and is not held."""


class ScheduleNotFound(JobEngineError):
    """The queue has no schedule of that name."""


class BatchNotFound(JobEngineError):
    """The queue has no batch of that name."""


class QueueExists(JobEngineError):
    """The name of a new queue is taken."""


class Conflict(JobEngineError):
    """The present state of the queue or the job does not allow the call."""


class LeaseLost(Conflict):
    """The lease that was sent has ended: stop working on the job."""


class TooManyRequests(JobEngineError):
    """The queue is full, or the server has too many queues."""


class Unavailable(JobEngineError):
    """
    The server can't be reached, or can't carry out the call now. The call had no effect, except that for the subclass
    OutcomeUnknown this is uncertain.
    """


class OutcomeUnknown(Unavailable):
    """The answer was lost: the call may have succeeded or not."""


class EventsLost(JobEngineError):
    """The next events are no longer kept: read the jobs again, then watch again."""


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
#: The first words of a 404 for a missing queue; other 404s have the same problem type.
_NO_QUEUE: Final = "There is no queue"
#: The first words of a 409 for a lease that has ended.
_NO_LEASE: Final = "The lease is no longer valid"
#: Words of a 404 for a missing batch, which a new job may name.
_NO_BATCH: Final = "The queue has no batch"
#: The first words of a 400 for a missing access key; the rest names headers, which users of the client do not set.
_NO_KEY: Final = "The header X-Access-Key is missing"
_SET_KEY: Final = "There is no access key for this call: set access_key= or JOBENGINE_ACCESS_KEY."
#: Replaces advice for HTTP in the server's texts by advice for users of the client.
_IN_PYTHON: Final = {
    "create it with PUT /api/v1/queue.": "check the name, or create it with Queue.create().",
    "create it with PUT /api/v1/batch.": "create it with Batch.create().",
    'name a job of another queue by {"queue_name": …, "uid": …}.': 'name a job of another queue by ("queue", uid).',
    "GET /api/v1/schedules lists its schedules.": "Queue.schedules.list() lists its schedules.",
    "GET /api/v1/queue/key lists its keys.": "Queue.keys.list() lists its keys.",
    "send one that does in X-Access-Key.": "set access_key= or JOBENGINE_ACCESS_KEY to one that does.",
    "send the queue's key in X-Access-Key.": "set access_key= or JOBENGINE_ACCESS_KEY to the queue's key.",
    "send the server's in X-Admin-Key.": "set admin_key= or JOBENGINE_ADMIN_KEY to the server's.",
    "Send the server's admin key in X-Admin-Key.": "Set admin_key= or JOBENGINE_ADMIN_KEY to the server's admin key.",
}
#: The last words of a 429 after too many wrong keys; a 429 for a full queue has the same problem type.
_KEY_REFUSED: Final = "a right key works at once."


def error_of(
    status: int,
    problem: Mapping[str, Any],
    *,
    request_id: str | None = None,
    retry_after: float | None = None,
    special: Mapping[int, type[JobEngineError]] | None = None,
) -> JobEngineError:
    """
    The error for an answer.

    `problem` is the answer's JSON, with a text in `detail` or `error`; `special` has errors for statuses of this call.
    """
    detail = _detail(status, problem)
    kind = (special or {}).get(status) or _BY_STATUS.get(status, JobEngineError)
    if status == 404 and detail.startswith(_NO_QUEUE):
        kind = QueueNotFound
    elif status == 404 and _NO_BATCH in detail:
        kind = BatchNotFound
    elif status == 409 and detail.startswith(_NO_LEASE):
        kind = LeaseLost
    elif status == 429 and detail.endswith(_KEY_REFUSED):
        kind = AccessDenied
    index = problem.get("index")
    return kind(
        detail,
        status=status,
        request_id=request_id,
        retry_after=retry_after,
        index=index if isinstance(index, int) else None,
    )


def _detail(status: int, problem: Mapping[str, Any]) -> str:
    """The error text of an answer, with advice for Python instead of HTTP."""
    detail = str(problem.get("detail") or problem.get("error") or f"The server answered with status {status}.")
    for text, python_text in _IN_PYTHON.items():
        detail = detail.replace(text, python_text)
    return _SET_KEY if detail.startswith(_NO_KEY) else detail
