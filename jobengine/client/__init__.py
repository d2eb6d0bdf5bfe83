"""
The client: adds, claims and manages jobs over HTTP, for threads (JobEngine) or asyncio (AsyncJobEngine).

Importing this package loads nothing of the server, and asyncio only when an asynchronous class is used.
"""

from typing import TYPE_CHECKING, Any

from ._sync.batches import Batch
from ._sync.claimed import ClaimedJob
from ._sync.engine import Finished, JobEngine
from ._sync.keys import Keys
from ._sync.queue import Queue
from ._sync.schedules import Schedules
from .batches import BatchProgress, ThenOn
from .errors import (
    AccessDenied,
    BadRequest,
    BadSettings,
    BatchNotFound,
    Conflict,
    EventsLost,
    Forbidden,
    GroupNotFound,
    JobEngineError,
    JobNotFound,
    KeyNotFound,
    LeaseLost,
    NotJobEngine,
    OutcomeUnknown,
    QueueExists,
    QueueNotFound,
    ScheduleNotFound,
    TooManyRequests,
    Unavailable,
)
from .failures import FailureGroup
from .groups import (
    Group,
    GroupOptions,
    GroupSettings,
    GroupSort,
    HoldingJob,
    LimitOptions,
    Limits,
    Order,
    OrderOptions,
    QueueSettings,
    Rate,
)
from .history import Periods, QueueHistory
from .jobs import JobChanges, JobFilter, JobOptions, JobOrder, NewJob, OnDependencyFailure
from .links import AwaitedJob, GraphEdge, JobGraph, LinkedJob
from .moves import DeadLetter, DeadLetterOptions, Moved, MovedFrom
from .schedules import Backfill, Firing, IfRunning, Missed, Schedule, ScheduleOptions
from .secret import Secret
from .unique_keys import Debounce, DebounceOptions, Unique, UniqueOptions
from .values import (
    Access,
    AccessKey,
    Attempt,
    Counts,
    Explanation,
    Job,
    JobEvent,
    Lately,
    Minutes,
    QueueDefaults,
    QueueSetup,
    QueueStats,
    Readiness,
    Times,
    WorkerJobs,
)

if TYPE_CHECKING:
    from ._async.batches import AsyncBatch
    from ._async.claimed import AsyncClaimedJob
    from ._async.engine import AsyncFinished, AsyncJobEngine
    from ._async.keys import AsyncKeys
    from ._async.queue import AsyncQueue
    from ._async.schedules import AsyncSchedules

__all__ = [
    "Access",
    "AccessDenied",
    "AccessKey",
    "AsyncBatch",
    "AsyncClaimedJob",
    "AsyncFinished",
    "AsyncJobEngine",
    "AsyncKeys",
    "AsyncQueue",
    "AsyncSchedules",
    "Attempt",
    "AwaitedJob",
    "Backfill",
    "BadRequest",
    "BadSettings",
    "Batch",
    "BatchNotFound",
    "BatchProgress",
    "ClaimedJob",
    "Conflict",
    "Counts",
    "DeadLetter",
    "DeadLetterOptions",
    "Debounce",
    "DebounceOptions",
    "EventsLost",
    "Explanation",
    "FailureGroup",
    "Finished",
    "Firing",
    "Forbidden",
    "GraphEdge",
    "Group",
    "GroupNotFound",
    "GroupOptions",
    "GroupSettings",
    "GroupSort",
    "HoldingJob",
    "IfRunning",
    "Job",
    "JobChanges",
    "JobEngine",
    "JobEngineError",
    "JobEvent",
    "JobFilter",
    "JobGraph",
    "JobNotFound",
    "JobOptions",
    "JobOrder",
    "KeyNotFound",
    "Keys",
    "Lately",
    "LeaseLost",
    "LimitOptions",
    "Limits",
    "LinkedJob",
    "Minutes",
    "Missed",
    "Moved",
    "MovedFrom",
    "NewJob",
    "NotJobEngine",
    "OnDependencyFailure",
    "Order",
    "OrderOptions",
    "OutcomeUnknown",
    "Periods",
    "Queue",
    "QueueDefaults",
    "QueueExists",
    "QueueHistory",
    "QueueNotFound",
    "QueueSettings",
    "QueueSetup",
    "QueueStats",
    "Rate",
    "Readiness",
    "Schedule",
    "ScheduleNotFound",
    "ScheduleOptions",
    "Schedules",
    "Secret",
    "ThenOn",
    "Times",
    "TooManyRequests",
    "Unavailable",
    "Unique",
    "UniqueOptions",
    "WorkerJobs",
]

_ASYNC = {
    "AsyncBatch": "batches",
    "AsyncClaimedJob": "claimed",
    "AsyncFinished": "engine",
    "AsyncJobEngine": "engine",
    "AsyncKeys": "keys",
    "AsyncQueue": "queue",
    "AsyncSchedules": "schedules",
}


def __dir__() -> list[str]:
    return __all__


if not TYPE_CHECKING:  # the type checker would accept any name

    def __getattr__(name: str) -> Any:
        if name not in _ASYNC:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"{__name__}._async.{_ASYNC[name]}"), name)
