"""A queue: what can be asked of it and of its jobs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, Unpack

from .. import calls
from ..coalescing import AddLane, Item, UpdateLane
from ..errors import QueueExists
from ..jobs import (
    JobChanges,
    JobFilter,
    JobOptions,
    JobOrder,
    NewJob,
    changes_of_all,
    encode,
    filter_query,
    filter_value,
    job_json,
)
from ..secret import Secret, as_secret, secret
from ..values import Access, AccessKey, Explanation, Job, JobEvent, QueueSetup, QueueStats, WorkerJobs
from .adding import add_in_chunks
from .caller import AsyncCaller
from .claimed import AsyncClaimedJob, update_item
from .events import watch
from .keeper import Keeper
from .lanes import LaneDriver
from .transport import Stream

__all__ = ["AsyncKeys", "AsyncQueue"]

#: The longest that one request waits, in seconds: proxies cut at 60.
LONGEST_WAIT = 50.0
#: Jobs of a list that are read at a time.
_PAGE = 500


class AsyncClient(Protocol):
    """What a queue needs of the client that it belongs to."""

    caller: AsyncCaller
    keeper: Keeper[AsyncClaimedJob]
    max_pending: int

    def now(self) -> float:
        """Seconds on the monotonic clock."""
        ...

    async def claim(
        self, queues: "Sequence[AsyncQueue]", count: int = 1, *, wait: float, tags: Sequence[str], worker: str | None
    ) -> list[AsyncClaimedJob]:
        """Claim jobs of these queues."""
        ...


class AsyncQueue:
    """A queue by its name. Making this asks the server nothing; all methods but that raise JobEngineError."""

    def __init__(self, engine: AsyncClient, name: str, key: Secret | None) -> None:
        self.engine = engine
        #: The queue's name.
        self.name = name
        #: What opens it; None is the admin key.
        self.key = key
        #: Its keys with a role.
        self.keys = AsyncKeys(self)
        self._caller = engine.caller
        self.begin()

    def begin(self) -> None:
        """Begin with nothing that waits to be sent."""
        #: Extends the leases of jobs.
        self.keeper = self.engine.keeper
        #: What waits to be sent: jobs to be added, and updates.
        self.adds = LaneDriver(AddLane(self.name, self.engine.max_pending), self._send)
        self.updates = LaneDriver(UpdateLane(self.name, self.engine.max_pending), self._send)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    async def _send(self, lane: Any, batch: Sequence[Item]) -> Any:
        return await self._caller.send_batch(lane, self.key, batch)

    async def ask(self, call: calls.Call[Any], **more: Any) -> Any:
        """What a call gives, made with the queue's key."""
        return await self._caller.call(call, key=self.key, **more)

    # The queue itself

    async def create(self, *, access_key: str | Secret | None = None, exist_ok: bool = False) -> None:
        """
        Make the queue; raises QueueExists if it is there, unless `exist_ok`.

        `access_key` becomes its owner's key; left out it is the key that this client has for the queue.
        """
        access_key = secret(access_key) or self.key
        if access_key is None:
            raise TypeError("a new queue needs an access_key")
        call = calls.CREATE_QUEUE
        try:
            await self.ask(call, body={"name": self.name, "access_key": access_key}, safe=exist_ok)
        except QueueExists:
            if not exist_ok:
                raise
        self.key = access_key

    async def remove(self) -> None:
        """Remove the queue and every job in it."""
        await self.ask(calls.DELETE_QUEUE, query={"name": self.name})

    async def configure(
        self,
        *,
        paused: bool | None = None,
        draining: bool | None = None,
        require_lease: bool | None = None,
        max_jobs: int | None = None,
        defaults: Mapping[str, int] | None = None,
        new_access_key: str | Secret | None = None,
        old_key_seconds: int | None = None,
    ) -> QueueSetup:
        """
        Set the queue up otherwise; what is left out stays as it is.

        `defaults` has keep_minutes, timeout_seconds, max_attempts and retry_delay_seconds; `old_key_seconds` is how
        long the owner's old key still opens the queue beside the new one.
        """
        new_access_key = secret(new_access_key)
        asked = {
            "paused": paused,
            "draining": draining,
            "require_lease": require_lease,
            "max_jobs": max_jobs,
            "defaults": None if defaults is None else dict(defaults),
            "new_access_key": new_access_key,
            "old_key_seconds": old_key_seconds,
        }
        body = {"name": self.name, **{name: value for name, value in asked.items() if value is not None}}
        # With the new key in force the old one, which would be sent again, may open nothing.
        setup: QueueSetup = await self.ask(calls.CHANGE_QUEUE, body=body, safe=new_access_key is None)
        if new_access_key is not None:
            self.key = new_access_key
        return setup

    async def pause(self) -> QueueSetup:
        """Give no jobs out."""
        return await self.configure(paused=True)

    async def resume(self) -> QueueSetup:
        """Give jobs out again."""
        return await self.configure(paused=False)

    async def drain(self) -> QueueSetup:
        """Take no new jobs in."""
        return await self.configure(draining=True)

    async def undrain(self) -> QueueSetup:
        """Take new jobs in again."""
        return await self.configure(draining=False)

    async def stats(self) -> QueueStats:
        """The queue in numbers."""
        stats: QueueStats = await self.ask(calls.READ_STATS, query={"name": self.name})
        return stats

    async def access(self) -> Access:
        """What the key for this queue may do."""
        access: Access = await self.ask(calls.READ_ACCESS, query={"queueName": self.name})
        return access

    async def workers(self) -> list[WorkerJobs]:
        """The workers that hold jobs, at most 1,000: those with most jobs first."""
        workers: list[WorkerJobs] = await self.ask(calls.LIST_WORKERS, query={"queueName": self.name})
        return workers

    # Adding

    async def add(self, content: Mapping[str, Any], **options: Unpack[JobOptions]) -> Job:
        """
        Add a job; on disk when this returns.

        What many callers add at one time goes in one request. Raises TypeError or ValueError for content that JSON
        can't hold.
        """
        item = Item(job_json(content, options))
        await self.adds.submit([item])
        return Job(item.result())

    async def add_many(
        self,
        contents: Iterable[Mapping[str, Any] | NewJob],
        *,
        progress: Callable[[int], object] | None = None,
        **options: Unpack[JobOptions],
    ) -> list[Job]:
        """
        Add jobs, of an iterable that is read as they are sent.

        `options` are for all that do not say otherwise by being a NewJob; `progress` is called with how many were
        added. Each request of some hundred jobs is carried out as a whole or not at all: the error says in `index`
        which job was refused, and those of earlier requests are added.
        """
        jobs = []
        async for chunk in self.add_in_chunks(contents, **options):
            jobs += chunk
            if progress is not None:
                progress(len(jobs))
        return jobs

    def add_in_chunks(
        self, contents: Iterable[Mapping[str, Any] | NewJob], *, brief: bool = False, **options: Unpack[JobOptions]
    ) -> Stream[list[Job]]:
        """
        As add_many, for more jobs than are to be held in memory: gives those of each request when they are added.

        With `brief` the jobs have their uids and no more, but for `status` in `raw`: 201 if it is new, 200 if it was
        there. One that is alone in its request is whole. This is faster.
        """
        return add_in_chunks(self._caller, self.name, self.key, contents, options, brief=brief)

    async def add_and_wait(
        self, content: Mapping[str, Any], *, timeout: float = 30, **options: Unpack[JobOptions]
    ) -> Job:
        """Add a job; the job when it is finished, or as it is after `timeout` seconds: `finished` says which."""
        lane, item = AddLane(self.name, 1), Item(job_json(content, options))
        wait = int(min(timeout, LONGEST_WAIT))
        deadline = self.engine.now() + timeout
        request = self._caller.request(
            calls.ADD_JOB, key=self.key, body=lane.body([item]), headers={"Prefer": f"wait={wait}"}, wait=wait
        )
        response, _ = await self._caller.exchange(request)
        job = calls.read_answer(calls.ADD_JOB, response)
        left = deadline - self.engine.now()
        return job if job.finished or left <= 0 else await self.wait(job.uid, timeout=left)

    # One job

    async def get(self, uid: str) -> Job:
        """The job as it is now."""
        job: Job = await self.ask(calls.READ_JOB, query=self._job(uid))
        return job

    async def wait(self, uid: str, *, timeout: float = 30) -> Job:
        """The job when it is finished, or as it is after `timeout` seconds: `finished` says which."""
        deadline = self.engine.now() + timeout
        while True:
            wait = max(min(deadline - self.engine.now(), LONGEST_WAIT), 0)
            job: Job = await self.ask(calls.READ_JOB, query={**self._job(uid), "wait": f"{wait:.3f}"}, wait=wait)
            if job.finished or self.engine.now() >= deadline:
                return job

    async def explain(self, uid: str) -> Explanation:
        """Why the job is where it is."""
        explanation: Explanation = await self.ask(calls.EXPLAIN_JOB, query=self._job(uid))
        return explanation

    async def update(self, uid: str, **changes: Unpack[JobChanges]) -> Job:
        """
        Change the job; the job as it is now.

        An update that sets a state without a lease is not sent again if its answer is lost, since others may have moved
        the job on meanwhile: OutcomeUnknown.
        """
        item = update_item(uid, changes)
        item.brief = False
        await self.updates.submit([item])
        return Job(item.result())

    async def cancel(self, uid: str) -> Job:
        """Ask for the job's end: one that is queued becomes failed, the worker of one in progress is told."""
        item = Item(b'{"uid":%b,"cancel":true}' % encode(uid))
        await self.updates.submit([item])
        return Job(item.result())

    async def delete(self, uid: str) -> None:
        """Remove the job."""
        await self.ask(calls.DELETE_JOB, query=self._job(uid))

    async def peek(self) -> Job | None:
        """The job that is to run next, if one can run; nothing changes."""
        job: Job | None = await self.ask(calls.NEXT_JOB, query={"queueName": self.name})
        return job

    async def claim(
        self, count: int = 1, *, wait: float = 0, tags: Sequence[str] = (), worker: str | None = None
    ) -> list[AsyncClaimedJob]:
        """
        Up to `count` jobs, which nobody else gets now; none if there are none after `wait` seconds.

        `tags`: only jobs with all of these. It is not sent again if its answer is lost: OutcomeUnknown, and the jobs
        come back when their lease has run out.
        """
        return await self.engine.claim([self], count, wait=wait, tags=tags, worker=worker)

    # Many jobs

    async def jobs(
        self, *, limit: int | None = None, sort: JobOrder | None = None, **filters: Unpack[JobFilter]
    ) -> Stream[Job]:
        """
        The jobs that match in execution order, `limit` at most, read as they are asked for.

        `sort`: by when they were added or last updated, oldest first, or with a "-" newest first. By "updated" a job
        that is updated meanwhile comes again; by "-updated" it may be left out.
        """
        query = {"queueName": self.name, **filter_query(filters)}
        if sort is not None:
            query["sort"] = sort
        while limit is None or limit > 0:
            query["limit"] = str(_PAGE if limit is None else min(limit, _PAGE))
            page, cursor = await self.ask(calls.LIST_JOBS, query=query)
            for job in page:
                yield job
            if cursor is None:
                return
            query["cursor"] = cursor
            limit = None if limit is None else limit - len(page)

    async def all_jobs(self) -> list[Job]:
        """All jobs of every state, in one answer."""
        jobs: list[Job] = await self.ask(calls.READ_QUEUE, query={"name": self.name})
        return jobs

    async def retry(self, *, dry_run: bool = False, **filters: Unpack[JobFilter]) -> int:
        """Queue the jobs that match again, failed ones if no state is said; how many. `dry_run`: only count."""
        wanted: JobFilter = {"state": "failed", **filters}
        return await self._change_all({"new_status": "queued"}, wanted, dry_run=dry_run)

    async def update_all(
        self,
        changes: JobChanges,
        *,
        all: bool = False,  # noqa: A002  # the word of the API
        dry_run: bool = False,
        **filters: Unpack[JobFilter],
    ) -> int:
        """Change the jobs that match, or with `all` every one; how many. `dry_run`: only count."""
        return await self._change_all(changes_of_all(changes), filters, every=all, dry_run=dry_run)

    async def cancel_all(self, *, all: bool = False, dry_run: bool = False, **filters: Unpack[JobFilter]) -> int:  # noqa: A002  # the word of the API
        """Cancel the jobs that match, or with `all` every one; how many. `dry_run`: only count."""
        return await self._change_all({"cancel": True}, filters, every=all, dry_run=dry_run)

    async def delete_all(self, *, all: bool = False, dry_run: bool = False, **filters: Unpack[JobFilter]) -> int:  # noqa: A002  # the word of the API
        """Remove the jobs that match, or with `all` every one; how many. `dry_run`: only count."""
        _check_filter(filters, every=all)
        query = {"queueName": self.name, **filter_query(filters)}
        if all:
            query["all"] = "true"
        if dry_run:
            query["dry_run"] = "true"
        matched: int = await self.ask(calls.DELETE_JOBS, query=query, safe=dry_run)
        return matched

    async def _change_all(
        self, changes: dict[str, Any], filters: JobFilter, *, every: bool = False, dry_run: bool = False
    ) -> int:
        _check_filter(filters, every=every)
        body = {"queue_name": self.name, "filter": filter_value(filters), **changes}
        if every:
            body["all"] = True
        if dry_run:
            body["dry_run"] = True
        matched: int = await self.ask(calls.UPDATE_JOBS, body=body, safe=dry_run)
        return matched

    def events(self, after: str | None = None) -> Stream[JobEvent]:
        """
        Changes of state as they happen, from now on or after the event with the id `after`.

        A broken connection is made again, and goes on after the last event. Raises EventsLost if events are gone that
        were not seen: read the jobs anew, and watch again.
        """
        return watch(self._caller, self.name, self.key, after)

    def _job(self, uid: str) -> dict[str, str]:
        return {"queueName": self.name, "jobUID": uid}


class AsyncKeys:
    """The keys of a queue beside the owner's."""

    def __init__(self, queue: AsyncQueue) -> None:
        self._queue = queue

    async def add(self, role: str, key: str | Secret) -> AccessKey:
        """Let `key` open the queue for a role: producer, worker or viewer."""
        key = as_secret(key)
        body = {"queue_name": self._queue.name, "role": role, "access_key": key}
        added: AccessKey = await self._queue.ask(calls.ADD_KEY, body=body)
        return added

    async def list(self) -> "list[AccessKey]":
        """The keys, in the order in which they were added."""
        keys: list[AccessKey] = await self._queue.ask(calls.LIST_KEYS, query={"name": self._queue.name})
        return keys

    async def revoke(self, id: str) -> None:  # noqa: A002  # the word of the API
        """Let the key with this id open nothing any more."""
        await self._queue.ask(calls.REVOKE_KEY, query={"name": self._queue.name, "keyID": id})


def _check_filter(filters: JobFilter, *, every: bool) -> None:
    if every == bool(filters):
        raise TypeError("say which jobs are meant: a filter such as state or tag, or all=True for every job")
