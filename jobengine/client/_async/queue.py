"""A queue and its calls."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, Unpack

from .. import calls
from ..batches import BatchProgress, ThenOn
from ..batching import AddLane, Item, UpdateLane, single_body
from ..bulk_add import for_one_request
from ..encoding import encode
from ..errors import OutcomeUnknown, QueueExists, Unavailable
from ..failures import FailureGroup
from ..groups import Group, GroupOptions, GroupSort, QueueSettings, group_value, merged_defaults, settings_value
from ..history import QueueHistory
from ..jobs import (
    JobChanges,
    JobFilter,
    JobOptions,
    JobOrder,
    NewJob,
    Span,
    chained,
    changes_of_all,
    chosen_query,
    exact_seconds,
    filter_query,
    given,
    job_json,
    uid_text,
)
from ..links import JobGraph
from ..schedules import Schedule, ScheduleOptions, schedule_value
from ..secret import Secret, secret
from ..values import Access, Explanation, Job, JobEvent, QueueSetup, QueueStats, WorkerJobs
from .batch_sender import BatchSender
from .batches import AsyncBatch
from .caller import AsyncCaller
from .claimed import AsyncClaimedJob, update_item
from .events import watch
from .heartbeats import Heartbeats
from .keys import AsyncKeys
from .moves import AsyncMoves
from .pipelined_add import add_in_chunks
from .schedules import AsyncSchedules
from .transport import Stream

#: The longest wait of one request, in seconds: proxies give up after 60.
LONGEST_WAIT = 50.0
#: The most groups of failures that one request reads.
_FAILURES = 100


class AsyncClient(Protocol):
    """The part of the client that its queues use."""

    _caller: AsyncCaller
    _heartbeats: Heartbeats[AsyncClaimedJob]
    _max_pending: int

    def _now(self) -> float:
        """Seconds on the monotonic clock."""
        ...

    async def claim(
        self,
        queues: "Sequence[AsyncQueue]",
        count: int = 1,
        *,
        wait: Span,
        tags: Sequence[str],
        worker: str | None,
        with_results: bool,
    ) -> list[AsyncClaimedJob]:
        """Claim jobs of these queues."""
        ...


class AsyncQueue(AsyncMoves):
    """A queue of the server. Creating this object sends nothing. All of its methods raise JobEngineError."""

    def __init__(self, engine: AsyncClient, name: str, key: Secret | None, caller: AsyncCaller | None = None) -> None:
        """`caller` sends the requests; the default is the caller of `engine`."""
        super().__init__(name, key, caller or engine._caller)
        self._engine = engine
        #: The queue's keys with a role: to add, list and revoke them.
        self.keys = AsyncKeys(self)
        #: The queue's schedules: to read, change, run and delete them.
        self.schedules = AsyncSchedules(self)
        self._begin()

    def _begin(self) -> None:
        """Make the senders of bulk calls, with no waiting calls: at first, and again in a forked child process."""
        #: The heartbeats that extend leases.
        self._heartbeats = self._engine._heartbeats
        #: Sends the jobs to add in bulk.
        self._adds = BatchSender(AddLane(self.name, self._engine._max_pending), self._send)
        #: Sends updates in bulk.
        self._updates = BatchSender(UpdateLane(self.name, self._engine._max_pending), self._send)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    async def _send(self, lane: Any, batch: Sequence[Item]) -> Any:
        return await self._caller.send_batch(lane, self._key, batch)

    # The queue itself

    async def create(self, *, access_key: str | Secret | None = None, exist_ok: bool = False) -> None:
        """
        Create the queue; raises QueueExists if it exists, unless `exist_ok`.

        `access_key` becomes the owner's key; by default it is the client's key for this queue.
        """
        access_key = secret(access_key) or self._key
        if access_key is None:
            raise TypeError("a new queue needs an access_key")
        call = calls.CREATE_QUEUE
        try:
            await self._ask(call, body={"name": self.name, "access_key": access_key}, safe=exist_ok)
        except QueueExists:
            if not exist_ok:
                raise
        self._key = access_key

    async def remove(self) -> None:
        """Delete the queue and all its jobs."""
        await self._ask(calls.DELETE_QUEUE, query={"name": self.name})

    async def configure(
        self, *, new_access_key: str | Secret | None = None, **settings: Unpack[QueueSettings]
    ) -> QueueSetup:
        """
        Change the settings of the queue; omitted ones stay unchanged, also those that `defaults` omits.

        `limits` are for the whole queue, and `group_limits` for each group, such as
        {"in_progress": 5, "rate": (10, 60)}. `order`, such as {"seconds_per_priority": 60}, lets jobs age. Jobs that
        fail with no attempts left move into the queue `dead_letter`. None removes `defaults`, `limits`, `group_limits`,
        `target_wait_seconds`, `order` and `dead_letter`, and ends a hold with `held_until`.
        """
        new_access_key = secret(new_access_key)
        body = {"name": self.name, **settings_value(settings), **given(new_access_key=new_access_key)}
        if body.get("defaults") is not None:  # the server replaces all of them
            body["defaults"] = merged_defaults((await self.stats()).raw.get("defaults"), body["defaults"])
        # A change of the key is not safe to repeat: the old key may be invalid by then.
        setup: QueueSetup = await self._ask(calls.CHANGE_QUEUE, body=body, safe=new_access_key is None)
        if new_access_key is not None:
            self._key = new_access_key
        return setup

    async def pause(self) -> QueueSetup:
        """Pause the queue: no job can be claimed."""
        return await self.configure(paused=True)

    async def resume(self) -> QueueSetup:
        """Resume the queue: jobs can be claimed again."""
        return await self.configure(paused=False)

    async def drain(self) -> QueueSetup:
        """Drain the queue: no job can be added."""
        return await self.configure(draining=True)

    async def undrain(self) -> QueueSetup:
        """Undrain the queue: jobs can be added again."""
        return await self.configure(draining=False)

    async def stats(self) -> QueueStats:
        """The stats of the queue."""
        return await self._ask(calls.READ_STATS, query={"name": self.name})

    async def history(self) -> QueueHistory:
        """The counts of each minute of the last hour and each hour of the last week."""
        return await self._ask(calls.READ_HISTORY, query={"name": self.name})

    async def access(self) -> Access:
        """The role of the client's key in this queue."""
        return await self._ask(calls.READ_ACCESS, query={"queueName": self.name})

    async def workers(self) -> list[WorkerJobs]:
        """At most 1,000 workers that hold jobs, those with the most jobs first; then the claims that wait for jobs."""
        return await self._ask(calls.LIST_WORKERS, query={"queueName": self.name})

    # Groups

    async def groups(self, *, sort: GroupSort = "queued", limit: int | None = None) -> Stream[Group]:
        """
        The groups that have jobs, settings of their own or a hold, at most `limit`; read while you iterate.

        `sort`: by queued jobs, by jobs in progress, or by the age of the oldest ready job; the largest first.
        """
        pages = self._pages(calls.LIST_GROUPS, {"queueName": self.name, "sort": sort}, limit)
        async for group in pages:
            yield group

    async def group(self, name: str) -> Group:
        """The group of this name; raises GroupNotFound."""
        return await self._ask(calls.READ_GROUP, query={"queueName": self.name, "group": name})

    async def set_group(self, name: str, **settings: Unpack[GroupOptions]) -> Group:
        """
        Give a group settings of its own, and return it; omitted ones stay unchanged.

        `in_progress` and `rate`, such as (10, 60), replace the queue's limits for groups; None restores those of the
        queue. `weight` is the group's share in fair order. While a group is `paused`, and until `held_until`, none of
        its jobs can be claimed; `held_until=None` ends a hold.
        """
        body = {"queue_name": self.name, "group": name, **group_value(settings)}
        return await self._ask(calls.CHANGE_GROUP, body=body)

    async def reset_group(self, name: str) -> None:
        """Remove the group's own settings, so that the queue's apply again. Raises GroupNotFound."""
        await self._ask(calls.RESET_GROUP, query={"queueName": self.name, "group": name})

    # Batches

    def batch(
        self, name: str, *, then: Mapping[str, Any] | NewJob | None = None, then_on: ThenOn | None = None
    ) -> AsyncBatch:
        """
        The batch of this name; no request is sent. Use it as a context manager to create it, add jobs and close it.

        `then`: a job, or the content of one, that waits for the end of the batch. It runs if all jobs are complete or,
        with `then_on="finish"`, however they finished.
        """
        return AsyncBatch(self, name, then, then_on)

    async def batches(self, *, limit: int | None = None) -> Stream[BatchProgress]:
        """The batches by name, at most `limit`; read while you iterate."""
        pages = self._pages(calls.LIST_BATCHES, {"queueName": self.name}, limit)
        async for batch in pages:
            yield batch

    # Adding

    async def schedule(
        self, name: str, content: Mapping[str, Any], *, dry_run: bool = False, **options: Unpack[ScheduleOptions]
    ) -> Schedule:
        """
        Add a job at each time of `cron` in `timezone`, or every `every_seconds`; `schedules` has the other calls.

        Safe to call at each start of a program: an existing schedule gets these settings, and keeps its history and,
        unless `paused` is given, its pause. `dry_run`: store nothing; the result has the next times and notes.
        """
        body = {"queue_name": self.name, "name": name, **schedule_value(content, options)}
        if dry_run:
            body["dry_run"] = True
        return await self._ask(calls.SET_SCHEDULE, body=body)

    async def add(self, content: Mapping[str, Any], **options: Unpack[JobOptions]) -> Job:
        """
        Add a job; when this returns, the job is on disk.

        Concurrent adds share a request. Raises TypeError or ValueError for content that can't be JSON.
        """
        item = Item(job_json(content, options))
        await self._adds.submit([item])
        return Job(item.result())

    async def add_many(
        self,
        contents: Iterable[Mapping[str, Any] | NewJob],
        *,
        progress: Callable[[int], object] | None = None,
        **options: Unpack[JobOptions],
    ) -> list[Job]:
        """
        Add jobs from an iterable, which is read while earlier jobs are sent. `options` are for all jobs, but those of a
        NewJob win. `progress` is called with the number of jobs added so far. Each request has some hundred jobs, and
        adds all or none. An error's `index` is that of the refused job in `contents`; earlier requests stay effective.
        """
        jobs = []
        async for chunk in self.add_in_chunks(contents, **options):
            jobs += chunk
            if progress is not None:
                progress(len(jobs))
        return jobs

    async def chain(self, *jobs: Mapping[str, Any] | NewJob, **options: Unpack[JobOptions]) -> list[Job]:
        """
        Add at most 500 jobs in one request, all or none; each job depends on the job before it.

        `options` are for all jobs, but those of a NewJob win. Raises ValueError if the jobs are too many or too long
        for a request.
        """
        return await self.add_many(for_one_request(chained(jobs, options)))

    def add_in_chunks(
        self, contents: Iterable[Mapping[str, Any] | NewJob], *, brief: bool = False, **options: Unpack[JobOptions]
    ) -> Stream[list[Job]]:
        """
        Like add_many, for more jobs than fit in memory: yields the jobs of each request after they were added. With
        `brief`, which is faster, a job has only its uid, and in `raw` a `status`: 201 if the job is new, 200 if it
        existed. A job that is alone in its request has all fields.
        """
        return add_in_chunks(self._caller, self.name, self._key, contents, options, brief=brief)

    async def add_and_wait(
        self, content: Mapping[str, Any], *, timeout: Span = 30, **options: Unpack[JobOptions]
    ) -> Job:
        """
        Add a job, and return the job when it is finished, or as it is after `timeout` seconds; check `finished`.

        A failed job is returned just before it moves to the queue's dead-letter queue, if there is one; from then on
        `get` finds the job only there.

        Raises OutcomeUnknown if the job was added, or may have been, and the server does not answer any more.
        """
        body = single_body(encode(self.name), job_json(content, options))
        wait = int(min(exact_seconds(timeout), LONGEST_WAIT))
        deadline = self._engine._now() + exact_seconds(timeout)
        request = self._caller.request(
            calls.ADD_JOB, key=self._key, body=body, headers={"Prefer": f"wait={wait}"}, wait=wait
        )
        response, _ = await self._caller.exchange(request)
        job = calls.read_answer(calls.ADD_JOB, response)
        left = deadline - self._engine._now()
        if job.finished or left <= 0:
            return job
        try:
            return await self.wait(job.uid, timeout=left)
        except Unavailable as error:
            raise OutcomeUnknown(error.detail, status=error.status, retry_after=error.retry_after) from error

    # One job

    async def get(self, uid: str) -> Job:
        """The job as it is now."""
        return await self._ask(calls.READ_JOB, query=self._job(uid))

    async def wait(self, uid: str, *, timeout: Span = 30) -> Job:
        """The job when it is finished, or as it is after `timeout` seconds; check `finished`."""
        deadline = self._engine._now() + exact_seconds(timeout)
        while True:
            wait = max(min(deadline - self._engine._now(), LONGEST_WAIT), 0)
            job: Job = await self._ask(calls.READ_JOB, query={**self._job(uid), "wait": f"{wait:.3f}"}, wait=wait)
            if job.finished or self._engine._now() >= deadline:
                return job

    async def explain(self, uid: str) -> Explanation:
        """Why the job is not running."""
        return await self._ask(calls.EXPLAIN_JOB, query=self._job(uid))

    async def graph(self, uid: str) -> JobGraph:
        """What the job waits for, directly and through others, and what waits for it; at most 200 jobs and batches."""
        return await self._ask(calls.JOB_GRAPH, query=self._job(uid))

    async def update(self, uid: str, **changes: Unpack[JobChanges]) -> Job:
        """
        Change the job, and return it.

        An update that sets a state without a lease is not repeated if its answer is lost, because other callers may
        have changed the job meanwhile: it raises OutcomeUnknown.
        """
        item = update_item(uid_text(uid), changes)
        item.brief = False
        await self._updates.submit([item])
        return Job(item.result())

    async def cancel(self, uid: str) -> Job:
        """Cancel the job: a queued job fails; the worker of a job in progress is requested to stop."""
        item = Item(b'{"uid":%b,"cancel":true}' % encode(uid_text(uid)))
        await self._updates.submit([item])
        return Job(item.result())

    async def remove_job(self, uid: str) -> None:
        """Delete the job. `remove` deletes the queue."""
        await self._ask(calls.DELETE_JOB, query=self._job(uid))

    async def delete(self, uid: str) -> None:
        """Delete the job, like `remove_job`."""
        await self.remove_job(uid)

    async def peek(self) -> Job | None:
        """The next job to run, or None if no job is ready; changes nothing."""
        return await self._ask(calls.NEXT_JOB, query={"queueName": self.name})

    async def claim(
        self,
        count: int = 1,
        *,
        wait: Span = 0,
        tags: Sequence[str] = (),
        worker: str | None = None,
        with_results: bool = False,
    ) -> list[AsyncClaimedJob]:
        """
        Claim up to `count` jobs; returns an empty list if no job was ready within `wait` seconds.

        `tags`: only jobs with all of these tags. `with_results`: each job has `dependencies`: the jobs on which it
        depends, with their results. If the answer is lost, the claim is not repeated: this raises
        OutcomeUnknown, and the jobs time out. Then those with attempts left are queued again, and the others fail.
        """
        return await self._engine.claim([self], count, wait=wait, tags=tags, worker=worker, with_results=with_results)

    # Many jobs

    async def jobs(
        self, *, limit: int | None = None, sort: JobOrder | None = None, **filters: Unpack[JobFilter]
    ) -> Stream[Job]:
        """
        The matching jobs, at most `limit`, in execution order; they are read while you iterate. `sort` orders by the
        time of adding or of the last update: oldest first or, with a "-", newest first. A job that is updated during
        the iteration appears twice with "updated", and may be missing with "-updated".
        """
        query = {"queueName": self.name, **filter_query(filters)}
        if sort is not None:
            query["sort"] = sort
        async for job in self._pages(calls.LIST_JOBS, query, limit):
            yield job

    async def failures(self, *, limit: int | None = None) -> Stream[FailureGroup]:
        """
        The failures of the queue by fingerprint, the most frequent first, at most `limit`; read while you iterate.

        A group has the jobs that have failed without being cancelled, and those that are tried again after a failure.
        Select them with `fingerprint`: `queue.retry(fingerprint=group.fingerprint)`. Of more than 1,000 groups
        only the largest are listed, and a count may be too low; see dropped_failures.
        """
        async for group in self._pages(calls.LIST_FAILURES, {"queueName": self.name}, limit, _FAILURES):
            yield group

    async def dropped_failures(self) -> int:
        """How many jobs are in no group of `failures`, because the queue has more than 1,000."""
        return await self._ask(calls.COUNT_DROPPED, query={"queueName": self.name, "limit": "1"})

    async def all_jobs(self) -> list[Job]:
        """All jobs in any state, from one answer."""
        return await self._ask(calls.READ_QUEUE, query={"name": self.name})

    async def update_all(
        self,
        changes: JobChanges,
        *,
        all: bool = False,  # noqa: A002  # the word of the API
        dry_run: bool = False,
        **filters: Unpack[JobFilter],
    ) -> int:
        """Change matching jobs, or every job with `all`; returns how many. `dry_run`: only count."""
        return await self._change_all(changes_of_all(changes), filters, every=all, dry_run=dry_run)

    async def cancel_all(self, *, all: bool = False, dry_run: bool = False, **filters: Unpack[JobFilter]) -> int:  # noqa: A002  # the word of the API
        """Cancel matching jobs, or every job with `all`; returns how many. `dry_run`: only count."""
        return await self._change_all({"cancel": True}, filters, every=all, dry_run=dry_run)

    async def delete_all(self, *, all: bool = False, dry_run: bool = False, **filters: Unpack[JobFilter]) -> int:  # noqa: A002  # the word of the API
        """Delete matching jobs, or every job with `all`; returns how many. `dry_run`: only count."""
        query = {"queueName": self.name, **chosen_query(filters, every=all, dry_run=dry_run)}
        return await self._ask(calls.DELETE_JOBS, query=query, safe=dry_run)

    def events(self, after: str | None = None) -> Stream[JobEvent]:
        """
        Watch state changes as they happen, from now on or after the event with the id `after`.

        After a broken connection the client reconnects and resumes after the last event. Raises EventsLost if the next
        events are no longer kept: read the jobs again, then watch again.
        """
        return watch(self._caller, self.name, self._key, after)

    def _job(self, uid: str) -> dict[str, str]:
        return {"queueName": self.name, "jobUID": uid_text(uid)}
