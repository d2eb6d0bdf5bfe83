"""Back-off, heartbeats, the stream of events, values and errors."""

import copy
import json
import pickle
import weakref
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from jobengine.client import Explanation, Job, JobEvent, NewJob, QueueStats, TooManyRequests, values
from jobengine.client.bulk_add import read
from jobengine.client.calls import ADD_JOBS
from jobengine.client.errors import (
    AccessDenied,
    JobEngineError,
    JobNotFound,
    NotJobEngine,
    QueueExists,
    QueueNotFound,
    Unavailable,
    error_of,
)
from jobengine.client.event_stream import EventParser
from jobengine.client.http_codec import Response
from jobengine.client.jobs import changes_json, changes_value, check_filter, filter_query, filter_value, job_json
from jobengine.client.leases import Beats
from jobengine.client.retrying import Patience
from jobengine.core import errors as core
from jobengine.web.errors import AdminRequired

# Back-off


def test_retry_delays_double_up_to_5_seconds_until_the_retry_time_is_over() -> None:
    patience, now, delays = Patience(30, lambda: 1), 0.0, []
    while (delay := patience.delay(now)) is not None:
        delays.append(delay)
        now += delay
    assert delays[:5] == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert max(delays) == 5
    assert 25 < now <= 30


def test_the_retry_time_runs_from_the_first_failure() -> None:
    patience = Patience(10, lambda: 1)
    assert [patience.delay(now) for now in (1000, 1009, 1010)] == [0.1, 0.2, None]


@pytest.mark.parametrize(
    ("retry_for", "retry_after", "delay"),
    [(9, None, 0.05), (30, 7, 7), (5, 7, None), (0, None, None)],
    ids=["reduced at random by up to half", "as the server says", "beyond the retry time", "one attempt"],
)
def test_the_first_retry_delay_respects_the_retry_after_header_and_the_retry_time(
    retry_for: float, retry_after: float | None, delay: float | None
) -> None:
    assert Patience(retry_for, lambda: 0).delay(0, retry_after=retry_after) == pytest.approx(delay)


def test_a_heartbeat_of_each_holder_is_due_at_its_own_interval_until_removal() -> None:
    beats: Beats[str] = Beats()
    beats.add("slow", 0, 10)
    beats.add("fast", 0, 3)
    assert (beats.next_at(), beats.due(2.9), beats.due(3)) == (3, [], ["fast"])
    assert beats.due(10) == ["fast", "slow"]
    beats.remove("fast")
    assert beats.next_at() == 20
    beats.remove("slow")
    assert (beats.next_at(), len(beats), beats.due(99)) == (None, 0, [])


def test_a_holder_removed_and_added_again_sends_no_extra_heartbeats() -> None:
    beats: Beats[str] = Beats()
    for now in range(5):
        beats.add("a", now, 10)
        beats.remove("a")
    beats.add("a", 5, 10)
    assert beats.due(100) == ["a"]
    assert beats.next_at() == 110


def test_removed_holders_are_freed_while_an_older_holder_remains() -> None:
    class Holder:
        """Can be referred to weakly, as a text can't."""

    beats: Beats[Holder] = Beats()
    first = Holder()
    beats.add(first, 0, 1_000)
    references = []
    for number in range(10_000):
        holder = Holder()
        references.append(weakref.ref(holder))
        beats.add(holder, number, 1_000)
        beats.remove(holder)
    del holder
    assert sum(reference() is not None for reference in references) < 1_100
    assert (len(beats), beats.next_at(), beats.due(1_000)) == (1, 1_000, [first])


