"""Moving the jobs of a queue to their new places in line after a change of the queue's order."""

from typing import Final

from attrs import evolve

from ..access import OWNERS
from ..ageing import Order, settled
from ..facts import Fact, JobAdded, QueueChanged
from ..model import Grant, Job, Queue, Rank, State
from ..required_rows import Needs, PageOf
from ..tables import NOTHING, Decision, NewId, RecentActivity, Table
from ..transitions import in_line
from ..values import Value
from .command import QueueCommand

__all__ = ["MOVING_STATES", "MoveInLine", "MovedInLine", "SettleOrder"]

#: The states whose jobs are moved, in this order; a finished job gets its new place when it is queued again.
MOVING_STATES: Final = (State.QUEUED, State.INPROGRESS)


class MovedInLine(Value, frozen=True):
    """The outcome of one slice of a move."""

    #: The order by which the jobs were moved; None if no job has to move.
    order: Order | None
    #: Where the next slice begins, or None if this was the last.
    following: Rank | None


class MoveInLine(QueueCommand[MovedInLine], frozen=True, kw_only=True):
    """Move some jobs to their new places in line: jobs of one state, in execution order."""

    roles = OWNERS
    reads = False

    state: State
    #: Start after this rank; None starts at the front.
    after: Rank | None = None
    #: The most jobs to examine, in one commit.
    limit: int = 200

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(page=PageOf(self.after, self.limit, self.state))

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[MovedInLine]:
        """Move one slice of jobs; a job that comes again in a later slice, at its new place, stays there."""
        queue = table.queue
        if queue.order is None or not queue.order.changed:
            return NOTHING, MovedInLine(None, None)
        jobs, following = table.page(self.after, self.limit, self.state)
        moved = ((job, in_line(queue, job.spec)) for job in jobs)
        facts: list[Fact] = [
            JobAdded(self.queue, Job(spec, job.standing)) for job, spec in moved if spec is not job.spec
        ]
        return facts, MovedInLine(queue.order, following)


class SettleOrder(QueueCommand[bool], frozen=True, kw_only=True):
    """Record that all jobs have the places that `order` gives them; answers False if the queue's order has changed."""

    roles = OWNERS
    reads = False

    order: Order

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[bool]:
        if table.queue.order != self.order:
            return NOTHING, False
        return [QueueChanged(evolve(table.queue, order=settled(self.order)))], True
