"""Splits many new jobs into requests, and reads the answers."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from msgspec import Raw, Struct
from msgspec.json import Decoder

from . import calls, shapes
from .batching import MOST, MOST_BYTES
from .errors import JobEngineError
from .http_codec import Response
from .jobs import NewJob, written_job, written_new, written_options
from .values import Job


def chunks(contents: Iterable[Mapping[str, Any] | NewJob], options: Mapping[str, Any]) -> Iterator[list[bytes]]:
    """Encode new jobs as JSON, and yield as many at a time as fit in one request."""
    usual = written_options(options)
    chunk: list[bytes] = []
    size = 0
    for content in contents:
        data = written_new(content, options) if isinstance(content, NewJob) else written_job(content, usual)
        if chunk and (size + len(data) > MOST_BYTES or len(chunk) == MOST):
            yield chunk
            chunk, size = [], 0
        chunk.append(data)
        size += len(data) + 1
    if chunk:
        yield chunk


def for_one_request(jobs: list[NewJob]) -> list[NewJob]:
    """Return the jobs if they fit in one request; otherwise raise ValueError."""
    if len(list(islice(chunks(jobs, {}), 2))) > 1:
        raise ValueError(f"a chain is added in one request: at most {MOST} jobs, of less than a megabyte together")
    return jobs


class _Added(Struct):
    jobs: list[Raw]


_added: Final = Decoder(_Added).decode
_job: Final = Decoder(shapes.of(Job)).decode
#: How an error text about one job of a request begins.
_PLACE: Final = re.compile(r"^jobs\[[0-9]+\]")
#: The usual beginning of a job's JSON, followed by the uid. JSON that begins otherwise is decoded to find the uid.
_BEGINS: Final = b'{"uid":"'


def read(call: calls.Call[Any], response: Response, count: int, added: int, *, brief: bool = False) -> list[Job]:
    """
    The `count` jobs of an answer to ADD_JOBS or ADD_JOB.

    Raises JobEngineError, with the bad job's index among all jobs; `added` is the number of jobs in earlier requests.
    Whole jobs are decoded when they are first used: splitting the answer alone takes a third of the time.
    """
    try:
        calls.check_status(call, response)
        if call is calls.ADD_JOB:
            return [calls.ADD_JOB.read(response)]
        jobs = _brief(response) if brief else _whole(response)
    except JobEngineError as error:
        raise _placed(error, added) from None
    if len(jobs) != count:
        raise calls.not_jobengine(response, f"it has {len(jobs)} jobs, not {count}")
    return jobs


def _brief(response: Response) -> list[Job]:
    return [Job(one) for one in calls.json_of(response, shapes.brief_jobs)["jobs"]]


def _whole(response: Response) -> list[Job]:
    calls.check_type(response)
    try:
        jobs = list(map(bytes, _added(response.body).jobs))
        for job in jobs:
            if not job.startswith(_BEGINS):
                _job(job)
    except (ValueError, RecursionError):
        raise calls.not_jobengine(response, "its fields are not the expected ones") from None
    return list(map(Job._later, jobs))


def is_good(call: calls.Call[Any], response: Response) -> bool:
    """Whether the jobs were added."""
    return response.status in call.statuses


def _placed(error: JobEngineError, added: int) -> JobEngineError:
    """The error with the job's index among all jobs, also in its text."""
    if error.index is not None:
        error.index += added
        error.detail = _PLACE.sub(f"jobs[{error.index}]", error.detail)
        error.args = (error.detail,)
    return error
