"""Maps errors to HTTP statuses; no other module does."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from werkzeug.exceptions import HTTPException

from ..core import errors as e
from ..core.model import Job
from ..engine.door import Busy, Full, NoLead, NotOffered, OutcomeUnknown, Starting
from ..http.problem import Problem
from ..wire.request_head import BadInput, UnsupportedEncoding
from ..wire.shown_job import is_cancelled, updated_value
from .near_misses import near_method, near_path


class AdminRequired(Exception):
    """The call requires the admin key, and the request has none or a wrong one."""

    def __init__(self, detail: str = "Send the server's admin key in X-Admin-Key.") -> None:
        super().__init__(detail)


class WrongBearer(Exception):
    """The request has a wrong bearer key; raised only by calls that accept the admin key as a bearer."""

    def __init__(self) -> None:
        super().__init__("The key in the header Authorization is not the server's admin key.")


_STATUS: Final[Mapping[type[Exception], HTTPStatus]] = {
    BadInput: HTTPStatus.BAD_REQUEST,
    UnsupportedEncoding: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    AdminRequired: HTTPStatus.UNAUTHORIZED,
    WrongBearer: HTTPStatus.UNAUTHORIZED,
    e.AccessDenied: HTTPStatus.UNAUTHORIZED,
    e.NotAllowed: HTTPStatus.FORBIDDEN,
    e.JobDamaged: HTTPStatus.INTERNAL_SERVER_ERROR,
    e.ItemDamaged: HTTPStatus.INTERNAL_SERVER_ERROR,
    e.QueueDamaged: HTTPStatus.INTERNAL_SERVER_ERROR,
    e.QueueNotFound: HTTPStatus.NOT_FOUND,
    e.JobNotFound: HTTPStatus.NOT_FOUND,
    e.KeyNotFound: HTTPStatus.NOT_FOUND,
    e.QueueExists: HTTPStatus.CONFLICT,
    e.QueueDraining: HTTPStatus.CONFLICT,
    e.UidTaken: HTTPStatus.CONFLICT,
    e.UniqueKeyTaken: HTTPStatus.CONFLICT,
    e.BadDeadLetter: HTTPStatus.BAD_REQUEST,
    e.SameQueue: HTTPStatus.BAD_REQUEST,
    e.KeyTaken: HTTPStatus.CONFLICT,
    e.TooManyKeys: HTTPStatus.CONFLICT,
    e.LeaseLost: HTTPStatus.CONFLICT,
    e.LeaseRequired: HTTPStatus.CONFLICT,
    e.ClaimRequired: HTTPStatus.CONFLICT,
    e.GroupNotFound: HTTPStatus.NOT_FOUND,
    e.GroupInUse: HTTPStatus.CONFLICT,
    e.NothingAwaited: HTTPStatus.CONFLICT,
    e.FairWithAgeing: HTTPStatus.CONFLICT,
    e.UnknownDependency: HTTPStatus.CONFLICT,
    e.DependencyExists: HTTPStatus.CONFLICT,
    e.DependencyCircle: HTTPStatus.BAD_REQUEST,
    e.WouldWaitForItself: HTTPStatus.CONFLICT,
    e.TooManyDependants: HTTPStatus.CONFLICT,
    e.NotInProgress: HTTPStatus.CONFLICT,
    e.BatchNotFound: HTTPStatus.NOT_FOUND,
    e.BatchEnded: HTTPStatus.CONFLICT,
    e.ThenExists: HTTPStatus.CONFLICT,
    e.TooManyBatches: HTTPStatus.CONFLICT,
    e.ScheduleNotFound: HTTPStatus.NOT_FOUND,
    e.BadSchedule: HTTPStatus.BAD_REQUEST,
    e.ScheduleConflict: HTTPStatus.CONFLICT,
    e.NoTimes: HTTPStatus.BAD_REQUEST,
    e.ScheduleRunning: HTTPStatus.CONFLICT,
    e.TooManySchedules: HTTPStatus.CONFLICT,
    e.TooManyQueues: HTTPStatus.TOO_MANY_REQUESTS,
    e.QueueFull: HTTPStatus.TOO_MANY_REQUESTS,
    Starting: HTTPStatus.SERVICE_UNAVAILABLE,
    NoLead: HTTPStatus.SERVICE_UNAVAILABLE,
    Busy: HTTPStatus.SERVICE_UNAVAILABLE,
    Full: HTTPStatus.INSUFFICIENT_STORAGE,
    OutcomeUnknown: HTTPStatus.SERVICE_UNAVAILABLE,
    NotOffered: HTTPStatus.NOT_IMPLEMENTED,
}
#: Seconds after which a client may retry.
_RETRY_AFTER: Final[Mapping[type[Exception], int]] = {
    Starting: 1,
    NoLead: 1,
    Busy: 1,
    Full: 5,
    OutcomeUnknown: 5,
    e.QueueFull: 5,
    e.TooManyQueues: 60,
}
#: RFC 9110, 11.6.1: a 401 names an authentication scheme.
_SCHEME: Final[Mapping[type[Exception], str]] = {
    AdminRequired: 'X-Admin-Key realm="server"',
    WrongBearer: 'X-Admin-Key realm="server", Bearer realm="server"',
    e.AccessDenied: 'X-Access-Key realm="queue", Bearer realm="queue"',
}


def problem_of(error: Exception) -> Problem | None:
    """The problem to answer, or None for an unexpected error."""
    if isinstance(error, e.BadItem):
        return _item_problem(error)
    status = _STATUS.get(type(error))
    if status is not None:
        return Problem(status, str(error), _headers(type(error)), _more(error))
    return None


def routing_problem(error: HTTPException, method: str, path: str) -> Problem:
    """The problem to answer for an unknown path, or for a method that the path does not allow."""
    status = HTTPStatus(error.code or 404)
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
        detail = f"This path allows {allowed}. {near_method(method, path)}"
        return Problem(status, detail.rstrip(), {"Allow": allowed})
    return Problem(HTTPStatus.NOT_FOUND, near_path(path))


def result_of(result: tuple[str, str, Job | e.DomainError]) -> dict[str, Any]:
    """The result of one update of many, given the queue and the uid that were sent."""
    queue, uid, outcome = result
    if isinstance(outcome, Job):
        return {"uid": uid, "status": 200, "job": updated_value(outcome, queue)}
    status = _STATUS[type(outcome)]
    return {"uid": uid, "status": status.value, "error": str(outcome), **_more(outcome)}


def brief_result(result: tuple[str, str, Job | e.DomainError]) -> dict[str, Any]:
    """The result of one update of many in short: uid, status, the error, and whether the worker must stop."""
    _, uid, outcome = result
    if not isinstance(outcome, Job):
        return result_of(result)
    must_stop = {"cancel_requested": True} if is_cancelled(outcome) else {}
    return {"uid": uid, "status": 200, **must_stop}


def _headers(kind: type[Exception]) -> dict[str, str]:
    headers = {}
    if kind in _RETRY_AFTER:
        headers["Retry-After"] = str(_RETRY_AFTER[kind])
    if kind in _SCHEME:
        headers["WWW-Authenticate"] = _SCHEME[kind]
    return headers


#: The errors whose problems have the state and the holder of a job.
_OfHeldJob = e.LeaseLost | e.LeaseRequired | e.ClaimRequired | e.GroupInUse | e.NotInProgress | e.NothingAwaited


def _more(error: Exception) -> dict[str, Any]:
    """Extra members of a problem: the index of the bad item, or the job's state and holder."""
    if isinstance(error, BadInput) and error.index is not None:
        return {"index": error.index}
    if not isinstance(error, _OfHeldJob):
        return {}
    return {"state": error.state, "worker": error.worker}


def _item_problem(error: e.BadItem) -> Problem:
    why = type(error.why)
    return Problem(_STATUS[why], str(error), _headers(why), {"index": error.index})
