"""What campaigns share whose clients, each in its thread, use servers that are killed again and again."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.client import HTTPException
from typing import Any

from attrs import define, field

from tests.integration.daemons import Daemon, Reply, until

from .crew import Caller, require
from .trials import Tally


@define
class Worker:
    """A client in its own thread; a subclass makes its requests in `work`."""

    connect: Callable[..., Caller]
    chance: random.Random
    stop: threading.Event
    wrong: list[Exception] = field(factory=list, init=False)

    def work(self, client: Caller) -> None:
        """Make some requests; may raise OSError or HTTPException if a server is gone."""
        raise NotImplementedError  # the workers of each campaign have their own

    def timeout(self) -> float:
        """Seconds after which the next connection gives up."""
        return 30.0

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                with self.connect(timeout=self.timeout()) as client:
                    for _ in range(self.chance.randrange(1, 30)):
                        self.work(client)
            except (OSError, HTTPException):
                time.sleep(0.02)
            except Exception as error:  # this runs in a thread: the thread that joins it raises the error again
                self.wrong.append(error)
                return


@define
class Crowd:
    """Servers of one database and their workers; a subclass makes the workers, gives them jobs and judges them."""

    daemons: Sequence[Daemon]
    chance: random.Random
    tally: Tally
    #: Kills a process, and returns when all servers are ready again.
    kill: Callable[[], None]
    stop: threading.Event = field(factory=threading.Event, init=False)
    _threads: list[threading.Thread] = field(factory=list, init=False)
    _workers: Sequence[Worker] = field(factory=list, init=False)

    def connect(self, **more: Any) -> Caller:
        return Caller(random.SystemRandom().choice(self.daemons).port, sampled=True, **more)

    def start_daemons(self) -> None:
        for daemon in self.daemons:
            daemon.start()

    def parts(self) -> tuple[Callable[..., Caller], random.Random, threading.Event]:
        """The first arguments of a worker."""
        return self.connect, random.Random(self.chance.random()), self.stop

    def start_workers(self, workers: Sequence[Worker]) -> None:
        self._workers = workers
        self._threads = [threading.Thread(target=worker.run) for worker in workers]
        for thread in self._threads:
            thread.start()

    def kill_one(self) -> None:
        """Check the servers' logs, kill a process, and check the workers."""
        require(not any("Traceback" in daemon.log for daemon in self.daemons), "there is a traceback in a log")
        self.kill()
        self.tally.kills += 1
        self._check_workers()

    def end_workers(self) -> None:
        """Stop the workers; may be called twice."""
        self.stop.set()
        for thread in self._threads:
            thread.join()

    def check_end(self, operations: int) -> None:
        """Check the workers, stop the servers, and count the requests."""
        self._check_workers()
        require(not any(daemon.stop() for daemon in self.daemons), "when told to stop, one did not exit with 0")
        self.tally.operations += operations

    def call_until_answered(self, what: str, call: Callable[[Caller], Reply]) -> Reply:
        """Call until a server answers: a killed one takes a moment to come back."""
        replies: list[Reply] = []

        def answered() -> bool:
            with suppress(OSError, HTTPException), self.connect() as client:
                replies.append(call(client))
                require(replies[-1].status in (200, 201), f"{what}: answered with {replies[-1]}")
            return bool(replies)

        until(f"{what}: answered", answered, 60)
        return replies[-1]

    def _check_workers(self) -> None:
        wrong = [error for worker in self._workers for error in worker.wrong]
        require(not wrong, f"answers to workers: {wrong[:3]}")
