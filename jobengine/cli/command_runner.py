"""
Runs one command for a job: passes in the content, limits the outputs, and turns the exit code into a verdict.

The command has its own process group. So Ctrl-C at the worker's terminal does not reach the command, and killing the
group also kills the command's child processes.
"""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from math import inf
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Final, Literal, NamedTuple

from ..client.encoding import encode_text
from ..wire.strict_json import MOST_VALUES, NotStrict, check
from ..worker import Fail, RunningJob

#: The most bytes of standard output to keep: a result can't be longer.
MOST_OUTPUT: Final = 1 << 20
#: The server's limits on nesting and on values, minus what the update needs around the result.
_DEPTH: Final = 32 - 3
_VALUES: Final = MOST_VALUES - 100
#: The most bytes of standard error to keep, from its end: an error can't be longer.
MOST_ERRORS: Final = 4096
#: Seconds between SIGTERM and SIGKILL.
_GRACE: Final = 10.0
#: Seconds for a killed process to disappear.
_KILLED: Final = 5.0
#: Seconds to read the outputs after the command's end: other processes may hold them open.
_LINGER: Final = 1.0
#: Seconds between checks whether a process group has ended.
_LOOK: Final = 0.05
#: The highest file descriptor that every shell can write to as `>&N`.
_LAST_SHORT_FD: Final = 9
#: The longest hold that the server accepts, in seconds.
_LONGEST_HOLD: Final = 86_400
#: The most bytes of a number that a command reports.
_LONGEST_NUMBER: Final = 32
#: Secrets and settings that are removed from the command's environment.
_KEPT_BACK: Final = ("JOBENGINE_ACCESS_KEY", "JOBENGINE_ADMIN_KEY", "JOBENGINE_PROFILE", "JOBENGINE_LEASE")
#: The variable with the path of a file about the jobs for which a job has waited: their states and results.
_DEPENDENCIES: Final = "JOBENGINE_DEPENDENCIES"
#: Logged when a command prints something other than JSON, but only once: many commands print text.
NO_JSON: Final = "its output was not kept as the result: it is not JSON"
#: From sysexits.h.
_EX_DATAERR: Final = 65
_EX_TEMPFAIL: Final = 75


class Ending(NamedTuple):
    """How a command ended."""

    #: The command's exit code, or minus the number of the signal that killed the command.
    code: int
    #: The beginning of the command's standard output.
    output: bytes = b""
    #: Whether there was more output.
    cut: bool = False
    #: The end of the command's standard error.
    errors: bytes = b""
    #: The hold that the command requested last, in seconds.
    hold: int = 0


class Verdict(NamedTuple):
    """The outcome for the job."""

    kind: Literal["complete", "release", "failed", "failed permanently"]
    #: Any JSON; None stands for no result.
    result: Any = None
    error: str = ""
    #: A note for the worker's operator.
    note: str = ""
    #: Seconds for which the job's group is held, if the job is released.
    hold: int = 0


def environment_of(base: Mapping[str, str], job: RunningJob) -> dict[str, str]:
    """
    The environment of a command: the worker's without keys, and variables about the job. JOBENGINE_DEPENDENCIES has
    the contents of a file, up to 1 MiB; `CommandRunner.run` writes the file, and puts its path into the variable.
    """
    about = {
        "JOBENGINE_QUEUE": job.queue,
        "JOBENGINE_UID": job.uid,
        "JOBENGINE_ATTEMPT": str(job.attempts),
        "JOBENGINE_PRIORITY": str(job.job.priority),
        "JOBENGINE_GROUP": job.group,
        "JOBENGINE_TAGS": encode_text(job.tags) if job.tags else None,
        "JOBENGINE_META": None if job.job.meta is None else encode_text(job.job.meta),
        _DEPENDENCIES: encode_text(job.job.raw["dependencies"]) + "\n" if job.job.dependencies else None,
    }
    return {
        **{name: value for name, value in base.items() if name not in _KEPT_BACK and name not in about},
        # The system forbids the character NUL, which names may have.
        **{name: value.replace("\0", "\ufffd") for name, value in about.items() if value is not None},
    }


