"""
The server as one service: starts and stops its parts in order, and sets the exit code.

Exit codes are defined here only.
"""

import atexit
import errno
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, Final, NoReturn

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.logger import ILogObserver, Logger

from .. import __version__
from ..engine.door import Door
from ..http.site import JobSite
from ..storage.errors import (
    NO_ROOM,
    BadUrl,
    Damaged,
    Locked,
    NewerFormat,
    NotADatabase,
    StorageBroken,
    StorageError,
    Unclear,
    WrongSecret,
)
from .announcement import Announcement
from .clock_watch import ClockWatch, watch_clock
from .settings import BadSetting
from .systemd import Systemd

#: Seconds in which open requests must be answered when the server stops.
_DRAIN_SECONDS: Final = 3.0
#: The file descriptors needed besides those of accepted connections: files, the reactor's, and connections being
#: refused.
_SPARE_DESCRIPTORS: Final = 256


class Exit(IntEnum):
    """The exit codes of the process."""

    #: Stopped by a signal.
    STOPPED = 0
    #: The port is taken, or the database or its directory can't be opened.
    COULD_NOT = 1
    #: A setting is invalid.
    BAD_SETTING = 2
    #: The SECRET does not open the database.
    WRONG_SECRET = 3
    #: The database is damaged, not a database, or of a newer format.
    UNREADABLE = 4
    #: Another process has opened the database.
    LOCKED = 5
    #: Storage failed while the server was running; start it again to recover.
    STORAGE_FAILED = 6


_EXITS: Final[Mapping[type[Exception], Exit]] = {
    BadSetting: Exit.BAD_SETTING,
    BadUrl: Exit.BAD_SETTING,
    WrongSecret: Exit.WRONG_SECRET,
    Locked: Exit.LOCKED,
    Damaged: Exit.UNREADABLE,
    Unclear: Exit.UNREADABLE,
    NotADatabase: Exit.UNREADABLE,
    NewerFormat: Exit.UNREADABLE,
    StorageBroken: Exit.STORAGE_FAILED,
}


#: Errors at the start; the last two are raised for an invalid address or port.
_START_ERRORS: Final = (StorageError, CannotListenError, OSError, ValueError, OverflowError)


class StartError(SystemExit, Exception):
    """
    The server can't start; str() is the reason. Ends the process with the exit code for it.

    Also an Exception, because twistd handles no other errors: it removes its pid file and, after a fork, passes the
    reason to the parent process to print.
    """

    def __init__(self, reason: Exception) -> None:
        super().__init__(_EXITS.get(type(reason), Exit.COULD_NOT).value)
        self._reason = _text(reason)

    def __str__(self) -> str:
        return self._reason


def end_start(error: Exception) -> NoReturn:
    """End a process that can't start, with the reason and its exit code."""
    _print_reason(error)
    raise StartError(error)


def end_early(error: Exception) -> NoReturn:
    """
    Exit before twistd has started anything, with the reason and its exit code. Raising StartError would not do: for a
    .tac file twistd prints its traceback.
    """
    _print_reason(error)
    raise SystemExit(StartError(error).code) from None


def _print_reason(error: Exception) -> None:
    # twistd has replaced sys.stderr by its log.
    (sys.__stderr__ or sys.stderr).write(f"jobengine: {_text(error)}\n")


def _text(error: Exception) -> str:
    """The text of an error, or else the name of its class."""
    return str(error) or type(error).__name__


def about_database(error: Exception) -> Exception:
    """A StorageError with advice for an OSError of the database; any other error is returned unchanged."""
    if not isinstance(error, OSError):
        return error
    return StorageError(f"the database can't be opened or made; {_advice(error)}: {error}")


def _advice(error: OSError) -> str:
    if error.errno in NO_ROOM:
        return "free some space on its disk"
    if error.errno == errno.EROFS:
        return (
            "its file system is read-only: mount it for writing or, under a systemd unit with ProtectSystem=strict, "
            "name its directory in ReadWritePaths"
        )
    return "check DB_PATH, and its owner"


def about_log(error: OSError) -> Exception:
    """A StorageError with advice for a log file that can't be opened."""
    return StorageError(
        f"the log {error.filename} can't be opened: {error.strerror}; name other files by --logfile and --pidfile, or "
        "start in another directory"
    )


