"""Splits many new jobs into requests, and reads the answers."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from . import calls
from .coalescing import MOST, MOST_BYTES
from .errors import JobEngineError
from .http import Response
from .jobs import NewJob, job_json, written_job, written_options
from .values import Job

__all__ = ["chunks", "is_good", "read"]


def chunks(contents: Iterable[Mapping[str, Any] | NewJob], options: Mapping[str, Any]) -> Iterator[list[bytes]]:
    """Encode new jobs as JSON, and yield as many at a time as fit in one request."""
    usual = written_options(options)
    chunk: list[bytes] = []
    size = 0
    for content in contents:
        if isinstance(content, NewJob):
            data = job_json(content.content, {**options, **content.options})
        else:
            data = written_job(content, usual)
        if chunk and (size + len(data) > MOST_BYTES or len(chunk) == MOST):
            yield chunk
            chunk, size = [], 0
        chunk.append(data)
        size += len(data) + 1
    if chunk:
        yield chunk


def read(response: Response, added: int) -> list[Job]:
    """The jobs of an answer. An error names the bad job by its index among all; `added` were added before."""
    if not is_good(response):
        error = calls.failure(response, calls.ADD_JOBS.special)
        raise _placed(error, added)
    answer = calls.json_of(response)
    return [Job(job) for job in answer["jobs"]] if "jobs" in answer else [Job(answer)]


def is_good(response: Response) -> bool:
    """Whether the jobs were added."""
    return 200 <= response.status < 300


def _placed(error: JobEngineError, added: int) -> JobEngineError:
    if error.index is not None:
        error.index += added
    return error
