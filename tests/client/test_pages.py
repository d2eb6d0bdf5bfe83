"""Lists that the client reads page by page."""

from collections.abc import Callable
from typing import Any

import pytest

from jobengine.client.http_codec import Request, Response

from .doubles import answer, async_queue_with, in_loop, queue_with

#: For each list: its field in an answer, the field that identifies an item, the query, and the call.
LISTS: list[tuple[str, str, dict[str, str], Callable[..., Any]]] = [
    ("groups", "group", {"sort": "queued"}, lambda queue, **limit: queue.groups(**limit)),
    ("groups", "group", {"sort": "oldest"}, lambda queue, **limit: queue.groups(sort="oldest", **limit)),
    ("schedules", "name", {}, lambda queue, **limit: queue.schedules.list(**limit)),
    ("batches", "name", {}, lambda queue, **limit: queue.batches(**limit)),
    ("failures", "fingerprint", {}, lambda queue, **limit: queue.failures(**limit)),
    ("jobs", "uid", {"tag": "t"}, lambda queue, **limit: queue.jobs(tag="t", **limit)),
]


@pytest.mark.parametrize(("name", "key", "query", "call"), LISTS)
def test_a_page_is_requested_only_when_the_iteration_reaches_it(
    name: str, key: str, query: dict[str, str], call: Callable[..., Any]
) -> None:
    asked: list[dict[str, str]] = []

    def reply(request: Request) -> Response:
        asked.append(dict(request.query or {}))
        if "cursor" in asked[-1]:
            return answer(200, {name: [{key: "c"}], "next_cursor": None})
        return answer(200, {name: [{key: "a"}, {key: "b"}], "next_cursor": "there"})

    queue, _ = queue_with(reply)
    items = call(queue)
    assert (next(items).raw[key], len(asked)) == ("a", 1)
    assert [item.raw[key] for item in items] == ["b", "c"]
    first = {"queueName": "q", **query, "limit": "100" if name == "failures" else "500"}
    assert asked == [first, {**first, "cursor": "there"}]
    assert [item.raw[key] for item in call(queue, limit=2)] == ["a", "b"]
    assert asked[2:] == [{**first, "limit": "2"}]


@pytest.mark.parametrize(("name", "key", "query", "call"), LISTS)
@in_loop
async def test_the_asyncio_client_iterates_lists_too(
    name: str, key: str, query: object, call: Callable[..., Any]
) -> None:
    queue = async_queue_with(answer(200, {name: [{key: "a"}], "next_cursor": None}))
    assert [item.raw[key] async for item in call(queue)] == ["a"]


def test_dropped_failures_returns_the_number_of_jobs_in_unlisted_groups() -> None:
    asked: list[object] = []

    def reply(request: Request) -> Response:
        asked.append(request.query)
        return answer(200, {"failures": [], "next_cursor": None, "dropped": 7})

    assert queue_with(reply)[0].dropped_failures() == 7
    assert asked == [{"queueName": "q", "limit": "1"}]
