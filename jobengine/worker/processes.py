"""
Runs handlers in child processes, each of which can be killed alone.

The children are forked from the nursery: a process that was forked before the worker had connections, threads or a
loop. So handlers need not be importable, and no child keeps the worker's connections open.

No library fits: multiprocessing's pools and concurrent.futures can't kill a single task. pebble can, but its threads
wake up ten times a second, and its tasks can't report progress.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Any, Final

from ..client.encoding import encode_text
from ..client.values import Job
from .outcomes import Outcome, failure
from .running_job import RunningJob

#: The longest line between processes, in bytes. The server accepts 1 MiB for a job; JSON escapes make a line longer.
_LINE: Final = 64 << 20
#: From linux/prctl.h.
_PR_SET_PDEATHSIG: Final = 1

Perform = Callable[[RunningJob], Outcome]


class Nursery:
    """The process that forks child processes for handlers. Make it before any threads, and close it."""

    def __init__(self, perform: Perform) -> None:
        self._socket, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if self._pid == 0:
            self._socket.close()
            _live(lambda: _nurse(theirs, perform))
        theirs.close()

    def fork(self) -> socket.socket:
        """Fork a child, and return the socket to talk to it."""
        ours, theirs = socket.socketpair()
        socket.send_fds(self._socket, [b"f"], [theirs.fileno()])
        theirs.close()
        return ours

    def close(self) -> None:
        """End the nursery; children end after their work."""
        self._socket.close()
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


class Processes:
    """The child processes, made on demand. Its methods run in the loop."""

    def __init__(self, nursery: Nursery) -> None:
        self._nursery = nursery
        self._idle: list[_Child] = []

    async def perform(self, job: RunningJob) -> Outcome:
        """Run a job's handler in a child; cancelling this coroutine kills the child."""
        child = self._free() or await _Child.born(self._nursery.fork())
        try:
            changes = await child.perform(job)
        except BaseException:
            child.kill()
            raise
        if changes is None:
            child.kill()
            return failure("The process of the job ended before the job did.")
        self._idle.append(child)
        return changes

    def _free(self) -> "_Child | None":
        """An idle child that still runs, or None. Drop ended children: each would fail a job without starting it."""
        while self._idle:
            child = self._idle.pop()
            if not child.ended():
                return child
            child.dismiss()
        return None

    def close(self) -> None:
        """End the children that are idle."""
        for child in self._idle:
            child.dismiss()


class _Child:
    """A child process; both sides send lines of JSON."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._pid = pid
        self._reader = reader
        self._writer = writer

    @classmethod
    async def born(cls, connection: socket.socket) -> "_Child":
        """The child on the other side of a connection; its first line is its process id."""
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=_LINE)
        try:
            return cls(json.loads(await reader.readline()), reader, writer)
        except BaseException:
            writer.close()
            raise

    def ended(self) -> bool:
        """Whether an idle child has ended."""
        return self._reader.at_eof()

    async def perform(self, job: RunningJob) -> Outcome | None:
        """Run a job's handler and return its outcome; None if the child ended first."""
        raw = {name: value for name, value in job.job.raw.items() if name != "lease"}
        self._writer.write(encode_text([job.queue, raw]).encode() + b"\n")
        try:
            while line := await self._reader.readline():
                report_progress = json.loads(line)
                if not isinstance(report_progress, int):
                    changes: Outcome = report_progress
                    return changes
                job.progress(report_progress)
        except (ConnectionError, ValueError):  # the child has ended, or its line was too long or incomplete
            pass
        return None

    def kill(self) -> None:
        """Kill the child's process group: also the processes that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        self.dismiss()

    def dismiss(self) -> None:
        """Close the connection, so that the child ends after its work."""
        self._writer.close()


# In the nursery and in its children


def _live(life: Callable[[], object]) -> None:
    """Run `life` in a forked process, then exit; never returns."""
    try:
        # Signals that a terminal or service manager sends to all processes do not end this one: the worker decides when
        # it ends. SIG_IGN can't be used: programs started by handlers would inherit it.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(-1)
        _die_with_parent()
        life()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(0)


def _die_with_parent() -> None:
    """
    Let the system kill this process when its parent dies. Only Linux can do this; elsewhere a child first finishes its
    job.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _nurse(connection: socket.socket, perform: Perform) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no child becomes a zombie
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
        if not request:
            return
        with socket.socket(fileno=descriptors[0]) as theirs:
            if os.fork() == 0:
                connection.close()
                _live(partial(_work, theirs, perform))


def _work(connection: socket.socket, perform: Perform) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # handlers may start processes and wait for them
    os.setsid()
    lock = Lock()  # handlers may have threads, and report progress from them

    def say(value: Any) -> None:
        """Send a line to the parent."""
        with lock:
            connection.sendall(encode_text(value).encode() + b"\n")

    say(os.getpid())
    for line in connection.makefile("rb"):
        queue, raw = json.loads(line)
        say(perform(RunningJob(queue, Job(raw), say)))
        sys.stdout.flush()
        sys.stderr.flush()
