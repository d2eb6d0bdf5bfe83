"""The interface of a measured server, and how its processes are started and ended."""

import os
import pwd
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from attrs import define, field, frozen

from ..machine import SERVER_CORE, directory, free_port, on_core

#: Seconds in which a server must be ready.
_DEADLINE = 60.0


class Failed(Exception):
    """A server did not start, or did not do its work; str() is the reason."""


@frozen
class Run:
    """The work of a server under measurement."""

    #: Jobs a second: added, claimed and completed; in `adding`, only added.
    jobs: float
    #: The share of a core that the client used.
    client: float
    #: Requests a second, if the server speaks HTTP.
    requests: float = 0
    #: Seconds of processor time that the server's database used for each job, if measured.
    cost: float = 0


@define(eq=False, kw_only=True)
class Server(ABC):
    """A kind of server, which can be started again and again, each time empty."""

    #: The server's name in a table.
    name: str
    #: The server's Debian package; empty if the server is always there.
    package: str = ""
    #: The Python package that the server's client needs, by the name under which it is installed and imported.
    library: str = ""
    port: int = field(factory=free_port)
    _processes: "list[Process]" = field(factory=list)

    def found(self) -> bool:
        """Whether the server is installed."""
        return True

    def missing(self) -> str:
        """How to install the server or client that is missing; empty if both exist."""
        if not self.found():
            return f"`apt-get install {self.package}`"
        return f"`pip install {self.library}`" if self.library and find_spec(self.library) is None else ""

    def version(self) -> str:
        """The server's name and version, for the description of the machine."""
        return self.name

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start the server in a directory of its own; at the end stop it and remove the directory. Raises Failed."""
        with directory() as home:
            try:
                self.start(home)
                yield
            finally:
                self.stop()

    @abstractmethod
    def start(self, home: Path) -> None:
        """Start the server's processes on the core of the servers; returns when it is ready. Raises Failed."""

    def stop(self) -> None:
        """End every process of the server, the last one first."""
        while self._processes:
            self._processes.pop().end()

    def launch(
        self,
        command: Sequence[str],
        home: Path,
        ready: Callable[[], bool],
        *,
        user: str = "",
        environment: Mapping[str, str] | None = None,
        ends_at: signal.Signals = signal.SIGKILL,
        core: int = SERVER_CORE,
    ) -> None:
        """Start a process of the server; raises Failed with the process's output if it does not become ready."""
        process = Process(command, home, user, environment or {}, ends_at, core)
        self._processes.append(process)
        process.start()
        process.until(ready)

    @property
    def pid(self) -> int:
        """The process id of the last launched process."""
        return self._processes[-1].pid

    def listens(self) -> bool:
        """Whether the port has a listener."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    # The kinds of work. A server has only those that it is measured with; no other is called.

    def singles(self, seconds: float) -> Run:
        """Add, claim and complete jobs one by one over 32 connections."""
        raise NotImplementedError  # for contenders that are not measured with it

    def bulk(self, size: int, seconds: float) -> Run:
        """Add, claim and complete jobs, `size` at a time."""
        raise NotImplementedError  # for contenders that are not measured with it

    def adding(self, size: int, seconds: float) -> Run:
        """Only add jobs, `size` at a time."""
        raise NotImplementedError  # for contenders that are not measured with it


@define(eq=False)
class Process:
    """A process in a session of its own: Ctrl-C reaches the benchmark only, which then stops its servers."""

    command: Sequence[str]
    home: Path
    user: str
    environment: Mapping[str, str]
    #: The signal that ends the process at once, and leaves nothing behind outside its directory.
    ends_at: signal.Signals
    core: int = SERVER_CORE
    _process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start the process; its output is kept in its directory."""
        with open(self.home / "output", "ab") as output:
            self._process = subprocess.Popen(
                on_core(self.core, [*as_user(self.user), *self.command]),
                cwd=self.home,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def until(self, ready: Callable[[], bool]) -> None:
        """Wait until the process is ready; raises Failed."""
        assert self._process is not None
        deadline = time.monotonic() + _DEADLINE
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{Path(self.command[0]).name} did not start: {last_words(self.home / 'output')}")
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def end(self, how: signal.Signals | None = None) -> None:
        """End the process and its children."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, how or self.ends_at)
            self._process.wait(_DEADLINE)


def as_user(user: str) -> list[str]:
    """The prefix of a command so that root runs it as this user: some servers refuse to run as root."""
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user and os.geteuid() == 0 else []


def given_to(user: str, home: Path) -> None:
    """Make this user the owner of a directory, if root runs this."""
    if user and os.geteuid() == 0:
        owner = pwd.getpwnam(user)
        os.chown(home, owner.pw_uid, owner.pw_gid)


def last_words(path: Path) -> str:
    """The last 300 characters of a process's output, in one line."""
    text = path.read_text(errors="replace") if path.exists() else ""
    return " ".join(text.split())[-300:] or "it said nothing"
