"""What the client sends about dependencies and batches, and how it reads the answers."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from jobengine.client import (
    AsyncJobEngine,
    BatchNotFound,
    ClaimedJob,
    Conflict,
    Job,
    LeaseLost,
    NewJob,
    OutcomeUnknown,
    Queue,
    QueueNotFound,
)
from jobengine.client.http_codec import Broken, Request, Response

from .doubles import FakePool, answer, body_of, in_loop, queue_with

_BATCH = {
    "queue_name": "q",
    "name": "import",
    "open": False,
    "total": 8,
    "queued": 1,
    "inprogress": 1,
    "complete": 5,
    "failed": 1,
    "lost": 2,
    "created": 1_800_000_000,
    "then": "t",
}
_NAMED = {"queue_name": "q", "name": "import"}
_LOST = "The lease is no longer valid: the job is queued. Stop working on it."


def _added(request: Request) -> Response:
    """The answer to a request that adds jobs."""
    body = body_of(request)
    return answer(201, body["job"]) if "job" in body else answer(201, {"jobs": body["jobs"]})


def _sent(pool: FakePool) -> list[Any]:
    """All jobs that were sent."""
    return [
        job for request in pool.requests for job in body_of(request).get("jobs", [body_of(request).get("job")]) if job
    ]


# Dependencies


def _claimed(queue: Queue) -> ClaimedJob:
    return ClaimedJob(queue, Job({"uid": "u", "lease": "l", "queue_name": "q", "batch": "b"}))


@pytest.mark.parametrize(
    ("job", "sent"),
    [
        (lambda queue: "u", "u"),
        (lambda queue: Job({"uid": "u"}), "u"),
        (lambda queue: NewJob({}, uid="u"), "u"),
        (_claimed, {"queue_name": "q", "uid": "u"}),
        (lambda queue: ("other", "u"), {"queue_name": "other", "uid": "u"}),
        (lambda queue: ("other", Job({"uid": "u"})), {"queue_name": "other", "uid": "u"}),
    ],
)
def test_a_dependency_is_given_as_a_job_or_its_uid(job: Callable[[Queue], Any], sent: Any) -> None:
    queue, pool = queue_with(_added)
    queue.add({}, depends_on=(job(queue),), on_dependency_failure="run", batch="b")
    queue.add_many([{}, {}], depends_on=[job(queue)])
    queue.add_many([NewJob({}, depends_on=[job(queue)])])
    assert [one["depends_on"] for one in _sent(pool)] == [[sent]] * 4
    assert (_sent(pool)[0]["on_dependency_failure"], _sent(pool)[0]["batch"]) == ("run", "b")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("u", "must be a list of jobs"),
        (Job({"uid": "u"}), r'must be a list of jobs, such as \[job\] or \[\("queue", uid\)\]'),
        (("q", "0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11"), "must be a list of jobs"),
        ({"queue_name": "q", "uid": "u"}, "must be a list of jobs"),
        ([5], "must name jobs or their uids, not int"),
        ([("other", None)], "must name jobs or their uids, not NoneType"),
    ],
)
def test_a_wrong_dependency_is_a_type_error(wrong: Any, says: str) -> None:
    queue, pool = queue_with([])
    with pytest.raises(TypeError, match=says):
        queue.add({}, depends_on=wrong)
    with pytest.raises(TypeError, match=says):
        NewJob({}, depends_on=wrong)
    assert pool.requests == []


def test_a_new_job_gets_a_uid_when_another_job_depends_on_it() -> None:
    queue, pool = queue_with(_added)
    first, second = NewJob({"n": 1}), NewJob({"n": 2})
    third = NewJob({"n": 3}, depends_on=[first, second])
    queue.add_many([third, first, second])
    sent = {job["content"]["n"]: job for job in _sent(pool)}
    assert sent[3]["depends_on"] == [sent[1]["uid"], sent[2]["uid"]] == [first.uid, second.uid]


def test_a_new_job_without_dependants_can_be_added_many_times() -> None:
    queue, pool = queue_with(_added)
    queue.add_many([NewJob({})] * 3)
    assert len({job["uid"] for job in _sent(pool)}) == 3


@pytest.mark.parametrize("options", [{}, {"uid": None}])
def test_a_new_job_gets_another_uid_at_each_add_until_its_uid_is_read(options: Any) -> None:
    queue, pool = queue_with(_added)
    new = NewJob({}, **options)
    queue.add_many([new, new])
    first, last = [job["uid"] for job in _sent(pool)]
    assert first != last == new.uid
    queue.add_many([new, NewJob({}, depends_on=[new])])
    again, dependant = _sent(pool)[2:]
    assert (again["uid"], dependant["depends_on"]) == (last, [last])


def test_each_job_of_a_chain_depends_on_the_job_before() -> None:
    queue, pool = queue_with(_added)
    last = NewJob({"n": 3}, depends_on=["x"], priority=5)
    jobs = queue.chain({"n": 1}, {"n": 2}, last, priority=1, depends_on=["w"])
    (request,) = pool.requests
    first, second, third = body_of(request)["jobs"]
    assert [job.uid for job in jobs] == [first["uid"], second["uid"], third["uid"]]
    assert (first["depends_on"], second["depends_on"]) == (["w"], ["w", first["uid"]])
    assert (third["depends_on"], third["uid"]) == (["x", second["uid"]], last.uid)
    assert [job["priority"] for job in (first, second, third)] == [1, 1, 5]
    assert queue.chain() == []
    with pytest.raises(TypeError, match=r"^write chain\(first, second\) or chain\(\*jobs\): .*, not list$"):
        queue.chain([{}, {}])  # type: ignore[arg-type]


def test_a_chain_too_long_for_one_request_is_refused() -> None:
    queue, pool = queue_with(_added)
    assert len(queue.chain(*[{}] * 500)) == 500
    too_much: list[list[dict[str, Any]]] = [[{}] * 501, [{"a": "x" * 500_000}] * 2]
    for jobs in too_much:
        with pytest.raises(ValueError, match="added in one request"):
            queue.chain(*jobs)
    assert len(pool.requests) == 1


def test_a_job_shows_its_dependencies_and_its_batch() -> None:
    raw = {"uid": "u", "depends_on": ["a", {"queue_name": "other", "uid": "b"}], "on_dependency_failure": "wait"}
    queue, _ = queue_with([answer(200, {**raw, "waiting": True, "batch": "import"}), answer(200, {"uid": "u"})])
    job, bare = queue.get("u"), queue.get("u")
    assert (job.depends_on, job.on_dependency_failure) == (("a", ("other", "b")), "wait")
    assert (job.waiting, job.batch) == (True, "import")
    assert (bare.depends_on, bare.on_dependency_failure, bare.waiting, bare.batch) == ((), "fail", False, None)


def test_an_update_removes_the_dependencies() -> None:
    queue, pool = queue_with([answer(200, {"results": [{"uid": "u", "status": 200, "job": {"uid": "u"}}]})])
    queue.update("u", depends_on=())
    assert body_of(pool.requests[0])["updates"] == [{"uid": "u", "depends_on": []}]


def test_jobs_are_filtered_by_their_batch() -> None:
    queue, pool = queue_with([answer(200, {"jobs": [], "next_cursor": None}), answer(200, {"matched": 2})])
    assert list(queue.jobs(batch="b")) == []
    assert queue.cancel_all(batch="b") == 2
    assert (pool.requests[0].query or {})["batch"] == "b"
    assert body_of(pool.requests[1])["filter"] == {"batch": "b"}


# Children of a claimed job


def test_wait_for_adds_jobs_and_makes_the_claimed_job_wait_for_them() -> None:
    queue, pool = queue_with([answer(200, {"uid": "u", "state": "queued"})])
    child = NewJob({"n": 2}, priority=1)
    with _claimed(queue) as job:
        uids = job.wait_for([{"n": 1}, child], on_dependency_failure="run")
        assert job.batch == "b"
    (request,) = pool.requests
    body = body_of(request)
    assert (request.method, request.path) == ("POST", "/api/v1/job")
    assert body.pop("wait_for") == [
        {"uid": uids[0], "content": {"n": 1}},
        {"uid": child.uid, "priority": 1, "content": {"n": 2}},
    ]
    assert body == {
        "queue_name": "q",
        "uid": "u",
        "lease": "l",
        "new_status": "queued",
        "on_dependency_failure": "run",
    }
    assert (job.ended, job.lost, uids[1]) == (True, False, child.uid)


@pytest.mark.parametrize(
    ("reply", "error", "lost"),
    [
        (answer(409, {"detail": _LOST, "state": "queued", "worker": None}), LeaseLost, True),
        (answer(409, {"detail": "jobs[0]: depends_on names the job …"}), Conflict, False),
        (
            answer(404, {"detail": "jobs[0]: The queue has no batch 'b'; create it with PUT /api/v1/batch."}),
            BatchNotFound,
            False,
        ),
        (Broken("cut"), OutcomeUnknown, False),
    ],
)
def test_a_call_of_wait_for_is_not_repeated_after_a_refusal_or_a_lost_answer(
    reply: Any, error: type[Exception], lost: bool
) -> None:
    queue, pool = queue_with([reply], retry_for=60)
    job = _claimed(queue)
    with pytest.raises(error):
        job.wait_for([{}])
    assert (len(pool.requests), job.ended, job.lost) == (1, False, lost)


@pytest.mark.parametrize("wrong", [{}, NewJob({}), [5], [{"depends_on": 5}, 5]])
def test_a_call_of_wait_for_with_anything_but_jobs_is_a_type_error(wrong: Any) -> None:
    queue, pool = queue_with([])
    with pytest.raises(TypeError):
        _claimed(queue).wait_for(wrong)
    assert pool.requests == []


# Batches


def _batches(request: Request) -> Response:
    return answer(200, _BATCH) if request.path == "/api/v1/batch" else _added(request)


def test_a_batch_is_created_filled_and_closed_by_its_with_block() -> None:
    queue, pool = queue_with(_batches)
    with queue.batch("import", then={"publish": 1}, then_on="finish") as batch:
        batch.add({"n": 1}, priority=2)
        batch.add_many([{"n": 2}, NewJob({"n": 3}, batch="other")])
    created, *_, closed = pool.requests
    body = body_of(created)
    assert (created.method, len(body["then"].pop("uid"))) == ("PUT", 36)
    assert body == {**_NAMED, "then": {"content": {"publish": 1}}, "then_on": "finish"}
    assert [job["batch"] for job in _sent(pool)] == ["import", "import", "other"]
    assert (closed.method, body_of(closed)) == ("POST", {**_NAMED, "open": False})
    assert "'import'" in repr(batch)


def test_a_batch_stays_open_if_its_with_block_raises() -> None:
    queue, pool = queue_with(_batches)
    with pytest.raises(LookupError), queue.batch("import"):
        raise LookupError
    assert [request.method for request in pool.requests] == ["PUT"]


@pytest.mark.parametrize(
    ("method", "change"), [("close", {"open": False}), ("cancel", {"cancel": True}), ("retry", {"retry": True})]
)
def test_a_batch_call_returns_the_changed_batch(method: str, change: dict[str, bool]) -> None:
    queue, pool = queue_with([answer(200, {**_BATCH, "matched": 3})])
    assert getattr(queue.batch("import"), method)().matched == 3
    assert body_of(pool.requests[0]) == {**_NAMED, **change}


def test_batch_calls_are_repeated_after_a_lost_answer_except_retry() -> None:
    replies = [Broken("cut"), answer(201, _BATCH), Broken("cut"), answer(200, _BATCH), Broken("cut")]
    queue, pool = queue_with(replies, retry_for=60)
    queue.batch("import", then=NewJob({}, uid="t")).create()
    queue.batch("import").cancel()
    assert body_of(pool.requests[0]) == body_of(pool.requests[1])
    with pytest.raises(OutcomeUnknown):
        queue.batch("import").retry()
    assert len(pool.requests) == 5


def test_the_progress_of_a_batch_has_job_counts_times_and_outcome() -> None:
    ended = {**_BATCH, "ended": 1_800_000_600, "succeeded": False}
    queue, pool = queue_with([answer(200, _BATCH), answer(200, ended), answer(200, {"name": "n"})])
    batch = queue.batch("import")
    now, then, bare = batch.progress(), batch.progress(), batch.progress()
    assert pool.requests[0].query == {"queueName": "q", "name": "import"}
    assert (now.name, now.queue_name, now.open, now.total, now.queued, now.inprogress) == (
        "import",
        "q",
        False,
        8,
        1,
        1,
    )
    assert (now.complete, now.failed, now.lost, now.then, now.done) == (5, 1, 2, "t", 0.75)
    assert now.created == datetime.fromtimestamp(1_800_000_000, UTC)
    assert (now.ended, now.succeeded) == (None, None)
    assert (then.ended, then.succeeded, then.done) == (datetime.fromtimestamp(1_800_000_600, UTC), False, 1.0)
    assert (bare.done, bare.lost, bare.then, bare.matched) == (0.0, 0, None, None)


@pytest.mark.parametrize(
    ("status", "detail", "error"),
    [
        (404, "There is no queue named 'q'; create it with PUT /api/v1/queue.", QueueNotFound),
        (404, "The queue has no batch 'import'; create it with PUT /api/v1/batch.", BatchNotFound),
        (409, "The batch 'import' has ended, and takes no more jobs; create another one.", Conflict),
    ],
)
def test_each_refusal_of_a_batch_call_raises_a_separate_error_class(
    status: int, detail: str, error: type[Exception]
) -> None:
    queue, _ = queue_with([answer(status, {"detail": detail})] * 3)
    for call in (
        lambda: queue.batch("import").progress(),
        lambda: queue.batch("import").add({}),
        lambda: queue.add_many([{}]),
    ):
        with pytest.raises(error, match=detail[:20]):
            call()


def test_the_argument_then_on_needs_the_argument_then() -> None:
    queue, _ = queue_with([])
    with pytest.raises(TypeError, match="then_on requires 'then'"):
        queue.batch("import", then_on="finish")


@in_loop
async def test_the_asyncio_client_has_batches_too() -> None:
    queue = AsyncJobEngine("http://server.example", access_key="k").queue("q")
    made: list[str] = []

    async def ask(call: Any, **more: Any) -> Any:
        made.append(call.operation)
        return call.read(answer(200, _BATCH))

    queue._ask = ask  # type: ignore[method-assign]  # instead of a connection
    async with queue.batch("import") as batch:
        assert (await batch.progress()).done == 0.75
    assert made == ["setBatch", "readBatch", "changeBatch"]
