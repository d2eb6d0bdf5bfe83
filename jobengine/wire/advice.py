"""Advice for requests with an unknown field, or without a required one; see advice_of."""

from collections.abc import Iterable, Mapping
from typing import Final

_TO_ADD: Final = "To add a job, send PUT /api/v1/job."
_TO_ADD_MANY: Final = "To add several jobs, send PUT /api/v1/jobs."
_TO_CHANGE: Final = "To change a job, send POST /api/v1/job."
_TO_CHANGE_MANY: Final = "To change several jobs, send POST /api/v1/jobs."
_TO_MOVE: Final = 'To move a job, send POST /api/v1/jobs with {"uids": [UID], "move_to": QUEUE}.'

FOR_CHANGE_QUEUE: Final[Mapping[str, str]] = {
    "access_key": "To create a queue, send PUT /api/v1/queue; to change its key, send new_access_key.",
}
_SETTINGS_LATER: Final = "Create the queue first; then send its settings by POST /api/v1/queue."
#: Fields of POST /api/v1/queue that are not settings.
_NO_SETTINGS: Final = ("name", "new_access_key", "old_key_seconds")
FOR_ADD_JOBS: Final[Mapping[str, str]] = {"updates": _TO_CHANGE_MANY, "content": _TO_ADD}
FOR_BATCH: Final[Mapping[str, str]] = {
    "jobs": 'To add jobs to a batch, send PUT /api/v1/jobs with {"batch": NAME}.',
    "content": 'The fields of the job at the end belong in then: send {"then": {"content": {…}}}.',
    "closed": "To close a batch, send open: false.",
}
FOR_SCHEDULE: Final[Mapping[str, str]] = {
    "content": 'The fields of the job belong in job: send {"job": {"content": {…}}}.',
    "job": 'Send {"job": {"content": {…}}}.',
}
FOR_NEW_JOB: Final[Mapping[str, str]] = {
    **dict.fromkeys(("data", "payload", "body", "args"), "Did you mean 'content'?"),
    **dict.fromkeys(("retries", "max_retries"), "Did you mean 'max_attempts'?"),
    "timeout": "Did you mean 'timeout_seconds'?",
}
FOR_SCHEDULED_JOB: Final[Mapping[str, str]] = {
    **FOR_NEW_JOB,
    "uid": "The uid of each job follows from the schedule and the time.",
    **dict.fromkeys(("depends_on", "batch"), "A job that a schedule adds depends on nothing, and is in no batch."),
    **dict.fromkeys(("not_before", "timeout_time"), "A fixed time fits only the first job; send delay_seconds."),
}
FOR_UPDATE: Final[Mapping[str, str]] = dict.fromkeys(("state", "status"), "Did you mean 'new_status'?")
FOR_UPDATE_JOB: Final[Mapping[str, str]] = {
    **FOR_UPDATE,
    **dict.fromkeys(("job", "uid"), _TO_ADD),
    "jobs": _TO_ADD_MANY,
    "updates": _TO_CHANGE_MANY,
    "move_to": _TO_MOVE,
}
FOR_UPDATE_JOBS: Final[Mapping[str, str]] = {
    **FOR_UPDATE,
    **dict.fromkeys(("job", "jobs"), _TO_ADD_MANY),
    "uid": f"{_TO_CHANGE} {_TO_MOVE}",
}


def for_new_queue(fields: Iterable[str]) -> Mapping[str, str]:
    """Advice for a request to create a queue; `fields` are those of a request to change one."""
    return {field: _SETTINGS_LATER for field in fields if field not in _NO_SETTINGS}


def for_add_job(fields: Iterable[str]) -> Mapping[str, str]:
    """Advice for a request to add a job with these fields."""
    return {
        **dict.fromkeys(fields, 'The fields of a job belong in job: send {"queue_name": …, "job": {"content": {…}}}.'),
        "job": 'Send {"queue_name": …, "job": {"content": {…}}}.',
        "new_status": _TO_CHANGE,
        "jobs": _TO_ADD_MANY,
    }
