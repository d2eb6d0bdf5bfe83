"""No process that a test starts outlives the test, even if the test fails."""

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

#: From linux/prctl.h.
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Make this process the parent of all that it starts, also of a daemon whose parent has ended after its fork."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def children() -> set[int]:
    """The child processes of this process, also those that have ended and were not waited for."""
    while True:
        # Each thread has a list. A thread that ends passes its list to another, which may have been read already.
        with suppress(FileNotFoundError):
            lists = [(task / "children").read_text() for task in Path("/proc/self/task").iterdir()]
            return {int(pid) for pid in " ".join(lists).split()}


def is_alive(pid: int) -> bool:
    """Whether a process runs: a zombie does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def end_children(spared: set[int]) -> None:
    """Kill all descendants of this process; needs adopt_orphans."""
    # The children of an ended child have become children of this process.
    while started := children() - spared:
        for pid in started:
            # A Popen in another thread may have waited for the child meanwhile.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


@pytest.fixture(scope="session", autouse=True)
def nothing_outlives_the_tests() -> Iterator[None]:
    """End processes that several tests share, and those that a failed fixture has started."""
    adopt_orphans()
    before = children()
    yield
    end_children(spared=before)


@pytest.fixture(autouse=True)
def nothing_outlives_its_test(nothing_outlives_the_tests: None) -> Iterator[None]:
    """End the processes that a test has started; shared ones were started before."""
    before = children()
    yield
    end_children(spared=before)
