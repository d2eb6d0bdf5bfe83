"""Separate file systems for tests and trials, where the machine allows them."""

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from attrs import frozen

from .trials import NotHere

#: The most seconds for which the kernel writes to the disk after the last write of a process.
PATIENCE: Final = 20.0
#: In a container a file system in memory, usually of 64 MiB, that holds no files.
DEVICES: Final = Path("/dev")
#: The most bytes of a file system that is filled for a test.
FILLABLE: Final = 256 << 20
_PREFIX: Final = "je-disk-"


@contextmanager
def small_disk(size: int) -> Iterator[Path]:
    """A directory with room for `size` bytes, on a file system in memory. Raises NotHere where there can be none."""
    with _memory(size) if _may_mount() else shared_disk(DEVICES, size) as place:
        yield place


@cache
def _may_mount() -> bool:
    try:
        with _memory(1 << 20):
            return True
    except NotHere:
        return False


@contextmanager
def _memory(size: int) -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        with _mounted(place, "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs"):
            yield place
    finally:
        place.rmdir()


@contextmanager
def shared_disk(disk: Path, size: int) -> Iterator[Path]:
    """
    A directory with room for `size` bytes on a small file system: a ballast takes the rest.

    Needs only the right to write there. One process at a time uses the file system; others wait.
    """
    whole = os.statvfs(disk)
    if whole.f_blocks * whole.f_frsize > FILLABLE:
        raise NotHere(f"{disk} is too large to be filled")
    handle = os.open(disk, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        # A killed process may have left its ballast.
        _remove_all(disk)
        yield _with_ballast(disk, size)
    finally:
        _remove_all(disk)
        os.close(handle)


def _with_ballast(disk: Path, size: int) -> Path:
    try:
        place = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=disk))
    except OSError as error:
        raise NotHere(str(error)) from error
    place.chmod(0o755)
    free = place / "free"
    free.mkdir()
    now = os.statvfs(disk)
    taken = now.f_bavail * now.f_frsize - size
    if taken <= 0:
        raise NotHere(f"{disk} has no room for {size} bytes")
    with (place / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, taken)
    return free


def _remove_all(disk: Path) -> None:
    for place in disk.glob(f"{_PREFIX}*"):
        shutil.rmtree(place)


@contextmanager
def mounted_image(path: Path, place: Path) -> "Iterator[Image]":
    """An ext4 file system in the file `path`; mounting replays its journal, as a start after a power cut does."""
    place.mkdir()
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
        """Copy the disk's state of one moment; tries again if something was written meanwhile."""
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
