"""The recent activity of the queues of one server, which the rules may ask for."""

from collections.abc import Iterable, Mapping

from attrs import define, field

from ...core.activity import Activity
from ...core.claimers import Claimers
from ...core.facts import Fact, PeriodsCounted
from ...core.history import KeptPeriod, QueueHistory
from ...core.model import Recent, Spread
from ..claimers import ClaimLog
from .tables.state import Tables

__all__ = ["LocalActivity"]


@define(eq=False)
class LocalActivity:
    """What has happened in the queues lately; see RecentActivity of jobengine.core.tables."""

    claim_log: ClaimLog
    counts: Activity = field(factory=Activity)

    def forget(self, name: str) -> None:
        """Drop what is kept of a deleted queue."""
        self.counts.forget(name)
        self.claim_log.forget(name)

    def unsaved(self, tables: Tables) -> list[Fact]:
        """The facts that keep what was counted since the last call."""
        taken = self.counts.take_unsaved()
        return [PeriodsCounted(name, tuple(its)) for name, its in taken.items() if name in tables.queues]

    def recent(self, name: str, now: int, kept: Iterable[KeptPeriod]) -> Recent:
        return self.counts.recent(name, now, kept)

    def history(self, name: str, now: int, kept: Iterable[KeptPeriod]) -> QueueHistory:
        return self.counts.history(name, now, kept)

    def times(self, name: str) -> tuple[Spread, Spread]:
        return self.counts.times(name)

    def since_start(self, name: str) -> Mapping[str, int]:
        return self.counts.totals(name)

    def claimers(self, name: str) -> Claimers:
        return self.claim_log.claimers(name)

    def waiting(self, name: str) -> int:
        return self.claim_log.waiting(name)

    def claims(self, name: str) -> tuple[int, int | None]:
        return self.claim_log.waiting(name), self.claim_log.last.get(name)
