"""
The calls of the API, described once for both clients and for the test that compares them with api_schema.yml.

A call that is safe to repeat is sent again when its answer was lost: repeating it does nothing twice.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, Generic, NamedTuple, TypeVar

from msgspec.json import decode

from . import errors as e
from .encoding import encode
from .http import Address, Response
from .values import Access, AccessKey, Explanation, Job, QueueSetup, QueueStats, Readiness, WorkerJobs

__all__ = ["CALLS", "Call", "advised", "failure", "read_answer"]

T = TypeVar("T")

#: In the answer to a path that is none of the API.
_NOWHERE: Final = b"There is nothing at this path"


class Call(NamedTuple, Generic[T]):
    """One operation of the API."""

    #: The operationId in api_schema.yml.
    operation: str
    method: str
    path: str
    #: The methods of the client for it.
    served_by: tuple[str, ...]
    #: Reads the result from the answer.
    read: Callable[[Response], T]
    #: Whether it may be sent again after its answer was lost.
    safe: bool = True
    #: Whether the admin key is sent, if the client has one.
    admin: bool = False
    #: Whether a 404 to a repeated request means that an earlier one has succeeded.
    gone_is_done: bool = False
    #: Errors for statuses that mean something special for this call.
    special: Mapping[int, type[e.JobEngineError]] | None = None


def json_of(response: Response) -> Any:
    """The JSON of an answer; raises JobEngineError if it is not JSON."""
    try:
        return decode(response.body)
    except ValueError:
        raise e.JobEngineError(
            f"The answer, with status {response.status}, is not JSON: is there a JobEngine at this URL?",
            status=response.status,
            request_id=response.request_id,
        ) from None


def read_answer(call: Call[T], response: Response) -> T:
    """The result of the call; raises JobEngineError if it was refused."""
    if not 200 <= response.status < 300:
        raise failure(response, call.special)
    return call.read(response)


def failure(response: Response, special: Mapping[int, type[e.JobEngineError]] | None = None) -> e.JobEngineError:
    """The error for an answer."""
    try:
        problem = decode(response.body)
    except ValueError:
        problem = {}
    return e.error_of(
        response.status,
        problem if isinstance(problem, dict) else {},
        request_id=response.request_id,
        retry_after=response.retry_after,
        special=special,
    )


def advised(response: Response, address: Address) -> Response:
    """The answer, with advice if the path in the server's URL may be why there is nothing at the call's path."""
    if response.status != HTTPStatus.NOT_FOUND or not address.prefix or _NOWHERE not in response.body:
        return response
    detail = (
        f"There is nothing under {address.url}. Set the URL (JOBENGINE_URL) to the server's address alone, without "
        "/api/v1; only a proxy may need a path in it."
    )
    return Response(response.status, response.headers, encode({"detail": detail}))


def _nothing(response: Response) -> None:
    return None


def _text(response: Response) -> str:
    return response.body.decode()


def _value(kind: Callable[[Any], T]) -> Callable[[Response], T]:
    return lambda response: kind(json_of(response))


def _list(name: str, kind: Callable[[Any], T]) -> Callable[[Response], list[T]]:
    return lambda response: [kind(one) for one in json_of(response)[name]]


def _next(response: Response) -> Job | None:
    return Job(json_of(response)) if response.status == 200 else None


def _page(response: Response) -> tuple[list[Job], str | None]:
    page = json_of(response)
    return [Job(one) for one in page["jobs"]], page.get("next_cursor")


def _claimed(response: Response) -> Mapping[str, Any]:
    if response.status == 204:
        return {"jobs": []}
    answer: dict[str, Any] = json_of(response)
    return answer


def _matched(response: Response) -> int:
    matched: int = json_of(response)["matched"]
    return matched


_QUEUE: Final = {404: e.QueueNotFound}

CREATE_QUEUE: Final = Call[None](
    "createQueue",
    "PUT",
    "/api/v1/queue",
    ("Queue.create",),
    _nothing,
    safe=False,
    admin=True,
    special={409: e.QueueExists},
)
READ_QUEUE: Final = Call("readQueue", "GET", "/api/v1/queue", ("Queue.all_jobs",), _list("jobs", Job), special=_QUEUE)
CHANGE_QUEUE: Final = Call(
    "changeQueue",
    "POST",
    "/api/v1/queue",
    ("Queue.configure", "Queue.pause", "Queue.resume", "Queue.drain", "Queue.undrain"),
    _value(QueueSetup),
    special=_QUEUE,
)
DELETE_QUEUE: Final = Call[None](
    "deleteQueue",
    "DELETE",
    "/api/v1/queue",
    ("Queue.remove",),
    _nothing,
    admin=True,
    gone_is_done=True,
    special=_QUEUE,
)
READ_STATS: Final = Call(
    "readStats", "GET", "/api/v1/queue/stats", ("Queue.stats",), _value(QueueStats), special=_QUEUE
)
LIST_QUEUES: Final = Call(
    "listQueues", "GET", "/api/v1/queues", ("JobEngine.queues",), _list("queues", QueueStats), admin=True
)
READ_ACCESS: Final = Call("readAccess", "GET", "/api/v1/access", ("Queue.access",), _value(Access), special=_QUEUE)
ADD_KEY: Final = Call(
    "addKey", "PUT", "/api/v1/queue/key", ("Keys.add",), _value(AccessKey), safe=False, special=_QUEUE
)
LIST_KEYS: Final = Call(
    "listKeys", "GET", "/api/v1/queue/key", ("Keys.list",), _list("keys", AccessKey), special=_QUEUE
)
REVOKE_KEY: Final = Call[None](
    "revokeKey",
    "DELETE",
    "/api/v1/queue/key",
    ("Keys.revoke",),
    _nothing,
    gone_is_done=True,
    special={404: e.KeyNotFound},
)
ADD_JOB: Final = Call("addJob", "PUT", "/api/v1/job", ("Queue.add", "Queue.add_and_wait"), _value(Job), special=_QUEUE)
READ_JOB: Final = Call("readJob", "GET", "/api/v1/job", ("Queue.get", "Queue.wait"), _value(Job))
UPDATE_JOB: Final = Call("updateJob", "POST", "/api/v1/job", ("Queue.update", "Queue.cancel"), _value(Job), safe=False)
DELETE_JOB: Final = Call[None]("deleteJob", "DELETE", "/api/v1/job", ("Queue.delete",), _nothing, gone_is_done=True)
NEXT_JOB: Final = Call("nextJob", "GET", "/api/v1/job/next", ("Queue.peek",), _next, special=_QUEUE)
CLAIM_JOBS: Final = Call(
    "claimJobs",
    "POST",
    "/api/v1/job/next",
    ("Queue.claim", "JobEngine.claim", "JobEngine.finish_and_claim"),
    _claimed,
    safe=False,
    special=_QUEUE,
)
EXPLAIN_JOB: Final = Call("explainJob", "GET", "/api/v1/job/explain", ("Queue.explain",), _value(Explanation))
ADD_JOBS: Final = Call(
    "addJobs", "PUT", "/api/v1/jobs", ("Queue.add_many", "Queue.add"), _list("jobs", Job), special=_QUEUE
)
LIST_JOBS: Final = Call("listJobs", "GET", "/api/v1/jobs", ("Queue.jobs",), _page, special=_QUEUE)
#: Safe if each of its updates is; a change of all matching jobs is not.
UPDATE_JOBS: Final = Call(
    "updateJobs",
    "POST",
    "/api/v1/jobs",
    (
        "Queue.update",
        "Queue.update_all",
        "Queue.retry",
        "Queue.cancel_all",
        "ClaimedJob.complete",
        "ClaimedJob.progress",
        "JobEngine.report",
    ),
    _matched,
    safe=False,
    special=_QUEUE,
)
DELETE_JOBS: Final = Call(
    "deleteJobs", "DELETE", "/api/v1/jobs", ("Queue.delete_all",), _matched, safe=False, special=_QUEUE
)
WATCH_EVENTS: Final = Call[None]("watchEvents", "GET", "/api/v1/events", ("Queue.events",), _nothing, special=_QUEUE)
LIST_WORKERS: Final = Call(
    "listWorkers", "GET", "/api/v1/workers", ("Queue.workers",), _list("workers", WorkerJobs), special=_QUEUE
)
BACKUP: Final = Call[None]("backup", "GET", "/api/v1/backup", ("JobEngine.backup",), _nothing, safe=False, admin=True)
TEST: Final = Call[None]("test", "GET", "/test", ("JobEngine.test",), _nothing)
HEALTHZ: Final = Call[None]("healthz", "GET", "/healthz", ("JobEngine.healthz",), _nothing)
READYZ: Final = Call("readyz", "GET", "/readyz", ("JobEngine.readyz",), _value(Readiness))
METRICS: Final = Call("metrics", "GET", "/metrics", ("JobEngine.metrics",), _text, admin=True)

OPENAPI: Final = Call[Any]("openapi", "GET", "/openapi.json", ("JobEngine.openapi",), json_of)

#: All calls, by operationId.
CALLS: Final[Mapping[str, Call[Any]]] = {
    call.operation: call for call in list(globals().values()) if isinstance(call, Call)
}
