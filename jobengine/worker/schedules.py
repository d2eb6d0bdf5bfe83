"""The schedules that a worker sets when it starts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..client import AsyncJobEngine
from ..client.errors import JobEngineError
from ..client.schedules import ScheduleOptions
from .handler_pool import Handler


class PlannedSchedule(NamedTuple):
    """A schedule to set at the start; its jobs are worked on by a function of the worker."""

    name: str
    #: None is the queue that the function handles.
    queue: str | None
    content: Mapping[str, Any]
    options: ScheduleOptions
    function: Callable[..., Any]


def with_queues(planned: Sequence[PlannedSchedule], handlers: Mapping[str, Handler]) -> list[PlannedSchedule]:
    """The schedules, each with its queue; raises ValueError if the queue is ambiguous, or a name occurs twice in it."""
    found: dict[tuple[str, str], PlannedSchedule] = {}
    for one in planned:
        queue = one.queue or _queue_of(one, handlers)
        if (queue, one.name) in found:
            raise ValueError(f"The queue {queue!r} has the schedule {one.name!r} twice.")
        found[queue, one.name] = one._replace(queue=queue)
    return list(found.values())


def _queue_of(planned: PlannedSchedule, handlers: Mapping[str, Handler]) -> str:
    queues = [queue for queue, handler in handlers.items() if handler.function == planned.function]
    if len(queues) == 1:
        return queues[0]
    number = "several queues" if queues else "no queue"
    raise ValueError(f"The function of the schedule {planned.name!r} handles {number}: name one with queue=….")


async def set_schedules(
    engine: AsyncJobEngine,
    planned: Sequence[PlannedSchedule],
    tell: Callable[[JobEngineError], object],
    *,
    retry_for: float,
) -> None:
    """
    Set the schedules one after another, each retried for `retry_for` seconds while the server can't be reached; `tell`
    is called with the error of each failed attempt. Raises JobEngineError, which names the schedule that was not set.
    """
    for one in planned:
        queue = engine.queue(one.queue or "", retry_for=retry_for)
        queue._caller.tell = tell
        try:
            await queue.schedule(one.name, one.content, **one.options)
        except JobEngineError as error:
            refused = error._again()
            refused.detail = f"The schedule {one.name!r} of the queue {one.queue!r} was not set: {error.detail}"
            refused.args = (refused.detail,)
            raise refused from None
