"""The recent activity of the queues of one server, which the rules may ask for."""

from collections.abc import Callable, Mapping

from attrs import define, field

from ..core.activity import Activity
from ..core.claimers import Claimers
from ..core.model import Recent
from .claimers import ClaimLog

__all__ = ["LocalActivity"]


@define(eq=False)
class LocalActivity:
    """What has happened in the queues lately; see RecentActivity of jobengine.core.tables."""

    claim_log: ClaimLog
    #: Elapsed time now, in milliseconds.
    elapsed: Callable[[], int]
    counts: Activity = field(factory=Activity, init=False)

    def forget(self, name: str) -> None:
        """Drop what is kept of a deleted queue."""
        self.counts.forget(name)
        self.claim_log.forget(name)

    def recent(self, name: str) -> Recent:
        return self.counts.recent(name, self.elapsed())

    def since_start(self, name: str) -> Mapping[str, int]:
        return self.counts.totals(name)

    def claimers(self, name: str) -> Claimers:
        return self.claim_log.claimers(name)

    def waiting(self, name: str) -> int:
        return self.claim_log.waiting(name)

    def claims(self, name: str) -> tuple[int, int | None]:
        return self.claim_log.waiting(name), self.claim_log.last.get(name)
