"""What the client sends about dead-letter queues, moves and paces, and how it reads the answers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobengine.client import DeadLetter, Job, Queue

from .doubles import FakePool, answer, body_of, queue_with

_DEAD_LETTER = {"queue_name": "dead", "keep_minutes": 60, "missing": True}
_SETUP = {"name": "q", "dead_letter": _DEAD_LETTER}


def _queue(*replies: Any) -> tuple[Queue, FakePool]:
    return queue_with([answer(200, reply) for reply in replies])


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("dead", {"queue_name": "dead"}),
        ({"queue_name": "dead", "keep_minutes": 5}, {"queue_name": "dead", "keep_minutes": 5}),
        (DeadLetter(_DEAD_LETTER), {"queue_name": "dead", "keep_minutes": 60}),
        (None, None),
    ],
)
def test_a_dead_letter_queue_is_set_by_name_mapping_or_value(given: Any, sent: Any) -> None:
    queue, pool = _queue(_SETUP)
    its = queue.configure(dead_letter=given).dead_letter
    assert body_of(pool.requests[0]) == {"name": "q", "dead_letter": sent}
    assert its is not None
    assert (its.queue_name, its.keep, its.missing) == ("dead", timedelta(hours=1), True)


def test_a_job_shows_its_former_queue_or_why_it_was_not_moved() -> None:
    job = Job({"moved_from": {"queue_name": "mail", "at": 1_800_000_000}})
    assert job.moved_from is not None
    assert (job.moved_from.queue_name, job.moved_from.at) == ("mail", datetime(2027, 1, 15, 8, tzinfo=UTC))
    assert (job.not_moved, Job({"not_moved": "full"}).not_moved) == (None, "full")


def test_a_move_sends_filter_pace_and_target() -> None:
    queue, pool = _queue({"matched": 3, "moved": 1, "not_moved": {"full": 2}}, {"matched": 3, "moved": 3})
    moved = queue.move("other", tag="a", per_second=0.5)
    assert body_of(pool.requests[0]) == {
        "queue_name": "q",
        "filter": {"tag": "a"},
        "move_to": "other",
        "per_second": 0.5,
    }
    assert (moved.matched, moved.moved, moved.not_moved) == (3, 1, {"full": 2})
    assert queue.move("other", all=True, dry_run=True).not_moved == {}
    assert body_of(pool.requests[1]) == {
        "queue_name": "q",
        "filter": {},
        "move_to": "other",
        "all": True,
        "dry_run": True,
    }


def test_a_move_by_uid_sends_the_uids_alone() -> None:
    queue, pool = _queue({"matched": 1, "moved": 1, "not_moved": {"not_found": 1}}, {"matched": 1, "moved": 1})
    assert queue.move("other", uids=iter(["a", "b"]), per_second=5).not_moved == {"not_found": 1}
    assert body_of(pool.requests[0]) == {"queue_name": "q", "uids": ["a", "b"], "move_to": "other", "per_second": 5}
    no_tag: Any = None
    assert queue.move("other", uids=("a",), tag=no_tag, dry_run=True).moved == 1
    assert body_of(pool.requests[1]) == {"queue_name": "q", "uids": ["a"], "move_to": "other", "dry_run": True}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"uids": None},
        {"uids": []},
        {"uids": [], "all": True},
        {"uids": ["a"], "all": True},
        {"uids": ["a"], "tag": "b"},
        {"uids": [], "tag": "b"},
    ],
)
def test_a_move_needs_either_uids_or_a_filter_or_all(wrong: dict[str, Any]) -> None:
    queue, pool = _queue()
    with pytest.raises(TypeError, match="choose the jobs: uids, a filter such as state or tag, or all=True"):
        queue.move("other", **wrong)
    with pytest.raises(TypeError, match="a list of uids, not one text"):
        queue.move("other", uids="a")
    assert not pool.requests


def test_a_dead_letter_queue_is_a_name_or_a_dict_with_a_number_of_minutes_or_a_timedelta() -> None:
    queue, pool = _queue(_SETUP)
    queue.configure(dead_letter={"queue_name": "dead", "keep_minutes": timedelta(days=1)})
    assert body_of(pool.requests[0])["dead_letter"] == {"queue_name": "dead", "keep_minutes": 1440}
    with pytest.raises(TypeError, match=r"^dead_letter: must be the name of a queue or a dict such as .*, not int$"):
        queue.configure(dead_letter=5)  # type: ignore[arg-type]  # the mistake is meant
    with pytest.raises(TypeError, match=r"^dead_letter: 'keep' is not known; did you mean 'keep_minutes'"):
        queue.configure(dead_letter={"queue_name": "dead", "keep": 5})  # type: ignore[arg-type]  # a typo


def test_a_redrive_of_a_queue_moves_back_only_jobs_that_came_from_this_queue() -> None:
    queue, pool = _queue(_SETUP, {"matched": 1, "moved": 1})
    assert queue.redrive(error="timed out", per_second=50).moved == 1
    wanted = {"state": "failed", "moved_from": "q", "error": "timed out"}
    assert body_of(pool.requests[1]) == {"queue_name": "dead", "filter": wanted, "move_to": "q", "per_second": 50}


def test_redrive_with_all_is_the_same_as_without_arguments() -> None:
    moved = {"matched": 1, "moved": 1}
    queue, pool = _queue(_SETUP, moved, _SETUP, moved)
    queue.redrive()
    queue.redrive(all=True)
    assert body_of(pool.requests[3]) == body_of(pool.requests[1])
    with pytest.raises(TypeError, match="choose the jobs"):
        queue.redrive(all=True, tag="a")
    with pytest.raises(TypeError, match="choose the jobs"):
        queue.redrive(tag=None)  # type: ignore[arg-type]  # a variable may be None by mistake


def test_a_redrive_needs_a_dead_letter_queue() -> None:
    queue, _ = _queue({"name": "q"})
    with pytest.raises(ValueError, match="no dead-letter queue"):
        queue.redrive()


def test_a_value_that_is_not_json_is_refused_with_its_type() -> None:
    queue, pool = _queue()
    with pytest.raises(TypeError, match=r"^a value of type Queue can't be sent as JSON; send its text or number$"):
        queue.move(queue, all=True)  # type: ignore[arg-type]  # the mistake is meant
    assert not pool.requests


def test_only_a_retry_of_many_jobs_accepts_a_pace() -> None:
    queue, pool = _queue({"matched": 7})
    assert queue.retry(tag="a", per_second=5) == 7
    assert body_of(pool.requests[0]) == {
        "queue_name": "q",
        "filter": {"state": "failed", "cancelled": False, "tag": "a"},
        "new_status": "queued",
        "per_second": 5,
    }
    with pytest.raises(TypeError):
        queue.retry("uid", per_second=5)  # type: ignore[call-overload]


@pytest.mark.parametrize("wrong", [{}, {"uid": None}, {"tag": None}, {"all": True, "tag": "a"}])
def test_a_retry_of_many_jobs_needs_either_a_filter_or_all(wrong: dict[str, Any]) -> None:
    queue, pool = _queue()
    with pytest.raises(TypeError, match="choose the jobs: a filter such as state or tag, or all=True"):
        queue.retry(**wrong)
    assert not pool.requests


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [
        ({"all": True}, {"state": "failed", "cancelled": False}),
        ({"state": "failed"}, {"state": "failed", "cancelled": False}),
        ({"cancelled": True}, {"state": "failed", "cancelled": True}),
        ({"tag": "a", "cancelled": None}, {"state": "failed", "tag": "a"}),
        ({"retrying": True}, {"state": "queued", "cancelled": False, "retrying": True}),
        ({"retrying": False}, {"state": "failed", "cancelled": False, "retrying": False}),
    ],
)
def test_a_retry_selects_failed_jobs_unless_its_filter_selects_cancelled_or_retrying_jobs(
    chosen: dict[str, Any], wanted: dict[str, Any]
) -> None:
    queue, pool = _queue({"matched": 7})
    assert queue.retry(**chosen) == 7
    assert body_of(pool.requests[0]) == {"queue_name": "q", "filter": wanted, "new_status": "queued"}
