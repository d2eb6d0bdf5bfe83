"""A job's whole life through the client that openapi-python-client made of the schema.

`python_client.py URL QUEUE`, where the package `made` is.
"""

import sys
from http import HTTPStatus
from typing import Any, TypeVar

from made import AuthenticatedClient
from made.api.jobs import (
    add_job,
    add_jobs,
    claim_jobs,
    delete_job,
    delete_jobs,
    explain_job,
    list_jobs,
    next_job,
    read_job,
    update_job,
    update_jobs,
)
from made.api.queues import create_queue, delete_queue, read_stats
from made.models import (
    AddJob,
    AddJobs,
    Claim,
    ClaimedJobs,
    Content,
    Explanation,
    Filter,
    Job,
    JobPage,
    Jobs,
    JobUpdate,
    Matched,
    NewJob,
    NewQueue,
    NextJob,
    Outcome,
    Problem,
    QueueStats,
    State,
    UpdateJob,
    UpdateJobs,
    UpdateMatchingJobs,
    UpdateResults,
)
from made.types import UNSET

T = TypeVar("T")


def good(answer: Any, kind: type[T]) -> T:
    """An answer that must be of a kind."""
    assert isinstance(answer, kind), answer
    return answer


def content(**fields: Any) -> Any:
    """The content of a job."""
    return Content.from_dict(fields)


def live(url: str, queue: str) -> None:
    """Make a queue, make every call about a job, and remove the queue."""
    client = AuthenticatedClient(url, "key", prefix="", auth_header_name="X-Access-Key")
    made = create_queue.sync_detailed(client=client, body=NewQueue(name=queue, access_key="key"))
    assert made.status_code is HTTPStatus.CREATED
    new = NewJob(content=content(to="ada"), priority=5, tags=["mail"], max_attempts=2)
    added = good(add_job.sync(client=client, body=AddJob(queue_name=queue, job=new)), Job)
    assert (added.state, added.content.to_dict()) == (State.QUEUED, {"to": "ada"})
    several = AddJobs(queue_name=queue, jobs=[NewJob(content=content(n=n)) for n in range(3)])
    many = good(add_jobs.sync(client=client, body=several), Jobs).jobs

    following = good(next_job.sync(client=client, queue_name=queue, mark_queued=False), NextJob)
    assert (following.uid, following.lease) == (added.uid, UNSET)
    explained = good(explain_job.sync(client=client, queue_name=queue, job_uid=added.uid), Explanation)
    assert (explained.state, explained.ahead) == (State.QUEUED, 0)

    claim = Claim(queue_names=[queue], wait=5, worker="w", tags=["mail"])
    (claimed,) = good(claim_jobs.sync(client=client, body=claim), ClaimedJobs).jobs
    assert claimed.uid == added.uid
    held = {"queue_name": queue, "uid": claimed.uid, "lease": claimed.lease}
    beat = UpdateJob(**held, new_status=State.INPROGRESS, progress=50)
    assert good(update_job.sync(client=client, body=beat), Job).cancel_requested is False
    done = UpdateJob(**held, new_status=State.COMPLETE, result={"id": 7})
    finished = good(update_job.sync(client=client, body=done), Job)
    assert (finished.state, finished.result) == (State.COMPLETE, {"id": 7})
    assert [attempt.outcome for attempt in finished.history] == [Outcome.COMPLETE]
    again = UpdateJob(queue_name=queue, uid=added.uid, new_status=State.QUEUED)
    assert good(update_job.sync(client=client, body=again), Job).state is State.QUEUED

    updates = [
        JobUpdate(uid=many[0].uid, new_status=State.FAILED, error="no route"),
        JobUpdate(uid="none", new_status=State.COMPLETE),
    ]
    body = UpdateJobs(queue_name=queue, updates=updates)
    results = good(update_jobs.sync(client=client, body=body), UpdateResults).results
    assert [result.status for result in results] == [200, 404]
    assert results[0].job.state is State.FAILED
    matching = UpdateMatchingJobs(queue_name=queue, filter_=Filter(state=State.FAILED), new_status=State.QUEUED)
    assert good(update_jobs.sync(client=client, body=matching), Matched).matched == 1

    seen: list[str] = []
    cursor: Any = UNSET
    while cursor is not None:
        listed = list_jobs.sync(client=client, queue_name=queue, state=State.QUEUED, limit=3, cursor=cursor)
        page = good(listed, JobPage)
        seen += [job.uid for job in page.jobs]
        cursor = page.next_cursor
    assert sorted(seen) == sorted([added.uid, *[job.uid for job in many]])
    stats = good(read_stats.sync(client=client, name=queue), QueueStats)
    assert stats.counts.to_dict() == {"queued": 4, "inprogress": 0, "complete": 0, "failed": 0}

    delete_job.sync_detailed(client=client, queue_name=queue, job_uid=added.uid)
    gone = good(read_job.sync(client=client, queue_name=queue, job_uid=added.uid), Problem)
    assert (gone.status, gone.title) == (404, "Not Found")
    assert good(delete_jobs.sync(client=client, queue_name=queue, all_=True, dry_run=True), Matched).matched == 3
    assert delete_queue.sync_detailed(client=client, name=queue).status_code is HTTPStatus.NO_CONTENT


if __name__ == "__main__":
    live(*sys.argv[1:])
    sys.stdout.write("lived\n")
