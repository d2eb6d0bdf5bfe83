# Made from _async/pipelined_add.py by tests/client/twin.py: edit that one and run it again.
"""Adds many jobs: prepares each request while the previous one is in flight."""

from collections.abc import Iterable, Mapping
from typing import Any

from .. import calls
from ..batching import add_body, add_call
from ..bulk_add import chunks, is_good, read
from ..encoding import encode
from ..http_codec import Request, long_body_query
from ..jobs import NewJob
from ..secret import Secret
from ..values import Job
from .caller import Caller
from .transport import Stream


def add_in_chunks(
    caller: Caller,
    queue: str,
    key: Secret | None,
    contents: Iterable[Mapping[str, Any] | NewJob],
    options: Mapping[str, Any],
    *,
    brief: bool = False,
) -> Stream[list[Job]]:
    """Add jobs, and yield the jobs of each request. At most one request is in flight, so the order is kept."""
    added = 0
    under_way: tuple[calls.Call[Any], int, Request, Any] | None = None
    headers = {"Prefer": "return=minimal"} if brief else None
    try:
        for chunk in chunks(contents, options):
            call, body = add_call(chunk), add_body(encode(queue), chunk)
            request = caller.request(call, key=key, query=long_body_query(queue, body), body=body, headers=headers)
            last, under_way = under_way, None  # from now on, `answer` takes care of its connection
            response = None if last is None else caller.answer(*last[2:])
            if last is None or response is None or is_good(last[0], response):
                under_way = (call, len(chunk), request, caller.begin(request))
            if last is not None and response is not None:
                jobs = read(last[0], response, last[1], added, brief=brief)
                added += len(jobs)
                yield jobs
        if under_way is not None:
            last, under_way = under_way, None
            yield read(last[0], caller.answer(*last[2:]), last[1], added, brief=brief)
    finally:
        if under_way is not None and under_way[3] is not None:
            caller.pool.drop(under_way[3])
