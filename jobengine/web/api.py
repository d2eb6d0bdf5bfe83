"""
The calls of the API: each decodes a request, passes a command to the engine and encodes the answer.

jobengine.wire validates requests, and jobengine.web.errors maps errors to statuses.
"""

from collections.abc import Sequence
from contextlib import aclosing
from functools import partial
from http import HTTPStatus
from typing import Final

from attrs import define
from klein import KleinRenderable
from msgspec.structs import replace
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest

from ..core import commands as c
from ..core.errors import DomainError, JobNotFound
from ..core.links import held_by
from ..core.model import Job
from ..engine.door import Starting, Unavailable
from ..engine.links import read_links, read_results
from ..engine.repeated_reports import repeated_report, with_repeated
from ..http.browsers import Browsers
from ..http.problem import Problem
from ..http.request import JobRequest, answer
from ..http.stream import TooSlow, write_all
from ..wire.cursors import group_cursor, job_cursor
from ..wire.links import with_dependencies
from ..wire.moves import moved_value
from ..wire.origins import claim_origin
from ..wire.query_parameters import Call, check_query
from ..wire.request_head import (
    BadInput,
    SentFilter,
    check_named,
    filter_of,
    flag,
    group_of,
    group_sort_of,
    idempotency_key,
    number,
    once,
    one,
    preferred_return,
    preferred_wait,
    seconds,
    sent_trace,
    some_or_all,
    sort_of,
    worker_of,
)
from ..wire.responses import (
    access_value,
    brief_added,
    explanation_json,
    group_value,
    history_value,
    jobs_json,
    key_value,
    list_json,
    queue_head,
    queue_tail,
    queue_value,
    stats_value,
    workers_value,
)
from ..wire.shown_job import added_value, job_json, job_value, to_json, updated_value
from .batch_calls import BatchCalls
from .errors import brief_result, result_of
from .metrics import CONTENT_TYPE, scrape
from .openapi import SCHEMA
from .paging import count_holders, filled_page, jobs_held
from .replies import answer_page, empty, is_minimal, json_body, nothing
from .request_log import note_claimed, note_job
from .router import Dispatcher, Others, no_others
from .streams import queue_in_parts, send_events

#: Statuses as constants, for the hot paths: access through the class is slow.
_OK: Final = HTTPStatus.OK
_CREATED: Final = HTTPStatus.CREATED
#: Jobs that a list reads from the engine at a time; they take about a millisecond to encode.
_PAGE: Final = 500
#: Items in a page of a list: the default, and the limit.
_DEFAULT_LIMIT: Final = 100
_MOST: Final = 1_000
#: The query parameters of a filter.
_FILTER: Final = " ".join(SentFilter.__struct_fields__)


