"""The calls about schedules; see Api."""

from http import HTTPStatus
from typing import Final

from attrs import define

from ..core import commands as c
from ..http.request import JobRequest
from ..wire.cursors import name_cursor
from ..wire.request_head import idempotency_key, number, one, schedule_of
from ..wire.schedules import backfilled_value, firing_value, schedule_value
from ..wire.shown_job import to_json
from .calls import Calls
from .replies import answer_page, empty

#: Schedules in a page of a list: the default, and the limit.
_DEFAULT_LIMIT: Final = 100
_MOST: Final = 1_000


@define(eq=False, slots=False)
class ScheduleCalls(Calls):
    """The routes of schedules."""

    _app = Calls._app

    @_app.route("/api/v1/schedule", "PUT")
    async def set_schedule(self, request: JobRequest) -> bytes:
        """Create a schedule, or replace its settings."""
        command = self.wire.set_schedule(await self._body(request), self.keys.access(request))
        report = await self._ask(request, command)
        status = HTTPStatus.CREATED if report.new and not command.dry_run else HTTPStatus.OK
        return request.reply(to_json(schedule_value(command.queue, report)), status)

    @_app.route("/api/v1/schedule", "GET", "queueName name")
    async def read_schedule(self, request: JobRequest) -> bytes:
        """Read a schedule with its next times and its last firings."""
        queue, name = one(request.args, "queueName"), schedule_of(request.args)
        report = await self._ask(request, c.ReadSchedule(queue=queue, **self.keys.access(request), name=name))
        return request.reply(to_json(schedule_value(queue, report)))

    @_app.route("/api/v1/schedule", "POST")
    async def change_schedule(self, request: JobRequest) -> bytes:
        """Change some settings of a schedule."""
        command = self.wire.change_schedule(await self._body(request), self.keys.access(request))
        return request.reply(to_json(schedule_value(command.queue, await self._ask(request, command))))

    @_app.route("/api/v1/schedule", "DELETE", "queueName name")
    async def delete_schedule(self, request: JobRequest) -> bytes:
        """Delete a schedule."""
        queue, name = one(request.args, "queueName"), schedule_of(request.args)
        await self._ask(request, c.DeleteSchedule(queue=queue, **self.keys.access(request), name=name))
        return empty(request, HTTPStatus.NO_CONTENT)

    @_app.route("/api/v1/schedules", "GET", "queueName limit cursor")
    async def list_schedules(self, request: JobRequest) -> bytes:
        """List a page of schedules, with a link to the next."""
        queue, access = one(request.args, "queueName"), self.keys.access(request)
        limit, after = number(request.args, "limit", _DEFAULT_LIMIT, _MOST), name_cursor(request.args)
        page = await self._ask(request, c.ListSchedules(queue=queue, **access, after=after, limit=limit))
        schedules = [schedule_value(queue, report, most=1) for report in page.schedules]
        return answer_page(request, "schedules", schedules, page.following and (page.following,))

    @_app.route("/api/v1/schedule/run", "POST")
    async def run_schedule(self, request: JobRequest) -> bytes:
        """Add the job of a schedule now, or the jobs of past times."""
        key = idempotency_key(request.sent.get(b"idempotency-key"))
        command = self.wire.run_schedule(await self._body(request), self.keys.access(request), key)
        if isinstance(command, c.Backfill):
            return request.reply(to_json(backfilled_value(await self._ask(request, command))))
        firing, timezone = await self._ask(request, command)
        return request.reply(to_json(firing_value(firing, timezone, {})), HTTPStatus.CREATED)
