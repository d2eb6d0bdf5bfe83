"""
Runs handlers in processes, each of which can be killed alone.

They are forked from the nursery: a process that is forked before the worker has connections, threads or a loop. So
handlers need not be importable, and no child keeps a connection of the worker open.

Why not a library: multiprocessing's pools and concurrent.futures can't end one task; pebble, which can, has threads
that wake up ten times a second, and no way for a task to report progress.
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

from ..client.jobs import JobChanges, encode_text
from ..client.values import Job
from .outcomes import failure
from .running import RunningJob

__all__ = ["Nursery", "Processes"]

#: The longest line between the processes, in bytes: the server takes 1 MiB for a job, and escapes make it longer.
_LINE: Final = 64 << 20
#: From linux/prctl.h.
_PR_SET_PDEATHSIG: Final = 1

Perform = Callable[[RunningJob], JobChanges]


class Nursery:
    """The process that others are forked from. Make it while there are no threads, and close it."""

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
        """Have a child forked; what to talk to it by."""
        ours, theirs = socket.socketpair()
        socket.send_fds(self._socket, [b"f"], [theirs.fileno()])
        theirs.close()
        return ours

    def close(self) -> None:
        """End it; children end when their work is done."""
        self._socket.close()
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


class Processes:
    """The children, as seen from the loop; they are made as they are needed."""

    def __init__(self, nursery: Nursery) -> None:
        self._nursery = nursery
        self._idle: list[_Child] = []

    async def perform(self, job: RunningJob) -> JobChanges:
        """Work on a job in a child. If this is cancelled, the child is killed."""
        child = self._idle.pop() if self._idle else await _Child.born(self._nursery.fork())
        try:
            changes = await child.perform(job)
        except BaseException:
            child.kill()
            raise
        if changes is None:
            child.kill()
            return failure("The process that ran the job has ended before the job.")
        self._idle.append(child)
        return changes

    def close(self) -> None:
        """Let all children end that have nothing to do."""
        for child in self._idle:
            child.dismiss()


class _Child:
    """One child; lines of JSON go to and fro."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._pid = pid
        self._reader = reader
        self._writer = writer

    @classmethod
    async def born(cls, connection: socket.socket) -> "_Child":
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=_LINE)
        try:
            return cls(json.loads(await reader.readline()), reader, writer)
        except BaseException:
            writer.close()
            raise

    async def perform(self, job: RunningJob) -> JobChanges | None:
        """What came of a job; None if the child has ended before."""
        raw = {name: value for name, value in job.job.raw.items() if name != "lease"}
        self._writer.write(encode_text([job.queue, raw]).encode() + b"\n")
        try:
            while line := await self._reader.readline():
                said = json.loads(line)
                if not isinstance(said, int):
                    changes: JobChanges = said
                    return changes
                job.progress(said)
        except (ConnectionError, ValueError):  # it has ended, or the line was too long, or not whole
            pass
        return None

    def kill(self) -> None:
        """End it, and whatever it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        self.dismiss()

    def dismiss(self) -> None:
        """Let it end."""
        self._writer.close()


# In the nursery and in its children


def _live(life: Callable[[], object]) -> None:
    """The whole life of a forked process; it never returns."""
    try:
        # An ignored signal would be ignored by what handlers start as well. It is the worker that decides on the end,
        # also if a terminal or a service manager sends these to all of its processes.
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
    """Be killed when the parent is: elsewhere than on Linux a child goes on until its job is done."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _nurse(connection: socket.socket, perform: Perform) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that no child stays as a zombie
    while True:
        asked, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
        if not asked:
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
        with lock:
            connection.sendall(encode_text(value).encode() + b"\n")

    say(os.getpid())
    for line in connection.makefile("rb"):
        queue, raw = json.loads(line)
        say(perform(RunningJob(queue, Job(raw), say)))
        sys.stdout.flush()
        sys.stderr.flush()
