from pathlib import Path

import pytest

from tests.engine.engines import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A local engine with the queue `q`, which is empty."""
    desk = Desk(tmp_path / "db")
    desk.create()
    return desk
