"""
The worker: claims jobs, runs their handlers in threads, processes or an event loop, and reports the outcomes.

Importing this package loads no server code.
"""

from .log import JsonFormatter
from .outcomes import Fail, Retry
from .running_job import Cancelled, RunningJob, WaitFor
from .worker import Worker

__all__ = ["Cancelled", "Fail", "JsonFormatter", "Retry", "RunningJob", "WaitFor", "Worker"]


def __dir__() -> list[str]:
    return __all__
