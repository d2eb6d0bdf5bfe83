"""
A process that works on PostgreSQL as a server does, without HTTP: `python -m benchmarks.door URL CLIENTS SIZE SECONDS
JOBS GROUPS KEPT FLOW`.

CLIENTS in the process add, claim and complete jobs in the queue "bench" through the engine, SIZE at a time; KEPT more
jobs are in the queue all the time. With GROUPS, the jobs are spread over that many groups, and the queue has the flow
FLOW, as JSON; 0 is for none. It prints "warm" when the first jobs are complete, waits for a line, and works for SECONDS
or until JOBS are done; 0 is no limit. Then it prints a Work as JSON.
"""

import gc
import os
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from attrs import define, field
from msgspec import Struct
from msgspec.json import decode, encode
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.python.failure import Failure

from jobengine.core import commands as c
from jobengine.core.errors import QueueExists
from jobengine.core.flow import Flow
from jobengine.core.model import Defaults, State
from jobengine.engine.ids import ordered_uuid
from jobengine.engine.postgres.engine import PostgresEngine
from jobengine.storage.disk_thread import DiskThread

from .calls import CONTENT_BYTES

SECRET = "the secret of the benchmark"  # noqa: S105 (it protects nothing)
_QUEUE = "bench"
_WHO: dict[str, Any] = {"queue": _QUEUE, "access_key": b"key"}
#: The number of parts of the work whose rates are in `Work.rates`.
_SLICES = 10
reactor: Any = _reactor


class Work(Struct):
    """The work done by the clients of one process."""

    jobs: int
    #: The seconds that the work took.
    seconds: float
    #: The processor time of this process.
    used: float
    #: Jobs a second in each tenth of the requested jobs.
    rates: list[float]


@define(eq=False)
class Clients:
    """The clients of an engine, and the work they have done."""

    engine: PostgresEngine
    size: int
    #: The number of groups, which get jobs in turn; 0 for jobs without a group.
    groups: int = 0
    jobs: int = 0
    _added: int = 0
    #: When each tenth of the jobs was done.
    _marks: list[float] = field(factory=list)

    async def life(self) -> None:
        """
        Add `size` jobs, then claim and complete as many; a claim may get fewer while commits of others are in
        flight.
        """
        await self.add()
        left = self.size
        while left:
            claim = c.Claims(queues=(_QUEUE,), access_key=b"key", count=left, wait=1)
            claimed = (await self.engine.claim(claim)).jobs
            await self._complete([one.job.spec.uid for one in claimed])
            left -= len(claimed)

    async def add(self) -> None:
        """Add `size` jobs."""
        jobs = tuple(c.NewJob(content=CONTENT_BYTES, group=self._next_group()) for _ in range(self.size))
        await self.engine.ask(c.AddJobs(**_WHO, jobs=jobs, defaults=Defaults()))

    def _next_group(self) -> str | None:
        self._added += 1
        return f"customer-{self._added % self.groups}" if self.groups else None

    async def _complete(self, uids: list[str]) -> None:
        changes = c.Changes(state=State.COMPLETE)
        updates = tuple(c.JobUpdate(uid=uid, changes=changes) for uid in uids)
        outcomes = await self.engine.ask(c.UpdateJobs(**_WHO, updates=updates)) if uids else []
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def work(self, seconds: float, jobs: int) -> None:
        """Add, claim and complete for this many seconds, or until this many jobs are done; 0 is no limit."""
        until = time.perf_counter() + seconds if seconds else float("inf")
        while time.perf_counter() < until and (not jobs or self.jobs < jobs):
            await self.life()
            before, self.jobs = self.jobs, self.jobs + self.size
            if jobs and before * _SLICES // jobs < min(self.jobs, jobs) * _SLICES // jobs:
                self._marks.append(time.perf_counter())

    def rates(self, began: float, jobs: int) -> list[float]:
        """Jobs a second in each tenth of the requested jobs."""
        starts = [began, *self._marks]
        return [jobs / _SLICES / (end - start) for start, end in zip(starts, self._marks, strict=False)]


def _all(works: Iterable[Any]) -> "Deferred[Any]":
    return gatherResults([Deferred.fromCoroutine(one) for one in works], consumeErrors=True)


async def _begin(crowd: Clients, clients: int, flow: Flow, kept: int) -> None:
    """Make the queue, with the jobs that stay in it, unless another process has done so; then do the first jobs."""
    with suppress(QueueExists):
        await crowd.engine.ask(c.CreateQueue(**_WHO))
        if crowd.groups:
            changes = {name: getattr(flow, name) for name in ("limits", "group_limits", "group_order")}
            await crowd.engine.ask(c.ChangeQueue(**_WHO, **changes))
        for _ in range(0, kept, crowd.size * clients):
            await _all(crowd.add() for _ in range(clients))
    await _all(crowd.life() for _ in range(clients))


async def _run(crowd: Clients, arguments: Sequence[str]) -> None:
    clients, seconds, jobs, kept = int(arguments[0]), float(arguments[2]), int(arguments[3]), int(arguments[5])
    engine = crowd.engine
    engine.open()
    await engine.start()
    await _begin(crowd, clients, decode(arguments[6], type=Flow), kept)
    # Like the daemon.
    gc.freeze()
    gc.set_threshold(10_000)
    sys.stdout.write("warm\n")
    sys.stdout.flush()
    sys.stdin.readline()
    began, used = time.perf_counter(), time.process_time()
    await _all(crowd.work(seconds, jobs) for _ in range(clients))
    taken = time.perf_counter() - began
    work = Work(crowd.jobs, taken, time.process_time() - used, crowd.rates(began, jobs))
    sys.stdout.write(encode(work).decode() + "\n")
    sys.stdout.flush()
    await engine.stop()


def main() -> None:
    """Run the process."""
    url, *arguments = sys.argv[1:]
    reactor.seconds = time.monotonic
    engine = PostgresEngine(
        url=url,
        secret=SECRET.encode,
        thread=lambda name: DiskThread(reactor, name),
        clock=reactor,
        new_id=ordered_uuid,
    )
    failures: list[Failure] = []

    def begin() -> None:
        """Start the work; called once the reactor runs."""
        done = Deferred.fromCoroutine(_run(Clients(engine, int(arguments[1]), int(arguments[4])), arguments))
        done.addErrback(failures.append).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    if failures:
        # The engine's threads would keep the process running.
        sys.stderr.write(failures[0].getTraceback())
        sys.stderr.flush()
        os._exit(1)


if __name__ == "__main__":
    main()
