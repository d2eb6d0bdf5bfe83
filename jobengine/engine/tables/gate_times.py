"""When the gates of a queue change."""

from collections.abc import Iterator
from itertools import takewhile

from attrs import define, field

from ...core.flow import OF_QUEUE, OPEN, Gate
from .sorted_list import SortedList


@define(eq=False)
class GateTimes:
    """The times at which gates change, and the gates that have no more effect. Call `update` after changes."""

    #: When the gate of a group changes next, and its name.
    times: SortedList[tuple[int, str]] = field(factory=SortedList, init=False)
    #: When the queue's own gate changes next; None for never.
    own: int | None = field(default=None, init=False)
    #: The names of the gates that have no more effect: a group's name, or OF_QUEUE.
    over: dict[str, None] = field(factory=dict, init=False)
    #: The next elapsed time at which a gate changes, or a past time if any gate is over; None if no gate changes.
    next_change: int | None = field(default=None, init=False)
    #: Pending changes of `times`: values to insert, and values to remove.
    _moves: tuple[list[tuple[int, str]], list[tuple[int, str]]] = field(factory=lambda: ([], []), init=False)
    #: Whether changes were recorded since the last update.
    has_changed: bool = field(default=False, init=False)

    def set_own(self, gate: Gate, now: int | None) -> None:
        """Record when the queue's own gate changes next, as `now`; None stands for never."""
        self.own = now
        self._note_over(OF_QUEUE, gate, now)

    def set(self, name: str, gate: Gate, was: int | None, now: int | None) -> None:
        """Record when a group's gate changes next, as `now`, instead of `was`; None stands for never."""
        if was != now:
            inserted, removed = self._moves
            if now is not None:
                inserted.append((now, name))
            if was is not None:
                removed.append((was, name))
        self._note_over(name, gate, now)

    def _note_over(self, name: str, gate: Gate, changes: int | None) -> None:
        self.has_changed = True
        if changes is None and gate is not OPEN:
            self.over[name] = None
        elif self.over:
            self.over.pop(name, None)

    def due(self, now: int) -> Iterator[str]:
        """The names of the groups whose gates change by `now`. Any change makes the iterator invalid."""
        return (name for _, name in takewhile(lambda entry: entry[0] <= now, self.times))

    def is_due(self, now: int) -> bool:
        """Whether any gate changes by `now`."""
        first = self.times.first()
        return (first is not None and first[0] <= now) or (self.own is not None and self.own <= now)

    def update(self, now: int) -> None:
        """Bring times up to date with the recorded changes."""
        self.has_changed = False
        self.times.move(*self._moves)
        self._moves = ([], [])
        first, change = self.times.first(), self.own
        if first is not None and (change is None or first[0] < change):
            change = first[0]
        self.next_change = now if self.over else change
