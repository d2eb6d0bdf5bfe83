"""
Limits, rates and the order of groups: how a queue restrains its claims.

A job may belong to a group. The queue says what groups mean (`Flow`), and a group may have settings of its own. Jobs
in progress are counted from the jobs themselves, so no slot can be lost. Only past claims, for a rate, are stored: as
the marks of a `Gate`.
"""

from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Final

from msgspec import Meta
from msgspec.json import Decoder, Encoder
from msgspec.structs import replace

from .values import Value

_SECOND: Final = 1_000
#: A claim joins the newest mark if that mark is younger than the window divided by this number.
_MARKS: Final = 16
#: The kind of named thing (see ItemSet) for a group's own settings.
GROUP: Final = "group"
#: The kind of named thing for a gate: of the group with its name, or of the queue if its name is OF_QUEUE.
GATE: Final = "gate"
#: The name of the queue's own gate.
OF_QUEUE: Final = ""
#: More jobs than any queue holds.
UNLIMITED: Final = 1 << 62
#: The most characters of a group's name.
GROUP_LENGTH: Final = 200

GroupName = Annotated[str, Meta(min_length=1, max_length=GROUP_LENGTH)]
#: A number of jobs in progress or of claims.
Number = Annotated[int, Meta(ge=1, le=1_000_000)]
Weight = Annotated[int, Meta(ge=1, le=1_000)]
#: Seconds of a window, at most a day.
Window = Annotated[int, Meta(ge=1, le=86_400)]


class Rate(Value, frozen=True, forbid_unknown_fields=True):
    """At most `count` claims in any window of `seconds`."""

    count: Number
    seconds: Window

    @property
    def window(self) -> int:
        """The window in milliseconds."""
        return self.seconds * _SECOND


class Limits(Value, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Limits of a queue or of a group; None is no limit."""

    #: The most jobs in progress.
    in_progress: Number | None = None
    rate: Rate | None = None


NO_LIMITS: Final = Limits()


class GroupOrder(StrEnum):
    """Which group's job is claimed first; the values are those of the API."""

    #: The first job in execution order.
    ARRIVAL = "arrival"
    #: Among jobs of equal priority, the job of the group with the fewest jobs in progress for its weight.
    FAIR = "fair"
    #: As ARRIVAL, but only the first unfinished job of each group can be claimed.
    STRICT = "strict"


class OnFailure(StrEnum):
    """What a failed job means for its group, in a queue with strict order; the values are those of the API."""

    #: The group's next job can be claimed.
    NEXT = "next"
    #: No job of the group can be claimed until the failed one is retried or deleted.
    HOLD = "hold"


class Flow(Value, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The limits of a queue and the order of its groups; most queues have none."""

    #: Limits of the queue as a whole.
    limits: Limits = NO_LIMITS
    #: Limits of each group.
    group_limits: Limits = NO_LIMITS
    group_order: GroupOrder = GroupOrder.ARRIVAL
    group_on_failure: OnFailure = OnFailure.NEXT

    @property
    def holds_failed(self) -> bool:
        """Whether a failed job holds its group."""
        return self.group_order is GroupOrder.STRICT and self.group_on_failure is OnFailure.HOLD


NO_FLOW: Final = Flow()


class GroupSettings(Value, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A group's own settings; None stands for the queue's."""

    in_progress: Number | None = None
    rate: Rate | None = None
    #: The group's share in fair order.
    weight: Weight = 1
    #: Whether claiming jobs of the group is refused.
    paused: bool = False

    def limits(self, flow: Flow) -> Limits:
        """The limits of the group in a queue with this flow."""
        if self is NO_SETTINGS:
            return flow.group_limits
        of_all = flow.group_limits
        return Limits(
            in_progress=of_all.in_progress if self.in_progress is None else self.in_progress,
            rate=self.rate or of_all.rate,
        )


NO_SETTINGS: Final = GroupSettings()


class Gate(Value, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What prevents claims for a time: a hold that a client requested, and the claims that a rate has counted."""

    #: The elapsed time until which nothing is claimed.
    held: Annotated[int, Meta(ge=0, lt=1 << 62)] = 0
    #: First claim, last claim and number of claims of each mark, oldest first; elapsed times.
    marks: tuple[tuple[int, int, Annotated[int, Meta(ge=1)]], ...] = ()

    def left(self, rate: Rate | None, now: int) -> int:
        """How many claims are possible at `now`."""
        if self.held > now:
            return 0
        if rate is None:
            return UNLIMITED
        left, since = rate.count, now - rate.window
        for _, last, n in self.marks:
            if last > since:
                left -= n
        return max(0, left)

    def opens(self, rate: Rate | None) -> int:
        """The elapsed time from which a claim is possible; a past time if the gate is open."""
        opens = self.held
        if rate is not None:
            left = rate.count
            for _, last, n in reversed(self.marks):
                left -= n
                if left <= 0:
                    return max(opens, last + rate.window)
        return opens

    def next_change(self, rate: Rate | None, now: int) -> int | None:
        """The next time after `now` when the hold ends or a claim leaves the window, so that more can be claimed."""
        change = self.held if self.held > now else None
        if rate is not None:
            window = rate.window
            for _, last, _ in self.marks:
                # Marks are in order: the first that still counts is the next to leave.
                if last + window > now:
                    return last + window if change is None else min(change, last + window)
        return change

    def after_claims(self, rate: Rate, now: int, number: int) -> "Gate":
        """The gate after this many claims at `now`."""
        window = rate.window
        marks = [mark for mark in self.marks if mark[1] + window > now]
        if marks and now - marks[-1][0] < window // _MARKS:
            first, _, n = marks[-1]
            marks[-1] = (first, now, n + number)
        else:
            marks.append((now, now, number))
        return Gate(held=self.held, marks=tuple(marks))

    def given_back(self, claimed: int) -> "Gate":
        """The gate after the server has undone a claim made at `claimed`."""
        marks = [(first, last, n - (first <= claimed <= last)) for first, last, n in self.marks]
        return replace(self, marks=tuple(mark for mark in marks if mark[2]))

    def moved(self, later: int) -> "Gate":
        """The gate with all times later by this many milliseconds."""
        marks = tuple((first + later, last + later, n) for first, last, n in self.marks)
        return Gate(held=self.held + later if self.held else 0, marks=marks)

    def is_over(self, rate: Rate | None, now: int) -> bool:
        """Whether the gate has no more effect."""
        return self.next_change(rate, now) is None


OPEN: Final = Gate()

_encode: Final = Encoder().encode
_read_settings: Final = Decoder(GroupSettings).decode
_read_gate: Final = Decoder(Gate).decode


def item_text(thing: GroupSettings | Gate) -> str | None:
    """Settings or a gate as the value of a named thing; None if they have no effect: then it can be removed."""
    return None if thing in (NO_SETTINGS, OPEN) else _encode(thing).decode()


def settings_of(text: str | None) -> GroupSettings:
    """A group's own settings from the value of a named thing; raises ValidationError."""
    return NO_SETTINGS if text is None else _read_settings(text)


@lru_cache(maxsize=128)
def gate_of(text: str | None) -> Gate:
    """
    A gate from the value of a named thing; raises ValidationError.

    Cached, since a claim gives many groups equal gates.
    """
    return OPEN if text is None else _read_gate(text)
