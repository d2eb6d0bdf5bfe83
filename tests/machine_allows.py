"""
Tries whether this machine allows what some tests need, such as root rights: once in a process, never by a guess.

A test that needs what the machine refuses is left out, and the run ends with a list of those tests and the reasons.
With EVERYTHING=1, or under CI (CI=true), such a test fails instead; EVERYTHING=0 leaves tests out under CI too.
"""

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from attrs import frozen

from tests.torture.disks import Image, mounted_image, small_disk
from tests.torture.trials import NotHere

#: How the reason of a test that was left out begins.
_REFUSES: Final = "this machine refuses "
_NO: Final = ("", "0", "false")


@frozen
class Need:
    """Something that a machine may refuse to tests."""

    #: Completes "this machine refuses …"; names what would allow it.
    what: str
    #: Tries the need once; raises OSError or NotHere if the machine refuses it.
    attempt: Callable[[], None]


def set_clock() -> None:
    """Set the wall clock to its own time; the time service corrects the few microseconds that this loses."""
    time.clock_settime_ns(time.CLOCK_REALTIME, time.clock_gettime_ns(time.CLOCK_REALTIME))


def _mount_image() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Image.make(Path(folder, "image"), 1 << 20)
        with mounted_image(Path(folder, "image"), Path(folder, "place")):
            pass


def _make_small_disk() -> None:
    with small_disk(1 << 20):
        pass


CLOCK: Final = Need("to set the clock (CAP_SYS_TIME)", set_clock)
DISK_IMAGE: Final = Need("to mount a disk image (CAP_SYS_ADMIN and loop devices)", _mount_image)
SMALL_DISK: Final = Need("a small file system (CAP_SYS_ADMIN, or a small /dev as in a container)", _make_small_disk)


def require(need: Need) -> None:
    """Leave the running test out if the machine refuses what it needs, or fail it where all tests must run."""
    refusal = _refusal(need)
    if refusal is not None:
        end = pytest.fail if _all_must_run(os.environ) else pytest.skip
        end(f"{_REFUSES}{need.what}: {refusal}")


@cache
def _refusal(need: Need) -> Exception | None:
    try:
        need.attempt()
    except (OSError, NotHere) as refusal:
        # Drop the traceback, which would keep frames alive.
        return refusal.with_traceback(None)
    return None


def _all_must_run(environment: Mapping[str, str]) -> bool:
    return environment.get("EVERYTHING", environment.get("CI", "")).lower() not in _NO


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which tests were left out, by reason."""
    left_out = defaultdict(list)
    for report in terminalreporter.stats.get("skipped", []):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        if reason.startswith(_REFUSES):
            # The refusal itself may name a temporary file, so each process has its own.
            left_out[reason.partition(": ")[0]].append((reason, report.nodeid))
    if left_out:
        terminalreporter.section("tests that were left out; EVERYTHING=1 makes them fail")
    for _, tests in sorted(left_out.items()):
        terminalreporter.write_line(f"{tests[0][0]}:")
        for _, test in sorted(tests, key=lambda pair: pair[1]):
            terminalreporter.write_line(f"    {test}")
