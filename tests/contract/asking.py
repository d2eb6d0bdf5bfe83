"""Helpers that give commands to an engine in the contract tests."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import pytest

from jobengine.core import commands as c
from jobengine.core.ageing import Order
from jobengine.core.model import Defaults, EventBatch, Job, Position, Queue, Role, State
from jobengine.core.sorting import Sort
from jobengine.engine.door import Door, Watched
from tests.contract.world import World
from tests.core.test_rules import batch_commands, schedule_commands
from tests.pending import Pending

T = TypeVar("T")
MINUTE = 60
KEY = b"key"
ANY_UID = "00000000-0000-0000-0000-00000000dead"
#: A method of an engine, a command for it, and whether the command names a job.
Verb = tuple[Callable[[Any], Awaitable[Any]], Any, bool]


class Asker:
    """Gives an engine commands, by default about the queue `q` with its owner's key."""

    def __init__(self, world: World) -> None:
        self.world = world

    def get(self, asked: Awaitable[T]) -> T:
        """The result of an awaitable; raises its exception."""
        (result,) = self.world.all_of(asked)
        if isinstance(result, Exception):
            raise result
        got: T = result
        return got

    def ask(self, kind: Callable[..., c.Command[T]], queue: str = "q", key: bytes = KEY, **more: Any) -> T:
        """The answer to a command of a kind."""
        return self.get(self.world.engine.ask(kind(queue=queue, access_key=key, **more)))

    def create(self, queue: str = "q", key: bytes = KEY) -> None:
        self.ask(c.CreateQueue, queue, key)

    def reconfigure(self, **more: Any) -> Queue:
        return self.ask(c.ChangeQueue, **more)

    def add_key(self, role: Role, key: bytes) -> str:
        """The id of a new key."""
        return self.ask(c.AddKey, role=role, new_access_key=key).id

    def add(self, queue: str = "q", key: bytes = KEY, **spec: Any) -> Job:
        (added,) = self.get(self.world.engine.ask(new_job(queue, key, **spec)))
        return added.job

    def read(self, job: Job, queue: str = "q", key: bytes = KEY) -> Job:
        return self.ask(c.ReadJob, queue, key, uid=job.spec.uid)

    def peek(self, queue: str = "q") -> Job | None:
        return self.ask(c.Peek, queue)

    def claim(self, queue: str = "q", key: bytes = KEY, **more: Any) -> Job | None:
        claimed = self.get(self.world.engine.claim(c.Claims(queues=(queue,), access_key=key, **more))).jobs
        return claimed[0].job if claimed else None

    def hold(self, **more: Any) -> Job:
        """Claim a job, which must be ready, and return it."""
        job = self.claim(**more)
        assert job is not None
        return job

    def update(self, job: Job, state: State | None = None, lease: str | None = None, **changes: Any) -> Job:
        return self.ask(c.UpdateJob, uid=job.spec.uid, lease=lease, changes=c.Changes(state=state, **changes))

    def delete(self, job: Job) -> None:
        self.ask(c.DeleteJob, uid=job.spec.uid)

    def jobs(
        self,
        limit: int = 1000,
        after: Position | None = None,
        sort: Sort | None = None,
        between: Callable[[], None] = lambda: None,
        **wanted: Any,
    ) -> list[Job]:
        """All matching jobs after `after`, read page by page; `between` is called between the pages."""
        jobs: list[Job] = []
        while True:
            page = self.ask(c.ListJobs, limit=limit, after=after, sort=sort, filter=c.Filter(**wanted))
            assert len(page.jobs) <= limit
            jobs += page.jobs
            after = page.following
            if after is None:
                return jobs
            between()

    def read_queue(self, limit: int, between: Callable[[], None] = lambda: None) -> list[list[Job]]:
        """All jobs of the queue, read as a stream; `between` is called between its parts."""
        pages = self.get(self.world.engine.read_queue(c.ListJobs(queue="q", access_key=KEY, limit=limit)))
        parts: list[list[Job]] = []
        while (page := self.get(_next_of(pages))) is not None:
            parts.append(list(page))
            between()
        return parts

    def counts(self, queue: str = "q") -> dict[State, int]:
        """The number of jobs in each state, without states that have none."""
        (counts,) = [one.counts for one in self.get(self.world.engine.ask(c.CountQueues())) if one.name == queue]
        return {state: count for state, count in counts.items() if count}

    # Waiting commands

    def claiming(self, *queues: str, wait: float = 30, key: bytes = KEY, **more: Any) -> Pending:
        claims = c.Claims(queues=queues or ("q",), access_key=key, wait=wait, **more)
        return self.world.begin(self.world.engine.claim(claims))

    def peeking(self, wait: float = 30) -> Pending:
        return self.world.begin(self.world.engine.peek(c.Peek(queue="q", access_key=KEY, wait=wait)))

    def awaiting(self, job: Job, wait: float = 30) -> Pending:
        command = c.ReadJob(queue="q", access_key=KEY, uid=job.spec.uid, wait=wait)
        return self.world.begin(self.world.engine.read_job(command))

    def watch(self, queue: str = "q", **more: Any) -> AsyncGenerator[Sequence[EventBatch] | None, None]:
        """The stream without the id after which its events begin."""
        return _without_start(self.watch_all(queue, **more))

    def watch_all(self, queue: str = "q", key: bytes = KEY, after: str | None = None) -> AsyncGenerator[Watched, None]:
        return self.get(self.world.engine.watch(c.Subscribe(queue=queue, access_key=key, after=after)))


