"""
How fast are the commands for database files? Run from the root: `python -m benchmarks.tools`.

A file of lines is imported; the new database is checked, backed up and exported, each by the command that a user would
enter: the times include its start. Beside each backup the same bytes are copied and synced by a plain loop, which shows
what the disk can do at that moment.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from time import perf_counter

from attrs import define, frozen

from jobengine.core.access import digest_of
from jobengine.core.fact_codec import encode
from jobengine.core.fact_lines import BeginLine, EndLine, job_line, line_of, queue_line
from jobengine.core.facts import JobAdded
from jobengine.core.model import Job, Queue, Spec, Standing, State
from jobengine.core.retention import retention

from .calls import CONTENT_BYTES
from .machine import directory
from .results import TIMES, Results, Row, run_alone, say

JOBS = 1_000_000
FEW = 100_000
#: Targets: the least jobs and bytes a second, the most seconds of a check, and the greatest factor by which ten times
#: as many jobs may raise the memory.
_RATE, _BYTES, _CHECK, _GROWTH = 100_000, 200_000_000, 10, 1.5
_ROOT = Path(__file__).parents[1]
#: Bytes of a copy that are read at a time.
_PIECE = 1 << 20
_NOW = 1_700_000_000_000
_COMMAND = [str(Path(sys.executable).with_name("jobengine")), "db"]


@frozen
class Ran:
    """The time and memory of a command."""

    seconds: float
    #: The command's peak of memory, in bytes.
    memory: int


@define
class Files:
    """The files of one round, in a directory."""

    home: Path

    def run(self, command: str, *files: str) -> Ran:
        """Run a command of `jobengine db`; raises RuntimeError if it fails."""
        began = perf_counter()
        environment = {
            **os.environ,
            "PYTHONPATH": str(_ROOT),
            "SECRET": "the secret of the benchmark",
            "SECRET_FILE": "",
        }
        with open(self.home / "said", "wb") as errors:
            process = subprocess.Popen(
                [*_COMMAND, command, *files], cwd=self.home, env=environment, stdout=subprocess.DEVNULL, stderr=errors
            )
        # wait4, not wait: it returns the memory as well.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{command}: {(self.home / 'errors').read_text()}")
        ran = Ran(perf_counter() - began, used.ru_maxrss * 1024)
        say(f"{command}: {ran.seconds:.1f} s, at most {ran.memory >> 20} MiB")
        return ran

    def size(self, name: str) -> int:
        """The bytes of a file."""
        return (self.home / name).stat().st_size

    def remove(self, *names: str) -> None:
        """Remove files, to make room for the next round."""
        for name in names:
            (self.home / name).unlink()


def measure(results: Results) -> None:
    """Measure each command for database files; adds the rows to `results`."""
    with directory() as home:
        files = Files(home)
        few, *_ = _rounds(files, FEW, 1)
        many = _rounds(files, JOBS, TIMES)
    for command in ("import", "export"):
        rates = [JOBS / one.ran[command].seconds for one in many]
        results.bound(f"1,000,000 jobs, {command}", rates, "jobs/s", _RATE, least=True)
    results.bound("1,000,000 jobs, check", [one.ran["check"].seconds for one in many], "s", _CHECK)
    results.rows.append(_backup_row(few, many))
    results.rows += [_memory_row(command, few, many) for command in ("check", "backup")]


def write_lines(path: Path, jobs: int) -> None:
    """Write an export of a queue with this many jobs, as `jobengine db export` would."""
    with open(path, "wb") as file:
        file.writelines(_lines(jobs))


def _lines(jobs: int) -> Iterator[bytes]:
    salt = "00000000-0000-4000-8000-000000000000"
    yield line_of(BeginLine())
    yield queue_line(Queue(name="bench", salt=salt, digest=digest_of(b"key", salt), created=_NOW))
    standing = Standing(state=State.QUEUED, updated=_NOW)
    for number in range(jobs):
        yield job_line(encode(JobAdded("bench", Job(_spec(number), standing))))
    yield line_of(EndLine(queues=1, jobs=jobs))


def _spec(number: int) -> Spec:
    return Spec(
        uid=f"{number * 2654435761 % (1 << 32):08x}-0000-4000-8000-{number:012x}",
        priority=0,
        arrival=number,
        keep=retention(60, 4_320),
        timeout_seconds=600,
        timeout_time=0,
        content=CONTENT_BYTES,
        created=_NOW,
    )


@frozen
class Round:
    """The results of all commands in one round."""

    ran: Mapping[str, Ran]
    #: Bytes of the database, and the seconds of a plain copy of it.
    size: int
    copied: float


def _rounds(files: Files, jobs: int, times: int) -> list[Round]:
    write_lines(files.home / "lines", jobs)
    return [_round(files) for _ in range(times)]


def _round(files: Files) -> Round:
    ran = {"import": files.run("import", "lines", "database"), "check": files.run("check", "database")}
    copied = copy(files.home / "database", files.home / "copy")
    ran["backup"] = files.run("backup", "database", "backup")
    ran["export"] = files.run("export", "database", "exported")
    size = files.size("database")
    files.remove("database", "copy", "backup", "exported")
    return Round(ran, size, copied)


def copy(source: Path, target: Path) -> float:
    """Copy a file and sync it; returns the seconds."""
    began = perf_counter()
    with open(source, "rb") as old, open(target, "wb") as new:
        while piece := old.read(_PIECE):
            new.write(piece)
        new.flush()
        os.fdatasync(new.fileno())
    return perf_counter() - began


def _backup_row(few: Round, many: list[Round]) -> Row:
    """The rate without the time of starting the command: the extra bytes of many jobs, divided by the extra seconds."""
    ours = [(one.size - few.size) / (one.ran["backup"].seconds - few.ran["backup"].seconds) for one in many]
    disks = [one.size / one.copied for one in many]
    ratios = [rate / disk for rate, disk in zip(ours, disks, strict=True)]
    return Row(
        "1,000,000 jobs, backup",
        f"{median(ours) / 1e6:,.0f} MB/s",
        f"a plain copy: {median(disks) / 1e6:,.0f} MB/s",
        f"{median(ratios):.2f}",
        "≥ 200 MB/s, or ratio ≥ 1",
        median(ours) >= _BYTES or median(ratios) >= 1,
        f"{min(ours) / 1e6:,.0f} to {max(ours) / 1e6:,.0f}",
    )


def _memory_row(command: str, few: Round, many: list[Round]) -> Row:
    little, much = few.ran[command].memory, max(one.ran[command].memory for one in many)
    return Row(
        f"1,000,000 jobs, memory of {command}",
        f"{much >> 20} MiB",
        f"100,000 jobs: {little >> 20} MiB",
        f"{much / little:.2f}",
        f"≤ {_GROWTH}",
        much <= _GROWTH * little,
    )


if __name__ == "__main__":
    raise SystemExit(run_alone(measure))
