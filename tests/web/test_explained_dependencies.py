"""`explain` names the jobs and batches for which a job waits, or because of which it failed."""

from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.dependencies import OnDependencyFailure
from tests.doubles import MemoryServer
from tests.web.asking import NO_WORKER, add_key, change, explain, hold, make_queue, set_up, update
from tests.web.linking import add_jobs, close_batch, job, run, set_batch, uid

WAIT, RUN = OnDependencyFailure.WAIT, OnDependencyFailure.RUN


def _reason(server: MemoryServer, number: int, **more: Any) -> str:
    """The reason, with short names in place of uids."""
    text: str = explain(server, uid(number), **more)["reason"]
    for other in range(20):
        text = text.replace(uid(other), f"J{other}")
    return text


def _remove(server: MemoryServer, number: int) -> None:
    run(server, c.DeleteJob(queue="q", access_key=b"key", uid=uid(number)))


def test_explain_of_a_waiting_job_names_its_dependencies(server: MemoryServer) -> None:
    add_jobs(server, job(1, priority=1), job(2), job(3), job(4), job(5, 1, 2, 3, 4, on_dependency_failure=WAIT))
    held = hold(server, worker="w1")
    change(server, uid(1), lease=held["lease"], new_status="inprogress", progress=40)
    change(server, uid(2), new_status="failed", error="no route to host")
    update(server, uid(3), "complete")
    assert _reason(server, 5) == (
        "It waits for 3 of 4 jobs: J1 (in progress at worker w1, 40 %), "
        "J2 (failed: no route to host; it waits until J2 is retried), J4 (queued)."
    )
    explained = explain(server, uid(5))
    assert (explained["held_by"], [one["uid"] for one in explained["dependencies"]]) == (
        "dependencies",
        [uid(1), uid(2), uid(4)],
    )
    assert explained["dependencies"][0]["progress"] == 40


def test_explain_shows_the_line_that_names_the_error_of_a_traceback(server: MemoryServer) -> None:
    add_jobs(server, job(1), job(2, 1, on_dependency_failure=WAIT))
    frame = '  File "/srv/app/mail.py", line 3, in deep\n    return deep(n - 1)\n'
    error = f"Traceback (most recent call last):\n{9 * frame}ConnectionError: no route to host"
    change(server, uid(1), new_status="failed", error=error)
    line = "ConnectionError: no route to host"
    assert _reason(server, 2) == f"It waits for J1 (failed: {line}; it waits until J1 is retried)."
    assert explain(server, uid(2))["dependencies"][0]["error"] == line


def test_explain_names_a_single_dependency_without_a_count(server: MemoryServer) -> None:
    add_jobs(server, job(1), job(2, 1), job(3, 2))
    assert _reason(server, 2) == "It waits for J1 (queued)."
    assert _reason(server, 3) == "It waits for J2 (waits for others)."


def test_explain_gives_all_three_reasons_of_a_waiting_delayed_job_in_a_paused_queue(server: MemoryServer) -> None:
    add_jobs(server, job(1), job(2, 1, not_before=1_900_000_000))
    set_up(server, paused=True)
    assert _reason(server, 2) == (
        "The queue is paused. It waits for J1 (queued). It can't be claimed before 2030-03-17T17:46:40Z."
    )


def test_explain_gives_both_reasons_of_a_delayed_job_in_a_paused_queue(server: MemoryServer) -> None:
    add_jobs(server, job(1, not_before=1_900_000_000))
    set_up(server, paused=True)
    assert _reason(server, 1) == "The queue is paused. It can't be claimed before 2030-03-17T17:46:40Z."


def test_an_explanation_names_at_most_ten_dependencies(server: MemoryServer) -> None:
    add_jobs(server, *map(job, range(1, 15)), job(15, *range(1, 15)))
    reason = _reason(server, 15)
    assert reason.startswith("It waits for 14 of 14 jobs: J1 (queued), ")
    assert reason.endswith("J10 (queued) and 4 more.")
    assert len(explain(server, uid(15))["dependencies"]) == 14


