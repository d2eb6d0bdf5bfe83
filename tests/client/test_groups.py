"""What the client sends about groups and limits, and how it reads the answers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobengine.client import (
    ClaimedJob,
    GroupNotFound,
    Job,
    NewJob,
    NotJobEngine,
    QueueNotFound,
)
from jobengine.client.http_codec import Request, Response

from .doubles import answer, body_of, queue_with

_GROUP = {
    "group": "g",
    "queued": 7,
    "ready": 2,
    "held": 5,
    "in_progress": 1,
    "oldest_ready_seconds": 1.5,
    "held_until": 1_800_000_000,
    "own": {"in_progress": 3, "rate": {"count": 10, "seconds": 60}, "weight": 2},
}
_UNTIL = datetime(2027, 1, 15, 8, tzinfo=UTC)


# Settings


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (
            {"limits": {"in_progress": 50, "rate": (100, 1)}},
            {"limits": {"in_progress": 50, "rate": {"count": 100, "seconds": 1}}},
        ),
        ({"limits": None, "group_limits": {}}, {"limits": None, "group_limits": {}}),
        ({"group_limits": {"in_progress": 2, "rate": None}}, {"group_limits": {"in_progress": 2}}),
        (
            {"group_limits": {"rate": (10, timedelta(minutes=1))}},
            {"group_limits": {"rate": {"count": 10, "seconds": 60}}},
        ),
        (
            {"group_order": "strict", "group_on_failure": "hold"},
            {"group_order": "strict", "group_on_failure": "hold"},
        ),
        ({"target_wait_seconds": timedelta(minutes=1)}, {"target_wait_seconds": 60}),
        ({"target_wait_seconds": None}, {"target_wait_seconds": None}),
        ({"order": {"seconds_per_priority": 60}}, {"order": {"seconds_per_priority": 60}}),
        ({"order": {"seconds_per_priority": timedelta(minutes=1)}}, {"order": {"seconds_per_priority": 60}}),
        ({"order": None}, {"order": None}),
        ({"held_until": _UNTIL}, {"held_until": 1_800_000_000}),
        ({"max_jobs": None}, {"max_jobs": 0}),
        ({"held_until": None}, {"held_until": 0}),
        ({"paused": True}, {"paused": True}),
    ],
)
def test_configure_sends_only_the_given_settings(given: dict[str, Any], sent: dict[str, Any]) -> None:
    queue, pool = queue_with([answer(200, {"name": "q"})])
    queue.configure(**given)
    assert body_of(pool.requests[0]) == {"name": "q", **sent}


def test_the_limits_of_a_queue_can_be_read_and_set_again() -> None:
    raw = {"in_progress": 2, "rate": {"count": 10, "seconds": 60}}
    setup = {"name": "q", "limits": raw, "group_limits": {}, "group_order": "fair", "target_wait_seconds": 30}
    queue, pool = queue_with([answer(200, setup), answer(200, setup)])
    read = queue.configure()
    assert read.limits is not None
    assert read.limits.rate is not None
    assert (read.limits.in_progress, read.limits.rate.count, read.limits.rate.window) == (2, 10, timedelta(minutes=1))
    assert (read.group_order, read.group_on_failure, read.target_wait) == ("fair", "next", timedelta(seconds=30))
    queue.configure(limits=read.limits, group_limits={"rate": read.limits.rate})
    assert body_of(pool.requests[1]) == {"name": "q", "limits": raw, "group_limits": {"rate": raw["rate"]}}


def test_the_order_of_a_queue_can_be_read_and_set_again() -> None:
    setup = {"name": "q", "order": {"seconds_per_priority": 90}}
    queue, pool = queue_with([answer(200, setup), answer(200, setup), answer(200, {"name": "q"})])
    order = queue.configure().order
    assert order is not None
    assert order.per_priority == timedelta(seconds=90)
    queue.configure(order=order)
    assert body_of(pool.requests[1]) == setup
    assert queue.configure(order=None).order is None


@pytest.mark.parametrize("limits", [{"rate": 10}, {"rate": (1, 2, 3)}, {"rate": (1, "m")}, {"in_proges": 5}])
def test_a_malformed_limit_is_a_type_error(limits: Any) -> None:
    queue, pool = queue_with([])
    with pytest.raises(TypeError, match=r"\(10, 60\)|did you mean 'in_progress'"):
        queue.configure(limits=limits)
    assert pool.requests == []


@pytest.mark.parametrize("name", ["limits", "group_limits", "order"])
def test_a_limit_or_an_order_that_is_not_a_dict_is_a_type_error_that_names_the_argument(name: str) -> None:
    queue, pool = queue_with([])
    wrong: dict[str, Any] = {name: 5}
    with pytest.raises(TypeError, match=f"^{name}: must be a dict such as {{.*}}, not int$"):
        queue.configure(**wrong)
    assert pool.requests == []


# Groups


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"in_progress": 5, "rate": (10, 60)}, {"in_progress": 5, "rate": {"count": 10, "seconds": 60}}),
        ({"in_progress": None, "rate": None}, {"in_progress": None, "rate": None}),
        ({"weight": 3, "paused": False}, {"weight": 3, "paused": False}),
        ({"held_until": 1_800_000_000.2}, {"held_until": 1_800_000_001}),
        ({"held_until": None}, {"held_until": 0}),
    ],
)
def test_set_group_sends_only_the_given_settings(given: dict[str, Any], sent: dict[str, Any]) -> None:
    queue, pool = queue_with([answer(200, _GROUP)])
    queue.set_group("customer-7", **given)
    (request,) = pool.requests
    assert (request.method, body_of(request)) == ("PUT", {"queue_name": "q", "group": "customer-7", **sent})


def test_a_group_has_counts_times_and_its_own_settings() -> None:
    queue, pool = queue_with([answer(200, _GROUP), answer(200, {"group": "h"})])
    group, bare = queue.group("customer 7&"), queue.group("h")
    assert pool.requests[0].query == {"queueName": "q", "group": "customer 7&"}
    assert (group.name, group.queued, group.ready, group.held, group.in_progress) == ("g", 7, 2, 5, 1)
    assert (group.oldest_ready, group.held_until) == (timedelta(seconds=1.5), _UNTIL)
    own = group.own
    assert own.rate is not None
    assert (own.in_progress, own.rate.count, own.weight, own.paused) == (3, 10, 2, False)
    assert (bare.queued, bare.oldest_ready, bare.held_until) == (0, None, None)


@pytest.mark.parametrize(
    ("detail", "error"), [("There is no group 'g'.", GroupNotFound), ("There is no queue 'q'.", QueueNotFound)]
)
def test_a_missing_group_is_distinguished_from_a_missing_queue(detail: str, error: type[Exception]) -> None:
    for use in (lambda queue: queue.group("g"), lambda queue: queue.reset_group("g")):
        queue, _ = queue_with([answer(404, {"detail": detail})])
        with pytest.raises(error):
            use(queue)


def test_reset_group_sends_the_name_of_the_group() -> None:
    queue, pool = queue_with([Response(204, {}, b"")])
    queue.reset_group("g")
    (request,) = pool.requests
    assert (request.method, request.path, request.query) == (
        "DELETE",
        "/api/v1/group",
        {"queueName": "q", "group": "g"},
    )


@pytest.mark.parametrize(
    "wrong",
    [{}, {"group": ""}, {"group": 5}, {"group": "g", "own": 5}, {"group": "g", "own": {"rate": {"count": "5"}}}],
)
def test_an_answer_with_a_malformed_group_is_refused_as_not_from_a_jobengine(wrong: Any) -> None:
    queue, _ = queue_with([answer(200, wrong), answer(200, {"groups": [wrong], "next_cursor": None})])
    with pytest.raises(NotJobEngine):
        queue.group("g")
    with pytest.raises(NotJobEngine):
        list(queue.groups())


# Jobs


def test_single_and_bulk_adds_send_the_group_of_each_job() -> None:
    def reply(request: Request) -> Response:
        jobs = body_of(request).get("jobs")
        return answer(201, {"jobs": jobs} if jobs else body_of(request)["job"])

    queue, pool = queue_with(reply)
    assert queue.add({}, group="customer-7").group == "customer-7"
    added = queue.add_many([{}, NewJob({}, group="customer-8")], group="customer-7")
    assert [job.group for job in added] == ["customer-7", "customer-8"]
    assert queue.add({}).group is None
    assert len(pool.requests) == 3


def test_an_update_moves_a_job_to_another_group_or_out_of_its_group() -> None:
    done = {"uid": "u", "status": 200, "job": {"uid": "u"}}
    queue, pool = queue_with(lambda request: answer(200, {"results": [done]}))
    queue.update("u", group="customer-8")
    queue.update("u", group="")
    assert [body_of(request)["updates"] for request in pool.requests] == [
        [{"uid": "u", "group": "customer-8"}],
        [{"uid": "u", "group": ""}],
    ]


def test_a_release_may_hold_the_group_of_the_job() -> None:
    queue, pool = queue_with(lambda request: answer(200, {"results": [{"uid": "u", "status": 200}]}))
    for arguments in ({"delay": 5, "hold": timedelta(seconds=30)}, {"hold": 29.5}, {}):
        claimed = ClaimedJob(queue, Job({"uid": "u", "lease": "l", "group": "g"}))
        assert claimed.group == "g"
        claimed.release(**arguments)
        assert claimed.ended
    release = {"uid": "u", "new_status": "queued", "lease": "l"}
    assert [body_of(request)["updates"] for request in pool.requests] == [
        [{**release, "delay_seconds": 5, "hold_seconds": 30}],
        [{**release, "hold_seconds": 30}],
        [release],
    ]


# What is read


def test_an_explanation_says_what_holds_a_job() -> None:
    holder = {"uid": "h", "state": "inprogress", "worker": "w", "lease_expires": 1_800_000_000}
    raw = {
        "uid": "u",
        "state": "queued",
        "reason": "Two run.",
        "group": "g",
        "held_by": "group_limit",
        "holders": [holder, {"uid": "i", "state": "failed"}],
        "opens": 1_800_000_000,
        "ahead_in_group": 4,
    }
    queue, _ = queue_with([answer(200, raw), answer(200, {"uid": "u", "state": "queued", "reason": "It is the next."})])
    held, free = queue.explain("u"), queue.explain("u")
    assert (held.group, held.held_by, held.opens, held.ahead_in_group) == ("g", "group_limit", _UNTIL, 4)
    assert [(one.uid, one.state, one.worker, one.lease_expires) for one in held.holders] == [
        ("h", "inprogress", "w", _UNTIL),
        ("i", "failed", None, None),
    ]
    assert (free.held_by, free.holders, free.opens) == (None, (), None)


def test_an_explanation_whose_holders_are_malformed_raises_not_jobengine() -> None:
    queue, _ = queue_with([answer(200, {"uid": "u", "holders": [{"state": "inprogress"}]})])
    with pytest.raises(NotJobEngine):
        queue.explain("u")


def test_stats_have_held_jobs_and_the_wanted_number_of_workers() -> None:
    queue, _ = queue_with(
        [
            answer(200, {"name": "q", "held": 5, "workers_wanted": 3, "held_until": 1_800_000_000}),
            answer(200, {"name": "q"}),
        ]
    )
    stats, old = queue.stats(), queue.stats()
    assert (stats.held, stats.workers_wanted, stats.held_until) == (5, 3, _UNTIL)
    assert (old.held, old.workers_wanted, old.held_until) == (0, None, None)
