"""Which jobs hold a unique key, and what becomes of an add whose key is held."""

from collections.abc import Sequence

from .model import FINISHED, INPROGRESS, QUEUED, SECOND, UNFINISHED, Job
from .unique_rule import PLAIN_RULE, IfInProgress, IfQueued, UniqueRule, Until


def may_hold(job: Job) -> bool:
    """
    Whether a job with a unique key may hold it; indexes contain these jobs.

    A finished job may hold its key until another job takes the key over; `holds` says whether it does.
    """
    standing, rule = job.standing, job.spec.rare.unique
    if rule is None:
        return standing.state in UNFINISHED
    if standing.state in FINISHED:
        return rule.seconds > 0 and not standing.notes.key_passed_on
    return standing.state is QUEUED or rule.until is Until.FINISHED


def held_until(job: Job) -> int | None:
    """The elapsed time until which a finished job holds its unique key; None if it is not finished or holds none."""
    if job.standing.state not in FINISHED or job.spec.rare.unique_key is None or not may_hold(job):
        return None
    return job.standing.updated + (job.spec.rare.unique or PLAIN_RULE).seconds * SECOND


def holds(job: Job, now: int) -> bool:
    """Whether a job holds its unique key at `now`."""
    if job.standing.state in FINISHED:
        until = held_until(job)
        return until is not None and until > now
    return may_hold(job)


def job_to_replace(holders: Sequence[Job], rule: UniqueRule) -> Job | None:
    """
    The queued job that an add with this rule replaces, or None.

    After a retry two queued jobs may hold the key. Then the newer is replaced: it runs last, and the latest content
    must run last.
    """
    if rule.if_queued is not IfQueued.REPLACE:
        return None
    return max((job for job in holders if job.state is QUEUED), key=_arrival, default=None)


def job_to_keep(holders: Sequence[Job], rule: UniqueRule, now: int) -> Job | None:
    """
    The stored job that an add with this rule returns, instead of adding a job; None if it adds one.

    After a retry two unfinished jobs may hold the key. Then the older one is returned.
    """
    adds_beside = rule.if_running is IfInProgress.ADD
    held = (job for job in holders if holds(job, now) and not (adds_beside and job.state is INPROGRESS))
    return min(held, key=_finished_last, default=None)


def _arrival(job: Job) -> int:
    return job.spec.arrival


def _finished_last(job: Job) -> tuple[bool, int]:
    return job.state in FINISHED, job.spec.arrival
