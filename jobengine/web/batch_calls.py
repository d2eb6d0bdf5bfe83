"""The calls about batches, dependencies and failures; see Api."""

from http import HTTPStatus
from typing import Final

from attrs import define

from ..core import commands as c
from ..core.errors import NotAllowed
from ..core.model import Role
from ..engine.links import read_graph
from ..http.request import JobRequest
from ..wire.batches import batch_value
from ..wire.cursors import failures_cursor, name_cursor
from ..wire.links import graph_json
from ..wire.request_head import batch_of, number, one
from ..wire.responses import failure_value
from ..wire.shown_job import to_json
from .replies import answer_page
from .schedule_calls import ScheduleCalls

#: Batches in a page of a list: the default, and the limit.
_DEFAULT_LIMIT: Final = 100
_MOST: Final = 1_000
#: The default and the limit for groups of failures, each of which takes about 50 microseconds.
_FAILURES: Final = 20, 100


@define(eq=False, slots=False)
class BatchCalls(ScheduleCalls):
    """The routes of batches, dependencies and failures."""

    _app = ScheduleCalls._app

    @_app.route("/api/v1/batch", "PUT")
    async def set_batch(self, request: JobRequest) -> bytes:
        """Create a batch; an existing batch is not changed."""
        command = self.wire.set_batch(await self._body(request), self.keys.access(request))
        report = await self._ask(request, command)
        status = HTTPStatus.CREATED if report.new else HTTPStatus.OK
        return request.reply(to_json(batch_value(command.queue, report)), status)

    @_app.route("/api/v1/batch", "GET", "queueName name")
    async def read_batch(self, request: JobRequest) -> bytes:
        """Read a batch with the counts of its jobs."""
        queue, name = one(request.args, "queueName"), batch_of(request.args)
        report = await self._ask(request, c.ReadBatch(queue=queue, **self.keys.access(request), name=name))
        return request.reply(to_json(batch_value(queue, report)))

    @_app.route("/api/v1/batch", "POST")
    async def change_batch(self, request: JobRequest) -> bytes:
        """Close a batch, cancel its unfinished jobs, or retry its failed ones."""
        access = self.keys.access(request)
        command, of_jobs = self.wire.change_batch(await self._body(request), access)
        if of_jobs is None:
            return request.reply(to_json(batch_value(command.queue, await self._ask(request, command))))
        await self._check_owner(command.queue, request)
        await self._ask(request, command)
        matched = await self.engine.update_matching(of_jobs)
        request.notes["jobs"] = matched
        report = await self.engine.ask(c.ReadBatch(queue=command.queue, **access, name=command.name))
        return request.reply(to_json(batch_value(command.queue, report, matched)))

    async def _check_owner(self, queue: str, request: JobRequest) -> None:
        """Raise NotAllowed, before any change, if the key is not the owner's: other keys may only close a batch."""
        grant = await self.engine.ask(c.CheckKey(queue=queue, **self.keys.access(request)))
        if grant.role is not Role.OWNER:
            raise NotAllowed(queue, grant.role)

    @_app.route("/api/v1/batches", "GET", "queueName limit cursor")
    async def list_batches(self, request: JobRequest) -> bytes:
        """List a page of batches, with a link to the next."""
        queue, access = one(request.args, "queueName"), self.keys.access(request)
        limit, after = number(request.args, "limit", _DEFAULT_LIMIT, _MOST), name_cursor(request.args)
        page = await self._ask(request, c.ListBatches(queue=queue, **access, after=after, limit=limit))
        batches = [batch_value(queue, report) for report in page.batches]
        return answer_page(request, "batches", batches, page.following and (page.following,))

    @_app.route("/api/v1/job/graph", "GET", "queueName jobUID")
    async def job_graph(self, request: JobRequest) -> bytes:
        """The graph of a job: what it waits for, and what waits for it."""
        name, uid, access = one(request.args, "queueName"), one(request.args, "jobUID"), self.keys.access(request)
        start = self._request_log.logged(request, c.ExplainJob(queue=name, **access, uid=uid))
        return request.reply(graph_json(await read_graph(self.engine, start, self.turns.next)))

    @_app.route("/api/v1/failures", "GET", "queueName limit cursor")
    async def list_failures(self, request: JobRequest) -> bytes:
        """List a page of the groups of failures, with a link to the next."""
        queue, access = one(request.args, "queueName"), self.keys.access(request)
        limit, after = number(request.args, "limit", *_FAILURES), failures_cursor(request.args)
        page = await self._ask(request, c.ListFailures(queue=queue, **access, after=after, limit=limit))
        failures = [failure_value(group) for group in page.failures]
        return answer_page(request, "failures", failures, page.following, dropped=page.dropped)
