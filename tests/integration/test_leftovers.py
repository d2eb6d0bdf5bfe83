import os
import subprocess
import sys
from pathlib import Path

import pytest

from .daemons import DEADLINE, ROOT, TWISTD, until

#: Bash code that ends at once, and leaves this many processes behind (for a moment more).
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
from tests.integration.test_leftovers import LEAVING, leave, running

@pytest.mark.parametrize("how", LEAVING)
def test_a(how):
    assert running() == {os.getpid()}
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
    code, count = LEAVING[how]
    before = running()
    subprocess.run(["bash", "-euc", code], check=True, stdout=subprocess.DEVNULL)
    until("all have started", lambda: len(running() - before) >= count)


def running() -> set[int]:
    """This process and its descendants; adopt_orphans keeps orphans among them. /proc hides other data of a server."""
    parents = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = place.read_text().rpartition(") ")[2].split()[:2]
        except OSError:
            continue  # the process has ended meanwhile
        if state != "Z":
            parents[int(place.parent.name)] = int(parent)
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


@pytest.mark.parametrize("module", [IN_EACH_TEST, IN_THE_SET_UP_OF_SEVERAL], ids=["test", "set-up"])
def test_processes_that_a_failed_test_started_are_ended(module: str, tmp_path: Path) -> None:
    (tmp_path / "test_failing.py").write_text(module)
    before = running()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.processes", "-p", "no:cacheprovider", "--tb=short"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE,
        check=False,
    )
    assert done.stdout.count("E   Failed: on purpose\n") == len(LEAVING), done.stdout + done.stderr
    assert running() <= before
