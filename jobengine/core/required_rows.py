"""
The parts of a queue's table that a command uses, for an engine that loads only these.

QueueCommand.needs derives them from the queue and the key's grant. A LoadedTable has only these parts: a rule that uses
more raises NotLoaded instead of getting a wrong answer. If that happens, correct the command's `needs`.
"""

from typing import Final

from .failures import GroupPosition
from .model import Position, State
from .sorting import GroupSort, Sort
from .values import Value


class ReadyOf(Value, frozen=True):
    """The first jobs that can be claimed."""

    #: The most jobs.
    count: int
    #: Only jobs with all of these tags.
    tags: tuple[str, ...]


class PageOf(Value, frozen=True):
    """A page of jobs in some order, and whether more follow: see Table.page."""

    after: Position | None
    limit: int
    state: State | None
    sort: Sort | None = None
    group: str | None = None


class GroupsOf(Value, frozen=True):
    """A page of groups: see Table.groups."""

    sort: GroupSort
    after: tuple[int, str] | None
    limit: int


class FailuresOf(Value, frozen=True):
    """A page of the groups of failures: see Table.failures."""

    after: GroupPosition | None
    limit: int


class Needs(Value, frozen=True, kw_only=True):
    """The data that a command needs besides the queue itself."""

    #: The jobs with these uids, as far as they exist.
    uids: frozenset[str] = frozenset()
    #: The jobs that may hold these unique keys.
    unique_keys: frozenset[str] = frozenset()
    #: Named things, by kind and name; see ItemSet.
    items: frozenset[tuple[str, str]] = frozenset()
    #: The kinds of which all named things are needed.
    kinds: frozenset[str] = frozenset()
    ready: ReadyOf | None = None
    page: PageOf | None = None
    #: The name of a group, or a page of groups; each group is loaded with its gate and settings.
    group: str | None = None
    groups: GroupsOf | None = None
    #: A page of the groups of failures.
    failures: FailuresOf | None = None
    #: The number of groups of failures.
    count_failures: bool = False
    #: The groups of failures that contain the jobs in `uids`.
    alike: bool = False
    #: All that can keep the jobs in `uids` from being claimed: their group, the queue, gates, settings and holders.
    holds: bool = False
    #: The jobs of schedules, which only the rule can name: it calls load_jobs.
    more_jobs: bool = False
    #: The schedules that may have added the jobs in `uids`, which are now in the queue of this name.
    schedules_of: str | None = None
    #: The batches to which the jobs in `uids` belong.
    batches: bool = False
    #: The number of jobs of the batches with these names, or of all batches.
    counted_batches: frozenset[str] = frozenset()
    counts_batches: bool = False
    #: The kinds of which the number of named things is needed.
    numbers: frozenset[str] = frozenset()
    #: The jobs that wait for others: see Table.dependants.
    dependants: bool = False
    #: The next arrival number, to add jobs.
    adds: bool = False
    #: The counts of schedules.
    count_schedules: bool = False
    #: The number of jobs.
    size: bool = False
    #: The number of jobs in each place, and when the oldest ready job was added.
    counts: bool = False
    #: The stored periods of the queue's history.
    periods: bool = False
    #: For each job in `uids`, the number of ready jobs before it.
    ahead: bool = False


#: The needs of a command that uses only the queue itself.
NOTHING_MORE: Final = Needs()
