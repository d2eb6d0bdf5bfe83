"""The engine on one machine, held to the contract of all engines."""

from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import Clock

from jobengine.core.commands import Claimed, ClaimResult, Claims, Peek
from jobengine.engine.door import Engine
from jobengine.engine.local import LocalEngine
from tests.contract.suite import Asker, EngineContract
from tests.doubles import AtOnce, CountedIds, Stepped, make_engine, new_clock, start


class LocalWorld:
    """A LocalEngine on a file, in a time of its own."""

    def __init__(self, path: Path, thread: type[AtOnce] | type[Stepped], **parts: Any) -> None:
        self._path = path
        self._thread = thread
        self._parts = {"new_id": CountedIds(), **parts}
        self._clock: Clock = new_clock()
        self._start()

    def _start(self) -> None:
        self._writer = self._thread()
        self._local: LocalEngine = make_engine(self._path, self._clock, thread=self._writer, **self._parts)
        start(self._local, lambda: self._settle(lambda: self._local.executor.started))

    @property
    def engine(self) -> Engine:
        return self._local

    @property
    def now(self) -> int:
        return int(self._clock.seconds() * 1000)

    def all_of(self, *asked: Awaitable[Any]) -> list[Any]:
        results: list[Any] = []
        # Every verb of a LocalEngine is a coroutine.
        verbs: list[Any] = [ensureDeferred(verb) for verb in asked]  # type: ignore[arg-type]  # as said above
        gatherResults([verb.addErrback(lambda failure: failure.value) for verb in verbs]).addCallback(results.extend)
        self._settle(lambda: len(results) == len(asked))
        return results

    def advance(self, seconds: float) -> None:
        self._clock.advance(seconds)

    def reopen(self) -> None:
        self.stop()
        self._start()

    def stop(self) -> None:
        stopped: Deferred[Any] = self._local.stop()
        self._settle(lambda: bool(stopped.called))

    def _settle(self, done: Any) -> None:
        """Let happen what needs no time, until it is done."""
        for _ in range(1000):
            if done():
                return
            self._clock.advance(0)
            if isinstance(self._writer, Stepped) and self._writer.waiting:
                self._writer.step()
        raise AssertionError("it never came to an end")


@pytest.mark.parametrize("sync_interval", [0, 0.05], ids=["commit", "interval"])
@pytest.mark.parametrize("thread", [AtOnce, Stepped], ids=["writes at once", "writes take a while"])
class TestLocalEngine(EngineContract):
    """LocalEngine, with a writer that is quick and one that is slow."""

    @pytest.fixture
    def world(self, tmp_path: Path, thread: type[AtOnce] | type[Stepped], sync_interval: float) -> Iterator[LocalWorld]:
        world = LocalWorld(tmp_path / "db", thread, sync_interval=sync_interval)
        yield world
        world.stop()


class _Forgetful:
    """An engine that forgets what it gave out."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def claim(self, command: Claims) -> ClaimResult:
        (name,) = command.queues
        job = await self._engine.peek(Peek(queue=name, access_key=command.access_key))
        return ClaimResult(jobs=[] if job is None else [Claimed(name, job)])

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._engine, verb)


class _ForgetfulWorld(LocalWorld):
    @property
    def engine(self) -> Any:
        return _Forgetful(super().engine)


def test_an_engine_that_breaks_a_promise_does_not_pass(tmp_path: Path) -> None:
    world = _ForgetfulWorld(tmp_path / "db", AtOnce)
    asker = Asker(world)
    asker.create()
    with pytest.raises(AssertionError):
        EngineContract().test_claims_at_once_never_get_the_same_job(world, asker)
    world.stop()