def verdict(ending: Ending) -> Verdict:
    """The outcome of a job whose command has ended."""
    found = _verdict(ending)
    if ending.hold and not found.hold:
        return found._replace(note=f"its hold was ignored, since it did not end with exit code {_EX_TEMPFAIL}")
    return found


def _verdict(ending: Ending) -> Verdict:
    if ending.code == 0:
        return _complete(ending)
    if ending.code == _EX_TEMPFAIL:
        return Verdict("release", hold=ending.hold)
    error = ending.errors.decode(errors="replace").strip() or _how(ending.code)
    return Verdict("failed permanently" if ending.code == _EX_DATAERR else "failed", error=error)


def _complete(ending: Ending) -> Verdict:
    if ending.cut:
        return _without_result(f"it is longer than {MOST_OUTPUT} bytes")
    try:
        result = json.loads(ending.output, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return Verdict("complete", note=NO_JSON if ending.output.strip() else "")
    try:
        _check(result)
    except UnicodeEncodeError:
        return _without_result("it has half of a surrogate pair in a string")
    except (ValueError, RecursionError) as error:
        return _without_result(str(error))
    return Verdict("complete", result=result)


def _without_result(why: str) -> Verdict:
    return Verdict("complete", note=f"its output was not kept as the result: {why}")


def _check(result: Any) -> None:
    """Raise ValueError or RecursionError if a server with default limits would refuse this result."""
    text = encode_text(result).encode()
    if len(text) > MOST_OUTPUT:
        raise NotStrict(f"it is longer than {MOST_OUTPUT} bytes")
    check(text, _DEPTH, _VALUES)


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
        #: Where the commands' standard error is also written.
        self._echo = echo
        #: The file descriptors of the pipes for progress and holds.
        self._slots = _Slot(), _Slot()
        self._running: set[_Run] = set()
        #: Whether NO_JSON was logged.
        self.has_logged_text = False

    def signal(self, number: int) -> None:
        """Send a signal to all commands that are running or starting."""
        for run in self._running:
            run.send_signal(number)

    async def run(
        self, content: bytes, environment: Mapping[str, str], progress: Callable[[int], object], *more: str
    ) -> Ending:
        """
        Run a command, with `more` arguments, and return its ending; `progress` is called with each number from 0 to 100
        that the command reports. Raises OSError if the command can't be started. If this coroutine is cancelled, the
        process group gets SIGTERM, and SIGKILL after the grace, or at once after a second cancellation.
        """
        run = _Run(self._echo)
        pipes = [
            _Pipe("JOBENGINE_PROGRESS", _Numbers(progress, most=100)),
            _Pipe("JOBENGINE_HOLD", _Numbers(run.take_hold)),
        ]
        # Shielded: after a cancellation during the start, the started process must still be ended.
        starting = asyncio.ensure_future(self._start(run, environment, pipes, more))
        self._running.add(run)
        try:
            await asyncio.shield(starting)
            await self._attend(run, content, pipes)
        except BaseException:
            await _settled(starting)
            if run.started:
                await self._end(run)
            raise
        finally:
            self._running.discard(run)
            for pipe in pipes:
                pipe.reader.close()
            run.close()
        return run.ending()

    async def _start(
        self, run: "_Run", environment: Mapping[str, str], pipes: "Sequence[_Pipe]", more: Sequence[str]
    ) -> None:
        with ExitStack() as stack:
            places = {
                pipe.variable: stack.enter_context(slot.holding(pipe.writer))
                for slot, pipe in zip(self._slots, pipes, strict=True)
            }
            passed, variables = [*places.values()], {variable: str(place) for variable, place in places.items()}
            if (dependencies := environment.get(_DEPENDENCIES)) is not None:
                passed.append(stack.enter_context(_nameless_file(dependencies.encode())))
                variables[_DEPENDENCIES] = f"/dev/fd/{passed[-1]}"
            await asyncio.get_running_loop().subprocess_exec(
                lambda: run,
                *self._command,
                *more,
                env={**environment, **variables},
                pass_fds=passed,
                process_group=0,
            )

    async def _attend(self, run: "_Run", content: bytes, pipes: "Sequence[_Pipe]") -> None:
        """Write the command's input, and read its outputs and numbers, until the command has ended."""
        closing = [await _listen(pipe.reader, pipe.numbers) for pipe in pipes]
        try:
            run.feed(content)
            await run.ended.wait()
            # The command may end before all of its output is read: wait for the rest.
            await _at_most(_LINGER, asyncio.gather(run.silent.wait(), *[pipe.numbers.ended.wait() for pipe in pipes]))
        finally:
            for close in closing:
                close()

    async def _end(self, run: "_Run") -> None:
        """End the process group, and wait until it has ended."""
        now = asyncio.get_running_loop().time
        try:
            _signal(run.group, signal.SIGTERM)
            await _gone(run, now() + self._grace)
        finally:
            if _signal(run.group, signal.SIGKILL):
                await asyncio.shield(_gone(run, now() + _KILLED))


class _Pipe:
    """A pipe on which a command reports numbers."""

    def __init__(self, variable: str, numbers: "_Numbers") -> None:
        #: The environment variable that has the number of the pipe's file descriptor.
        self.variable = variable
        #: Reads the pipe.
        self.numbers = numbers
        read_end, write_end = os.pipe()
        self.reader = os.fdopen(read_end, "rb", buffering=0)
        self.writer = os.fdopen(write_end, "wb", buffering=0)


class _Run(asyncio.SubprocessProtocol):
    """A process and its pipes."""

    def __init__(self, echo: BinaryIO | None) -> None:
        self.ended = asyncio.Event()
        #: Set when both outputs have ended.
        self.silent = asyncio.Event()
        self._output, self._errors = _Beginning(), _End(echo)
        #: The hold that the command requested last, in seconds.
        self._hold = 0
        self._open = {1, 2}
        self._transport: Any = None
        #: Signals to send once the process has started.
        self._unsent_signals: list[int] = []

    @property
    def started(self) -> bool:
        """Whether the process has started."""
        return self._transport is not None

    @property
    def group(self) -> int:
        """The id of the process group."""
        pid: int = self._transport.get_pid()
        return pid

    def send_signal(self, number: int) -> None:
        """Send the process a signal, now or once the process has started."""
        if self.started:
            _signal(self.group, number)
        else:
            self._unsent_signals.append(number)

    def feed(self, content: bytes) -> None:
        """Write the command's standard input, even if the command does not read it."""
        pipe = self._transport.get_pipe_transport(0)
        pipe.write(content)
        pipe.close()

    def take_hold(self, seconds: int) -> None:
        """Record the hold that the command has requested."""
        self._hold = min(seconds, _LONGEST_HOLD)

    def ending(self) -> Ending:
        """How the command ended."""
        code = self._transport.get_returncode()
        return Ending(code, bytes(self._output.kept), self._output.cut, bytes(self._errors.kept), self._hold)

    def close(self) -> None:
        """Close the pipes, which other processes may hold open."""
        if self._transport is not None:
            self._transport.close()

    # Callbacks of asyncio

    def connection_made(self, transport: Any) -> None:
        """Record that the process has started, and send it the waiting signals."""
        self._transport = transport
        for number in self._unsent_signals:
            _signal(self.group, number)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Keep output of the command."""
        (self._output if fd == 1 else self._errors).take(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Record that an output has ended, or that the input is no longer read."""
        self._open.discard(fd)
        if not self._open:
            self.silent.set()

    def process_exited(self) -> None:
        """Record that the process has ended; asyncio has reaped it already."""
        self.ended.set()


async def _settled(task: "asyncio.Future[None]") -> None:
    """Wait for a task that is about to end, even if this coroutine is cancelled."""
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({task})


async def _at_most(seconds: float, what: Awaitable[object]) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(what, seconds)


async def _gone(run: _Run, deadline: float) -> None:
    """Wait until the process group has ended, or until the deadline."""
    now = asyncio.get_running_loop().time
    while _signal(run.group, 0) and now() < deadline:
        if run.ended.is_set():  # asyncio waits for the first process itself
            _reap(run.group)
        await asyncio.sleep(_LOOK)


def _reap(group: int) -> None:
    """Reap orphans of the group whose parent is now this process, as in a container."""
    with suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG) != (0, 0):
            pass


