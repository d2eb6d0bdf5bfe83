"""Splits many new jobs into requests, and reads the answers."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from msgspec import Raw, Struct
from msgspec.json import Decoder

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


class _Added(Struct):
    jobs: list[Raw]


_added: Final = Decoder(_Added).decode


def read(response: Response, added: int, *, brief: bool = False) -> list[Job]:
    """
    The jobs of an answer. An error names the bad job by its index among all; `added` were added before.

    Whole jobs are decoded when they are first looked at: only to split the answer takes a third of the time.
    """
    if not is_good(response):
        error = calls.failure(response, calls.ADD_JOBS.special)
        raise _placed(error, added)
    if not brief:
        with suppress(ValueError):  # one job that was sent alone, or no JSON
            return [Job.later(bytes(job)) for job in _added(response.body).jobs]
    answer = calls.json_of(response)
    return [Job(job) for job in answer["jobs"]] if "jobs" in answer else [Job(answer)]


def is_good(response: Response) -> bool:
    """Whether the jobs were added."""
    return 200 <= response.status < 300


def _placed(error: JobEngineError, added: int) -> JobEngineError:
    if error.index is not None:
        error.index += added
    return error
