"""The rules for changing and deleting jobs: one, several, or all that match."""

from collections.abc import Callable, Sequence
from typing import Final

from . import commands as c
from .decision import NOTHING, Decision, NewId, Rules, job_of
from .errors import ClaimRequired, DomainError, JobNotFound, LeaseLost, LeaseRequired
from .facts import Fact, JobRemoved
from .model import Grant, Job, Rank, State
from .searching import matches
from .tables import Table
from .updating import update

__all__ = ["OF_A_QUEUE"]


def _update_job(table: Table, _grant: Grant, command: c.UpdateJob, now: int, _new_id: NewId) -> Decision[Job]:
    """Change one job; raises JobNotFound, or as `update`."""
    job = job_of(table, command.uid)
    fact, updated = update(table.queue, job, command.changes, now, lease=command.lease)
    return ([fact] if fact is not None else NOTHING), updated


def _update_jobs(
    table: Table, _grant: Grant, command: c.UpdateJobs, now: int, _new_id: NewId
) -> Decision[Sequence[Job | DomainError]]:
    """Change each job, or say why not."""
    facts: list[Fact] = []
    outcomes: list[Job | DomainError] = []
    # A job that comes twice is changed on top of its first change, which is not in the tables yet.
    changed: dict[str, Job] = {}
    for asked in command.updates:
        try:
            job = changed.get(asked.uid) or job_of(table, asked.uid)
            fact, updated = update(table.queue, job, asked.changes, now, lease=asked.lease)
        except (JobNotFound, LeaseLost, LeaseRequired, ClaimRequired) as error:
            outcomes.append(error)
            continue
        if fact is not None:
            facts.append(fact)
            changed[asked.uid] = updated
        outcomes.append(updated)
    return facts, outcomes


def _delete_job(table: Table, _grant: Grant, command: c.DeleteJob, _now: int, _new_id: NewId) -> Decision[None]:
    """Remove one job; raises JobNotFound."""
    job_of(table, command.uid)
    return [JobRemoved(command.queue, command.uid)], None


def _update_matching(
    table: Table, _grant: Grant, command: c.UpdateMatching, now: int, _new_id: NewId
) -> Decision[c.Swept]:
    """Change the jobs of a slice that match; raises ClaimRequired."""
    if command.changes.state is State.INPROGRESS and table.queue.require_lease:
        raise ClaimRequired(State.QUEUED)

    def change(job: Job) -> Fact | None:
        """Make the change of the command."""
        return update(table.queue, job, command.changes, now, by_owner=True)[0]

    if command.uids is None:
        return _sweep(command, change, *table.page(command.after, command.limit, command.filter.state), now)
    return _sweep(command, change, [job for uid in command.uids if (job := table.job(uid)) is not None], None, now)


def _delete_matching(
    table: Table, _grant: Grant, command: c.DeleteMatching, now: int, _new_id: NewId
) -> Decision[c.Swept]:
    """Remove the jobs of a slice that match."""
    page = table.page(command.after, command.limit, command.filter.state)
    return _sweep(command, lambda job: JobRemoved(command.queue, job.spec.uid), *page, now)


def _sweep(
    command: c.UpdateMatching | c.DeleteMatching,
    change: Callable[[Job], Fact | None],
    looked_at: Sequence[Job],
    following: Rank | None,
    now: int,
) -> Decision[c.Swept]:
    matching = [job for job in looked_at if matches(job, command.filter, now)]
    facts = [] if command.dry_run else [fact for fact in map(change, matching) if fact is not None]
    return facts, c.Swept(len(matching), following)


#: The rule of each command about one queue.
OF_A_QUEUE: Final[Rules] = {
    c.UpdateJob: _update_job,
    c.UpdateJobs: _update_jobs,
    c.DeleteJob: _delete_job,
    c.UpdateMatching: _update_matching,
    c.DeleteMatching: _delete_matching,
}