def _signal(group: int, number: int) -> bool:
    """Send a signal to a process group; returns whether the group exists."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


class _Slot:
    """The number of a pipe's file descriptor in a command: of one digit, if such a number is free."""

    def __init__(self) -> None:
        #: The number, which /dev/null occupies between two commands; None if no number of one digit was free.
        self._number: int | None = os.open(os.devnull, os.O_WRONLY)
        if self._number > _LAST_SHORT_FD:
            os.close(self._number)
            self._number = None

    @contextmanager
    def holding(self, writer: FileIO) -> Iterator[int]:
        """
        Put a pipe at the descriptor while a command starts; then close this process's copies, so that the pipe ends
        when the command's processes end.

        Commands that start at the same time do not disturb each other: nothing is awaited between `dup2` and the fork.
        """
        try:
            place = writer.fileno()
            yield place if self._number is None else os.dup2(place, self._number, inheritable=False)
        finally:
            writer.close()
            if self._number is not None:
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self._number, inheritable=False)
                os.close(null)


@contextmanager
def _nameless_file(content: bytes) -> Iterator[int]:
    """The descriptor of a file with this content, which is gone once nobody has it open; on Linux it is in memory."""
    memfd_create = getattr(os, "memfd_create", None)
    with TemporaryFile() if memfd_create is None else open(memfd_create("jobengine"), "w+b") as file:
        file.write(content)
        file.flush()
        yield file.fileno()


