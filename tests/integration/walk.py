"""The walk through the README: all its commands in order, with the programs that a reader has installed."""

import json
import os
import subprocess
from pathlib import Path

from .documents import at_port, blocks, shell

#: A line between the outputs of two steps.
MARK = "\n--- next step ---\n"
#: The sections of the README with commands.
COMMANDS, CALLS = "## The life of a job", "## The same over HTTP and in Python"


def steps(code: list[str], port: int, programs: Path, home: Path) -> list[str]:
    """Run blocks of commands one after the other in one shell, in `home`; returns the output of each."""
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "JOBENGINE_URL": f"http://127.0.0.1:{port}",
    }
    done = shell(f"printf '{MARK}'\n".join(at_port(step, port) for step in code), home, environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(MARK)


def walk_through_the_readme(port: int, programs: Path, home: Path) -> int:
    """Take all steps, and check that each does what the README says of it; returns their number."""
    return _with_the_command_line(port, programs, home) + _over_http(port, programs, home)


def _with_the_command_line(port: int, programs: Path, home: Path) -> int:
    code = blocks("README.md", heading=COMMANDS)
    made, added, worked, shown = steps(code, port, programs, home)
    assert made == ""
    assert "\tqueued\t5\t" in added
    assert "It is the next." in added
    assert worked == ""
    assert 'result\t{"sent": true}' in shown
    return len(code)


def _over_http(port: int, programs: Path, home: Path) -> int:
    adds, reads = blocks("README.md", heading=CALLS)
    (worker,) = blocks("README.md", "python", CALLS)
    (printed,) = steps([adds], port, programs, home)
    status, _, added = printed.partition("\n")
    assert (status, json.loads(added)["state"]) == ("201", "queued")
    assert _worked(worker, port, programs, home) == "1 done\n"
    (shown,) = steps([adds.partition("\n")[0] + "\n" + reads], port, programs, home)
    (job,) = json.loads(shown)["jobs"]
    assert (job["uid"], job["state"]) == (json.loads(added)["uid"], "complete")
    assert job["result"] == {"sent_to": "ada@example.org"}
    assert all(answer.endswith("}\n") for answer in (added, shown))
    return 3


def _worked(worker: str, port: int, programs: Path, home: Path) -> str:
    """Run the worker as a program in a file, as the README says; returns its output."""
    (home / "letters.py").write_text(worker)
    command: list[str | Path] = [programs / "python", "letters.py"]
    environment = {"JOBENGINE_URL": f"http://127.0.0.1:{port}"}
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
