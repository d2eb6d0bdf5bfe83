"""The client: one for each server."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from .. import calls, settings
from ..batching import Item
from ..did_you_mean import suggests
from ..encoding import encode
from ..errors import JobEngineError, NotJobEngine, OutcomeUnknown
from ..fork_safety import forget_in_children
from ..http_codec import Response
from ..jobs import JobChanges, Span, exact_seconds, given, words
from ..origin import origin
from ..secret import Secret, as_secret, secret
from ..values import Job, QueueStats, Readiness
from . import backup
from .caller import AsyncCaller
from .claimed import AsyncClaimedJob, AsyncHolder, extend
from .heartbeats import Heartbeats
from .queue import LONGEST_WAIT, AsyncQueue
from .transport import Pool, monotonic

if TYPE_CHECKING:
    from os import PathLike
    from ssl import SSLContext

#: The header that requests a short answer: for finished jobs, only the outcomes are needed.
_BRIEF: Final = {"Prefer": "return=minimal"}


class AsyncFinished(NamedTuple):
    """The outcome of a claimed job, to be reported."""

    job: AsyncClaimedJob
    #: The changes to report, `new_status` among them.
    changes: JobChanges


class AsyncJobEngine:
    """
    A client of one JobEngine server.

    If `url`, `access_key`, `admin_key` or `keys` (a key for each queue) is left out, it comes from `profile` or the
    environment. `timeout` is how many seconds an attempt may take beyond its wait; `retry_for` is how many seconds a
    call that is safe to repeat is retried; `max_pending` is how many adds, and how many updates, of a queue may wait to
    be sent before further calls are delayed. `ssl_context` is for a server with a certificate of a private authority.
    Raises BadSettings.
    """

    #: Whether the server knows the field of claims that requests the results of dependencies.
    _knows_results = True

    @suggests
    def __init__(
        self,
        url: str | None = None,
        *,
        access_key: str | Secret | None = None,
        admin_key: str | Secret | None = None,
        keys: Mapping[str, str | Secret] | None = None,
        profile: str | None = None,
        timeout: float = 30,
        retry_for: float = 30,
        max_pending: int = 10_000,
        ssl_context: "SSLContext | None" = None,
    ) -> None:
        settings.check_numbers(timeout=timeout, retry_for=retry_for, max_pending=max_pending)
        access_key, admin_key = secret(access_key), secret(admin_key)
        keys = {name: as_secret(key) for name, key in (keys or {}).items()}
        #: The fields of claims that describe this process.
        self._origin = origin()
        self._settings = settings.load(url, access_key=access_key, admin_key=admin_key, keys=keys, profile=profile)
        self._max_pending = max_pending
        self._tls = ssl_context
        self._pool = Pool(self._settings.address, self._context)
        self._caller = AsyncCaller(self._pool, admin_key=self._settings.admin_key, timeout=timeout, retry_for=retry_for)
        self._heartbeats: Heartbeats[AsyncClaimedJob] = Heartbeats(extend)
        self._queues: dict[tuple[str, Secret | None, float | None, float | None], AsyncQueue] = {}
        forget_in_children(self)

    def _after_fork(self) -> None:
        """Restart in a forked child process, without the parent's connections and leases."""
        self._pool.after_fork()
        self._origin = origin()
        self._heartbeats = Heartbeats(extend)
        for queue in self._queues.values():
            queue._begin()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.address.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; open calls and later ones fail."""
        await self._heartbeats.close()
        await self._pool.close()

    def queue(
        self,
        name: str,
        *,
        access_key: str | Secret | None = None,
        timeout: float | None = None,
        retry_for: float | None = None,
    ) -> AsyncQueue:
        """
        The queue of this name, opened with `access_key` if given; no request is sent. `timeout` and `retry_for` replace
        the client's limits for calls of the returned object. Calls with the same limits share requests.
        """
        access_key = secret(access_key) or self._settings.key_for(name)
        place = name, access_key, timeout, retry_for
        queue = self._queues.get(place)
        if queue is None:
            limits = given(timeout=timeout, retry_for=retry_for)
            settings.check_numbers(**limits)
            caller = self._caller.limited(timeout=timeout, retry_for=retry_for) if limits else None
            queue = self._queues.setdefault(place, AsyncQueue(self, name, access_key, caller))
        return queue

    async def queues(self) -> list[QueueStats]:
        """The stats of all queues; needs the admin key."""
        return await self._caller.call(calls.LIST_QUEUES)

    async def backup(self, path: "str | PathLike[str]") -> int:
        """
        Write a copy of the server's database to a new file (mode 0600), and return its length in bytes. The file gets
        its name once it is complete.

        The copy is encrypted with the server's SECRET: `jobengine db check --backup` checks it. Needs the admin key.
        Not retried. Raises FileExistsError and OSError.
        """
        return await backup.save(self._caller, path)

    async def claim(
        self,
        queues: Sequence[AsyncQueue | str],
        count: int = 1,
        *,
        wait: Span = 0,
        tags: Sequence[str] = (),
        worker: str | None = None,
        with_results: bool = False,
    ) -> list[AsyncClaimedJob]:
        """
        Claim up to `count` jobs of several queues: of the first queue, and if it has too few, also of the next. See
        AsyncQueue.claim.

        The key of the first queue must open all of them.
        """
        deadline = monotonic() + exact_seconds(wait)
        while True:
            left = min(max(deadline - monotonic(), 0), LONGEST_WAIT)
            jobs, *_ = await self._claim(queues, count, left, tags, worker, [], with_results)
            if jobs or monotonic() >= deadline:
                return jobs

    async def finish_and_claim(
        self,
        finished: Sequence[AsyncFinished],
        queues: Sequence[AsyncQueue | str],
        count: int = 1,
        *,
        tags: Sequence[str] = (),
        worker: str | None = None,
        with_results: bool = False,
    ) -> tuple[list[JobEngineError | None], list[AsyncClaimedJob]]:
        """
        Finish jobs and claim others in one request and one commit; does not wait for jobs.

        Returns the error, or None, for each job to finish, and the claimed jobs. If the answer is lost, the jobs are
        finished again in a request of their own, which is safe, and no job is claimed. Jobs in the lost answer time
        out: those with attempts left are queued again, and the others fail.
        """
        for one in finished:
            self._heartbeats.remove(one.job)
        updates = [one.job._json(one.changes) for one in finished]
        try:
            jobs, results, request_id = await self._claim(queues, count, 0, tags, worker, updates, with_results)
        except OutcomeUnknown:
            for one in finished:
                one.job._uncertain = True
            return await self.report(finished), []
        if results is None:  # an old server, which has ignored the updates
            return await self.report(finished), jobs
        return [
            one.job._note_result(one.changes, result, request_id) for one, result in zip(finished, results, strict=True)
        ], jobs

    async def report(self, reports: Sequence[AsyncFinished]) -> list[JobEngineError | None]:
        """
        Send updates of claimed jobs, with one request for each queue: outcomes, and heartbeats with or without
        progress.

        Returns the error, or None, for each report. A report is safe to repeat.
        """
        items = [one.job._item(one.changes) for one in reports]
        by_queue: dict[AsyncHolder, list[Item]] = {}
        for one, item in zip(reports, items, strict=True):
            by_queue.setdefault(one.job.queue, []).append(item)
        for queue, some in by_queue.items():
            await queue._updates.submit(some)
        for one, item in zip(reports, items, strict=True):
            one.job._note_outcome(item)
        return [item.error for item in items]

    async def _claim(
        self,
        queues: Sequence[AsyncQueue | str],
        count: int,
        wait: float,
        tags: Sequence[str],
        worker: str | None,
        updates: Sequence[bytes],
        with_results: bool,
    ) -> tuple[list[AsyncClaimedJob], list[Any] | None, str | None]:
        handles = [self.queue(queue) if isinstance(queue, str) else queue for queue in queues]
        body: dict[str, Any] = {"queue_names": [queue.name for queue in handles], "count": count, **self._origin}
        results = with_results and self._knows_results
        body |= _given(wait=wait, tags=words(tags), worker=worker, with_results=results)
        by_name = {queue.name: queue for queue in handles}
        caller = handles[0]._caller
        request = caller.request(
            calls.CLAIM_JOBS,
            key=handles[0]._key,
            body=_with_updates(encode(body), updates),
            headers=_BRIEF if updates else None,
            wait=wait,
            abandoned=lambda response: self._give_back(by_name, response),
        )
        response, _ = await caller.exchange(request)
        if response.status == 400 and self._leaves_out(body, response.body):
            return await self._claim(queues, count, wait, tags, worker, updates, with_results)
        answer = calls.read_answer(calls.CLAIM_JOBS, response)
        outcomes = _results(answer, len(updates), response)
        return _claimed(by_name, answer, response), outcomes, response.request_id

    def _leaves_out(self, claim: Mapping[str, Any], answer: bytes) -> bool:
        """Whether an older server has refused a claim for an unknown field; from now on the field is left out."""
        if "host" in claim and b"no field 'host'" in answer:
            self._origin = {}
        elif "with_results" in claim and b"no field 'with_results'" in answer:
            self._knows_results = False
        else:
            return False
        return True

    async def _give_back(self, queues: Mapping[str, AsyncQueue], response: Response) -> None:
        """Release the jobs in the late answer to a claim whose caller has stopped waiting."""
        if response.status != 200:
            return
        try:
            jobs = _claimed(queues, calls.read_answer(calls.CLAIM_JOBS, response), response)
        except NotJobEngine:
            return
        for job in jobs:
            with suppress(JobEngineError):  # otherwise they time out when their leases expire
                await job.release()

    # The server

    async def test(self) -> None:
        """Return if a JobEngine answers."""
        await self._caller.call(calls.TEST)

    async def healthz(self) -> None:
        """Return if the server's process is alive."""
        await self._caller.call(calls.HEALTHZ)

    async def readyz(self) -> Readiness:
        """The state of the server, if it accepts changes; raises Unavailable otherwise."""
        return await self._caller.call(calls.READYZ, safe=False)

    async def openapi(self) -> Any:
        """The server's API as an OpenAPI document."""
        return await self._caller.call(calls.OPENAPI)

    async def metrics(self) -> str:
        """Metrics in the text format of Prometheus."""
        return await self._caller.call(calls.METRICS)

    def _now(self) -> float:
        """Seconds on the monotonic clock."""
        return monotonic()

    def _context(self) -> "SSLContext":
        if self._tls is None:
            from ssl import create_default_context  # not loaded for plain HTTP

            self._tls = create_default_context()
        return self._tls


def _claimed(queues: Mapping[str, AsyncQueue], answer: Mapping[str, Any], response: Response) -> list[AsyncClaimedJob]:
    try:
        return [AsyncClaimedJob(queues[job["queue_name"]], Job(job)) for job in answer["jobs"]]
    except KeyError:
        raise calls.not_jobengine(response, "it has jobs of other queues") from None


def _results(answer: Mapping[str, Any], count: int, response: Response) -> list[Any] | None:
    """The results of the updates; None if an old server has ignored the updates."""
    results: list[Any] | None = answer.get("results")
    if results is not None and len(results) != count:
        raise calls.not_jobengine(response, f"it has {len(results)} outcomes, not {count}")
    return results


def _given(**fields: Any) -> dict[str, Any]:
    """The fields that are not at their default, which is false or empty."""
    return {name: value for name, value in fields.items() if value}


def _with_updates(body: bytes, updates: Sequence[bytes]) -> bytes:
    return b'%b,"updates":[%b]}' % (body[:-1], b",".join(updates)) if updates else body
