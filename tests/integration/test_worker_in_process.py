"""The worker in the process of a test, as users test theirs: the fixture jobengine_server, and run_until_empty."""

import logging
import re
import threading
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from jobengine.client import AccessDenied, BadRequest, NewJob, QueueNotFound
from jobengine.testing import Server
from jobengine.worker import RunningJob, Worker


def _work(queues: Any, handler: Callable[[Any, RunningJob], Any], **options: Any) -> int:
    worker = Worker(queues, **options)
    worker.handler()(handler)
    return worker.run_until_empty()


def test_run_until_empty_also_runs_jobs_added_by_its_handlers(jobengine_server: Server) -> None:
    queue = jobengine_server.queue("q")

    def double(content: Any, job: RunningJob) -> int:
        if content["n"] == 3:
            queue.add({"n": 50})
        return int(content["n"]) * 2

    queue.add_many([{"n": n} for n in range(20)])
    assert _work("q", double, concurrency=4) == 21
    assert sorted(job.result for job in queue.jobs(state="complete")) == sorted([*range(0, 40, 2), 100])


def test_run_until_empty_counts_a_retried_job_once_and_a_job_that_waits_for_its_retry_not_at_all(
    jobengine_server: Server,
) -> None:
    queue = jobengine_server.queue("q")
    queue.add({}, max_attempts=3, retry_delay_seconds=0)
    queue.add({}, max_attempts=3, retry_delay_seconds=60)

    def fail(content: Any, job: RunningJob) -> None:
        raise OSError

    assert _work("q", fail) == 1
    assert (queue.stats().counts.failed, queue.stats().counts.queued) == (1, 1)


@pytest.mark.parametrize("state", ["complete", "failed"])
def test_an_ended_job_has_the_last_progress_that_its_handler_reported(jobengine_server: Server, state: str) -> None:
    queue = jobengine_server.queue("q")
    uids = [queue.add({}).uid for _ in range(8)]

    def report(content: Any, job: RunningJob) -> None:
        for percent in range(98):
            job.progress(percent)
        if state == "failed":
            raise OSError

    assert _work("q", report, concurrency=4) == 8
    assert {(job.state, job.progress) for job in map(queue.get, uids)} == {(state, 97)}


def test_a_busy_worker_makes_at_most_one_request_for_each_job(jobengine_server: Server) -> None:
    queue = jobengine_server.queue("q")
    queue.add_many([{"n": n} for n in range(30)])
    before = _requests(jobengine_server)
    assert _work("q", lambda content, job: None) == 30
    after = _requests(jobengine_server)
    made = {route: after[route] - before[route] for route in after if after[route] > before[route]}
    made.pop("/metrics")
    assert made.keys() <= {"/api/v1/job/next", "/api/v1/jobs"}
    assert sum(made.values()) <= 31
    assert queue.stats().counts.complete == 30


def _requests(server: Server) -> dict[str, float]:
    """How many requests were answered, by route."""
    counted: dict[str, float] = defaultdict(float)
    with server.engine() as engine:
        for route, number in re.findall(
            r'^jobengine_requests_total\{.*route="(.*?)".*\} (\S+)$', engine.metrics(), re.M
        ):
            counted[route] += float(number)
    return counted


def test_a_worker_takes_jobs_of_several_queues_with_a_separate_key_for_each(jobengine_server: Server) -> None:
    with jobengine_server.engine() as engine:
        queues = [engine.queue(name, access_key=f"key of {name}") for name in ("p", "q")]
        for queue in queues:
            queue.create()
            queue.add_many([{"n": n} for n in range(10)])
        keys = {name: f"key of {name}" for name in ("p", "q")}
        assert _work(["p", "q"], lambda content, job: job.queue, concurrency=3, keys=keys) >= 20
        for queue in queues:
            assert {job.result for job in queue.jobs()} == {queue.name}


def test_a_result_that_the_server_refuses_fails_only_its_job(jobengine_server: Server) -> None:
    queue = jobengine_server.queue("q")
    queue.add_many([{"n": n} for n in range(8)], max_attempts=3)
    assert _work("q", lambda content, job: 2**70 if content["n"] == 5 else content["n"], concurrency=4) >= 8
    (failed,) = queue.jobs(state="failed")
    assert failed.content == {"n": 5}
    assert (failed.error or "").startswith("The server has refused the result:")
    assert queue.stats().counts.complete == 7


def test_a_worker_is_stopped_from_another_thread_and_can_run_again(jobengine_server: Server) -> None:
    queue = jobengine_server.queue("q")
    worker = Worker("q")
    worker.handler()(lambda content, job: None)
    for _ in range(2):
        thread = threading.Thread(target=worker.run)
        thread.start()
        job = queue.add({})
        assert queue.wait(job.uid, timeout=20).state == "complete"
        worker.stop()
        thread.join(20)
        assert not thread.is_alive()
    worker.stop()  # no job runs, and nothing happens


