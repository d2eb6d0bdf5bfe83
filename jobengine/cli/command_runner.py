"""
Runs one command for one job: the content on its standard input, its outputs within limits, its end as a verdict.

The command has a process group of its own: Ctrl-C at the worker's terminal does not reach it, and when it is to be
ended, all that it has started is ended.
"""

import asyncio
import json
import os
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from io import FileIO
from typing import Any, BinaryIO, Final, Literal, NamedTuple

__all__ = ["CommandRunner", "Ending", "Verdict", "environment_of", "verdict"]

#: Bytes of standard output that are kept: a result is not longer.
MOST_OUTPUT: Final = 1 << 20
#: Bytes of standard error that are kept, from its end: an error is not longer.
MOST_ERRORS: Final = 4096
#: Seconds between SIGTERM and SIGKILL.
_GRACE: Final = 10.0
#: Seconds in which what was killed is gone.
_KILLED: Final = 5.0
#: Seconds for which outputs are read on when the command has ended but something it started holds them open.
_LINGER: Final = 1.0
#: Seconds between two looks whether all of a process group has ended.
_LOOK: Final = 0.05
#: File descriptors that every shell can write to as `>&N`.
_LAST_SHORT_FD: Final = 9
#: Bytes of a number that is said.
_LONGEST_NUMBER: Final = 32
#: What a command is not told, since it could be read there.
_KEPT_BACK: Final = ("JOBENGINE_ACCESS_KEY", "JOBENGINE_ADMIN_KEY", "JOBENGINE_PROFILE", "JOBENGINE_LEASE")
#: From sysexits.h.
_EX_DATAERR: Final = 65
_EX_TEMPFAIL: Final = 75


class Ending(NamedTuple):
    """How a command has ended."""

    #: Its exit code, or minus the number of the signal that ended it.
    code: int
    #: The beginning of its standard output, and whether there was more.
    output: bytes = b""
    cut: bool = False
    #: The end of its standard error.
    errors: bytes = b""


class Verdict(NamedTuple):
    """What becomes of the job."""

    kind: Literal["complete", "release", "failed", "failed for good"]
    #: Any JSON; None is no result.
    result: Any = None
    error: str = ""
    #: What is to be told to whoever looks after the worker.
    note: str = ""


def environment_of(base: Mapping[str, str], queue: str, uid: str, attempt: int, priority: int) -> dict[str, str]:
    """The environment of a command: that of the worker, without keys, with what it needs to know of the job."""
    return {
        **{name: value for name, value in base.items() if name not in _KEPT_BACK},
        "JOBENGINE_QUEUE": queue,
        "JOBENGINE_UID": uid,
        "JOBENGINE_ATTEMPT": str(attempt),
        "JOBENGINE_PRIORITY": str(priority),
    }


def verdict(ending: Ending) -> Verdict:
    """What a command's end means for its job."""
    if ending.code == 0:
        return _complete(ending)
    if ending.code == _EX_TEMPFAIL:
        return Verdict("release")
    error = ending.errors.decode(errors="replace").strip() or _how(ending.code)
    return Verdict("failed for good" if ending.code == _EX_DATAERR else "failed", error=error)


def _complete(ending: Ending) -> Verdict:
    if ending.cut:
        return Verdict("complete", note=f"its output is longer than {MOST_OUTPUT} bytes and was not kept as its result")
    try:
        result = json.loads(ending.output, parse_constant=_no_constant)
        json.dumps(result, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        result = None  # it may print what it likes
    return Verdict("complete", result=result)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _how(code: int) -> str:
    if code >= 0:
        return f"The command ended with exit code {code}."
    with suppress(ValueError):
        return f"The command was ended by {signal.Signals(-code).name}."
    return f"The command was ended by signal {-code}."


class CommandRunner:
    """Runs commands, in an asyncio loop."""

    def __init__(self, command: Sequence[str], *, grace: float = _GRACE, echo: BinaryIO | None = None) -> None:
        self._command = list(command)
        self._grace = grace
        #: Where standard error of the commands is shown as well.
        self._echo = echo
        self._slot = _short_descriptor()
        self._running: set[_Run] = set()

    def signal(self, number: int) -> None:
        """Send a signal to all commands that run, or are being started."""
        for run in self._running:
            run.tell(number)

    async def run(self, content: bytes, environment: Mapping[str, str], progress: Callable[[int], object]) -> Ending:
        """
        How the command has ended; `progress` is called with each number from 0 to 100 that it says.

        Raises OSError if it can't be started. When this is cancelled, the command's process group gets SIGTERM, and
        SIGKILL when the time of grace is over, or at once when this is cancelled again.
        """
        read_end, write_end = os.pipe()
        said = os.fdopen(read_end, "rb", buffering=0)
        run = _Run(self._echo)
        # Shielded: one that is cancelled while it starts has started something that is to be ended.
        starting = asyncio.ensure_future(self._start(run, environment, write_end))
        self._running.add(run)
        try:
            await asyncio.shield(starting)
            await self._attend(run, content, said, progress)
        except BaseException:
            await _settled(starting)
            if run.started:
                await self._end(run)
            raise
        finally:
            self._running.discard(run)
            said.close()
            run.close()
        return run.ending()

    async def _start(self, run: "_Run", environment: Mapping[str, str], write_end: int) -> None:
        try:
            # Nothing else runs in the loop between the two: the call starts the process before it waits for anything.
            descriptor = write_end if self._slot is None else os.dup2(write_end, self._slot, inheritable=False)
            await asyncio.get_running_loop().subprocess_exec(
                lambda: run,
                *self._command,
                env={**environment, "JOBENGINE_PROGRESS": str(descriptor)},
                pass_fds=(descriptor,),
                process_group=0,
            )
        finally:
            os.close(write_end)
            self._free_slot()

    async def _attend(self, run: "_Run", content: bytes, said: FileIO, progress: Callable[[int], object]) -> None:
        """Feed it and hear it until it has ended."""
        closing = await _listen(said, _Numbers(progress))
        try:
            run.feed(content)
            await run.ended.wait()
            await _at_most(_LINGER, run.silent.wait())
        finally:
            closing()

    def _free_slot(self) -> None:
        """Let go of the pipe: it ends when those who were given it have ended."""
        if self._slot is not None:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._slot, inheritable=False)
            os.close(null)

    async def _end(self, run: "_Run") -> None:
        """End the process group, and return when it has ended."""
        now = asyncio.get_running_loop().time
        try:
            _signal(run.group, signal.SIGTERM)
            await _gone(run, now() + self._grace)
        finally:
            if _signal(run.group, signal.SIGKILL):
                await asyncio.shield(_gone(run, now() + _KILLED))


