"""
The calls of the API: each decodes, asks the engine for one verb, and encodes.

What may be sent is checked in jobengine.wire, which error is which status stands in jobengine.web.problems.
"""

from collections.abc import AsyncIterator
from hmac import compare_digest
from http import HTTPStatus
from typing import Any, Final

from attrs import define, evolve
from klein import Klein, KleinRenderable
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource

from ..core.commands import Claim, DeleteJob, DeleteQueue, ListJobs, Page, Peek, ReadJob
from ..engine import Engine
from ..wire import BadInput, Wire, access_key, flag, job_json, one, queue_head, queue_tail, to_json
from .metrics import CONTENT_TYPE, Metrics
from .problems import Problem, problem_of
from .site import JobRequest, answer
from .stream import write_all

__all__ = ["Api"]

#: Jobs that are read from the engine at a time for a list; about a millisecond of encoding.
_PAGE: Final = 500
_ADMIN_ONLY: Final = Problem(
    HTTPStatus.UNAUTHORIZED, "Send the admin key in X-Admin-Key.", {"WWW-Authenticate": 'X-Admin-Key realm="server"'}
)


@define(eq=False, slots=False)  # Klein keeps a weak reference to itself in the instance
class Api:
    """The routes, bound to an engine."""

    _app = Klein()

    #: What carries out the commands.
    engine: Engine
    #: Reads the bodies.
    wire: Wire
    #: Lets other requests in between the parts of a long answer.
    clock: IReactorTime
    #: If set, /metrics asks for it in X-Admin-Key.
    admin_key: bytes | None = None

    def __attrs_post_init__(self) -> None:
        self.metrics = Metrics(rule.rule for rule in self._app.url_map.iter_rules())

    def resource(self) -> IResource:
        """The root resource."""
        resource: IResource = self._app.resource()
        return resource

    # Queues

    @_app.route("/api/v1/queue", methods=["PUT"])
    async def create_queue(self, request: JobRequest) -> bytes:
        """Make a queue."""
        await self.engine.create_queue(self.wire.create_queue(_body(request)))
        return _empty(request, HTTPStatus.CREATED)

    @_app.route("/api/v1/queue", methods=["GET"])
    async def read_queue(self, request: JobRequest) -> bytes | None:
        """A queue with all its jobs; a long one is sent in parts."""
        command = ListJobs(queue=one(request.args, "name"), access_key=_key(request), limit=_PAGE)
        page = await self.engine.list_jobs(command)
        if page.following is None:
            jobs = [job_json(job) for job in page.jobs]
            return _json(request, queue_head(command.queue) + b",".join(jobs) + queue_tail(len(jobs)))
        request.setHeader(b"Content-Type", b"application/json")
        await write_all(request, self._queue_in_parts(command, page))
        return None

    @_app.route("/api/v1/queue", methods=["DELETE"])
    async def delete_queue(self, request: JobRequest) -> bytes:
        """Remove a queue and all its jobs."""
        await self.engine.delete_queue(DeleteQueue(queue=one(request.args, "name"), access_key=_key(request)))
        return _empty(request, HTTPStatus.NO_CONTENT)

    # Jobs

    @_app.route("/api/v1/job", methods=["PUT"])
    async def add_job(self, request: JobRequest) -> bytes:
        """Add a job to a queue."""
        job = await self.engine.add_job(self.wire.add_job(_body(request), _key(request)))
        return _json(request, job_json(job), HTTPStatus.CREATED)

    @_app.route("/api/v1/job", methods=["GET"])
    async def read_job(self, request: JobRequest) -> bytes:
        """One job."""
        name, uid = one(request.args, "queueName"), one(request.args, "jobUID")
        job = await self.engine.read_job(ReadJob(queue=name, access_key=_key(request), uid=uid))
        return _json(request, job_json(job))

    @_app.route("/api/v1/job", methods=["POST"])
    async def update_job(self, request: JobRequest) -> bytes:
        """Put a job in a state."""
        await self.engine.update_job(self.wire.update_job(_body(request), _key(request)))
        return _empty(request, HTTPStatus.OK)

    @_app.route("/api/v1/job", methods=["DELETE"])
    async def delete_job(self, request: JobRequest) -> bytes:
        """Remove a job."""
        name, uid = one(request.args, "queueName"), one(request.args, "jobUID")
        await self.engine.delete_job(DeleteJob(queue=name, access_key=_key(request), uid=uid))
        return _empty(request, HTTPStatus.NO_CONTENT)

    @_app.route("/api/v1/job/next", methods=["GET"])
    async def next_job(self, request: JobRequest) -> bytes:
        """The job that is to run next, claimed if markQueued says so."""
        name, claim = one(request.args, "queueName"), flag(request.args, "markQueued")
        # HEAD is safe by its definition, and its answer has no room for the job.
        if claim and request.method != b"HEAD":
            job = await self.engine.claim(Claim(queue=name, access_key=_key(request)))
        else:
            job = await self.engine.peek(Peek(queue=name, access_key=_key(request)))
        return _empty(request, HTTPStatus.NO_CONTENT) if job is None else _json(request, job_json(job))

    # The server

    @_app.route("/test", methods=["GET"])
    def test(self, request: JobRequest) -> bytes:
        """Whether this is a JobEngine."""
        return _empty(request, HTTPStatus.OK)

    @_app.route("/healthz", methods=["GET"])
    def healthz(self, request: JobRequest) -> bytes:
        """Whether the process is alive."""
        return _json(request, to_json({"status": "ok"}))

    @_app.route("/readyz", methods=["GET"])
    async def readyz(self, request: JobRequest) -> bytes:
        """Whether changes are taken, and if not, why."""
        readiness = await self.engine.readiness()
        if not readiness.ready:
            return answer(request, Problem(HTTPStatus.SERVICE_UNAVAILABLE, readiness.reason))
        return _json(request, to_json({"status": "ready", "durability": readiness.durability}))

    @_app.route("/metrics", methods=["GET"])
    async def show_metrics(self, request: JobRequest) -> bytes:
        """Metrics for Prometheus."""
        if not self._is_admin(request):
            return answer(request, _ADMIN_ONLY)
        body = self.metrics.text(await self.engine.stats())
        request.setHeader(b"Content-Type", CONTENT_TYPE.encode())
        request.setHeader(b"Content-Length", b"%d" % len(body))
        return body

    @_app.handle_errors(Exception)
    def failed(self, request: IRequest, failure: Failure) -> KleinRenderable:
        """Answer for an error, one that was foreseen or not."""
        assert isinstance(request, JobRequest)
        if request.startedWriting:
            # The status is sent already: only a broken connection can tell the client that this is not all.
            request.incident(failure)
            request.channel.abort()
            return None
        error = failure.value
        problem = problem_of(error) if isinstance(error, Exception) else None
        return answer(request, problem or request.incident(failure))

    async def _queue_in_parts(self, command: ListJobs, page: Page) -> AsyncIterator[bytes]:
        """The JSON of a queue, page by page; the number of jobs comes last, when it is known."""
        yield queue_head(command.queue)
        size, separator = 0, b""
        while True:
            size += len(page.jobs)
            if page.jobs:
                yield separator + b",".join([job_json(job) for job in page.jobs])
                separator = b","
            if page.following is None:
                break
            await deferLater(self.clock, 0)
            page = await self.engine.list_jobs(evolve(command, after=page.following))
        yield queue_tail(size)

    def _is_admin(self, request: JobRequest) -> bool:
        sent = request.requestHeaders.getRawHeaders(b"X-Admin-Key", [b""])[0]
        return self.admin_key is None or compare_digest(sent, self.admin_key)


def _body(request: JobRequest) -> bytes:
    """The body of a request that says that it is JSON; raises BadInput."""
    kind: Any = request.requestHeaders.getRawHeaders(b"Content-Type", [b""])[0]
    if kind.split(b";")[0].strip().lower() != b"application/json":
        raise BadInput("The body must be JSON, with the header Content-Type: application/json.")
    return request.body()


def _key(request: JobRequest) -> bytes:
    return access_key(request.requestHeaders.getRawHeaders(b"X-Access-Key"))


def _json(request: JobRequest, body: bytes, status: HTTPStatus = HTTPStatus.OK) -> bytes:
    request.setResponseCode(status.value, status.phrase.encode())
    request.setHeader(b"Content-Type", b"application/json")
    request.setHeader(b"Content-Length", b"%d" % len(body))
    return body


def _empty(request: JobRequest, status: HTTPStatus) -> bytes:
    request.setResponseCode(status.value, status.phrase.encode())
    if status is not HTTPStatus.NO_CONTENT:
        request.setHeader(b"Content-Length", b"0")
    return b""
