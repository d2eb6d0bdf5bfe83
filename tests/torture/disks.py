"""Separate file systems for trials, where root may mount them."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import frozen

from .trials import NotHere

__all__ = ["Image", "mounted_image", "small_disk"]

#: The most seconds that the disk is still written to once no process writes.
PATIENCE: Final = 20.0


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A file system in memory of a size such as "12m"."""
    with _mounted(place, "-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
        yield place


@contextmanager
def mounted_image(path: Path, place: Path) -> "Iterator[Image]":
    """An ext4 file system in the file `path`; mounting replays its journal, as a start after a power cut does."""
    with _mounted(place, "-o", "loop", str(path)):
        device = _run("losetup", "--noheadings", "--output", "NAME", "--associated", str(path)).strip()
        yield Image(path, Path("/sys/class/block") / Path(device).name / "stat")


@frozen
class Image:
    """A mounted image. It has the bytes that the kernel has sent to the disk, but not those in its cache."""

    path: Path
    _statistics: Path

    @staticmethod
    def make(path: Path, size: int) -> None:
        with path.open("wb") as file:
            file.truncate(size)
        _run("mkfs.ext4", "-q", str(path))

    def copy(self, target: Path) -> None:
        """Copy the disk as it is at one moment; tries again if something was written meanwhile."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            before = self._writes()
            _run("cp", "--sparse=always", str(self.path), str(target))
            if before is not None and before == self._writes():
                return
            time.sleep(0.01)
        raise NotHere(f"{self.path} was written to for {PATIENCE:.0f} s without a pause")

    def _writes(self) -> list[int] | None:
        """Writes, discards and flushes so far; None if one is under way. See the kernel's block/stat.rst."""
        figures = [int(figure) for figure in self._statistics.read_text().split()]
        return None if figures[8] else [figures[4], figures[11], figures[15]]


@contextmanager
def _mounted(place: Path, *how: str) -> Iterator[None]:
    place.mkdir()
    _run("mount", *how, str(place))
    try:
        yield
    finally:
        # Lazy: a process that is being ended may still have files open.
        _run("umount", "--lazy", str(place))


def _run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        raise NotHere(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    if done.returncode:
        raise NotHere(f"{' '.join(command)}: {done.stderr.strip()}; it may need root")
    return done.stdout
