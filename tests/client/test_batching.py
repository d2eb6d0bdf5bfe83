"""How lanes gather items, and the outcome of each item; without a server, with answers made by hand."""

import json
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import pytest

from jobengine.client import batching
from jobengine.client.batching import MOST, MOST_BYTES, AddLane, Item, Lane, Returning, UpdateLane
from jobengine.client.bulk_add import read
from jobengine.client.calls import ADD_JOBS
from jobengine.client.errors import (
    AccessDenied,
    BadRequest,
    Conflict,
    JobNotFound,
    LeaseLost,
    OutcomeUnknown,
    TooManyRequests,
)
from jobengine.client.http_codec import Response


def _answer(status: int, value: Any, **headers: str) -> Response:
    return Response(status, headers, json.dumps(value).encode())


def _items(count: int, size: int = 10) -> list[Item]:
    return [Item(b'"%0*d"' % (size - 2, number)) for number in range(count)]


def _filled(items: Iterable[Item], kind: type[Lane] = AddLane, most: int = 100_000) -> Lane:
    lane = kind("q", most)
    for item in items:
        lane.put(item)
    return lane


def _server(lane: Lane, bad: Mapping[bytes, tuple[int, bool]], most: int = 1_000_000) -> int:
    """Answer like a server that refuses `bad` items, with or without their index; returns the number of requests."""
    requests, held = 0, 0
    while batch := lane.take():
        requests += 1
        refused = next((number for number, item in enumerate(batch) if item.data in bad), None)
        if refused is None and held + len(batch) > most:
            refused = max(most - held, 0)
            lane.answered(batch, _answer(429, {"detail": "full", "index": refused}), repeated=False)
        elif refused is None:
            held += len(batch)
            jobs = [{"uid": item.data.decode()} for item in batch]
            lane.answered(batch, _answer(201, jobs[0] if len(jobs) == 1 else {"jobs": jobs}), repeated=False)
        else:
            status, named = bad[batch[refused].data]
            problem = {"detail": "bad", **({"index": refused} if named and len(batch) > 1 else {})}
            lane.answered(batch, _answer(status, problem), repeated=False)
    return requests


def test_one_job_is_sent_as_a_single_call_and_several_as_a_bulk_call() -> None:
    lane = AddLane('a"b', 10)
    one, two = _items(2)
    assert json.loads(lane.body([one])) == {"queue_name": 'a"b', "job": json.loads(one.data)}
    assert json.loads(lane.body([one, two])) == {"queue_name": 'a"b', "jobs": [json.loads(i.data) for i in (one, two)]}
    assert [lane.call(batch).path for batch in ([one], [one, two])] == ["/api/v1/job", "/api/v1/jobs"]


def test_the_error_about_one_of_many_jobs_names_the_index_of_the_job_among_all_jobs() -> None:
    problem = {"detail": "jobs[200].priority must be a whole number, not a text.", "index": 200}
    with pytest.raises(BadRequest, match=r"^jobs\[1200\]\.priority must") as raised:
        read(ADD_JOBS, _answer(400, problem), 1_000, 1_000)
    assert (raised.value.index, raised.value.detail) == (1_200, str(raised.value))


def test_an_error_about_one_item_of_a_batch_omits_the_index_of_the_item() -> None:
    items = _items(3)
    lane = _filled(items)
    problem = {"detail": "jobs[1].content is longer than 1048576 bytes.", "index": 1}
    lane.answered(lane.take(), _answer(400, problem), repeated=False)
    assert str(items[1].error) == "content is longer than 1048576 bytes."
    assert lane.take() == [items[0]], "half as many are sent, in case there are more bad ones"


