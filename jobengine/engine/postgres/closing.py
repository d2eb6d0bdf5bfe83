"""Ends the threads of a server's connections, even if the database does not answer."""

from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..threads import Thread

#: Seconds to wait for a database that does not answer. Together with the seconds for open requests, that is less than
#: the 10 seconds after which Docker kills a process.
_PATIENCE: Final = 5.0
_log = Logger()


async def end_threads(threads: Sequence[Thread], last: Coroutine[Any, Any, None], clock: IReactorTime) -> None:
    """
    Run `last`, which uses the threads, and end them.

    If the database does not answer, as on a frozen host, the threads are left, and the process ends without them: a
    change for which a thread still waits was not acknowledged to any caller.
    """
    late: Deferred[None] = Deferred()
    timer = clock.callLater(_PATIENCE, late.callback, None)
    done = Deferred.fromCoroutine(_idle(threads, last))
    await DeferredList([done, late], fireOnOneCallback=True, fireOnOneErrback=True)
    if timer.active():
        timer.cancel()
        for thread in threads:
            thread.stop()
    else:
        _log.warn("the database has not answered for 5 seconds: the server ends without closing its connections")


async def _idle(threads: Sequence[Thread], last: Awaitable[None]) -> None:
    """Run `last`, then wait until no thread is busy."""
    await last
    await gatherResults([thread(lambda: None) for thread in threads])
