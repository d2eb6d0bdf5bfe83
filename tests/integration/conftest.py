"""Daemons that are gone when their test is over, and places for them to fail in."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .daemons import Daemon

MakeDaemon = Callable[..., Daemon]


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[MakeDaemon]:
    """Makes a Daemon, not started, in a directory of the given name."""
    made: list[Daemon] = []

    def make(name: str = "home", **more: Any) -> Daemon:
        made.append(Daemon(tmp_path / name, **more))
        return made[-1]

    yield make
    for daemon in made:
        daemon.kill()


@pytest.fixture
def daemon(make_daemon: MakeDaemon) -> Daemon:
    """A daemon that was started."""
    return make_daemon().start()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    path = tmp_path / "small disk"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", path], capture_output=True, text=True)
    if mounted.returncode:
        pytest.fail(f"this test mounts a tmpfs, and may not do so here; run it as root: {mounted.stderr}")
    yield path
    # The daemon may still be there: its fixture was made first.
    subprocess.run(["umount", "--lazy", path], check=True)