class _Run(asyncio.SubprocessProtocol):
    """A process, and what comes of it."""

    def __init__(self, echo: BinaryIO | None) -> None:
        self.ended = asyncio.Event()
        #: Set when both outputs have come to their end.
        self.silent = asyncio.Event()
        self._output, self._errors = _Beginning(), _End(echo)
        self._open = {1, 2}
        self._transport: Any = None
        #: Signals that came while it was being started.
        self._untold: list[int] = []

    @property
    def started(self) -> bool:
        """Whether there is a process."""
        return self._transport is not None

    @property
    def group(self) -> int:
        """The number of its process group."""
        pid: int = self._transport.get_pid()
        return pid

    def tell(self, number: int) -> None:
        """Send it a signal, as soon as it has started."""
        if self.started:
            _signal(self.group, number)
        else:
            self._untold.append(number)

    def feed(self, content: bytes) -> None:
        """Write all of its standard input; it need not read it."""
        pipe = self._transport.get_pipe_transport(0)
        pipe.write(content)
        pipe.close()

    def ending(self) -> Ending:
        """How it has ended."""
        code = self._transport.get_returncode()
        return Ending(code, bytes(self._output.kept), self._output.cut, bytes(self._errors.kept))

    def close(self) -> None:
        """Close the pipes, which something that it has started may hold open."""
        if self._transport is not None:
            self._transport.close()

    # What asyncio calls.

    def connection_made(self, transport: Any) -> None:
        """It was started."""
        self._transport = transport
        for number in self._untold:
            _signal(self.group, number)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Some of an output."""
        (self._output if fd == 1 else self._errors).take(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """The end of an output, or nobody reads its input any more."""
        self._open.discard(fd)
        if not self._open:
            self.silent.set()

    def process_exited(self) -> None:
        """It has ended, and was waited for."""
        self.ended.set()


async def _settled(task: "asyncio.Future[None]") -> None:
    """Return when a task that takes no time is done, even if this is cancelled."""
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({task})


async def _at_most(seconds: float, what: Coroutine[Any, Any, object]) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(what, seconds)


async def _gone(run: _Run, deadline: float) -> None:
    """Return when the process group has ended, or at the deadline."""
    now = asyncio.get_running_loop().time
    while _signal(run.group, 0) and now() < deadline:
        if run.ended.is_set():  # the first one is asyncio's to wait for
            _reap(run.group)
        await asyncio.sleep(_LOOK)


def _reap(group: int) -> None:
    """Wait for what has ended in a group and became ours when its parent ended, as it does in a container."""
    with suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG) != (0, 0):
            pass


def _signal(group: int, number: int) -> bool:
    """Send a signal to a process group; whether there is one."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _short_descriptor() -> int | None:
    """A file descriptor of one digit that is ours from now on, if one is free."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    if descriptor <= _LAST_SHORT_FD:
        return descriptor
    os.close(descriptor)
    return None


async def _listen(pipe: FileIO, numbers: "_Numbers") -> Callable[[], None]:
    """Hear what comes through a pipe; returns what closes it."""
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: numbers, pipe)
    return transport.close


class _Beginning:
    """Keeps the beginning of an output."""

    def __init__(self) -> None:
        self.kept = bytearray()
        self.cut = False

    def take(self, data: bytes) -> None:
        room = MOST_OUTPUT - len(self.kept)
        self.kept += data[:room]
        self.cut = self.cut or len(data) > room


class _End:
    """Keeps the end of an output, and shows all of it."""

    def __init__(self, echo: BinaryIO | None) -> None:
        self.kept = bytearray()
        self._echo = echo

    def take(self, data: bytes) -> None:
        self.kept += data
        del self.kept[:-MOST_ERRORS]
        if self._echo is not None:
            with suppress(OSError):  # nobody looks any more, which is no fault of the job
                self._echo.write(data)
                self._echo.flush()


class _Numbers(asyncio.Protocol):
    """Hears the numbers that are said, each with a space or a line end after it."""

    def __init__(self, heard: Callable[[int], object]) -> None:
        self._heard = heard
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        """Some of what is said."""
        *words, rest = (self._rest + data).replace(b"\n", b" ").split(b" ")
        self._rest = rest[-_LONGEST_NUMBER:]
        for word in words:
            with suppress(ValueError, OverflowError):
                number = int(float(word))
                if 0 <= number <= 100:
                    self._heard(number)
