"""A long body is read in pieces, between other requests; the result is the same as if it were read at once."""

import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from jobengine.core import commands as c
from jobengine.wire.long_bodies import MOST_BULK_VALUES
from jobengine.wire.request_head import BadInput
from jobengine.wire.requests import Wire

ACCESS = {"access_key": b"key"}


def _read(method: str, body: bytes, pauses: list[None] | None = None, **more: Any) -> Any:
    """The command of a body; pauses are recorded and take no time."""

    async def pause() -> None:
        if pauses is not None:
            pauses.append(None)

    results: list[Any] = []
    reading = getattr(Wire(), method)(body, ACCESS, pause, **more)
    Deferred.fromCoroutine(reading).addBoth(results.append)
    (result,) = results
    if not isinstance(result, c.Command):
        result.raiseException()
    return result


def _body(name: str, items: list[Any], **beside: Any) -> bytes:
    return json.dumps({"queue_name": "q", name: items, **beside}).encode()


def _jobs(count: int, size: int = 100) -> list[Any]:
    return [{"content": {"n": n, "text": 'a "\\' + "x" * size}, "priority": n % 7} for n in range(count)]


def test_many_jobs_in_a_long_body_have_the_same_outcome_as_in_short_bodies() -> None:
    jobs, pauses = _jobs(5_000), list[None]()
    read = _read("add_jobs", _body("jobs", jobs), pauses)
    assert [json.loads(job.content) for job in read.jobs] == [job["content"] for job in jobs]
    assert [job.priority for job in read.jobs] == [job["priority"] for job in jobs]
    assert (read.queue, read.access_key, read.many) == ("q", b"key", True)
    # The body has about 700 KiB; 64 KiB are read at a time.
    assert len(pauses) >= 11


def test_the_idempotency_key_of_a_job_has_its_index_in_the_whole_long_body() -> None:
    read = _read("add_jobs", _body("jobs", _jobs(5_000)), idempotency_key="k")
    assert [job.idempotency_key for job in read.jobs] == [f"k\n{n}" for n in range(5_000)]


def test_many_updates_in_a_long_body_have_the_same_outcome_as_in_short_bodies() -> None:
    updates = [{"uid": f"{n}", "new_status": "complete", "result": [n]} for n in range(5_000)]
    read = _read("update_jobs", _body("updates", updates))
    assert [(one.uid, one.changes.result) for one in read.updates] == [(f"{n}", b"[%d]" % n) for n in range(5_000)]


def test_a_body_up_to_8_kib_is_read_at_once_and_a_longer_body_in_a_later_reactor_turn() -> None:
    for jobs, expected in ((50, 0), (100, 1)):
        pauses: list[None] = []
        _read("add_jobs", _body("jobs", _jobs(jobs)), pauses)
        assert len(pauses) == expected