@define(eq=False, slots=False)  # Klein keeps a weak reference to itself in the instance
class Api(BatchCalls):
    """The routes, bound to an engine."""

    _app = BatchCalls._app

    def resource(self, browsers: Browsers, others: Others = no_others) -> Dispatcher:
        """The root resource; `others` answers requests outside the API."""
        return Dispatcher(self._app, partial(getattr, self), self.check_query, self.failed, browsers, others)

    def check_query(self, call: Call, request: JobRequest) -> None:
        """Raise BadInput if the query of a request is not valid for its call."""
        text = request.uri.partition(b"?")[2]
        check_query(call, text, request.args, pass_unknown=self.wire.pass_unknown)

    # Queues

    @_app.route("/api/v1/queue", "PUT", v1=True)
    async def create_queue(self, request: JobRequest) -> bytes:
        """Create a queue."""
        command = self.wire.create_queue(await self._body(request), self.keys.is_admin(request))
        self.keys.check_admin(request)
        await self._ask(request, command)
        return empty(request, HTTPStatus.CREATED)

    @_app.route("/api/v1/queue", "GET", "name", v1=True)
    async def read_queue(self, request: JobRequest) -> bytes | None:
        """Read a queue with all its jobs; a long one is sent in parts."""
        name, access = one(request.args, "name"), self.keys.access(request)
        command = c.ListJobs(queue=name, **access, limit=_PAGE)
        async with aclosing(await self.engine.read_queue(self._request_log.logged(request, command))) as pages:
            first: Sequence[Job] = await anext(pages, [])
            second = await anext(pages, None)
            if second is None:
                jobs = [job_json(job, name) for job in first]
                return request.reply(queue_head(name) + b",".join(jobs) + queue_tail(len(jobs)))
            request.setHeader(b"Content-Type", b"application/json")
            await write_all(request, queue_in_parts(name, [first, second], pages), self.clock)
        return None

    @_app.route("/api/v1/queue", "POST")
    async def change_queue(self, request: JobRequest) -> bytes:
        """Change the settings of a queue."""
        queue = await self._ask(request, self.wire.change_queue(await self._body(request), self.keys.access(request)))
        return request.reply(to_json(queue_value(queue)))

    @_app.route("/api/v1/queue", "DELETE", "name", v1=True)
    async def delete_queue(self, request: JobRequest) -> bytes:
        """Delete a queue and all its jobs."""
        name = one(request.args, "name")
        self.keys.check_admin(request)
        await self._ask(request, c.DeleteQueue(queue=name, **self.keys.access(request)))
        return empty(request, HTTPStatus.NO_CONTENT)

    @_app.route("/api/v1/queue/stats", "GET", "name")
    async def queue_stats(self, request: JobRequest) -> bytes:
        """The statistics of a queue."""
        name, access = one(request.args, "name"), self.keys.access(request)
        stats = await self._ask(request, c.ReadStats(queue=name, **access))
        return request.reply(to_json(stats_value(stats)))

    @_app.route("/api/v1/queue/history", "GET", "name")
    async def queue_history(self, request: JobRequest) -> bytes:
        """The minutes of the last hour and the hours of the last week."""
        name, access = one(request.args, "name"), self.keys.access(request)
        history = await self._ask(request, c.ReadHistory(queue=name, **access))
        return request.reply(to_json(history_value(history)))

    @_app.route("/api/v1/queues", "GET")
    async def list_queues(self, request: JobRequest) -> bytes:
        """The statistics of all queues, for the admin."""
        self.keys.check_is_admin(request)
        listed, command = [], c.ListQueues()
        while page := await self.engine.ask(command):
            listed += [to_json(stats_value(stats)) for stats in page]
            command = c.ListQueues(after=page[-1].queue.name)
            await self.turns.next()
        return request.reply(b'{"queues":[' + b",".join(listed) + b"]}")

    @_app.route("/api/v1/queue/key", "PUT")
    async def add_key(self, request: JobRequest) -> bytes:
        """Add a key with a role."""
        key = await self._ask(request, self.wire.add_key(await self._body(request), self.keys.access(request)))
        return request.reply(to_json(key_value(key)), HTTPStatus.CREATED)

    @_app.route("/api/v1/queue/key", "GET", "name")
    async def list_keys(self, request: JobRequest) -> bytes:
        """List the keys with a role."""
        name, access = one(request.args, "name"), self.keys.access(request)
        keys = await self._ask(request, c.ListKeys(queue=name, **access))
        return request.reply(to_json({"keys": [key_value(key) for key in keys]}))

    @_app.route("/api/v1/queue/key", "DELETE", "name keyID")
    async def revoke_key(self, request: JobRequest) -> bytes:
        """Revoke a key."""
        name, key_id, access = one(request.args, "name"), one(request.args, "keyID"), self.keys.access(request)
        await self._ask(request, c.RevokeKey(queue=name, **access, key_id=key_id))
        return empty(request, HTTPStatus.NO_CONTENT)

    @_app.route("/api/v1/access", "GET", "queueName")
    async def read_access(self, request: JobRequest) -> bytes:
        """What the request's key may do."""
        if b"queueName" not in request.args:
            self.keys.check_is_admin(request)
            return request.reply(to_json(access_value(None, None)))
        name, access = one(request.args, "queueName"), self.keys.access(request)
        grant = await self._ask(request, c.CheckKey(queue=name, **access))
        return request.reply(to_json(access_value(name, None if "admin" in access else grant)))

    @_app.route("/api/v1/group", "PUT")
    async def change_group(self, request: JobRequest) -> bytes:
        """Give a group settings of its own, or hold it."""
        command = self.wire.change_group(await self._body(request), self.keys.access(request))
        return request.reply(to_json(group_value(await self._ask(request, command))))

    @_app.route("/api/v1/group", "GET", "queueName group")
    async def read_group(self, request: JobRequest) -> bytes:
        """Read a group."""
        name, group = one(request.args, "queueName"), group_of(request.args)
        command = c.ReadGroup(queue=name, **self.keys.access(request), group=group)
        return request.reply(to_json(group_value(await self._ask(request, command))))

    @_app.route("/api/v1/group", "DELETE", "queueName group")
    async def reset_group(self, request: JobRequest) -> bytes:
        """Remove a group's own settings."""
        name, group = one(request.args, "queueName"), group_of(request.args)
        await self._ask(request, c.ResetGroup(queue=name, **self.keys.access(request), group=group))
        return empty(request, HTTPStatus.NO_CONTENT)

    @_app.route("/api/v1/groups", "GET", "queueName sort limit cursor")
    async def list_groups(self, request: JobRequest) -> bytes:
        """List a page of groups, with a link to the next."""
        limit, sort = number(request.args, "limit", _DEFAULT_LIMIT, _MOST), group_sort_of(request.args)
        name, access = one(request.args, "queueName"), self.keys.access(request)
        after = group_cursor(request.args, sort)
        page = await self._ask(request, c.ListGroups(queue=name, **access, sort=sort, after=after, limit=limit))
        following = None if page.following is None else (sort, *page.following)
        return answer_page(request, "groups", [group_value(group) for group in page.groups], following)

    # One job

    @_app.route("/api/v1/job", "PUT", v1=True)
    async def add_job(self, request: JobRequest) -> bytes:
        """Add a job to a queue; if the client prefers to wait, answer once the job is finished."""
        sent = request.sent
        key = idempotency_key(sent[b"idempotency-key"]) if b"idempotency-key" in sent else None
        trace = sent_trace(sent[b"traceparent"]) if b"traceparent" in sent else None
        command = self.wire.add_job(await self._body(request), self.keys.access(request), key, trace)
        (added,) = await self._ask(request, command)
        job = added.job
        note_job(request, job)
        if b"prefer" in sent and (wait := preferred_wait(sent[b"prefer"])):
            request.waits = True
            job = await self.engine.read_job(
                c.ReadJob(
                    queue=command.queue,
                    access_key=command.access_key,
                    admin=command.admin,
                    uid=job.spec.uid,
                    wait=wait,
                )
            )
            added = replace(added, job=job)
        return request.reply(to_json(added_value(added, command.queue)), _CREATED if added.new else _OK)

    @_app.route("/api/v1/job", "GET", "queueName jobUID wait", v1=True)
    async def read_job(self, request: JobRequest) -> bytes:
        """Read a job; if the client waits, answer once the job is finished."""
        name, uid = one(request.args, "queueName"), one(request.args, "jobUID")
        wait, access = seconds(request.args, "wait"), self.keys.access(request)
        job = await self.engine.read_job(
            self._request_log.logged(request, c.ReadJob(queue=name, **access, uid=uid, wait=wait))
        )
        return request.reply(job_json(job, name))

    @_app.route("/api/v1/job", "POST", v1=True)
    async def update_job(self, request: JobRequest) -> bytes:
        """Change a job. The answer is the job; to a request in the form of the first version it is empty by default."""
        command, v1 = self.wire.update_job(await self._body(request), self.keys.access(request))
        prefer = request.sent.get(b"prefer")
        is_empty = v1 and (prefer is None or preferred_return(prefer) != "representation")
        try:
            job = await self._ask(request, command)
        except JobNotFound as error:
            job = await repeated_report(self.engine, command, error)
        return request.reply(b"" if is_empty else to_json(updated_value(job, command.queue)))

    @_app.route("/api/v1/job", "DELETE", "queueName jobUID", v1=True)
    async def delete_job(self, request: JobRequest) -> bytes:
        """Delete a job."""
        name, uid, access = one(request.args, "queueName"), one(request.args, "jobUID"), self.keys.access(request)
        await self._ask(request, c.DeleteJob(queue=name, **access, uid=uid))
        return empty(request, HTTPStatus.NO_CONTENT)

    @_app.route("/api/v1/job/next", "GET", "queueName markQueued wait worker host pid client withResults", v1=True)
    async def next_job(self, request: JobRequest) -> bytes:
        """Show the next job to run, and claim it if markQueued is true."""
        name, claim = one(request.args, "queueName"), flag(request.args, "markQueued")
        wait, access = seconds(request.args, "wait"), self.keys.access(request)
        worker, origin = worker_of(request.args), claim_origin(request.args)
        with_results = flag(request.args, "withResults")
        # HEAD is safe by definition, and its answer has no body for the job.
        if claim and request.method != b"HEAD":
            claims = c.Claims(queues=(name,), **access, wait=wait, worker=worker, origin=origin)
            claimed = (await self.engine.claim(self._request_log.logged(request, claims))).jobs
            note_claimed(request, claimed)
            if not claimed:
                return nothing(request)
            (awaited,) = await read_results(self.engine, access, claimed) if with_results else [None]
            return request.reply(with_dependencies(job_json(claimed[0].job, name, lease=True), awaited))
        job = await self.engine.peek(self._request_log.logged(request, c.Peek(queue=name, **access, wait=wait)))
        return nothing(request) if job is None else request.reply(job_json(job, name))

    @_app.route("/api/v1/job/next", "POST")
    async def claim(self, request: JobRequest) -> bytes:
        """Carry out the request's updates, then claim jobs of several queues."""
        access = self.keys.access(request)
        claims, with_results = self.wire.claim(await self._body(request), access)
        result = await self.engine.claim(self._request_log.logged(request, claims))
        note_claimed(request, result.jobs)
        awaited = await read_results(self.engine, access, result.jobs) if with_results else None
        if claims.updates:
            show = brief_result if is_minimal(request) else result_of
            sent = [(one.queue, one.update) for one in claims.updates]
            outcomes = await with_repeated(self.engine, access, sent, result.results)
            results = [show((queue, one.uid, outcome)) for (queue, one), outcome in zip(sent, outcomes, strict=True)]
            return request.reply(jobs_json(result.jobs, results, awaited))
        return request.reply(jobs_json(result.jobs, awaited=awaited)) if result.jobs else nothing(request)

    @_app.route("/api/v1/job/explain", "GET", "queueName jobUID")
    async def explain(self, request: JobRequest) -> bytes:
        """Explain why a job is not running."""
        name, uid, access = one(request.args, "queueName"), one(request.args, "jobUID"), self.keys.access(request)
        explanation = await self._ask(request, c.ExplainJob(queue=name, **access, uid=uid))
        links = await read_links(self.engine, access, held_by(explanation.job))
        return request.reply(explanation_json(explanation, links))

    # Many jobs

    @_app.route("/api/v1/jobs", "PUT", "queueName")
    async def add_jobs(self, request: JobRequest) -> bytes:
        """Add all jobs, or none."""
        body, access = json_body(request), self.keys.access(request)
        key = idempotency_key(request.sent.get(b"idempotency-key"))
        most = await self.keys.most_values(request, access)
        command = await self.wire.add_jobs(body, access, self.turns.next, most, key)
        check_named(request.args, command.queue)
        added = await self._ask(request, command)
        if is_minimal(request):
            body = await list_json("jobs", added, brief_added, self.turns.next)
        else:
            body = await list_json("jobs", added, lambda one: added_value(one, command.queue), self.turns.next)
        return request.reply(body, HTTPStatus.CREATED)

    @_app.route("/api/v1/jobs", "GET", f"queueName {_FILTER} sort limit cursor")
    async def list_jobs(self, request: JobRequest) -> bytes:
        """List a page of jobs, with a link to the next."""
        limit, sort = number(request.args, "limit", _DEFAULT_LIMIT, _MOST), sort_of(request.args)
        access = self.keys.access(request)
        command = c.ListJobs(
            queue=one(request.args, "queueName"),
            **access,
            filter=filter_of(request.args),
            sort=sort,
            after=job_cursor(request.args, sort),
            limit=limit,
        )
        page = await filled_page(self.engine, self._request_log.logged(request, command), self.turns.next)
        following = page.following if sort is None or page.following is None else (sort, *page.following)
        return answer_page(request, "jobs", [job_value(job, command.queue) for job in page.jobs], following)

    @_app.route("/api/v1/jobs", "POST", "queueName")
    async def update_jobs(self, request: JobRequest) -> bytes:
        """Change jobs: one by one, or all that match a filter."""
        body, access = json_body(request), self.keys.access(request)
        most = await self.keys.most_values(request, access)
        command = await self.wire.update_jobs(body, access, self.turns.next, most)
        check_named(request.args, command.queue)
        if isinstance(command, c.UpdateMatching):
            matched = await self.engine.update_matching(self._request_log.logged(request, command))
            request.notes["jobs"] = matched
            return request.reply(to_json({"matched": matched}))
        if isinstance(command, c.MoveMatching):
            moved = await self.engine.move_matching(self._request_log.logged(request, command))
            request.notes["jobs"] = moved.moved
            return request.reply(to_json(moved_value(moved)))
        changed = await self._ask(request, command)
        show = brief_result if is_minimal(request) else result_of
        sent = ((command.queue, one) for one in command.updates)
        updated = zip(command.updates, await with_repeated(self.engine, access, sent, changed), strict=True)
        results = [(command.queue, one.uid, outcome) for one, outcome in updated]
        return request.reply(await list_json("results", results, show, self.turns.next))

    @_app.route("/api/v1/jobs", "DELETE", f"queueName {_FILTER} all dry_run")
    async def delete_jobs(self, request: JobRequest) -> bytes:
        """Delete all jobs that match a filter."""
        if request.body():
            raise BadInput("This call has no body: send filter, all and dry_run in the query.")
        name, dry_run, access = one(request.args, "queueName"), flag(request.args, "dry_run"), self.keys.access(request)
        wanted = some_or_all(filter_of(request.args), every=flag(request.args, "all"))
        command = c.DeleteMatching(queue=name, **access, filter=wanted, dry_run=dry_run)
        matched = await self.engine.delete_matching(self._request_log.logged(request, command))
        request.notes["jobs"] = matched
        return request.reply(to_json({"matched": matched}))

    @_app.route("/api/v1/events", "GET", "queueName")
    async def events(self, request: JobRequest) -> bytes | None:
        """Stream changes of jobs as they happen, as server-sent events."""
        name, access = one(request.args, "queueName"), self.keys.access(request)
        last = once(request.sent.get(b"last-event-id", ()), "Last-Event-ID").decode("latin-1")
        watching = await self.engine.watch(
            self._request_log.logged(request, c.Subscribe(queue=name, **access, after=last or None))
        )
        request.setHeader(b"Content-Type", b"text/event-stream")
        # nginx would otherwise buffer the events up to a few thousand bytes.
        request.setHeader(b"X-Accel-Buffering", b"no")
        if request.method == b"HEAD":
            return b""
        await send_events(request, watching, self.clock)
        return None

    @_app.route("/api/v1/workers", "GET", "queueName")
    async def list_workers(self, request: JobRequest) -> bytes:
        """The workers of a queue: how many jobs each holds, and since when; and the waiting claims."""
        name, access = one(request.args, "queueName"), self.keys.access(request)
        command = self._request_log.logged(request, jobs_held(name, access))
        holders = await count_holders(self.engine, command, self.turns.next)
        claimers = await self.engine.ask(c.ListClaimers(queue=name, **access))
        return request.reply(to_json(workers_value(holders, claimers)))

    # The server

    @_app.route("/api/v1/backup", "GET")
    async def backup(self, request: JobRequest) -> bytes | None:
        """Stream the whole database, encrypted as it is stored, for the admin."""
        self.keys.check_is_admin(request)
        pieces = await self.engine.backup()
        request.setHeader(b"Content-Type", b"application/octet-stream")
        if request.method == b"HEAD":
            await pieces.aclose()
            return b""
        await write_all(request, pieces, self.clock)
        return None

    @_app.route("/test", "GET", v1=True)
    async def test(self, request: JobRequest) -> bytes:
        """Report that this is a JobEngine which accepts calls."""
        readiness = await self.engine.readiness()
        if not readiness.started:
            raise Starting(f"The server is {readiness.reason}; nothing was carried out. Try again.")
        return empty(request, HTTPStatus.OK)

    @_app.route("/openapi.json", "GET")
    async def openapi(self, request: JobRequest) -> bytes:
        """The schema of this API, for generators and viewers."""
        return request.reply(SCHEMA)

    @_app.route("/healthz", "GET")
    async def healthz(self, request: JobRequest) -> bytes:
        """Answer that the process is alive."""
        return request.reply(to_json({"status": "ok"}))

    @_app.route("/readyz", "GET")
    async def readyz(self, request: JobRequest) -> bytes:
        """Whether changes are accepted and, if not, why."""
        await self.engine.check_storage()
        readiness = await self.engine.readiness()
        if not readiness.ready:
            return answer(request, Problem(HTTPStatus.SERVICE_UNAVAILABLE, readiness.reason))
        return request.reply(to_json({"status": "ready", "durability": readiness.durability}))

    @_app.route("/metrics", "GET")
    async def show_metrics(self, request: JobRequest) -> bytes:
        """Metrics for Prometheus."""
        self.keys.check_scraper(request)
        body = await scrape(self.metrics, self.engine, request.connections, self.turns.next, self.clock)
        return request.reply(body, type_=CONTENT_TYPE.encode())

    @_app.handle_errors(Exception)
    def failed(self, request: IRequest, failure: Failure) -> KleinRenderable:
        """Answer an error, expected or not."""
        assert isinstance(request, JobRequest)
        if request.startedWriting:
            # The status is sent already: only breaking the connection shows the client that its answer is incomplete.
            # No incident for expected errors: the queue was deleted meanwhile, or the database is unreachable.
            if not failure.check(TooSlow, DomainError, Unavailable):
                request.incident(failure)
            request.abort()
            return None
        return answer(request, self.keys.problem(request, failure.value) or request.incident(failure))
