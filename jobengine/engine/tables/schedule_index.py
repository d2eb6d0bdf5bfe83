"""When the schedules of a queue fire next."""

from typing import Final

from ...core.schedules import ScheduleCounts, Totals, schedule_totals
from .sorted_list import SortedList


class ScheduleIndex:
    """The schedules of one queue by their next times, derived from its named things."""

    def __init__(self) -> None:
        self._schedules: Final[dict[str, Totals]] = {}
        #: (next time, name) of each schedule that has one; times of the wall clock, in milliseconds.
        self._times: Final[SortedList[tuple[int, str]]] = SortedList()

    @property
    def first(self) -> tuple[int, str] | None:
        """The earliest next time, and the schedule's name."""
        return self._times.first()

    def counts(self) -> ScheduleCounts:
        """The counts of the schedules."""
        first = self.first
        failing = sum(one.failing for one in self._schedules.values())
        return ScheduleCounts(len(self._schedules), failing, None if first is None else first[0])

    def set_item(self, name: str, value: str | None) -> None:
        """Record the new value of a schedule."""
        old = self._schedules.pop(name, None)
        if old is not None and old.next is not None:
            self._times.remove_all([(old.next, name)])
        if value is not None:
            new = self._schedules[name] = schedule_totals(value)
            if new.next is not None:
                self._times.add_all([(new.next, name)])