async def _listen(pipe: FileIO, numbers: "_Numbers") -> Callable[[], None]:
    """Start to read a pipe; returns a function that closes it."""
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: numbers, pipe)
    return transport.close


class _Beginning:
    """Keeps the first bytes of an output."""

    def __init__(self) -> None:
        self.kept = bytearray()
        self.cut = False

    def take(self, data: bytes) -> None:
        """Keep as many of the bytes as the limit allows."""
        room = MOST_OUTPUT - len(self.kept)
        self.kept += data[:room]
        self.cut = self.cut or len(data) > room


class _End:
    """Keeps the last bytes of an output, and copies all bytes to `echo`."""

    def __init__(self, echo: BinaryIO | None) -> None:
        self.kept = bytearray()
        self._echo = echo

    def take(self, data: bytes) -> None:
        """Keep the last bytes, and copy all to `echo`."""
        self.kept += data
        del self.kept[:-MOST_ERRORS]
        if self._echo is not None:
            with suppress(OSError):  # a closed standard error of the worker is no error of the job
                self._echo.write(data)
                self._echo.flush()


class _Numbers(asyncio.Protocol):
    """Reads numbers, which are separated by white space."""

    def __init__(self, report: Callable[[int], object], most: float = inf) -> None:
        self._report = report
        #: A larger number is ignored.
        self._most = most
        self._rest = b""
        #: Set when the pipe has ended.
        self.ended = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        """The pipe was closed."""
        self.ended.set()

    def eof_received(self) -> None:
        """The pipe has ended, perhaps with a number."""
        self.data_received(b"\n")

    def data_received(self, data: bytes) -> None:
        *words, rest = (self._rest + data).replace(b"\n", b" ").split(b" ")
        self._rest = rest[-_LONGEST_NUMBER:]
        for word in words:
            with suppress(ValueError, OverflowError):
                number = int(float(word))
                if 0 <= number <= self._most:
                    self._report(number)


class CommandFailed(Fail):
    """The command has failed. The class name appears in the log as `error_type`."""
