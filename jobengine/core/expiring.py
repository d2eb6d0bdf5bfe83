"""The rules of what time alone brings about."""

from itertools import islice

from msgspec.structs import replace

from .facts import Fact, JobChanged, JobRemoved
from .model import SECOND, Job, State
from .tables import JobTableSet
from .transitions import timed_out


def expire(tables: JobTableSet, now: int, limit: int) -> list[Fact]:
    """
    The facts that time alone has brought about by `now`, for at most `limit` jobs, in each queue by deadline.

    Apply them and call this again until it returns none: a job that times out may be due for removal at once.
    """
    wall = tables.wall(now)
    return [_outlived(name, job, now, wall) for name, job in islice(tables.due(now), limit)]


def _outlived(name: str, job: Job, now: int, wall: int) -> Fact:
    standing, spec = job.standing, job.spec
    if standing.state is State.INPROGRESS:
        return JobChanged(name, spec.uid, timed_out(job, now))
    if standing.state is State.QUEUED and (not spec.timeout_time or spec.timeout_time * SECOND > wall):
        ready_at = standing.ready_at if standing.ready_at > now else 0
        not_before = standing.not_before if standing.not_before > wall else 0
        return JobChanged(name, spec.uid, replace(standing, ready_at=ready_at, not_before=not_before))
    return JobRemoved(name, spec.uid)
