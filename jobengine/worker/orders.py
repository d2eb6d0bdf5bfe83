"""What the supervisor decides, for the driver to carry out; and what it knows of each job that the worker holds."""

from typing import Any, NamedTuple, Protocol

from ..client.jobs import JobChanges

__all__ = ["Abort", "Beat", "Claim", "Claimed", "Ended", "Hold", "Interrupt", "Order", "Report", "Start"]


class Claimed(Protocol):
    """A claimed job as the client gives it."""

    cancel_requested: bool
    lost: bool

    @property
    def uid(self) -> str:
        """Names it in its queue."""

    @property
    def beat_seconds(self) -> float | None:
        """Seconds between two heartbeats; None if the lease lasts for ever."""


class Hold:
    """A job that the worker holds."""

    __slots__ = ("began", "changes", "claimed", "interrupted", "progress", "refused", "running", "source", "uncertain")

    def __init__(self, claimed: Any, source: int) -> None:
        #: As the client gives it.
        self.claimed = claimed
        #: The number of the source that it is from.
        self.source = source
        #: What is to be reported; None as long as the handler runs.
        self.changes: JobChanges | None = None
        #: How far the handler is, in per cent, as far as it said.
        self.progress: int | None = None
        #: Whether the handler was told to stop.
        self.interrupted = False
        #: Whether the server has refused what the handler returned.
        self.refused = False
        #: Whether a report was sent whose answer was lost.
        self.uncertain = False
        #: For the driver alone: what tells the handler to stop, and when it was started.
        self.running: Any = None
        self.began = 0.0


class Start(NamedTuple):
    """Run the handler."""

    hold: Hold


class Interrupt(NamedTuple):
    """Tell the handler to stop: what it returns is not wanted any more."""

    hold: Hold


class Claim(NamedTuple):
    """Claim up to `room` jobs of a source; the server may wait for one for `wait` seconds."""

    source: int
    room: int
    wait: float


class Abort(NamedTuple):
    """End the claim of a source that waits."""

    source: int


class Report(NamedTuple):
    """Report the ends of jobs, and claim up to `room` others of the same source in the same request."""

    source: int
    holds: tuple[Hold, ...]
    room: int


class Beat(NamedTuple):
    """Extend the leases, and say how far the work is."""

    holds: tuple[Hold, ...]


class Ended(NamedTuple):
    """The worker has nothing to do with the job any more; `note` is what is unusual about it, for the log."""

    hold: Hold
    note: str = ""


Order = Start | Interrupt | Claim | Abort | Report | Beat | Ended
