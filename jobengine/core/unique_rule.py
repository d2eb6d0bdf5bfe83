"""What a job's unique key means: how long the job holds it, and what an add does while another job holds it."""

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from .values import Value

#: Seconds, at most 366 days.
Hold = Annotated[int, Meta(ge=0, le=31_622_400)]
Pause = Annotated[int, Meta(ge=1, le=31_622_400)]


class Until(StrEnum):
    """Until when a job holds its unique key; the values are those of the API."""

    #: Until the job is complete or failed.
    FINISHED = "finished"
    #: Until the job is claimed. A job that is queued again holds the key again.
    STARTED = "started"


class IfQueued(StrEnum):
    """What an add does if the key is held by a queued job; the values are those of the API."""

    #: The add changes nothing, and returns the queued job.
    KEEP = "keep"
    #: The add replaces what the queued job does.
    REPLACE = "replace"


class IfInProgress(StrEnum):
    """What an add does if the key is held only by a job in progress; the values are those of the API."""

    #: The add changes nothing, and returns the job in progress.
    KEEP = "keep"
    #: The add adds a job, to be done after the one in progress.
    ADD = "add"


class Debounce(Value, frozen=True):
    """Each add delays the queued job again: see `delay_until`."""

    #: Seconds from the latest add to the earliest claim.
    seconds: Pause
    #: Seconds from the first add after which no further add delays the job.
    at_most_seconds: Pause

    def delay_until(self, created: int, now: int) -> int:
        """The elapsed time until which a job is delayed by an add at `now`; 0 if it is not delayed."""
        until = min(now + self.seconds * 1_000, created + self.at_most_seconds * 1_000)
        return until if until > now else 0


class UniqueRule(Value, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How a job holds its unique key, and what its add does if another job holds the key."""

    until: Until = Until.FINISHED
    #: For how many seconds a finished job still holds the key.
    seconds: Hold = 0
    if_queued: IfQueued = IfQueued.KEEP
    if_running: IfInProgress = IfInProgress.KEEP
    debounce: Debounce | None = None


#: The rule of a job whose request has a unique key, but no rule.
PLAIN_RULE: Final = UniqueRule()
