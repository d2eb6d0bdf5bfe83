"""
The table of all API calls, used by both clients and compared with api_schema.yml by a test.

A call that is safe to repeat is sent again if its answer was lost: a repetition has no further effect.
"""

from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

from msgspec import ValidationError
from msgspec.json import Decoder, decode

from . import errors as e
from . import shapes as s
from .answers import Answer
from .batches import BatchProgress
from .encoding import encode
from .failures import FailureGroup
from .groups import Group
from .history import QueueHistory
from .http_codec import Address, Response
from .links import JobGraph
from .moves import Moved
from .schedules import Backfill, Firing, Schedule
from .values import (
    Access,
    AccessKey,
    Explanation,
    Job,
    QueueSetup,
    QueueStats,
    Readiness,
    WorkerJobs,
)

T = TypeVar("T")

A = TypeVar("A", bound=Answer)

#: The media types accepted for JSON. The empty one stands for a missing header, which test doubles may leave out.
_JSON: Final = ("application/json", "")
#: The prefix of a JobEngine's metrics.
_METRIC: Final = b"jobengine_"
#: Statuses that proxies send in place of a server.
_OF_PROXIES: Final = frozenset({408, 413, 429, 502, 503, 504})
#: A part of the server's 404 for a path outside the API.
_NOWHERE: Final = b"There is nothing at this path"


class Call(NamedTuple, Generic[T]):
    """One operation of the API."""

    #: The operationId in api_schema.yml.
    operation: str
    method: str
    path: str
    #: The client's methods that make this call.
    served_by: tuple[str, ...]
    #: Decodes the result from the answer.
    read: Callable[[Response], T]
    #: Whether the call may be sent again after its answer was lost.
    safe: bool = True
    #: Whether the admin key is sent, if the client has one.
    admin: bool = False
    #: Whether a 404 to a repeated request counts as success: an earlier attempt has deleted the object.
    gone_is_done: bool = False
    #: The statuses of a successful answer.
    statuses: tuple[int, ...] = (200,)
    #: Errors for statuses with a special meaning for this call.
    special: Mapping[int, type[e.JobEngineError]] | None = None


def not_jobengine(response: Response, seen: str) -> e.NotJobEngine:
    """The error for an answer of another program; `seen` is the reason, such as "it is not JSON"."""
    kind = f", {response.media_type}" if response.media_type else ""
    status = f" with status {response.status}{kind}, and" if response.status else ";"
    return e.NotJobEngine(
        f"The answer did not come from a JobEngine: {response.url or 'the server'} answered{status} {seen}. "
        "Check the URL (JOBENGINE_URL), and any proxy before the server.",
        status=response.status,
        request_id=response.request_id,
    )


def json_of(response: Response, shape: s.Shape) -> Any:
    """The JSON of a successful answer; raises NotJobEngine if it has another shape."""
    check_type(response)
    try:
        shape(response.body)
        return decode(response.body)
    except (ValueError, RecursionError) as error:
        seen = "its fields are not the expected ones" if isinstance(error, ValidationError) else "it is not JSON"
        raise not_jobengine(response, seen) from None


def check_type(response: Response) -> None:
    """Raise NotJobEngine unless the answer's media type is JSON."""
    if response.media_type not in _JSON:
        raise not_jobengine(response, "it is not JSON")


def read_answer(call: Call[T], response: Response) -> T:
    """The result of the call; raises JobEngineError if it was refused, or NotJobEngine."""
    check_status(call, response)
    return call.read(response)


def check_status(call: Call[Any], response: Response) -> None:
    """Raise the error of a refused call, or NotJobEngine for a success status that this call never has."""
    if not 200 <= response.status < 300:
        raise failure(response, call.special)
    if response.status not in call.statuses:
        raise not_jobengine(response, "this call never answers with this status")


def failure(response: Response, special: Mapping[int, type[e.JobEngineError]] | None = None) -> e.JobEngineError:
    """The error for an unsuccessful answer; NotJobEngine if neither a JobEngine nor a proxy sends such an answer."""
    problem = _problem(response)
    if problem is None and response.status not in _OF_PROXIES:
        return not_jobengine(response, "it is not a JobEngine error")
    return e.error_of(
        response.status,
        problem or {},
        request_id=response.request_id,
        retry_after=response.retry_after,
        special=special,
    )


