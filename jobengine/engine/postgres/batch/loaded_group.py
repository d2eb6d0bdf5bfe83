"""A group of a queue with flow, and the queue's totals, as a batch has loaded them."""

from collections.abc import Sequence

from attrs import define

from ....core.flow import NO_SETTINGS, OPEN, Gate, GroupOrder, GroupSettings
from ....core.model import Rank
from ....core.turn_order import Key
from ..database.group_rows import RUNNING, GroupDelta
from ..database.pipeline import Row
from ..database.rows import RowRank
from .ordered import Loading


@define(eq=False)
class LoadedGroup:
    """A group, or all jobs without a group, as it is after the batch's commands so far."""

    #: None for the jobs without a group.
    name: str | None
    order: GroupOrder
    #: The numbers of ready, delayed, running and failed jobs in the database.
    base: Sequence[int]
    #: The batch's changes of the group.
    delta: GroupDelta
    served: int
    #: The ranks of the group's ready jobs.
    ready: Loading[Rank]
    settings: GroupSettings = NO_SETTINGS
    gate: Gate = OPEN
    #: Whether the group has a place in turn in the database; in strict order that shows that its first job was ready.
    is_placed: bool = True
    damaged: bool = False
    #: Whether other transactions have locked a ready job of the group: in strict order no job of it is claimed then.
    is_locked: bool = False

    def number(self, which: int) -> int:
        """How many jobs are ready, delayed, in progress, or failed."""
        return self.base[which] + self.delta.counts[which]

    def key(self, rank: Rank, taken: int, turn: int) -> Key:
        """The group's position in the order of groups; the parameters are those of OpenGroup.key."""
        if self.order is not GroupOrder.FAIR:
            return rank
        load = (self.number(RUNNING) + taken) / self.settings.weight
        return (rank[0], load, turn or self.served, rank[1], rank[2])


@define(eq=False)
class QueueTotals:
    """The numbers of ready, delayed and running jobs of a queue in the database, and of its jobs without a group."""

    jobs: Sequence[int]
    ungrouped: Sequence[int]
    served: int
    #: The start of the ready jobs without a group; None if it is not known.
    start: RowRank | None
    #: The sealed gate of the queue.
    gate: bytes | None


def totals_of(row: Row) -> QueueTotals:
    """The totals in a row of the statement read_flow."""
    jobs, grouped, served, start, gate = row[:3], row[3:6], row[6], row[7:9], row[9]
    return QueueTotals(
        jobs,
        [total - its for total, its in zip(jobs, grouped, strict=True)],
        served,
        None if start[0] is None else (start[0], start[1]),
        gate,
    )


def second_of(row: Row) -> tuple[RowRank, int] | None:
    """The second ready job of a group, in a row of the statement groups_in_turn; see GroupDelta.second."""
    return None if row[17] is None else ((row[14], row[15]), row[16])
