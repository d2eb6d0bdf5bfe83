"""50 workers of all kinds at one queue: each job has one holder at a time, and a correct history of its holders."""

import os
import time
from typing import Any, Final

from .conftest import MakeDaemon
from .daemons import Daemon
from .workers import Hold, Kind, Worker, Workforce, add_jobs, all_finished, held_twice, judge

#: Seconds during which jobs are added; the last time-outs and retries come afterwards.
SECONDS: Final = float(os.environ.get("WORKERS_SECONDS", "8"))
#: Jobs that are added each second.
JOBS: Final = 60
STEP: Final = 0.5


def _add_for(daemon: Daemon, seconds: float) -> None:
    end = time.monotonic() + seconds
    with daemon.client(sampled=True) as client:
        for turn in range(int(seconds / STEP)):
            add_jobs(client, int(JOBS * STEP), turn=turn)
            time.sleep(max(0.0, min(STEP, end - time.monotonic())))


def test_of_50_workers_with_kills_and_delays_no_two_hold_a_job_at_the_same_time(
    make_daemon: MakeDaemon,
) -> None:
    daemon = make_daemon().start()
    with daemon.client() as client:
        client.make_queue()
    workforce = Workforce.of(lambda: daemon.client(sampled=True), good=30, slow=10, mortal=10)
    workforce.start()
    try:
        _add_for(daemon, SECONDS / 2)
        daemon.kill()
        daemon.start()
        _add_for(daemon, SECONDS / 2)
        with daemon.client(sampled=True) as client:
            jobs = all_finished(client)
    finally:
        workforce.end()
    assert not workforce.wrong, workforce.wrong[:5]
    assert not held_twice(workforce.holds)
    verdict = judge(workforce, jobs)
    assert verdict.good, verdict
    assert "Traceback" not in daemon.log
    assert len(jobs) == 2 * int(SECONDS / 2 / STEP) * int(JOBS * STEP)
    _check_coverage(workforce.workers, jobs)


def _check_coverage(workers: list[Worker], jobs: dict[str, Any]) -> None:
    """Check that every kind of event of a job has occurred."""
    outcomes = [attempt["outcome"] for job in jobs.values() for attempt in job["history"]]
    assert min(outcomes.count(kind) for kind in ("complete", "failed", "timeout")) > SECONDS
    assert {job["state"] for job in jobs.values()} == {"complete", "failed"}
    assert sum(worker.deaths for worker in workers) > SECONDS
    assert sum(worker.refused for worker in workers) > SECONDS


def _hold(number: int, began: float, renewed: float, finished: float | None = None) -> Hold:
    return Hold("w", "u", number, "lease", 1.0, began, renewed, began, finished)


def test_the_check_of_workers_detects_a_job_held_by_two_workers_at_the_same_time() -> None:
    over, early, late = _hold(1, 0.1, 0.0), _hold(2, 0.9, 0.8), _hold(2, 1.1, 1.0)
    assert held_twice([early, over]) == [(over, early)]
    assert not held_twice([late, over])
    assert held_twice([over, _hold(1, 5.0, 5.0)])
    assert not held_twice([_hold(1, 0.1, 0.0, finished=0.5), early])


def test_the_check_of_workers_accepts_either_outcome_of_an_unanswered_finish() -> None:
    hold = _hold(1, 0.1, 0.0)
    hold.unanswered = (0.5, "failed")
    job = {"state": "failed", "attempts": 1, "history": [{"worker": "w", "outcome": "failed"}]}
    workforce = Workforce.of(lambda: None)  # type: ignore[arg-type,return-value]  # nobody works
    workforce.workers = [Worker(0, Kind.GOOD, lambda: None, workforce.stop, holds=[hold])]  # type: ignore[arg-type,return-value]
    assert judge(workforce, {"u": job}).good
    assert not judge(workforce, {"u": {**job, "history": [{"worker": "w", "outcome": "complete"}]}}).good
    assert not held_twice([hold, _hold(2, 0.6, 0.6)])
    hold.unanswered = None
    assert not judge(workforce, {"u": job}).good
