"""Adds many jobs: prepares each request while the one before it is under way."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..chunks import chunks, is_good, read
from ..coalescing import add_body, add_call
from ..encoding import encode
from ..http import long_body_query
from ..jobs import NewJob
from ..secret import Secret
from ..values import Job
from .caller import AsyncCaller
from .transport import Stream

__all__ = ["add_in_chunks"]


async def add_in_chunks(
    caller: AsyncCaller,
    queue: str,
    key: Secret | None,
    contents: Iterable[Mapping[str, Any] | NewJob],
    options: Mapping[str, Any],
    *,
    brief: bool = False,
) -> Stream[list[Job]]:
    """Add jobs, and yield those of each request; one request is under way at a time, so they stay in order."""
    added, under_way = 0, None
    name = encode(queue)
    headers = {"Prefer": "return=minimal"} if brief else None
    try:
        for chunk in chunks(contents, options):
            body = add_body(name, chunk)
            query = long_body_query(queue, body)
            request = caller.request(add_call(chunk), key=key, query=query, body=body, headers=headers)
            response = None if under_way is None else await caller.answer(*under_way)
            under_way = (request, await caller.begin(request)) if response is None or is_good(response) else None
            if response is not None:
                jobs = read(response, added, brief=brief)
                added += len(jobs)
                yield jobs
        if under_way is not None:
            last, under_way = under_way, None
            yield read(await caller.answer(*last), added, brief=brief)
    finally:
        if under_way is not None and under_way[1] is not None:
            under_way[1].abort()
