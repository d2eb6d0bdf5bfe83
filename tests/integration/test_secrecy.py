"""Secrets in the server's memory can't be read by other processes or in core dumps."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .daemons import AS_ITS_USER, ROOT, SECRET, Daemon, Forked, until

ADMIN_KEY = "battery staple"
COPYING = """
import os, signal
from pathlib import Path

def copy(*_):
    Path("copy").write_bytes(Path("/proc/self/environ").read_bytes())
    os.rename("copy", "environment")

signal.signal(signal.SIGUSR1, copy)
"""


@pytest.fixture(params=[Daemon, Forked], ids=["in the foreground", "forked"])
def secretive(request: pytest.FixtureRequest, tmp_path: Path) -> Daemon:
    """A daemon with its own user, on a system that would write core dumps. SIGUSR1 has it copy its environment."""
    kind: type[Daemon] = request.param
    # Without CAP_SYS_PTRACE only the process itself can read it.
    (tmp_path / "sitecustomize.py").write_text(COPYING)
    prefix = ("prlimit", "--core=unlimited", *AS_ITS_USER)
    settings = {"ADMIN_KEY": ADMIN_KEY, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    return kind(tmp_path / "home", settings=settings, prefix=prefix)


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _read_as_its_user(pid: int, what: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run([*AS_ITS_USER, "head", "-c1", f"/proc/{pid}/{what}"], capture_output=True, check=False)


def test_no_secret_is_readable_in_the_environment_memory_or_core_dump_of_the_server(secretive: Daemon) -> None:
    pid = secretive.start().pid
    try:
        os.kill(pid, signal.SIGUSR1)
        environment = until("it has copied its environment", lambda: _content(secretive.home / "environment"))
        assert b"API_PORT=0\0" in environment
        assert SECRET.encode() not in environment
        assert ADMIN_KEY.encode() not in environment
        assert re.search(r"Max core file size +0 +0 ", Path(f"/proc/{pid}/limits").read_text())
        for what in ("environ", "mem", "maps"):
            refused = _read_as_its_user(pid, what)
            assert (refused.stdout, b"Permission denied" in refused.stderr) == (b"", True)
    finally:
        os.kill(pid, signal.SIGABRT)
    # The forked process is a child of the tests too: its own parent has ended.
    ended = os.waitid(os.P_PID, pid, os.WEXITED)
    assert ended is not None
    assert ended.si_code == os.CLD_KILLED  # and not CLD_DUMPED
    assert not list(secretive.home.glob("core*"))


def test_without_hardening_a_process_can_read_the_environment_of_another_of_the_same_user() -> None:
    other = subprocess.Popen([*AS_ITS_USER, "sleep", "60"])
    try:
        until("it can be read", lambda: _read_as_its_user(other.pid, "environ").stdout)
    finally:
        other.kill()
        other.wait()


def test_a_db_command_leaves_no_core_dump(daemon: Daemon, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    program = str(Path(sys.executable).with_name("jobengine"))
    command = ["strace", "-o", str(calls), "-e", "trace=prctl,prlimit64", program, "db", "check", str(daemon.db_path)]
    subprocess.run(command, env=daemon.environment, capture_output=True, check=True)
    assert "PR_SET_DUMPABLE, SUID_DUMP_DISABLE" in calls.read_text()
    assert "RLIMIT_CORE, {rlim_cur=0, rlim_max=0}" in calls.read_text()
