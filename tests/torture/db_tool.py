"""Runs `jobengine db`."""

import os
import subprocess
import time
from collections.abc import Sequence

from tests.integration.daemons import DEADLINE
from tests.integration.shells import BIN

from .crew import require

#: The exit code for a wrong SECRET.
WRONG_SECRET = 3


def _command(arguments: Sequence[str]) -> list[str]:
    return [str(BIN / "jobengine"), "db", *arguments]


def _environment(secret: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "SECRET": secret}


def _run(arguments: Sequence[str], secret: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        _command(arguments),
        env=_environment(secret),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE * 3,
        check=False,
    )


def exit_code(*arguments: str, secret: str) -> int:
    return _run(arguments, secret).returncode


def do(*arguments: str, secret: str) -> None:
    """Run a command; raises Disagreement unless it ends with 0."""
    done = _run(arguments, secret)
    require(done.returncode == 0, f"jobengine db {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")


def is_killed(*arguments: str, secret: str, after: float) -> bool:
    """Run a command and kill it after this many seconds; returns whether it was still running then."""
    process = subprocess.Popen(
        _command(arguments),
        env=_environment(secret),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(after)
    process.kill()
    return process.wait() != 0