def test_a_worker_with_a_wrong_key_or_queue_ends_without_a_log_line_about_a_retry(
    jobengine_server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobengine_server.queue("q")
    # The admin key would open the queue that the wrong key does not open.
    monkeypatch.delenv("JOBENGINE_ADMIN_KEY")
    with pytest.raises(AccessDenied) as refused:
        _work("q", lambda content, job: None, access_key="wrong")
    assert not refused.value.__cause__
    assert refused.traceback[-1].name == "_run", "no frames of the worker's inside"
    with pytest.raises(QueueNotFound):
        _work("p", lambda content, job: None)
    assert caplog.messages == []


@pytest.mark.parametrize("processes", [False, True])
def test_the_log_has_one_line_with_fields_for_each_job_and_no_content(
    jobengine_server: Server, caplog: pytest.LogCaptureFixture, *, processes: bool
) -> None:
    caplog.set_level(logging.INFO, "jobengine.worker")
    queue = jobengine_server.queue("q")
    jobs = queue.add_many([{"secret": "hush", "n": n} for n in range(2)], max_attempts=2, retry_delay_seconds=600)

    def handler(content: Any, job: RunningJob) -> Any:
        if content["n"]:
            raise ValueError(content)
        return content

    _work("q", handler, processes=processes)
    records = [record for record in caplog.records if record.name == "jobengine.worker"]
    assert [(record.levelname, record.getMessage().partition(", after")[0]) for record in records] == [
        ("INFO", f"Claiming jobs of q at {jobengine_server.url}."),
        ("INFO", f"q {jobs[0].uid}, attempt 1: complete"),
        ("WARNING", f"q {jobs[1].uid}, attempt 1: failed"),
    ]
    assert "hush" not in caplog.text
    fields = {name: vars(records[-1])[name] for name in ("queue", "uid", "attempt", "outcome", "error_type")}
    assert fields == {"queue": "q", "uid": jobs[1].uid, "attempt": 1, "outcome": "failed", "error_type": "ValueError"}
    assert vars(records[-1])["retry_at"] > datetime.now(UTC).isoformat()
    assert queue.get(jobs[1].uid).state == "queued"


@pytest.mark.parametrize("processes", [False, True])
def test_a_job_waits_for_jobs_that_its_handler_adds_and_gets_their_results(
    jobengine_server: Server, *, processes: bool
) -> None:
    queue = jobengine_server.queue("q")

    def handler(content: Any, job: RunningJob) -> Any:
        if "n" in content:
            return content["n"] ** 2
        if not job.dependencies:
            return job.wait_for([{"n": 2}, NewJob({"n": 3}, priority=9)])
        return sorted(awaited.result for awaited in job.dependencies)

    uid = queue.add({}).uid
    assert _work("q", handler, concurrency=2, processes=processes) == 3
    job = queue.get(uid)
    assert (job.state, job.result, job.attempts, len(job.depends_on)) == ("complete", [4, 9], 1, 2)


def test_a_batch_with_a_chain_and_a_diamond_runs_in_the_order_of_the_dependencies(jobengine_server: Server) -> None:
    queue, done = jobengine_server.queue("q"), list[str]()

    def handler(content: Any, job: RunningJob) -> str:
        done.append(content["step"])
        return str(content["step"])

    with queue.batch("import", then={"step": "end"}) as batch:
        first = batch.add({"step": "first"})
        middle = batch.add_many([{"step": "left"}, {"step": "right"}], depends_on=[first])
        batch.add({"step": "last"}, depends_on=middle, priority=9)
    assert (batch.name, queue.stats().waiting, batch.progress().done) == ("import", 4, 0.0)
    chain = queue.chain({"step": "a"}, {"step": "b"}, {"step": "c"}, priority=-1)
    assert _work("q", handler, concurrency=1) >= 8
    order = [step for step in done if step not in "abc"]
    assert (order[0], sorted(order[1:3]), order[3:]) == ("first", ["left", "right"], ["last", "end"])
    assert [step for step in done if step in "abc"] == ["a", "b", "c"]
    assert queue.get(chain[2].uid).depends_on == (chain[1].uid,)
    progress = batch.progress()
    assert (progress.complete, progress.succeeded, progress.open) == (4, True, False)
    assert [one.name for one in queue.batches()] == ["import"]


def test_a_worker_sets_its_schedules_before_it_works_and_a_second_start_keeps_them(jobengine_server: Server) -> None:
    queue = jobengine_server.queue("q")
    for _ in range(2):
        worker = Worker("q")
        handler = worker.handler()(lambda content, job: None)
        worker.schedule("nightly", {"a": 1}, cron="0 3 * * *", timezone="Europe/Berlin", priority=5)(handler)
        worker.run_until_empty()
        queue.schedules.pause("nightly")
    (nightly,) = queue.schedules.list()
    assert (nightly.cron, nightly.timezone, nightly.paused) == ("0 3 * * *", "Europe/Berlin", True)
    assert nightly.job == {"content": {"a": 1}, "priority": 5}


def test_a_worker_whose_schedule_is_refused_names_the_schedule_and_does_not_start(jobengine_server: Server) -> None:
    queue = jobengine_server.queue("q")
    queue.add({})
    before = _requests(jobengine_server)
    worker = Worker("q")
    worker.schedule("nightly", cron="61 * * * *")(worker.handler()(lambda content, job: None))
    with pytest.raises(
        BadRequest, match=r"The schedule 'nightly' of the queue 'q' was not set: .*'61' as minute"
    ) as error:
        worker.run_until_empty()
    assert error.value.detail == str(error.value)
    assert queue.stats().counts.queued == 1
    assert _requests(jobengine_server)["/api/v1/job/next"] == before["/api/v1/job/next"]