def test_a_heartbeat_that_is_many_intervals_late_is_sent_once() -> None:
    beats: Beats[str] = Beats()
    beats.add("a", 0, 1)
    assert beats.due(1000) == ["a"]
    assert beats.next_at() == 1001


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_events_are_parsed_from_pieces_of_any_size(size: int) -> None:
    job = b'id: a-1\nevent: job\ndata: {"uid":"\xc3\xa9"}\n\n'
    text = b":\n\nid: a-0\n\n" + job + b":\n\nevent: gone\ndata: {}\n\nid: a-2\ndata: cut"
    parser = EventParser()
    events = [event for at in range(0, len(text), size) for event in parser.feed(text[at : at + size])]
    assert events == [("message", "a-0", ""), ("job", "a-1", '{"uid":"é"}'), ("gone", "", "{}")]


_RAW = {
    "uid": "u",
    "priority": 5,
    "keep_minutes": 60,
    "timeout_minutes": 1,
    "created": 1_800_000_000,
    "last_updated": 1_800_000_001,
    "timeout_time": 0,
    "content": {"to": "ada@example.org"},
    "state": "complete",
    "timeout_seconds": 30,
    "lease": "very secret",
    "history": [{"started": 1, "ended": 2, "outcome": "failed", "error": "no route"}],
    "from_a_newer_server": [1],
}


def test_numbers_on_the_wire_become_times_and_durations() -> None:
    job = Job(_RAW)
    assert job.created == datetime(2027, 1, 15, 8, tzinfo=UTC)
    assert (job.keep, job.timeout, job.timeout_time) == (timedelta(hours=1), timedelta(seconds=30), None)
    assert (job.tags, job.attempts, job.max_attempts, job.not_before) == ((), 0, 1, None)
    assert [attempt.error for attempt in job.history] == ["no route"]
    assert job.finished
    assert not Job({**_RAW, "state": "queued"}).finished
    assert job.raw["from_a_newer_server"] == [1]


def test_a_time_beyond_the_range_of_datetime_is_none_or_the_longest_timedelta() -> None:
    job = Job({**_RAW, "timeout_time": (1 << 63) - 1, "keep_minutes": (1 << 63) - 1, "timeout_seconds": 0})
    assert (job.timeout_time, job.keep, job.timeout) == (None, timedelta.max, None)


def test_answers_are_immutable_and_compared_by_value() -> None:
    job = Job(_RAW)
    for name in ("priority", "raw", "other"):
        with pytest.raises(AttributeError):
            setattr(job, name, 1)
    assert job == Job(dict(_RAW))
    assert job != Job({**_RAW, "priority": 6})
    assert job == copy.deepcopy(job) == pickle.loads(pickle.dumps(job))
    event = JobEvent({"uid": "u", "at": 1.5}, "e-1")
    assert (pickle.loads(pickle.dumps(event)).id, event.at.microsecond) == ("e-1", 500_000)


def test_an_added_job_is_decoded_once_at_the_first_access(monkeypatch: pytest.MonkeyPatch) -> None:
    decode = Mock(side_effect=json.loads)
    monkeypatch.setattr(values, "decode", decode)
    first, second = read(ADD_JOBS, Response(201, {}, b'{"jobs":[{"uid":"u","priority":3},{"uid":"v"}]}'), 2, 0)
    decode.assert_not_called()
    assert (first.uid, first.priority, first.raw) == ("u", 3, {"uid": "u", "priority": 3})
    decode.assert_called_once_with(b'{"uid":"u","priority":3}')
    assert second == Job({"uid": "v"}) == pickle.loads(pickle.dumps(second))


def test_a_job_has_the_same_attributes_before_and_after_decoding() -> None:
    (job,) = read(ADD_JOBS, Response(201, {}, b'{"jobs":[{"uid":"u"}]}'), 1, 0)
    with pytest.raises(AttributeError, match="'Job' object has no attribute 'prioritty'"):
        job.prioritty  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError):
        job.raw = {}
    assert (job.uid, copy.deepcopy(job)) == ("u", job)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"jobs":'])
def test_a_bulk_answer_that_is_not_json_is_an_error(body: bytes) -> None:
    with pytest.raises(NotJobEngine, match="did not come from a JobEngine"):
        read(ADD_JOBS, Response(201, {}, body), 1, 0)


