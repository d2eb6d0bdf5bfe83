"""The calls about jobs that wait for others; see Api."""

from attrs import define

from ..core import commands as c
from ..engine.links import read_graph
from ..http.request import JobRequest
from ..wire.links import graph_json
from ..wire.request_head import one
from .failure_calls import FailureCalls


@define(eq=False, slots=False)
class LinkCalls(FailureCalls):
    """The routes of jobs that wait for others."""

    _app = FailureCalls._app

    @_app.route("/api/v1/job/graph", "GET", "queueName jobUID")
    async def job_graph(self, request: JobRequest) -> bytes:
        """What a job waits for, and what waits for it."""
        name, uid, access = one(request.args, "queueName"), one(request.args, "jobUID"), self.keys.access(request)
        start = self._request_log.logged(request, c.ExplainJob(queue=name, **access, uid=uid))
        return request.reply(graph_json(await read_graph(self.engine, start, self.turns.next)))