def test_explain_of_a_job_at_the_batch_end_shows_the_counts_of_the_batch(server: MemoryServer) -> None:
    set_batch(server, "b", then=job(9, on_dependency_failure=WAIT))
    add_jobs(server, *[job(number, batch="b") for number in range(1, 6)])
    update(server, uid(1), "complete")
    assert _reason(server, 9) == "It waits for the batch b (4 of 5 jobs unfinished, still open)."
    close_batch(server)
    assert _reason(server, 9) == "It waits for the batch b (4 of 5 jobs unfinished)."
    for number in range(2, 6):
        update(server, uid(number), "failed")
    assert _reason(server, 9) == (
        "It waits for the batch b (4 of 5 jobs failed; it waits until the batch b is retried)."
    )


def test_explain_names_the_failed_batch_and_counts_its_removed_jobs(server: MemoryServer) -> None:
    set_batch(server, "b", then=job(9))
    add_jobs(server, job(1, batch="b"))
    _remove(server, 1)
    close_batch(server)
    assert _reason(server, 9).startswith("It failed because of the batch b (no jobs, 1 removed).")


def test_explain_of_a_job_failed_by_a_dependency_names_the_dependency(server: MemoryServer) -> None:
    add_jobs(server, job(1), job(2), job(3, 1, 2), job(4, 3))
    change(server, uid(1), new_status="failed", error="no route to host")
    assert _reason(server, 3) == (
        "It failed because of J1 (failed: no route to host). It is queued again once J1 is retried."
    )
    assert _reason(server, 4).startswith("It failed because of J3 (failed: dependency J1 failed).")
    explained = explain(server, uid(3))
    assert (explained["held_by"], [one["uid"] for one in explained["dependencies"]]) == ("dependencies", [uid(1)])
    change(server, uid(2), new_status="failed")
    assert _reason(server, 3).endswith("J2 (failed). It is queued again once they are retried.")
    update(server, uid(3), "queued")
    assert _reason(server, 3).startswith("It waits for 2 of 2 jobs: J1 (failed: no route to host; it waits until J1")


@pytest.mark.parametrize("on_failure", [OnDependencyFailure.FAIL, WAIT])
def test_an_explanation_says_what_to_do_about_a_removed_dependency(
    server: MemoryServer, on_failure: OnDependencyFailure
) -> None:
    add_jobs(server, job(1), job(2, 1, on_dependency_failure=on_failure))
    _remove(server, 1)
    reason = _reason(server, 2)
    assert "J1 (removed" in reason
    assert reason.endswith('send new_status "queued" with {"depends_on": []}.')


def test_explain_hides_the_state_of_an_unfinished_dependency_in_an_unreadable_queue(
    server: MemoryServer,
) -> None:
    make_queue(server, "other")
    add_jobs(server, job(1), queue="other")
    add_jobs(server, job(2), job(3, ("other", uid(1)), 2, on_dependency_failure=WAIT))
    change(server, uid(2), cancel=True)
    add_key(server, "viewer", "viewer")
    named = "J2 (cancelled; it waits until J2 is retried)"
    first = "It waits for 2 of 2 jobs: J1 of the queue 'other'"
    assert _reason(server, 3) == f"{first} (queued), {named}."
    assert _reason(server, 3, key="viewer") == f"{first} (not finished), {named}."


def test_explain_of_a_job_that_does_not_wait_names_no_dependencies(server: MemoryServer) -> None:
    add_jobs(server, job(1), job(2, 1), job(3, 1, on_dependency_failure=RUN))
    update(server, uid(1), "failed")
    assert _reason(server, 3) == f"It can be claimed. It is the next.{NO_WORKER}"
    update(server, uid(3), "failed")
    assert _reason(server, 3) == "It is failed; set its state to queued to run it again."
    assert "held_by" not in explain(server, uid(3))
