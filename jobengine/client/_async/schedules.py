"""The schedules of a queue."""

from collections.abc import Mapping
from math import floor
from typing import Any, Unpack

from .. import calls
from ..jobs import Moment, unix
from ..schedules import Backfill, Firing, Schedule, ScheduleOptions, schedule_value
from .queue_calls import AsyncQueueCalls
from .transport import Stream


class AsyncSchedules:
    """The schedules of a queue; `Queue.schedule` creates them. Methods that take a name raise ScheduleNotFound."""

    def __init__(self, queue: AsyncQueueCalls) -> None:
        self._queue = queue

    async def get(self, name: str) -> Schedule:
        """The schedule as it is now."""
        return await self._queue._ask(calls.READ_SCHEDULE, query=self._named(name))

    async def list(self, *, limit: int | None = None) -> Stream[Schedule]:
        """
        The schedules by name, at most `limit`, read page by page.

        Each has only its next time, and no notes; a schedule from `get` has the next five times and the notes.
        """
        pages = self._queue._pages(calls.LIST_SCHEDULES, {"queueName": self._queue.name}, limit)
        async for schedule in pages:
            yield schedule

    async def change(
        self, name: str, content: Mapping[str, Any] | None = None, **options: Unpack[ScheduleOptions]
    ) -> Schedule:
        """
        Change settings of the schedule, and return it; omitted ones stay unchanged.

        `cron` and `every_seconds` replace each other. The job is replaced as a whole: an option of the job, such as
        `priority`, needs `content`. `pause_after_failures=None` removes that setting.
        """
        body = {"queue_name": self._queue.name, "name": name, **schedule_value(content, options)}
        return await self._queue._ask(calls.CHANGE_SCHEDULE, body=body)

    async def pause(self, name: str) -> Schedule:
        """Pause the schedule. Times during the pause are neither fired later nor counted as missed."""
        return await self.change(name, paused=True)

    async def resume(self, name: str) -> Schedule:
        """Resume the schedule, also after it has paused itself."""
        return await self.change(name, paused=False)

    async def delete(self, name: str) -> None:
        """Delete the schedule; its jobs stay."""
        await self._queue._ask(calls.DELETE_SCHEDULE, query=self._named(name))

    async def run(self, name: str) -> Firing:
        """
        Add a job now, once, even if the schedule is paused.

        Raises Conflict if `if_running` is skip and a job of the schedule is unfinished. If the answer is lost, the run
        is not repeated: this raises OutcomeUnknown.
        """
        body = {"queue_name": self._queue.name, "name": name}
        return await self._queue._ask(calls.RUN_SCHEDULE, body=body)

    async def backfill(self, name: str, start: Moment, end: Moment, *, dry_run: bool = False) -> Backfill:
        """
        Add the jobs of all times from `start` to `end`, both included, at most 1,000; existing jobs are not changed.

        `dry_run`: add nothing, and return the times and, as `added`, the number of jobs that would be added.
        """
        span = {"from": unix(start), "until": floor(end if isinstance(end, float | int) else end.timestamp())}
        body = {"queue_name": self._queue.name, "name": name, **span, **({"dry_run": True} if dry_run else {})}
        return await self._queue._ask(calls.BACKFILL_SCHEDULE, body=body)

    def _named(self, name: str) -> dict[str, str]:
        return {"queueName": self._queue.name, "name": name}
