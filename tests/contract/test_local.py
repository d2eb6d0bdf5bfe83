"""The engine on one machine keeps the contract of all engines."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobengine.core.commands import Claimed, ClaimResult, Claims, Peek
from jobengine.engine.door import Door
from tests.contract.asking import Asker
from tests.contract.suite import EngineContract
from tests.contract.world import World
from tests.doubles import CountedIds, Stepped, Wrapping, make_engine, start


class LocalWorld(World):
    """The engine on a file, with a simulated clock."""

    def __init__(self, path: Path, **parts: Any) -> None:
        super().__init__()
        self._path = path
        self._parts = {"new_id": CountedIds(), "now": lambda: self.now, **parts}
        self._start()

    def _start(self) -> None:
        self._writer = Stepped()
        self._local = make_engine(self._path, self._clock, thread=self._writer, **self._parts)
        start(self._local, lambda: self._run_until(lambda: self._local.executor.started))

    @property
    def engine(self) -> Door:
        return self._local

    def settle(self) -> None:
        self._clock.advance(0)
        while self._writer.waiting:
            self._writer.step()
            self._clock.advance(0)

    def advance(self, seconds: float) -> None:
        self._clock.advance(seconds)
        self.settle()

    def set_wall_clock(self, seconds: int) -> None:
        self._ahead += seconds
        self._local.wall_clock_was_set()
        self.settle()

    def reopen(self) -> None:
        self.stop()
        self._start()

    def pass_stopped(self, seconds: float) -> None:
        self.stop()
        self._clock.advance(seconds)
        self._start()

    def stop(self) -> None:
        stopped = self._local.stop()
        self._run_until(lambda: bool(stopped.called))


@pytest.mark.parametrize("sync_interval", [0, 0.05], ids=["commit", "interval"])
class TestLocalEngine(EngineContract):
    """Engine, with a writer thread that does not finish at once."""

    @pytest.fixture
    def world(self, tmp_path: Path, sync_interval: float) -> Iterator[LocalWorld]:
        world = LocalWorld(tmp_path / "db", sync_interval=sync_interval)
        yield world
        world.stop()


class _Forgetful(Wrapping):
    """An engine whose claims have no effect."""

    async def claim(self, command: Claims) -> ClaimResult:
        (name,) = command.queues
        job = await self._engine.peek(Peek(queue=name, access_key=command.access_key))
        return ClaimResult(jobs=[] if job is None else [Claimed(name, job)])


class _ForgetfulWorld(LocalWorld):
    @property
    def engine(self) -> Any:
        return _Forgetful(super().engine)


def test_an_engine_that_forgets_claims_fails_the_contract_tests(tmp_path: Path) -> None:
    world = _ForgetfulWorld(tmp_path / "db")
    asker = Asker(world)
    asker.create()
    with pytest.raises(AssertionError):
        EngineContract().test_concurrent_claims_never_get_the_same_job(world, asker)
    world.stop()