def test_the_repr_of_an_answer_is_short_and_has_no_lease_and_no_content() -> None:
    assert repr(Job(_RAW)) == "Job(uid='u', state='complete', priority=5)"
    assert "ada" not in repr(NewJob({"to": "ada@example.org"}, priority=1))


def test_the_repr_of_an_explanation_has_its_reason_and_only_details_that_are_set() -> None:
    said = {"uid": "u", "state": "queued", "reason": "Its group is full."}
    held = Explanation({**said, "held_by": "group_limit", "ahead": 0, "paused": False})
    short = "Explanation(uid='u', state='queued', reason='Its group is full.'"
    assert repr(held) == f"{short}, held_by='group_limit', ahead=0)"
    assert repr(Explanation(said)) == f"{short})"


def test_stats_within_stats_are_converted_to_python_values() -> None:
    stats = QueueStats({"counts": {"queued": 3}, "wait_seconds": {"p50": 0.5, "p90": None}, "oldest_ready_seconds": 2})
    assert (stats.counts.queued, stats.wait.p50, stats.wait.p90) == (3, timedelta(seconds=0.5), None)
    assert stats.oldest_ready == timedelta(seconds=2)


def _sent(**options: Any) -> Any:
    return json.loads(job_json({"a": 1}, options))


def test_a_new_job_has_the_given_uid_or_a_new_unique_uid() -> None:
    assert _sent(uid="mine")["uid"] == "mine"
    assert len({_sent()["uid"] for _ in range(100)}) == 100


def test_timedelta_and_datetime_options_are_sent_as_numbers() -> None:
    spans = {"delay_seconds": timedelta(seconds=1.2), "keep_minutes": timedelta(hours=1)}
    sent = _sent(**spans, not_before=datetime(2027, 1, 15, 8, tzinfo=UTC), tags=("a", "b"), priority=None)
    del sent["uid"]
    numbers = {"delay_seconds": 2, "keep_minutes": 60, "not_before": 1_800_000_000}
    assert sent == {**numbers, "tags": ["a", "b"], "content": {"a": 1}}


@pytest.mark.parametrize(
    "changes",
    [{"new_status": "complete", "lease": "läse"}, {"new_status": "failed"}, {"result": None}, {"lease": None}, {}],
)
def test_both_encoders_write_the_same_json_for_an_update(changes: Any) -> None:
    assert json.loads(changes_json("u", changes)) == {
        "uid": "u",
        **{k: v for k, v in changes.items() if k != "lease" or v},
    }


@pytest.mark.parametrize("changes", [{"result": float("nan")}, {"progress": float("nan")}, {"lease": "\ud800"}])
def test_both_encoders_refuse_an_update_that_json_can_not_represent(changes: Any) -> None:
    with pytest.raises(ValueError, match=r"JSON|surrogates"):
        changes_json("u", {"new_status": "complete", **changes})