class Contract:
    """The base of each part of the contract."""

    @pytest.fixture
    def ask(self, world: World) -> Asker:
        """An Asker for an engine with the queue `q`, which is empty."""
        asker = Asker(world)
        asker.create()
        return asker


async def _without_start(stream: AsyncGenerator[Watched, None]) -> AsyncGenerator[Sequence[EventBatch] | None, None]:
    async with aclosing(stream):
        async for item in stream:
            if not isinstance(item, str):
                yield item


async def _next_of(pages: AsyncGenerator[T, None]) -> T | None:
    return await anext(pages, None)


def new_job(queue: str = "q", key: bytes = KEY, **spec: Any) -> c.AddJobs:
    job = c.NewJob(**{"content": b"{}", **spec})
    return c.AddJobs(queue=queue, access_key=key, jobs=(job,), defaults=Defaults())


def every_question(engine: Door, queue: str = "q", key: bytes = KEY, uid: str = ANY_UID) -> list[Verb]:
    """Every command about a queue, with every method that takes the command; by default the job does not exist."""
    named: dict[str, Any] = {"queue": queue, "access_key": key}
    done = c.Changes(state=State.QUEUED)
    matching = c.Filter(state=State.FAILED)
    update = c.JobUpdate(uid=uid, changes=done)
    claims: dict[str, Any] = {"queues": (queue,), "access_key": key}
    return [
        (engine.ask, c.ReadStats(**named), False),
        (engine.ask, c.ReadHistory(**named), False),
        (engine.ask, c.ListFailures(**named, limit=1), False),
        (engine.ask, c.CountFailures(**named), False),
        (engine.ask, c.ChangeGroup(**named, group="g", in_progress=9), False),
        (engine.ask, c.ReadGroup(**named, group="g"), False),
        (engine.ask, c.ListGroups(**named, limit=1), False),
        (engine.ask, c.ResetGroup(**named, group="g"), False),
        *((engine.ask, command, False) for command in schedule_commands(**named)),
        *((engine.ask, command, False) for command in batch_commands(**named)),
        (engine.ask, c.WaitFor(**named, uid=uid, jobs=(c.NewJob(content=b"{}"),), defaults=Defaults()), True),
        (engine.ask, c.ReadLinks(**named, uids=(uid,), most=1), False),
        (engine.ask, c.ListKeys(**named), False),
        (engine.ask, c.ListClaimers(**named), False),
        (engine.ask, c.Subscribe(**named), False),
        (engine.ask, c.CheckKey(**named), False),
        (engine.ask, c.ListJobs(**named, limit=1), False),
        (engine.read_queue, c.ListJobs(**named, limit=1), False),
        (engine.ask, new_job(queue, key), False),
        (engine.ask, c.ReadJob(**named, uid=uid), True),
        (engine.ask, c.ExplainJob(**named, uid=uid), True),
        (engine.ask, c.Peek(**named), False),
        (engine.ask, c.UpdateJobs(**named, updates=(update,)), False),
        (engine.ask, c.UpdateJob(**named, uid=uid, changes=done), True),
        (engine.read_job, c.ReadJob(**named, uid=uid, wait=1), True),
        (engine.peek, c.Peek(**named), False),
        (engine.claim, c.Claims(**claims), False),
        (engine.claim, c.Claims(**claims, updates=(c.QueueUpdate(queue, update),)), False),
        (engine.watch, c.Subscribe(**named), False),
        (engine.ask, c.AddKey(**named, role=Role.VIEWER, new_access_key=b"one more"), False),
        (engine.ask, c.RevokeKey(**named, key_id="none"), False),
        (engine.ask, c.ChangeQueue(**named, max_jobs=1_000), False),
        (engine.ask, c.MoveInLine(**named, state=State.QUEUED), False),
        (engine.ask, c.SettleOrder(**named, order=Order(changed=1)), False),
        (engine.ask, c.ListGroups(**named, limit=1), False),
        (engine.ask, c.ReadGroup(**named, group="none"), False),
        (engine.ask, c.ChangeGroup(**named, group="none"), False),
        (engine.ask, c.ResetGroup(**named, group="none"), False),
        (engine.ask, c.ReturnClaims(**named, claims=((uid, "lease"),)), False),
        (engine.ask, c.Claim(**named), False),
        (engine.ask, c.UpdateMatching(**named, filter=matching, changes=done), False),
        (engine.ask, c.DeleteMatching(**named, filter=matching), False),
        (engine.update_matching, c.UpdateMatching(**named, filter=matching, changes=done), False),
        (engine.move_matching, c.MoveMatching(**named, to=queue, filter=matching), False),
        (engine.delete_matching, c.DeleteMatching(**named, filter=matching), False),
        (engine.ask, c.UseQueue(**named, uids=(uid,)), False),
        (engine.ask, c.ReadDeadLetter(**named), False),
        (engine.ask, c.DeleteJob(**named, uid=uid), True),
        (engine.ask, c.DeleteQueue(**named), False),
    ]