@pytest.mark.parametrize("spaced", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_the_list_of_a_long_body_is_found_wherever_it_stands_among_the_fields(spaced: bool, first: bool) -> None:
    body = _body("jobs", _jobs(1000))
    if first:
        body = b'{"jobs":%b, "queue_name": "q"}' % body[body.index(b"[") : -1]
    if spaced:
        body = body.replace(b'"jobs"', b' \n "\\u006aobs" \t')
    assert len(_read("add_jobs", body).jobs) == 1000


@pytest.mark.parametrize(
    ("job", "error"),
    [
        ({"content": []}, r"jobs\[777\]\.content must be a JSON object"),
        ({"content": {}, "priority": "high"}, r"^jobs\[777\]\.priority must be a whole number, not a text\.$"),
        ({}, r"^jobs\[777\]\.content is missing\.$"),
        (5, r"^jobs\[777\] must be an object, not a whole number\.$"),
    ],
)
def test_an_error_of_one_job_names_its_index_in_the_whole_request(job: Any, error: str) -> None:
    jobs = _jobs(2000)
    jobs[777] = job
    with pytest.raises(BadInput, match=error) as raised:
        _read("add_jobs", _body("jobs", jobs))
    assert raised.value.index == 777


def test_an_error_of_one_update_names_its_index_in_the_whole_request() -> None:
    updates: list[Any] = [{"uid": f"{n}", "new_status": "complete"} for n in range(3000)]
    updates[2222] = {"uid": "x", "new_status": "done"}
    with pytest.raises(BadInput, match=r"updates\[2222\]\."):
        _read("update_jobs", _body("updates", updates))


_LONG = json.dumps(_jobs(1000)).encode()


@pytest.mark.parametrize(
    "body",
    [
        b'{"queue_name":"q","jobs":%b' % _LONG,
        b'{"queue_name":"q","jobs":%b}}' % _LONG,
        b'{"queue_name":"q","queue_name":"q","jobs":%b}' % _LONG,
        b'{"queue_name":"q","jobs":%b,"jobs":%b}' % (_LONG, _LONG),
        b'{"queue_name":"q","jobs":[],"jobs":%b}' % _LONG,
        b'{"queue_name":"q","jobs":%b,"jobs":[]}' % _LONG,
        b'{"queue_name":"q","jobs":%b}' % _LONG.replace(b'"n": 900', b'"n": 900, "n": 900'),
        b'{"queue_name":"q","jobs":%b}' % _LONG.replace(b'"n": 900', b'"n": 99999999999999999999'),
        b'{"queue_name":"q","jobs":%b}' % _LONG.replace(b'"n": 900', b'"n": "\xff"'),
        b'{"queue_name":"q","jobs":%b}' % _LONG.replace(b'"n": 900', b'"n": "\\ud800"'),
        b'{"queue_name":"q","jobs":%b}' % _LONG.replace(b'"n": 900', b'"n": ' + b"[" * 40 + b"]" * 40),
        b'{"queue_name":"q","jobs":%b,"x":"%b"}' % (_LONG, b"x" * 5000),
        b'{"queue_name":"q","jobs":{"a":%b}}' % _LONG,
        b'{"queue_name":"q","jobs":"%b"}' % (b"x" * 3_000_000),
        b'{"jobs":%b}' % _LONG,
        b"[%b]" % _LONG,
        b'"%b"' % (b"x" * 100_000),
        b"[" * 100_000,
        b'{"queue_name":"q","jobs":[%b]}' % (b"x" * 100_000),
    ],
    ids=lambda body: repr(body[:40] + b"..." + body[-20:]),
)
def test_a_malformed_long_body_is_refused_like_a_short_one(body: bytes) -> None:
    with pytest.raises(BadInput):
        _read("add_jobs", body)


def test_more_than_ten_thousand_items_are_refused_before_they_are_decoded() -> None:
    pauses: list[None] = []
    with pytest.raises(BadInput, match="more than 10000 items"):
        _read("add_jobs", _body("jobs", [0] * 60_000), pauses)
    assert len(pauses) < 5


def test_an_item_of_a_long_body_may_be_no_longer_than_a_single_job() -> None:
    with pytest.raises(
        BadInput, match=r"Item 1 of the list is longer than \d+ bytes\. Its content and its result may have"
    ):
        _read("add_jobs", _body("jobs", [{"content": {}}, {"content": {"a": "x" * (3 << 20)}}]))


def test_the_error_for_a_long_result_says_what_to_do_with_it() -> None:
    update = {"uid": "u", "new_status": "complete", "result": "x" * (1 << 20)}
    with pytest.raises(BadInput, match=r"updates\[0\]\.result is longer than 1048576 bytes; keep the data elsewhere"):
        _read("update_jobs", _body("updates", [update]))


def test_after_a_key_check_a_body_may_have_a_million_values() -> None:
    body = _body("jobs", [{"content": {"a": [0] * 500}} for _ in range(400)])
    with pytest.raises(BadInput, match="more than 100000 values; up to 1000000 are accepted if"):
        _read("add_jobs", body)
    assert len(_read("add_jobs", body, most_values=MOST_BULK_VALUES).jobs) == 400
    with pytest.raises(BadInput, match="more than 1000000 values"):
        _read("add_jobs", _body("jobs", [0] * 1_000_001), most_values=MOST_BULK_VALUES)


def test_other_requests_are_handled_while_the_values_of_a_long_body_are_counted() -> None:
    pauses: list[None] = []
    _read("add_jobs", _body("jobs", [{"content": {"a": "x" * 1_000_000}} for _ in range(8)]), pauses)
    # 32 pieces of a quarter MiB are counted, and 8 jobs read.
    assert len(pauses) >= 39


def test_a_request_that_changes_all_matching_jobs_may_have_a_long_body() -> None:
    body = json.dumps({"queue_name": "q", "filter": {"tag": "t"}, "content": {"a": "x" * 500_000}}).encode()
    read = _read("update_jobs", body)
    assert isinstance(read, c.UpdateMatching)
    assert len(read.changes.content or b"") > 500_000


def _checked(body: bytes, pauses: list[None]) -> Any:
    async def pause() -> None:
        pauses.append(None)

    results: list[Any] = []
    Deferred.fromCoroutine(Wire().checked(body, pause)).addBoth(results.append)
    return results[0]


def test_other_requests_are_handled_between_the_steps_of_checking_a_long_body() -> None:
    pauses: list[None] = []
    body = json.dumps({"queue_name": "q", "job": {"content": {"a": [0.5] * 20_000}}}).encode()
    checked = _checked(body, pauses)
    assert checked == body
    assert len(pauses) == 5
    assert Wire().add_job(checked, ACCESS).jobs == Wire().add_job(body, ACCESS).jobs
    for size, expected in ((8 << 10, 0), ((8 << 10) + 1, 1)):
        pauses = []
        assert _checked(b"x" * size, pauses) == b"x" * size
        assert len(pauses) == expected


def test_a_malformed_long_body_that_is_checked_in_steps_is_refused() -> None:
    body = json.dumps({"queue_name": "q", "job": {"content": {"a": "x" * 100_000}}}).encode()
    for bad in (
        body[:-1],
        body.replace(b'"a"', b'"a":1,"a"'),
        b"[" * 100_000,
        b'"%b"' % (b"x" * 70_000),
        b"[%b1]" % (b"1," * 200_000),
    ):
        body = _checked(bad, [])
        with pytest.raises(BadInput):
            Wire().add_job(body if isinstance(body, bytes) else body.raiseException(), ACCESS)
