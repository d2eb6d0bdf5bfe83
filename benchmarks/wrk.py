"""The load of single calls over HTTP, by wrk with lifecycle.lua: the same for JobEngine and for Klein's no-op."""

import json
import shutil
import subprocess
from pathlib import Path

from .machine import Effort
from .servers.server import Failed, Run

PACKAGE = "wrk"
CONNECTIONS = 32
_SCRIPT = Path(__file__).with_name("lifecycle.lua")


def lives(port: int, seconds: float, groups: int = 0) -> Run:
    """
    Add, claim and complete jobs in the queue "bench" one by one over 32 connections; raises Failed.

    The jobs are spread over `groups` groups; 0 for jobs without a group.
    """
    if shutil.which("wrk") is None:
        raise Failed(f"wrk is not installed: apt-get install {PACKAGE}")
    url = f"http://127.0.0.1:{port}"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", "-s", str(_SCRIPT), url, "--", str(groups)]
    with Effort.measured() as effort:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout.rstrip().endswith("}"):
        raise Failed(f"wrk failed: {done.stdout} {done.stderr}")
    counted = json.loads(done.stdout.splitlines()[-1])
    if counted["failed"]:
        raise Failed(f"{counted['failed']} of {counted['requests']} requests failed")
    return Run(counted["jobs"] / counted["seconds"], effort.share, counted["requests"] / counted["seconds"])
