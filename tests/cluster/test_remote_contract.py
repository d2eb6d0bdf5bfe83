"""The engine of another server, behind a link, keeps the contract of all engines."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobengine.engine.door import Door
from tests.cluster.lines import joined
from tests.contract.suite import EngineContract
from tests.contract.test_local import LocalWorld
from tests.doubles import Wrapping

#: What a follower does without its lead; the world's engine does it itself.
_COMMANDS = frozenset({"ask", "claim", "peek", "read_job", "move_matching", "update_matching", "delete_matching"})
_STREAMS = frozenset({"read_queue", "watch", "backup"})


class _Follower(Wrapping):
    """An engine whose commands go through a link."""

    def __init__(self, engine: Any, remote: Any) -> None:
        super().__init__(engine)
        self._remote = remote

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._remote if verb in _COMMANDS | _STREAMS else self._engine, verb)


class LinkedWorld(LocalWorld):
    """The engine on a file, used through a link in memory."""

    def __init__(self, path: Path, **parts: Any) -> None:
        self._lines: Any = None
        super().__init__(path, **parts)
        self.remote, self._lines, self._server = joined(lambda: self._local, self._clock)

    @property
    def engine(self) -> Door:
        follower: Any = _Follower(self._local, self.remote)
        return follower

    def settle(self) -> None:
        super().settle()
        if self._lines is not None:
            self._lines.pump()
            while self._writer.waiting:
                super().settle()
                self._lines.pump()


class TestLinkedEngine(EngineContract):
    """Engine, behind a link."""

    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[LinkedWorld]:
        world = LinkedWorld(tmp_path / "db", sync_interval=0)
        yield world
        world.stop()