def is_refusal(response: Response, status: int) -> bool:
    """Whether a JobEngine has refused the call with this status."""
    return response.status == status and _problem(response) is not None


def _problem(response: Response) -> dict[str, Any] | None:
    """The problem in a JobEngine's answer; None if there is none."""
    try:
        problem = decode(response.body)
    except (ValueError, RecursionError):
        return None
    has_text = isinstance(problem, dict) and isinstance(problem.get("detail", problem.get("error")), str)
    return problem if has_text else None


def advised(response: Response, address: Address) -> Response:
    """Return the answer, with advice in the detail of a 404 that a path in the server's URL may have caused."""
    if response.status != HTTPStatus.NOT_FOUND or not address.prefix or _NOWHERE not in response.body:
        return response
    detail = (
        f"There is nothing under {address.url}. Set the URL (JOBENGINE_URL) to the server's address alone, without "
        "/api/v1; only a proxy may need a path in it."
    )
    return Response(response.status, response.headers, encode({"detail": detail}), response.url)


def _nothing(response: Response) -> None:
    if response.body:
        raise not_jobengine(response, "it should be empty")


def _text(response: Response) -> str:
    if _METRIC not in response.body:
        raise not_jobengine(response, "it has no JobEngine metrics")
    return response.body.decode("utf-8", "replace")


def _value(kind: type[A]) -> Callable[[Response], A]:
    shape = _later(lambda: s.of(kind))
    return lambda response: kind(json_of(response, shape))


def _list(name: str, kind: type[A]) -> Callable[[Response], list[A]]:
    shape = _later(lambda: s.list_of(name, s.of(kind)))
    return lambda response: [kind(one) for one in json_of(response, shape)[name]]


def _later(make: Callable[[], Any]) -> s.Shape:
    """A shape that is made when it is first used: most programs need only a few."""
    made = cache(lambda: Decoder(make()).decode)
    return lambda body: made()(body)


_read_job: Final = _value(Job)
_dropped_shape: Final = _later(lambda: s.Dropped)
_matched_shape: Final = Decoder(dict[Literal["matched"], int]).decode
_healthy: Final = Decoder(dict[Literal["status"], Literal["ok"]]).decode


def _next(response: Response) -> Job | None:
    return _read_job(response) if response.status == HTTPStatus.OK else None


def _dropped(response: Response) -> int:
    dropped: int = json_of(response, _dropped_shape)["dropped"]
    return dropped


def _page(name: str, kind: type[A]) -> Callable[[Response], tuple[list[A], str | None]]:
    shape = _later(lambda: s.page_of(name, s.of(kind)))

    def read(response: Response) -> tuple[list[A], str | None]:
        """The values of a page, and the cursor of the next page."""
        page = json_of(response, shape)
        return [kind(one) for one in page[name]], page.get("next_cursor")

    return read


def _claimed(response: Response) -> Mapping[str, Any]:
    if response.status == HTTPStatus.NO_CONTENT:
        return {"jobs": []}
    answer: dict[str, Any] = json_of(response, s.CLAIMED)
    return answer


def _matched(response: Response) -> int:
    answer = json_of(response, _matched_shape)
    if "matched" not in answer:
        raise not_jobengine(response, "its fields are not the expected ones")
    matched: int = answer["matched"]
    return matched


def _health(response: Response) -> None:
    if not json_of(response, _healthy):
        raise not_jobengine(response, "its fields are not the expected ones")


def _document(response: Response) -> Any:
    document = json_of(response, Decoder(dict[str, Any]).decode)
    if not isinstance(document.get("openapi"), str):
        raise not_jobengine(response, "it is not an OpenAPI document")
    return document


def _deletion(
    operation: str, path: str, served_by: tuple[str, ...], special: Mapping[int, type[e.JobEngineError]] | None = None
) -> Call[None]:
    """A call that deletes something, and succeeds if an earlier attempt has deleted it."""
    return Call(operation, "DELETE", path, served_by, _nothing, gone_is_done=True, statuses=(204,), special=special)


_QUEUE: Final = {404: e.QueueNotFound}
_GROUP: Final = {404: e.GroupNotFound}
_SCHEDULE: Final = {404: e.ScheduleNotFound}
_BATCH: Final = {404: e.BatchNotFound}

