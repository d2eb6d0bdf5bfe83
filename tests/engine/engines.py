"""An engine on a real file, whose thread is stepped by hand, and short ways to give it commands."""

from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.task import Clock

from jobengine.core.commands import (
    AddJobs,
    Changes,
    ClaimResult,
    Claims,
    CreateQueue,
    DeleteJob,
    ListJobs,
    NewJob,
    Peek,
    ReadJob,
    UpdateJob,
)
from jobengine.core.model import Defaults, Job, State
from jobengine.engine.engine import Engine
from jobengine.engine.executor import Executor
from tests.doubles import CountedIds, Stepped, make_engine, new_clock, start
from tests.pending import Pending
from tests.storage.simulated_files import FaultyFiles

KEY = b"key"


@define
class Desk:
    """Gives an engine commands, and steps its thread and its clock."""

    path: Path
    kind: type[Executor] = Executor
    sync_interval: float = 0
    #: Further parts of the engine.
    parts: dict[str, Any] = field(factory=dict)
    files: FaultyFiles = field(factory=FaultyFiles)
    clock: Clock = field(factory=new_clock)
    new_id: CountedIds = field(factory=CountedIds)
    #: Seconds by which the wall clock was set.
    ahead: int = 0
    failures: list[Exception] = field(factory=list)
    thread: Stepped = field(init=False)
    engine: Engine = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.thread = Stepped()
        self.engine = make_engine(
            self.path,
            self.clock,
            kind=self.kind,
            files=self.files,
            thread=self.thread,
            new_id=self.new_id,
            now=lambda: int((self.clock.seconds() + self.ahead) * 1000),
            sync_interval=self.sync_interval,
            on_failure=self.failures.append,
            **self.parts,
        )
        start(self.engine, self.settle)

    def turn(self) -> None:
        """End the reactor turn."""
        self.clock.advance(0)

    def one_turn(self) -> None:
        """Make only the calls that are due now; `turn` also makes the calls that these schedule."""
        for call in [call for call in self.clock.getDelayedCalls() if call.getTime() <= self.clock.seconds()]:
            function, arguments, named = call.func, call.args, call.kw  # type: ignore[attr-defined]  # of task.Clock
            call.cancel()
            function(*arguments, **named)

    def settle(self) -> None:
        """Let everything happen that needs no time."""
        self.turn()
        while self.thread.waiting:
            self.thread.step()
            self.turn()

    def stop(self) -> None:
        stopped = self.engine.stop()
        self.settle()
        assert stopped.called

    def restart(self) -> None:
        self.stop()
        self.start()

    def restart_after_kill(self) -> None:
        self.kill()
        self.start()

    def set_wall_clock(self, seconds: int, *, noticed: bool = True) -> None:
        """Set the wall clock forward by this many seconds, or back; with `noticed` the engine is notified."""
        self.ahead += seconds
        if noticed:
            self.engine.wall_clock_was_set()
            self.settle()

    def wall_seconds(self) -> int:
        """The time of the wall clock, in Unix seconds."""
        return int(self.clock.seconds()) + self.ahead

    def kill(self) -> None:
        """End as by kill -9: the thread's pending calls are dropped."""
        self.engine.journal.close(orderly=False)
        for call in list(self.clock.getDelayedCalls()):
            call.cancel()

    def ask(self, question: Coroutine[Any, Any, Any]) -> Pending:
        return Pending(question)

    def told(self, question: Coroutine[Any, Any, Any]) -> Any:
        """The answer to a command, after everything has happened that needs no time."""
        asked = Pending(question)
        self.settle()
        return asked.answer

    def create(self, queue: str = "q") -> Any:
        return self.told(self.engine.ask(CreateQueue(queue=queue, access_key=KEY)))

    async def adding(self, queue: str = "q", **more: Any) -> Job:
        job = NewJob(**{"content": b"{}", **more})
        command = AddJobs(queue=queue, access_key=KEY, jobs=(job,), defaults=Defaults())
        (added,) = await self.engine.ask(command)
        return added.job

    def figure(self, name: str, **labels: str) -> float:
        """The value of one of the engine's own metrics."""
        (value,) = (one.value for one in self.told(self.engine.figures()) if (one.name, one.labels) == (name, labels))
        number: float = value
        return number

    def claiming(self, **more: Any) -> Coroutine[Any, Any, ClaimResult]:
        return self.engine.claim(Claims(queues=("q",), access_key=KEY, **more))

    def peeking(self) -> Coroutine[Any, Any, Job | None]:
        return self.engine.peek(Peek(queue="q", access_key=KEY))

    def reading(self, uid: str) -> Coroutine[Any, Any, Job]:
        return self.engine.read_job(ReadJob(queue="q", access_key=KEY, uid=uid))

    def updating(self, uid: str, state: State | None = None, **changes: Any) -> Coroutine[Any, Any, Job]:
        asked = Changes(state=state, **changes)
        return self.engine.ask(UpdateJob(queue="q", access_key=KEY, uid=uid, changes=asked))

    def deleting(self, uid: str) -> Coroutine[Any, Any, None]:
        return self.engine.ask(DeleteJob(queue="q", access_key=KEY, uid=uid))

    def jobs(self) -> list[Job]:
        page = self.told(self.engine.ask(ListJobs(queue="q", access_key=KEY, limit=100_000, scan=100_000)))
        jobs: list[Job] = page.jobs
        return jobs