@pytest.mark.parametrize(
    ("content", "options", "error", "says"),
    [
        ({}, {"max_attempt": 3}, TypeError, "did you mean 'max_attempts'"),
        ({}, {"delay": 3}, TypeError, "did you mean 'delay_seconds'"),
        ({}, {"retries": 3}, TypeError, "did you mean 'max_attempts'"),
        ({}, {"timeout": 3}, TypeError, "did you mean 'timeout_seconds'"),
        ({}, {"tags": "news"}, TypeError, "^tags must be a list of words"),
        (
            {},
            {"timeout_seconds": "30s"},
            TypeError,
            "^timeout_seconds: must be a timedelta or a number of sec.*, not str$",
        ),
        ({}, {"keep_minutes": "1h"}, TypeError, "^keep_minutes: must be a timedelta or a number of minutes, not str$"),
        ({}, {"not_before": "2027-01-01"}, TypeError, "^not_before: must be a datetime or a number of .*, not str$"),
        ([], {}, TypeError, "must be a dict .*, not list"),
        ("x", {}, TypeError, "must be a dict .*, not str"),
        ({"x": float("nan")}, {}, ValueError, "JSON"),
        ({"x": [1, {"at": object()}]}, {}, TypeError, r"^JSON can't represent this: an object at content.x\[1\].at$"),
        ({}, {"meta": {"x": {1}}}, TypeError, "^JSON can't represent this: a set at meta.x$"),
        ({"x": "\ud800"}, {}, UnicodeEncodeError, "surrogate"),
    ],
)
def test_an_invalid_value_fails_before_it_is_sent(
    content: Any, options: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        job_json(content, options)


def test_a_result_of_none_is_sent_and_other_none_fields_are_omitted() -> None:
    assert changes_value("u", {"result": None, "error": None}) == {"uid": "u", "result": None}


def test_a_filter_is_encoded_for_a_body_or_for_a_query_string() -> None:
    assert filter_value({"tag": "a", "older_than": timedelta(minutes=1)}) == {"tag": "a", "older_than": 60}
    assert filter_query({"older_than": 60}) == {"older_than": "60"}
    assert filter_query({"retrying": True, "cancelled": False}) == {"retrying": "true", "cancelled": "false"}
    with pytest.raises(TypeError, match="did you mean 'state'"):
        filter_value({"stat": "failed"})
    with pytest.raises(TypeError, match=r"'per_secnd' is not known; known are batch, .*, worker$"):
        check_filter({"per_secnd": 5}, every=True)  # type: ignore[typeddict-unknown-key]  # the typo is meant


def test_an_error_has_the_detail_status_and_request_id_of_the_answer() -> None:
    error = error_of(429, {"detail": "full", "index": 3}, request_id="r-1", retry_after=5)
    assert isinstance(error, TooManyRequests)
    assert (str(error), error.detail, error.status, error.request_id) == ("full", "full", 429, "r-1")
    assert (error.retry_after, error.index) == (5, 3)


def test_the_error_class_depends_on_the_call_and_the_text_of_the_answer() -> None:
    gone = {"detail": "There is no queue named 'q'; create it with PUT /api/v1/queue."}
    assert type(error_of(404, gone)) is QueueNotFound
    assert type(error_of(404, {"detail": "The queue holds no job"})) is JobNotFound
    refused = {"detail": "10 keys have failed: further wrong ones are refused; a right key works at once."}
    assert type(error_of(429, refused)) is AccessDenied
    assert type(error_of(409, {}, special={409: QueueExists})) is QueueExists
    assert (type(error_of(418, {})), "418" in str(error_of(418, {}))) == (JobEngineError, True)
    assert type(error_of(502, {})) is Unavailable


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (core.QueueNotFound("q"), "'q'; check the name, or create it with Queue.create()."),
        (core.UnknownDependency("q", "u"), 'name a job of another queue by ("queue", uid).'),
        (core.BatchNotFound("b"), "'b'; create it with Batch.create()."),
        (core.KeyNotFound("k"), "'k'; Queue.keys.list() lists its keys."),
        (core.ScheduleNotFound("n"), "'n'; Queue.schedules.list() lists its schedules."),
        (core.AccessDenied("q"), "'q'; set access_key= or JOBENGINE_ACCESS_KEY to one that does."),
        (AdminRequired(), "Set admin_key= or JOBENGINE_ADMIN_KEY to the server's admin key."),
        (
            AdminRequired("The admin key is wrong; send the server's in X-Admin-Key."),
            "wrong; set admin_key= or JOBENGINE_ADMIN_KEY to the server's.",
        ),
    ],
    ids=str,
)
def test_advice_about_http_in_an_error_becomes_advice_about_the_python_client(error: Exception, advice: str) -> None:
    assert str(error_of(404, {"detail": str(error)})).endswith(advice)


def test_errors_can_be_pickled_and_raised_again() -> None:
    error = error_of(429, {"detail": "full"}, retry_after=5)
    for other in (pickle.loads(pickle.dumps(error)), error._again()):
        assert (type(other), other.detail, other.retry_after) == (TooManyRequests, "full", 5)
