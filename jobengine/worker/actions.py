"""The actions that the supervisor requests from the worker loop, and the record of a job that the worker holds."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

from ..client.jobs import JobChanges

#: Seconds between heartbeats of a job without a time-out; these only check whether the job was cancelled.
_WITHOUT_TIMEOUT: Final = 60.0


class Claimed(Protocol):
    """A claimed job, as the client returns it."""

    cancel_requested: bool
    lost: bool

    @property
    def uid(self) -> str:
        """The job's id, unique in its queue."""

    @property
    def beat_seconds(self) -> float | None:
        """Seconds between heartbeats; None if the lease never expires."""


class Hold:
    """A job that the worker holds."""

    __slots__ = (
        "beat_seconds",
        "began",
        "changes",
        "claimed",
        "error_type",
        "group",
        "interrupted",
        "progress",
        "ran",
        "refused",
        "running",
        "start_by",
        "uncertain",
    )

    def __init__(self, claimed: Any, group: int) -> None:
        #: The claimed job, as the client returned it.
        self.claimed = claimed
        #: Seconds between heartbeats.
        self.beat_seconds: float = claimed.beat_seconds or _WITHOUT_TIMEOUT
        #: The index of the group of queues from which the job was claimed.
        self.group = group
        #: The changes to report; None while the handler runs.
        self.changes: JobChanges | None = None
        #: The class of the exception that ended the handler, for the log.
        self.error_type: str | None = None
        #: The latest progress that the handler has reported, in per cent.
        self.progress: int | None = None
        #: Whether the handler must stop.
        self.interrupted = False
        #: Whether the server has refused the handler's result.
        self.refused = False
        #: Whether the answer to a report was lost.
        self.uncertain = False
        #: The latest time to start the job, while it is in the backlog.
        self.start_by = 0.0
        #: The RunningJob of the handler; set by the pool.
        self.running: Any = None
        #: When the handler started; set by the loop.
        self.began = 0.0
        #: The seconds that the handler ran; None before its end.
        self.ran: float | None = None

    def with_progress(self, changes: JobChanges) -> JobChanges:
        """An outcome with the latest progress, which may not have been sent yet; a release is returned unchanged."""
        if self.progress is None or changes["new_status"] == "queued":
            return changes
        return {**changes, "progress": self.progress}

    @property
    def is_retried(self) -> bool:
        """Whether the changes fail an attempt that is not the job's last."""
        changes, job = self.changes or {}, self.claimed.job
        failed = changes.get("new_status") == "failed" and not self.claimed.cancel_requested
        return failed and changes.get("retry", True) and job.attempts < job.max_attempts

    @property
    def is_final(self) -> bool:
        """Whether the job is finished by the changes: complete, or failed without another attempt."""
        status = (self.changes or {}).get("new_status")
        return status == "complete" or (status == "failed" and not self.is_retried)


class Start(NamedTuple):
    """Run a handler for each of these jobs."""

    holds: Sequence[Hold]


class Interrupt(NamedTuple):
    """Interrupt a handler: its result is no longer needed."""

    hold: Hold


class Claim(NamedTuple):
    """Claim up to `room` jobs of a group of queues; the server may wait for a job for `wait` seconds."""

    group: int
    room: int
    wait: float


class Abort(NamedTuple):
    """Abort a waiting claim."""

    group: int


class Report(NamedTuple):
    """
    Report outcomes and, in the same request, claim up to `room` jobs of the same group. `endings` is the value of
    Supervisor._endings when the report was sent.
    """

    group: int
    holds: tuple[Hold, ...]
    room: int
    endings: int = 0


class Beat(NamedTuple):
    """Send heartbeats, with new progress values if there are any."""

    holds: tuple[Hold, ...]


class Ended(NamedTuple):
    """
    Log that the worker no longer holds these jobs. `note` is the reason why their outcome was
    discarded, or empty.
    """

    holds: Sequence[Hold]
    note: str = ""


Action = Start | Interrupt | Claim | Abort | Report | Beat | Ended
