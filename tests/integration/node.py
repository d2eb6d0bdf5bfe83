"""Programs for Node.js that tests run: those of generators/package-lock.json, installed once for a checkout."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Final

import pytest

GENERATORS: Final = Path(__file__).with_name("generators")
_MODULES: Final = GENERATORS / "node_modules"
TOOLS: Final = _MODULES / ".bin"


def install() -> Path:
    """Install the packages of the lock file, unless they are installed; returns their directory."""
    if shutil.which("npm") is None:
        pytest.fail("This test runs programs that need Node.js: apt-get install nodejs npm")
    lock = hashlib.sha256((GENERATORS / "package-lock.json").read_bytes()).hexdigest()
    installed = _MODULES / ".installed"
    with (GENERATORS / "package-lock.json").open() as alone:
        flock(alone, LOCK_EX)  # tests run in several processes
        if not installed.exists() or installed.read_text() != lock:
            run(["npm", "ci", "--no-progress"], GENERATORS)
            installed.write_text(lock)
    return _MODULES


def run(command: Sequence[str], place: Path) -> str:
    """Run a command; returns its output, which is also the message if the command fails."""
    done = subprocess.run(
        command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_environment()
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def _environment() -> dict[str, str]:
    """This environment, without colours, prompts and telemetry of the tools."""
    return {**os.environ, "NO_COLOR": "1", "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