CREATE_QUEUE: Final = Call[None](
    "createQueue",
    "PUT",
    "/api/v1/queue",
    ("Queue.create",),
    _nothing,
    safe=False,
    admin=True,
    statuses=(201,),
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
DELETE_QUEUE: Final = _deletion("deleteQueue", "/api/v1/queue", ("Queue.remove",), _QUEUE)._replace(admin=True)
READ_STATS: Final = Call(
    "readStats", "GET", "/api/v1/queue/stats", ("Queue.stats",), _value(QueueStats), special=_QUEUE
)
LIST_QUEUES: Final = Call(
    "listQueues", "GET", "/api/v1/queues", ("JobEngine.queues",), _list("queues", QueueStats), admin=True
)
READ_HISTORY: Final = Call(
    "readHistory", "GET", "/api/v1/queue/history", ("Queue.history",), _value(QueueHistory), special=_QUEUE
)
READ_ACCESS: Final = Call("readAccess", "GET", "/api/v1/access", ("Queue.access",), _value(Access), special=_QUEUE)
ADD_KEY: Final = Call(
    "addKey", "PUT", "/api/v1/queue/key", ("Keys.add",), _value(AccessKey), safe=False, statuses=(201,), special=_QUEUE
)
LIST_KEYS: Final = Call(
    "listKeys", "GET", "/api/v1/queue/key", ("Keys.list",), _list("keys", AccessKey), special=_QUEUE
)
REVOKE_KEY: Final = _deletion("revokeKey", "/api/v1/queue/key", ("Keys.revoke",), {404: e.KeyNotFound})
CHANGE_GROUP: Final = Call("changeGroup", "PUT", "/api/v1/group", ("Queue.set_group",), _value(Group), special=_QUEUE)
READ_GROUP: Final = Call("readGroup", "GET", "/api/v1/group", ("Queue.group",), _value(Group), special=_GROUP)
RESET_GROUP: Final = _deletion("resetGroup", "/api/v1/group", ("Queue.reset_group",), _GROUP)
LIST_GROUPS: Final = Call(
    "listGroups", "GET", "/api/v1/groups", ("Queue.groups",), _page("groups", Group), special=_QUEUE
)
#: COUNT_DROPPED calls the same operation.
LIST_FAILURES: Final = Call(
    "listFailures",
    "GET",
    "/api/v1/failures",
    ("Queue.failures", "Queue.dropped_failures"),
    _page("failures", FailureGroup),
    special=_QUEUE,
)
COUNT_DROPPED: Final = Call(
    "listFailures", "GET", "/api/v1/failures", LIST_FAILURES.served_by, _dropped, special=_QUEUE
)
SET_SCHEDULE: Final = Call(
    "setSchedule", "PUT", "/api/v1/schedule", ("Queue.schedule",), _value(Schedule), statuses=(200, 201), special=_QUEUE
)
READ_SCHEDULE: Final = Call(
    "readSchedule", "GET", "/api/v1/schedule", ("Schedules.get",), _value(Schedule), special=_SCHEDULE
)
CHANGE_SCHEDULE: Final = Call(
    "changeSchedule",
    "POST",
    "/api/v1/schedule",
    ("Schedules.change", "Schedules.pause", "Schedules.resume"),
    _value(Schedule),
    special=_SCHEDULE,
)
DELETE_SCHEDULE: Final = _deletion("deleteSchedule", "/api/v1/schedule", ("Schedules.delete",), _SCHEDULE)
LIST_SCHEDULES: Final = Call(
    "listSchedules", "GET", "/api/v1/schedules", ("Schedules.list",), _page("schedules", Schedule), special=_QUEUE
)
#: BACKFILL_SCHEDULE calls the same operation. A run adds another job when it is repeated, a backfill does not.
RUN_SCHEDULE: Final = Call(
    "runSchedule",
    "POST",
    "/api/v1/schedule/run",
    ("Schedules.run", "Schedules.backfill"),
    _value(Firing),
    safe=False,
    statuses=(200, 201),
    special=_SCHEDULE,
)
BACKFILL_SCHEDULE: Final = Call(
    "runSchedule",
    "POST",
    "/api/v1/schedule/run",
    RUN_SCHEDULE.served_by,
    _value(Backfill),
    statuses=(200, 201),
    special=_SCHEDULE,
)
SET_BATCH: Final = Call(
    "setBatch", "PUT", "/api/v1/batch", ("Batch.create",), _value(BatchProgress), statuses=(200, 201), special=_QUEUE
)
READ_BATCH: Final = Call(
    "readBatch", "GET", "/api/v1/batch", ("Batch.progress",), _value(BatchProgress), special=_BATCH
)
CHANGE_BATCH: Final = Call(
    "changeBatch",
    "POST",
    "/api/v1/batch",
    ("Batch.close", "Batch.cancel", "Batch.retry"),
    _value(BatchProgress),
    special=_BATCH,
)
LIST_BATCHES: Final = Call(
    "listBatches", "GET", "/api/v1/batches", ("Queue.batches",), _page("batches", BatchProgress), special=_QUEUE
)
ADD_JOB: Final = Call(
    "addJob",
    "PUT",
    "/api/v1/job",
    ("Queue.add", "Queue.add_and_wait"),
    _value(Job),
    statuses=(200, 201),
    special=_QUEUE,
)
READ_JOB: Final = Call("readJob", "GET", "/api/v1/job", ("Queue.get", "Queue.wait"), _value(Job))
UPDATE_JOB: Final = Call(
    "updateJob", "POST", "/api/v1/job", ("Queue.update", "Queue.cancel", "ClaimedJob.wait_for"), _value(Job), safe=False
)
DELETE_JOB: Final = _deletion("deleteJob", "/api/v1/job", ("Queue.delete", "Queue.remove_job"))
NEXT_JOB: Final = Call(
    "nextJob", "GET", "/api/v1/job/next", ("Queue.peek",), _next, statuses=(200, 204), special=_QUEUE
)
CLAIM_JOBS: Final = Call(
    "claimJobs",
    "POST",
    "/api/v1/job/next",
    ("Queue.claim", "JobEngine.claim", "JobEngine.finish_and_claim"),
    _claimed,
    safe=False,
    statuses=(200, 204),
    special=_QUEUE,
)
EXPLAIN_JOB: Final = Call("explainJob", "GET", "/api/v1/job/explain", ("Queue.explain",), _value(Explanation))
JOB_GRAPH: Final = Call("jobGraph", "GET", "/api/v1/job/graph", ("Queue.graph",), _value(JobGraph))
ADD_JOBS: Final = Call(
    "addJobs",
    "PUT",
    "/api/v1/jobs",
    ("Queue.add_many", "Queue.add", "Queue.chain"),
    _list("jobs", Job),
    statuses=(201,),
    special=_QUEUE,
)
LIST_JOBS: Final = Call("listJobs", "GET", "/api/v1/jobs", ("Queue.jobs",), _page("jobs", Job), special=_QUEUE)
#: A change of all matching jobs is not safe to repeat; a list of updates is, if each update is safe.
MOVE_JOBS: Final = Call(
    "updateJobs", "POST", "/api/v1/jobs", ("Queue.move", "Queue.redrive"), _value(Moved), safe=False, special=_QUEUE
)
#: The same operation as MOVE_JOBS, with other answers; only this one is in CALLS.
UPDATE_JOBS: Final = Call(
    "updateJobs",
    "POST",
    "/api/v1/jobs",
    (
        "Queue.update",
        "Queue.update_all",
        "Queue.retry",
        "Queue.cancel_all",
        "Queue.move",
        "Queue.redrive",
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
HEALTHZ: Final = Call[None]("healthz", "GET", "/healthz", ("JobEngine.healthz",), _health)
READYZ: Final = Call("readyz", "GET", "/readyz", ("JobEngine.readyz",), _value(Readiness))
METRICS: Final = Call("metrics", "GET", "/metrics", ("JobEngine.metrics",), _text, admin=True)

OPENAPI: Final = Call[Any]("openapi", "GET", "/openapi.json", ("JobEngine.openapi",), _document)

#: All calls, by operationId.
CALLS: Final[Mapping[str, Call[Any]]] = {
    call.operation: call for call in list(globals().values()) if isinstance(call, Call)
}
