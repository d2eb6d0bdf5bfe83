"""A job in progress that adds jobs and waits for them."""

from collections.abc import Sequence

from msgspec.structs import replace

from ..access import WORKERS
from ..dependencies import OnDependencyFailure, batch_key
from ..facts import JobAdded
from ..model import Grant, Job, Queue
from ..required_rows import Needs
from ..tables import Decision, job_of
from ..transitions import waiting_for
from .adding import Adding, AddingCommand
from .new_job import Added, NewJob

__all__ = ["WaitFor"]


class WaitFor(AddingCommand[Job], frozen=True, kw_only=True):
    """Give up the lease of a job, add jobs, and let the job wait for them; its next claim continues the attempt."""

    roles = WORKERS

    #: The uid of the job that waits, and the caller's lease; see UpdateJob.
    uid: str
    lease: str | None = None
    #: The jobs to wait for, at most MOST_DEPENDENCIES.
    jobs: tuple[NewJob, ...]
    #: What becomes of the job if one of `jobs` fails; None keeps the job's present setting.
    on_dependency_failure: OnDependencyFailure | None = None

    @property
    def new_jobs(self) -> Sequence[NewJob]:
        return self.jobs

    @property
    def weight(self) -> int:
        return len(self.jobs) + 1

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        needs = super().needs(queue, grant)
        return replace(needs, uids=needs.uids | {self.uid}, batches=True, dependants=True)

    def decide_with(self, adding: Adding) -> Decision[Job]:
        """
        Raises JobNotFound, LeaseLost, LeaseRequired, NotInProgress, WouldWaitForItself, TooManyDependants, and the
        errors of AddJobs, those of one job within a BadItem.
        """
        table = adding.table
        job = job_of(table, self.uid)
        adding.place = "wait_for"
        added = adding.add_all(self.jobs, many=True)
        self._check_circle(adding, job, added)
        children = [(self.queue, one.job.spec.uid) for one in added]
        waiting = waiting_for(table.queue, job, children, self.on_dependency_failure, adding.now, lease=self.lease)
        if waiting.spec is job.spec:
            return [JobAdded(self.queue, waiting)], waiting
        return [*adding.facts(), JobAdded(self.queue, waiting)], waiting

    def _check_circle(self, adding: Adding, job: Job, added: Sequence[Added]) -> None:
        """Check that no dependency of a child, and no child that was stored before, waits for the job or its batch."""
        awaited = [one for child in self.jobs for one in child.depends_on]
        awaited += [(self.queue, one.job.spec.uid) for one in added if not one.new]
        if not awaited:
            return
        adding.circles.check(awaited, (self.queue, self.uid), f"the job {self.uid}")
        batch = job.spec.rare.batch
        if batch is not None:
            adding.circles.check(awaited, (self.queue, batch_key(batch)), f"the batch {batch}")
