"""The rules for looking at jobs."""

from typing import Final

from . import commands as c
from .decision import NOTHING, Decision, NewId, Rules, job_of
from .errors import JobNotFound
from .model import Grant, Job
from .searching import matches
from .sorting import position
from .tables import Table

__all__ = ["OF_A_QUEUE"]


def _read_job(table: Table, grant: Grant, command: c.ReadJob, _now: int, _new_id: NewId) -> Decision[Job]:
    """Find one job; raises JobNotFound, also for a producer that did not add it."""
    job = job_of(table, command.uid)
    if grant.is_producer and job.spec.author != grant.key_id:
        raise JobNotFound(command.uid)
    return NOTHING, job


def _list_jobs(table: Table, _grant: Grant, command: c.ListJobs, now: int, _new_id: NewId) -> Decision[c.Page]:
    """A page of the jobs that match."""
    looked_at, following = table.page(command.after, command.scan, command.filter.state, command.sort)
    jobs: list[Job] = []
    for index, job in enumerate(looked_at):
        if matches(job, command.filter, now):
            jobs.append(job)
        if len(jobs) == command.limit and index + 1 < len(looked_at):
            following = position(job, command.sort)
            break
    return NOTHING, c.Page(jobs=jobs, following=following)


def _explain(table: Table, _grant: Grant, command: c.ExplainJob, _now: int, _new_id: NewId) -> Decision[c.Explanation]:
    """Say why a job is not running; raises JobNotFound."""
    job = job_of(table, command.uid)
    ahead = table.ahead(job.spec.rank) if job.ready else None
    return NOTHING, c.Explanation(job=job, queue=table.queue, ahead=ahead)


#: The rule of each command about one queue.
OF_A_QUEUE: Final[Rules] = {
    c.ReadJob: _read_job,
    c.ListJobs: _list_jobs,
    c.ExplainJob: _explain,
}