class Daemon(Service):
    """The engine and the site in front of it."""

    def __init__(
        self,
        engine: Door,
        site: JobSite,
        listener: StreamServerEndpointService,
        reactor: Any,
        systemd: Systemd,
        announcement: Announcement,
        observer: Callable[[], ILogObserver] | None = None,
        explain: Callable[[Exception], Exception] = lambda error: error,
    ) -> None:
        """
        `listener` is the service that makes `site` listen; str() of its endpoint is the address. `observer` makes the
        log observer, or is None for twistd's. `explain` adds advice to a start error.
        """
        self._engine = engine
        self._site = site
        self._listener = listener
        self._reactor = reactor
        self._systemd = systemd
        self._announcement = announcement
        self._observer = observer
        self._explain = explain
        self._clock_watch: ClockWatch | None = None
        #: The error if the engine's start failed before the reactor ran.
        self._start_error: Exception | None = None
        self._log = Logger()

    def setServiceParent(self, parent: Any) -> None:
        """Join an application. twistd takes the log observer from it, except with --logger."""
        if self._observer is not None:
            try:
                parent.setComponent(ILogObserver, self._observer())
            except OSError as error:
                end_early(about_log(error))
        super().setServiceParent(parent)

    def startService(self) -> None:
        """Open the database, then the port; if either fails, end the process before any request is accepted."""
        self._handle_signals()
        try:
            self._start()
        except _START_ERRORS as error:
            reason = self._explain(error)
            self._log.critical("{error}", error=_text(reason))
            end_start(reason)
        super().startService()
        # Twisted installs its own handlers when the reactor starts to run.
        self._reactor.callWhenRunning(self._handle_signals)

    def _start(self) -> None:
        self._log.info("JobEngine {version} is starting", version=__version__)
        # The database is opened after these warnings: if that fails, a mistyped name may be why.
        for warning in self._announcement.mistyped:
            self._log.warn("{text}", text=warning)
        for hint in self._announcement.hints:
            self._log.info("{text}", text=hint)
        self._allow_connections(self._site.limits.connections)
        try:
            self._engine.open()
        except OSError as error:
            raise about_database(error) from error
        self._clock_watch = watch_clock(self._reactor, self._engine.wall_clock_was_set)
        try:
            self._listener.startService()
        except BaseException:
            self._engine.abandon()
            raise
        self._systemd.begin()
        ensureDeferred(self._take_up())
        if self._start_error is not None:
            raise self._start_error

    def _allow_connections(self, most: int) -> None:
        needed = most + _SPARE_DESCRIPTORS
        allowed = _allow_descriptors(needed)
        if allowed < needed:
            self._log.warn(
                "MAX_CONNECTIONS is {most}, which may need {needed} open files, but the process's limit (ulimit -n) is "
                "{allowed}: raise that limit, or lower MAX_CONNECTIONS",
                most=most,
                needed=needed,
                allowed=allowed,
            )

    async def _take_up(self) -> None:
        """
        Start the engine, which recovers the stored jobs while the port is already open; end the process if recovery
        fails.
        """
        _spare_the_collector()
        try:
            await self._engine.start()
        except Exception as error:  # without an engine there is nothing to serve
            reason = about_database(error)
            if self.running:
                self._log.critical("{error}", error=_text(reason))
                self._end_with(reason)
            else:
                self._start_error = reason
        else:
            _spare_the_collector()
            await self._systemd.report_readiness()
            readiness = await self._engine.readiness()
            place = str(self._listener.endpoint)
            if readiness.ready:
                self._log.info("{text}", text=self._announcement.ready(place))
            else:
                self._log.info("JobEngine is not ready ({reason}) at {place}", reason=readiness.reason, place=place)
            for warning in self._announcement.warnings(place):
                self._log.warn("{text}", text=warning)

    def _handle_signals(self) -> None:
        """
        Stop cleanly at SIGTERM, SIGINT and SIGHUP, with exit code 0; twistd's own handlers kill the process by the
        signal. Without this, a SIGINT before the reactor runs would leave the writer thread, which keeps the process
        alive. Ignore SIGUSR1 unless it rotates a log file.
        """
        if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # A shell makes its background processes ignore SIGINT, and nohup makes a process ignore SIGHUP.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: self._reactor.callFromThread(self._end))

    def _end(self) -> None:
        """Stop the reactor, unless it is stopping already."""
        if self.running:
            self._reactor.stop()

    def stopService(self) -> "Deferred[None]":
        """Stop listening, answer open requests, make the last commit, and close."""
        super().stopService()
        self._systemd.end()
        if self._clock_watch is not None:
            self._clock_watch.stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        try:
            await maybeDeferred(self._listener.stopService)
            self._engine.release()
            drained: Deferred[None] = self._site.drain()
            drained.addTimeout(_DRAIN_SECONDS, self._reactor, onTimeoutCancel=lambda *_: None)
            await drained
        except Exception:  # the last step must run: the writer thread keeps the process alive
            self._log.failure("some open requests could not be answered")
        await self._engine.stop()

    def fail(self, error: StorageError) -> None:
        """End the process after a storage failure; open requests are answered first."""
        self._log.critical("storage has failed, the server stops: {error}", error=error)
        self._end_with(error)

    def _end_with(self, error: Exception) -> None:
        """End the process, with the reason and its exit code."""
        _print_reason(error)
        # twistd knows only the exit codes 0 and 1. Exit handlers run last, so this one sets the code.
        atexit.register(_exit, _EXITS.get(type(error), Exit.COULD_NOT))
        self._reactor.callLater(0, self._end)


def _allow_descriptors(number: int) -> int:
    """
    Raise the limit of open file descriptors to `number`, or as far as allowed; the usual 1,024 are too few for 1,000
    connections. Returns how many of `number` are allowed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def _spare_the_collector() -> None:
    """
    Exempt all present objects from garbage collection, and collect less often. Called before and after the stored jobs
    are read.

    Reference counts free nearly all garbage; for jobs that are added later, see ShortCollections.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


def _exit(code: Exit) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
