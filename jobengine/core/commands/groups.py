"""Groups: their own settings, holds, and lists of them."""

from collections.abc import Sequence

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from ..access import OWNERS, READERS
from ..errors import GroupNotFound
from ..facts import Fact, ItemSet
from ..flow import GATE, GROUP, NO_FLOW, NO_SETTINGS, Flow, Rate, item_text, settings_of
from ..gates import GateChanges, with_flow
from ..groups import report
from ..model import SECOND, Grant, Queue
from ..required_rows import GroupsOf, Needs
from ..sorting import GroupSort
from ..stats import GroupReport, GroupState
from ..tables import NOTHING, Decision, NewId, RecentActivity, Table
from ..values import Value
from ..wall_time import shown
from .command import QueueCommand

__all__ = ["ChangeGroup", "GroupPage", "ListGroups", "ReadGroup", "ResetGroup"]


class _GroupCommand(QueueCommand[GroupReport], frozen=True, kw_only=True):
    """A command about one group."""

    #: The group's name.
    group: str

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(group=self.group)


class ChangeGroup(_GroupCommand, frozen=True, kw_only=True):
    """Give a group settings of its own; a setting that is None becomes the queue's, one that is UNSET stays."""

    roles = OWNERS
    reads = False

    #: See GroupSettings.
    in_progress: int | UnsetType | None = UNSET
    rate: Rate | UnsetType | None = UNSET
    group_weight: int | UnsetType = UNSET
    paused: bool | UnsetType = UNSET
    #: The Unix second until which the group is held; a second in the past ends a hold.
    held_until: int | UnsetType = UNSET

    def flow_after(self, queue: Queue) -> Flow | None:
        return NO_FLOW if queue.flow is None else None

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[GroupReport]:
        given = {
            "in_progress": self.in_progress,
            "rate": self.rate,
            "weight": self.group_weight,
            "paused": self.paused,
        }
        old = settings_of(table.item(GROUP, self.group))
        new = replace(old, **{name: value for name, value in given.items() if value is not UNSET})
        facts: list[Fact] = []
        if new != old:
            facts = [*with_flow(table), ItemSet(self.queue, GROUP, self.group, item_text(new))]
        gates = GateChanges(table)
        if self.held_until is not UNSET:
            until = self.held_until * SECOND - table.wall(0)
            gates.hold(self.group, until if until > now else 0)
        facts += [fact for fact in gates.facts() if fact not in facts]
        state = table.group(self.group) if table.queue.flow is not None else GroupState()
        return facts, report(table, self.group, state, now, settings=new, gate=gates.gate(self.group))


class ResetGroup(_GroupCommand, frozen=True, kw_only=True):
    """Remove a group's own settings, so that the queue's apply to it again."""

    roles = OWNERS
    reads = False

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[GroupReport]:
        state = _state(table, self.group)
        facts = [] if table.item(GROUP, self.group) is None else [ItemSet(self.queue, GROUP, self.group, None)]
        return facts, report(table, self.group, state, now, settings=NO_SETTINGS)


class ReadGroup(_GroupCommand, frozen=True, kw_only=True):
    """Read a group: its jobs, what holds it, and its own settings."""

    roles = READERS
    reads = True

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[GroupReport]:
        """Raises GroupNotFound for a group without jobs, settings and hold."""
        return NOTHING, report(table, self.group, _state(table, self.group), now)


class GroupPage(Value, frozen=True, kw_only=True):
    """Some groups of a queue in the requested order."""

    groups: Sequence[GroupReport] = ()
    #: The `after` of the next page, with the same `sort`; None after the last page.
    following: tuple[int, str] | None = None

    def at_wall_clock(self, ahead: int) -> "GroupPage":
        return GroupPage(groups=shown(self.groups, ahead), following=self.following)


class ListGroups(QueueCommand[GroupPage], frozen=True, kw_only=True):
    """Read a page of groups: those with jobs, settings or a hold."""

    roles = READERS
    reads = True

    sort: GroupSort = GroupSort.QUEUED
    #: Start after this position in that order; None starts at the front.
    after: tuple[int, str] | None = None
    #: The most groups of the page.
    limit: int
    #: The positions of the first `limit` + 1 groups, if the engine has found them already.
    found: Sequence[tuple[int, str]] | None = None

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(groups=GroupsOf(self.sort, self.after, self.limit))

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[GroupPage]:
        if table.queue.flow is None:
            return NOTHING, GroupPage()
        groups, following = table.groups(self.sort, self.after, self.limit, self.found)
        reports = [report(table, name, state, now) for name, state in groups]
        return NOTHING, GroupPage(groups=reports, following=following)


def _state(table: Table, name: str) -> GroupState:
    """The jobs of a group; raises GroupNotFound if it has neither jobs nor settings nor a hold."""
    if table.queue.flow is None:
        raise GroupNotFound(name)
    state = table.group(name)
    if state == GroupState() and table.item(GROUP, name) is None and table.item(GATE, name) is None:
        raise GroupNotFound(name)
    return state
