# Made from _async/adding.py by tests/client/twin.py: edit that one and run it again.
"""Adds many jobs: prepares each request while the one before it is under way."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..chunks import chunks, is_good, read
from ..coalescing import add_body, add_call
from ..encoding import encode
from ..http import Request, long_body_query
from ..jobs import NewJob
from ..secret import Secret
from ..values import Job
from .caller import Caller
from .transport import Stream

__all__ = ["add_in_chunks"]


def add_in_chunks(
    caller: Caller,
    queue: str,
    key: Secret | None,
    contents: Iterable[Mapping[str, Any] | NewJob],
    options: Mapping[str, Any],
    *,
    brief: bool = False,
) -> Stream[list[Job]]:
    """Add jobs, and yield those of each request; one request is under way at a time, so they stay in order."""
    added = 0
    under_way: tuple[Request, Any] | None = None
    headers = {"Prefer": "return=minimal"} if brief else None
    try:
        for chunk in chunks(contents, options):
            body = add_body(encode(queue), chunk)
            query = long_body_query(queue, body)
            request = caller.request(add_call(chunk), key=key, query=query, body=body, headers=headers)
            last, under_way = under_way, None  # whose connection `answer` gives back
            response = None if last is None else caller.answer(*last)
            under_way = (request, caller.begin(request)) if response is None or is_good(response) else None
            if response is not None:
                jobs = read(response, added, brief=brief)
                added += len(jobs)
                yield jobs
        if under_way is not None:
            last, under_way = under_way, None
            yield read(caller.answer(*last), added, brief=brief)
    finally:
        if under_way is not None and under_way[1] is not None:
            caller.pool.drop(under_way[1])
