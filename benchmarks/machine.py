"""The machine: which core does what, how much of a core a client uses, and a description."""

import os
import platform
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter

from attrs import define

_CORES = sorted(os.sched_getaffinity(0))
#: Every process of a server is on the first core, every client on the last.
SERVER_CORE, CLIENT_CORE = _CORES[0], _CORES[-1]


def on_server_core(command: Sequence[str]) -> list[str]:
    """A command line that runs this command on the core of the servers."""
    return on_core(SERVER_CORE, command)


def on_core(core: int, command: Sequence[str]) -> list[str]:
    """A command line that runs this command on a core."""
    return ["taskset", "--cpu-list", str(core), *command]


def be_a_client() -> None:
    """Move this process, and with it the clients that it starts, to the core of the clients; end cleanly on SIGTERM."""
    os.environ["LC_ALL"] = "C.UTF-8"  # the output of clients is parsed
    os.sched_setaffinity(0, {CLIENT_CORE})
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


@contextmanager
def directory() -> Iterator[Path]:
    """A new directory on a disk, in TMPDIR or /var/tmp: /tmp is often memory, and nothing is durable there."""
    # mkdtemp's directory belongs to this user alone, so a parent that everyone may write to does no harm.
    path = Path(tempfile.mkdtemp(prefix="jobengine-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")))  # noqa: S108
    path.chmod(0o755)  # servers with a user of their own have their directories in it
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def free_port() -> int:
    """A port without a listener."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@define
class Effort:
    """The duration of a block of code, and the share of a core that this process and its ended children used."""

    seconds: float = 0
    share: float = 0

    @classmethod
    @contextmanager
    def measured(cls) -> Iterator["Effort"]:
        """Measure the duration of the block, and how much of a core it uses."""
        effort, began, used = cls(), perf_counter(), _cpu_seconds()
        yield effort
        effort.seconds = perf_counter() - began
        effort.share = (_cpu_seconds() - used) / effort.seconds


def _cpu_seconds() -> float:
    return sum(os.times()[:4])


def others_share(seconds: float = 1.0) -> float:
    """The share of all cores that other processes use, measured while this one does nothing."""
    before = _ticks()
    time.sleep(seconds)
    idle, all_ = (after - earlier for earlier, after in zip(before, _ticks(), strict=True))
    return 1 - idle / all_


def _ticks() -> tuple[int, int]:
    """The ticks of all cores since the machine was started: idle or waiting for the disk, and in total."""
    ticks = [int(text) for text in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def used(pid: int) -> float:
    """The seconds of processor time that a process has used, in all of its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def used_in_all(pid: int) -> float:
    """The seconds of processor time of a process, its children, and children that have ended."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(path.parent.name) == pid:
                ticks += sum(map(int, fields[11:15]))
            elif int(fields[1]) == pid:
                ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """The bytes of memory of a process."""
    return int(_found(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text())) << 10


def description() -> str:
    """Processor, cores, memory, kernel, file system and Python."""
    processor = _found(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text()) or platform.machine()
    memory = int(_found(r"^MemTotal:\s+(\d+) kB$", Path("/proc/meminfo").read_text())) / (1 << 20)
    with directory() as path:
        file_system = version(["findmnt", "--noheadings", "--output=FSTYPE", "--target", str(path)], r"(\S+)")
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return (
        f"{re.sub(r' +', ' ', processor)}, {len(_CORES)} cores, {memory:.0f} GiB of memory, "
        f"Linux {platform.release().partition('-')[0]}, {file_system}, {python}"
    )


def version(command: Sequence[str], pattern: str) -> str:
    """The first group of the pattern's match in a command's output; empty without a match."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return _found(pattern, done.stdout)


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else ""
