"""`jobengine db` as a process, in a directory with a database."""

import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import define

from jobengine.core.fact_codec import encode
from jobengine.tools.checking import Report
from jobengine.tools.checking import check as read_all
from tests.storage.files_of_commits import listing, write
from tests.tools.databases import FACTS

from .daemons import SECRET, Daemon
from .shells import BIN

RECORDS = [(encode(fact),) for fact in FACTS]


@define
class Db:
    home: Path
    environment: dict[str, str]

    @property
    def path(self) -> Path:
        return self.home / "jobengine.jedb"

    def run(
        self, *arguments: str, prefix: Sequence[str] = (), **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        least = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "SECRET": SECRET, **self.environment}
        return subprocess.run(
            [*prefix, str(BIN / "jobengine"), "db", *arguments],
            cwd=self.home,
            env={name: value for name, value in {**least, **environment}.items() if value},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def __call__(self, *arguments: str, code: int = 0, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run the command, and check its exit code and that it prints no secret or traceback; returns its output."""
        done = self.run(*arguments, **environment)
        assert done.returncode == code, (arguments, done)
        assert SECRET not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def files(self) -> dict[str, bytes]:
        return {name: (self.home / name).read_bytes() for name in listing(self.home)}


def make_db(home: Path) -> Db:
    """A database with three jobs, which no server uses, and a file `new` with another secret."""
    db = Db(home, {})
    db.home.mkdir()
    (db.home / "new").write_text("another secret")
    write(db.path, RECORDS, orderly=True, secret=SECRET.encode())
    return db


def make_large(path: Path) -> None:
    write(path, [*RECORDS, *[(b'["queue-deleted",1,"%b"]' % (b"x" * 50_000),)] * 24], secret=SECRET.encode())


def report(path: Path, secret: str = SECRET) -> Report:
    return read_all(str(path), secret.encode())


def jobs(path: Path, secret: str = SECRET) -> int:
    """How many jobs are in a database that is whole."""
    found = report(path, secret)
    assert (found.damage, found.unfinished) == (None, 0)
    return sum(found.states.values())


@contextmanager
def busy(daemon: Daemon) -> Iterator[list[str]]:
    """Add short jobs that stay, and long jobs that are removed again; yields the uids acknowledged so far."""
    kept: list[str] = []
    done = threading.Event()

    def work() -> None:
        with daemon.client() as client:
            while not done.is_set():
                long = client.add({"text": "x" * 900_000}).json["uid"]
                kept.append(client.add().json["uid"])
                client.delete(long)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield kept
    finally:
        done.set()
        thread.join()


def rounds_while_compacting(daemon: Daemon) -> Iterator[int]:
    """Yields the numbers of rounds from 0: at least three, and until the daemon has compacted."""
    for number in range(60):
        if number >= 3 and "compaction is done" in daemon.log:
            return
        yield number
    raise AssertionError("nothing was compacted")


#: The calls by which a file is made.
CALLS = ("pwrite64", "fdatasync", "fsync", "/^link", "/^unlink", "/^rename")


def at(call: str, fault: str) -> list[str]:
    """The strace command to put before a command, so that the given system call fails."""
    return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:{fault}"]
