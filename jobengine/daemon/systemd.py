"""Notifies systemd of the start's progress and of the stop, for a unit of Type=notify; see sd_notify(3)."""

import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ..engine.door import Readiness

#: Seconds between two messages while the server is not ready.
_STEP: Final = 1.0
#: Each message makes systemd extend its start time-out by this many microseconds: ten steps.
_PATIENCE: Final = 10_000_000


class Systemd:
    """Reports the state of one server to systemd."""

    def __init__(self, address: str, readiness: Callable[[], Awaitable[Readiness]], clock: Any) -> None:
        """`address` is NOTIFY_SOCKET: a path, or @ and an abstract name; if it is empty, no message is sent."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._readiness = readiness
        self._steps = LoopingCall(lambda: Deferred.fromCoroutine(self.report_readiness()))
        self._steps.clock = clock
        self._ended = False
        self._log = Logger()

    def begin(self) -> None:
        """Report the progress of the start now, and then every `_STEP` seconds until the server is ready."""
        if self._address:
            self._steps.start(_STEP)

    async def report_readiness(self) -> None:
        """Report that the server is ready; or else report why not, and extend the start time-out."""
        readiness = await self._readiness()
        if self._ended:
            return
        if readiness.ready:
            self._send("READY=1", "STATUS=ready")
            self._end_steps()
        else:
            self._send(f"STATUS={readiness.reason}", f"EXTEND_TIMEOUT_USEC={_PATIENCE}")

    def end(self) -> None:
        """Report that the server stops."""
        self._ended = True
        self._end_steps()
        self._send("STOPPING=1", "STATUS=stopping")

    def _end_steps(self) -> None:
        if self._steps.running:
            self._steps.stop()

    def _send(self, *assignments: str) -> None:
        if not self._address:
            return
        lines = [assignment.replace("\n", " ") for assignment in assignments]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                # The socket does not block: a slow systemd must not delay requests.
                out.setblocking(False)
                out.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            self._log.warn("systemd could not be notified of {lines}: {error}", lines=lines, error=error)