@pytest.mark.parametrize(
    ("items", "lengths"),
    [
        (_items(MOST + 5), [MOST, 5, 0]),
        (_items(10, MOST_BYTES // 4), [3, 3, 3, 1]),
        ([Item(b"1"), Item(b"x" * (MOST_BYTES + 1)), Item(b"2")], [1, 1, 1]),
    ],
    ids=["number", "bytes", "a longer item"],
)
def test_requests_keep_the_item_order_and_stay_within_their_limits(items: list[Item], lengths: list[int]) -> None:
    lane = _filled(items)
    taken = [lane.take() for _ in lengths]
    assert ([len(batch) for batch in taken], [*chain(*taken)]) == (lengths, items)


def test_updates_that_must_not_be_repeated_are_sent_in_separate_requests_in_order() -> None:
    safe, unsafe, after = Item(b"1"), Item(b"2", safe=False), Item(b"3")
    lane = _filled([safe, unsafe, after], UpdateLane)
    assert [lane.take() for _ in range(3)] == [[safe], [unsafe], [after]]


def test_waiting_calls_are_limited_in_number_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = _filled(_items(3), most=3)
    assert lane.full()
    lane.take()
    assert not lane.full()
    monkeypatch.setattr(batching, "_WAITING_BYTES", 100)
    lane = _filled(_items(1, 101))
    assert lane.full()
    lane.take()
    assert not lane.full()


def test_items_of_cancelled_callers_are_not_sent() -> None:
    first, second = _items(2)
    lane = _filled([first, second])
    lane.withdraw(first)
    assert lane.first() is second
    assert lane.take() == [second]


@pytest.mark.parametrize(
    ("bad", "status", "named", "error"),
    [(42, 400, True, BadRequest), (42, 400, False, BadRequest), (0, 409, True, Conflict)],
)
def test_only_the_bad_item_of_a_batch_fails(bad: int, status: int, *, named: bool, error: type[Exception]) -> None:
    items = _items(100)
    requests = _server(_filled(items), {items[bad].data: (status, named)})
    assert [(number, type(item.error)) for number, item in enumerate(items) if item.error] == [(bad, error)]
    assert all(item.result()["uid"] == item.data.decode() for item in items if item.error is None)
    assert requests < 25


def test_many_bad_items_in_a_batch_cause_few_requests_and_few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    items, sent = _items(1000), 0
    lane = _filled(items)
    take = lane.take

    def counted() -> list[Item]:
        nonlocal sent
        sent += len(batch := take())
        return batch

    monkeypatch.setattr(lane, "take", counted)
    _server(lane, {item.data: (400, True) for item in items})
    assert all(isinstance(item.error, BadRequest) for item in items)
    assert sent < 4 * len(items)


def test_a_batch_fills_a_queue_to_its_limit_and_the_remaining_items_fail() -> None:
    items = _items(1000)
    requests = _server(_filled(items), {}, most=300)
    refused = [item for item in items if item.error is not None]
    assert len(refused) == 700
    assert all(isinstance(item.error, TooManyRequests) for item in refused)
    assert requests < 10


def test_an_error_about_the_queue_fails_each_item_with_a_separate_error() -> None:
    items = _items(10)
    lane = _filled(items)
    lane.answered(lane.take(), _answer(401, {"detail": "no"}, **{"x-request-id": "r-1"}), repeated=False)
    errors = [item.error for item in items]
    assert all(isinstance(error, AccessDenied) and error.request_id == "r-1" for error in errors)
    assert len({id(error) for error in errors}) == 10
    assert lane.first() is None


def test_an_answer_that_is_not_from_a_jobengine_fails_all_items() -> None:
    for answer in (Response(200, {}, b"<html>"), _answer(201, {"jobs": []}), _answer(201, {"other": 1})):
        items = _items(2)
        lane = _filled(items)
        lane.answered(lane.take(), answer, repeated=False)
        assert all("did not come from a JobEngine" in str(item.error) for item in items)


def _updated(status: int, *, repeated: bool, asked: str, lease: bool = True, **more: Any) -> Item:
    item = Item(b"{}", lease=lease, status=asked)
    lane = _filled([item], UpdateLane)
    results = [{"uid": "u", "status": status, "error": "no", **more}]
    lane.answered(lane.take(), _answer(200, {"results": results}), repeated=repeated)
    return item


def test_each_update_of_a_batch_succeeds_or_fails_by_itself() -> None:
    items = _items(3)
    lane = _filled(items, UpdateLane)
    results = [
        {"uid": "a", "status": 200, "job": {"uid": "a"}},
        {"uid": "b", "status": 404, "error": "gone"},
        {"uid": "c", "status": 200},
    ]
    lane.answered(lane.take(), _answer(200, {"results": results}, **{"x-request-id": "7"}), repeated=False)
    assert items[0].result() == {"uid": "a"}
    assert isinstance(items[1].error, JobNotFound)
    assert items[1].error.request_id == "7"
    assert items[2].result() == {"uid": "c", "status": 200}


def test_a_409_raises_lease_lost_only_if_a_lease_was_sent() -> None:
    assert isinstance(_updated(409, repeated=False, asked="complete").error, LeaseLost)
    assert type(_updated(409, repeated=False, asked="complete", lease=False).error).__name__ == "Conflict"


@pytest.mark.parametrize(
    ("status", "asked", "done"),
    [
        (404, "complete", True),
        (404, "failed", True),
        (409, "failed", True),
        (409, "queued", True),
        (409, "complete", False),
        (404, "inprogress", False),
        (409, "inprogress", False),
    ],
)
def test_a_repeated_finish_succeeds_if_the_first_answer_was_lost_and_the_lease_is_gone(
    status: int, asked: str, done: bool
) -> None:
    assert (_updated(status, repeated=True, asked=asked).error is None) == done
    assert _updated(status, repeated=False, asked=asked).error is not None
    assert _updated(status, repeated=True, asked=asked, lease=False).error is not None


def test_a_lost_answer_fails_only_items_that_have_no_result_yet() -> None:
    done, lost = _items(2)
    done.done({"uid": "a"})
    AddLane("q", 9).lost([done, lost], OutcomeUnknown("lost"))
    assert done.result() == {"uid": "a"}
    with pytest.raises(OutcomeUnknown):
        lost.result()


def _calls(count: int) -> list[Item]:
    """The items of this many calls that have been answered."""
    items = [Item(b"a") for _ in range(count)]
    for item in items:
        item.closes = item.settled = True
    return items


def test_a_request_waits_for_calls_of_recent_callers_at_most_a_quarter_of_a_round_trip() -> None:
    returning = Returning()
    returning.released(_calls(5), 2, began=10, now=14)
    assert returning.patience(3, 14) == 1
    assert returning.patience(6, 14.75) == 0.25
    assert returning.patience(6, 15) == 0
    assert returning.patience(7, 14) == 0


def test_the_request_of_a_single_caller_is_sent_without_a_wait_for_recent_callers() -> None:
    returning = Returning()
    assert returning.patience(1, 0) == 0
    returning.released(_calls(1), 0, began=0, now=4)
    assert returning.patience(0, 4) == 0


def test_only_the_last_item_of_a_call_and_no_item_that_is_sent_again_counts_as_a_caller() -> None:
    returning = Returning()
    one, inside, again = _calls(3)
    inside.closes = again.settled = False
    returning.released([one, inside, again], 0, began=0, now=4)
    assert returning.are_there(1)


def _patience(returning: Returning, waiting: int) -> float:
    """The seconds to wait for the rest of five callers, when this many have come."""
    returning.released(_calls(5), 0, began=0, now=16)
    seconds = returning.patience(1, 16)
    returning.waited(waiting)
    return seconds


@pytest.mark.parametrize(
    ("waiting", "waits"),
    [((1, 1, 1, 5, 5, 5, 5), [4, 2, 1, 0.5, 1, 2, 4]), ((1,) * 7, [4, 2, 1, 0.5, 0.25, 0.125, 4])],
    ids=["they return", "they stay away six times"],
)
def test_the_wait_for_recent_callers_halves_if_no_call_comes_and_doubles_if_all_callers_call(
    waiting: tuple[int, ...], waits: list[float]
) -> None:
    returning = Returning()
    assert [_patience(returning, one) for one in waiting] == waits


def test_a_full_request_is_sent_without_a_wait_for_recent_callers() -> None:
    returning = Returning()
    returning.released(_calls(MOST), 7, began=0, now=4)
    assert returning.are_there(MOST)
