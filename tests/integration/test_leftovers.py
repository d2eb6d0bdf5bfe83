import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from .daemons import ROOT, TWISTD, until

MARK = "MARK_OF_THE_TEST"
#: Bash code that ends at once, and leaves this many processes behind, or more for a moment.
LEAVING = {
    "a daemon that forks": (f"API_PORT=0 SECRET=s {' '.join(TWISTD)} jobengine", 1),
    "a loop of a shell, in a session of its own": ("setsid bash -c 'while :; do sleep 1000; done' &", 2),
    "a process with strace as its grandchild": ("strace -D -f -qq -o /dev/null sleep 1000 &", 2),
    "a process that takes no notice of SIGTERM": ("(trap '' TERM HUP; exec sleep 1000) &", 1),
}
#: A module of tests that all fail.
IN_EACH_TEST = """
import os
import pytest
from tests.integration.test_leftovers import LEAVING, leave, marked

@pytest.mark.parametrize("how", LEAVING)
def test_a(how):
    assert marked() == {os.getpid()}
    leave(how)
    pytest.fail("on purpose")
"""
IN_THE_SET_UP_OF_SEVERAL = """
import pytest
from tests.integration.test_leftovers import LEAVING, leave

@pytest.fixture(scope="module", params=LEAVING)
def shared(request):
    leave(request.param)
    pytest.fail("on purpose")

def test_a(shared): pass
"""


def leave(how: str) -> None:
    """Leave processes behind as LEAVING says."""
    code, count = LEAVING[how]
    before = marked()
    subprocess.run(["bash", "-euc", code], check=True, stdout=subprocess.DEVNULL)
    until("all have started", lambda: len(marked() - before) >= count)


def marked(mark: str | None = None) -> set[int]:
    """The processes that have this mark in their environment, or the same as this process."""
    mark = mark or os.environ[MARK]
    found = set()
    for place in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{MARK}={mark}".encode() in place.read_bytes():
                found.add(int(place.parent.name))
        except OSError:
            pass  # it has ended meanwhile
    return found


@pytest.mark.parametrize("module", [IN_EACH_TEST, IN_THE_SET_UP_OF_SEVERAL], ids=["test", "set-up"])
def test_processes_of_a_failed_test_are_ended(module: str, tmp_path: Path) -> None:
    (tmp_path / "test_failing.py").write_text(module)
    mark = uuid4().hex
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.processes", "-p", "no:cacheprovider", "--tb=short"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), MARK: mark},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.count("E   Failed: on purpose\n") == len(LEAVING), done.stdout + done.stderr
    assert marked(mark) == set()
