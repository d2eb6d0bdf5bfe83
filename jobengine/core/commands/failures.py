"""Reading the failures of a queue, grouped by their fingerprints."""

from collections.abc import Sequence

from ..access import READERS
from ..failures import NEW_FOR, FailureGroup, GroupPosition, group_of
from ..model import Grant, Queue
from ..required_rows import FailuresOf, Needs
from ..stats import FailureCounts
from ..tables import NOTHING, Decision, NewId, RecentActivity, Table
from ..values import Value
from ..wall_time import shown
from .command import QueueCommand

__all__ = ["CountFailures", "FailurePage", "ListFailures"]


class FailurePage(Value, frozen=True, kw_only=True):
    """Some groups of failures, those with the most jobs first."""

    failures: Sequence[FailureGroup] = ()
    #: The `after` of the next page; None after the last page.
    following: GroupPosition | None = None
    #: How many jobs are in groups that no page lists, because the queue has too many groups.
    dropped: int = 0

    def at_wall_clock(self, ahead: int) -> "FailurePage":
        return FailurePage(failures=shown(self.failures, ahead), following=self.following, dropped=self.dropped)


class ListFailures(QueueCommand[FailurePage], frozen=True, kw_only=True):
    """Read a page of the groups of failures."""

    roles = READERS
    reads = True

    #: Start after this position; None starts at the front.
    after: GroupPosition | None = None
    #: The most groups of the page.
    limit: int

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(failures=FailuresOf(self.after, self.limit))

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[FailurePage]:
        page = table.failures(self.after, self.limit, now)
        return NOTHING, FailurePage(
            failures=[group_of(one) for one in page.groups],
            following=page.following,
            dropped=page.dropped,
        )


class CountFailures(QueueCommand[FailureCounts], frozen=True, kw_only=True):
    """Count the groups of failures, and the new ones; cheap enough to be sent often for all queues with failures."""

    roles = READERS
    reads = True

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(count_failures=True)

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[FailureCounts]:
        return NOTHING, table.count_failures(now - NEW_FOR)
