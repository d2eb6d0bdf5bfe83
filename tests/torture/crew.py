"""Owners that use one daemon at the same time, and check its contents."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from http.client import HTTPResponse, RemoteDisconnected
from typing import Any, Final

from attrs import define, field, frozen

from tests.integration.daemons import DEADLINE, Client, Daemon, Reply
from tests.integration.workers import Workforce, all_finished
from tests.integration.workers import judge as judge_workers
from tests.machine.api_driver import ApiDriver

from .owner import WITH_GROUPS, Disagreement, Owner

#: Statuses of a server that is starting or whose disk is full: the outcome is unknown.
NO_ANSWER: Final = (503, 507)


class _WholeHead(HTTPResponse):
    """An answer whose head must be complete: http.client would take a cut connection for the end of the head."""

    def begin(self) -> None:
        super().begin()
        if "X-Request-Id" not in self.headers or not (self.chunked or self.length is not None):
            raise RemoteDisconnected("the head of the answer was cut short")


class Caller(Client):
    """A client that raises ConnectionError for an incomplete answer, or an answer that leaves the outcome unknown."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._connection.response_class = _WholeHead

    def call(self, method: str, path: str, **more: Any) -> Reply:
        reply = super().call(method, path, **more)
        if reply.status in NO_ANSWER:
            raise ConnectionError(reply.body)
        return reply


@frozen
class _Server:
    """The server that an ApiDriver calls, over one connection."""

    client: Client

    def call(self, method: str, path: str, *, key: str | None = "key", **more: Any) -> Reply:
        if key not in ("key", None):
            more["headers"] = {**(more.get("headers") or {}), "X-Access-Key": key}
        if "jobs" in (more.get("body") or {}):
            # If the body is long, its queue must be named in the query, too.
            more["query"] = {"queueName": more["body"]["queue_name"]}
        return self.client.call(method, path, **more)


def server_over(client: Client) -> Any:
    """A server for an ApiDriver, over this client."""
    return _Server(client)


def require(right: bool, what: str) -> None:
    if not right:
        raise Disagreement(what)


@define
class TracedOwner(Owner):
    """An owner who records the states of its queue."""

    #: A digest of each state, in order.
    trace: list[bytes] = field(factory=list)

    def step(self) -> bool:
        answered = super().step()
        if answered:
            self.trace.append(_digest(self.known()))
        return answered

    def judge(self) -> None:
        super().judge()
        self.trace.append(_digest(self.known()))

    def judge_copy(self, begin: int) -> None:
        """Raise Disagreement unless the server holds a state that the queue has had since trace[begin]."""
        found = self.found()
        which = f"none of the {len(self.trace) - begin} states that it had meanwhile"
        require(_digest(found) in self.trace[begin:], f"queue {self.name!r} in the copy is {which}: {str(found)[:500]}")


def _digest(state: Any) -> bytes:
    return blake2b(json.dumps(state, sort_keys=True).encode(), digest_size=16).digest()


def make_owners(chance: random.Random, kind: type[Owner] = Owner, loader: bool = True) -> list[Any]:
    """
    Three owners, one of them of jobs with groups, and with `loader` one who adds and deletes long jobs, so that the
    file is compacted.
    """
    kinds: list[tuple[str, dict[str, int] | None]] = [("owner 1", None), ("owner 2", None), ("owner 3", WITH_GROUPS)]
    if loader:
        kinds.append(("loader", {"load": 1}))
    return [kind(name, ApiDriver(), random.Random(chance.random()), weights) for name, weights in kinds]


def judge_all(owners: Sequence[Owner], connect: Callable[[], Client], judge: Callable[[Any], None]) -> None:
    """Let each owner check its queue."""
    with connect() as client:
        for owner in owners:
            owner.api.server = server_over(client)
            judge(owner)


def end_work(workforce: Workforce, connect: Callable[[], Client]) -> None:
    """Let the workers finish the jobs in the queue `work`, and compare the jobs with the workers' records."""
    with connect() as client:
        jobs = all_finished(client, "work")
    workforce.end()
    verdict = judge_workers(workforce, jobs)
    require(verdict.good, f"queue 'work': {verdict}")
    require(not workforce.wrong, f"answers to workers: {workforce.wrong[:3]}")


def judge_copy(owners: Sequence[TracedOwner], begins: Sequence[int], daemon: Daemon) -> None:
    """Start a daemon on a copy, and have each owner judge it; `begins` are for TracedOwner.judge_copy, in order."""
    try:
        daemon.start()
        with Caller(daemon.port, sampled=True) as client:
            for owner, begin in zip(owners, begins, strict=True):
                owner.api.server = server_over(client)
                owner.judge_copy(begin)
    finally:
        daemon.kill()


@define
class Crew:
    """Owners at work, each in its own thread, until one of them fails or all are stopped."""

    owners: Sequence[Owner]
    connect: Callable[[], Client]
    stop: threading.Event = field(factory=threading.Event)
    wrong: list[Exception] = field(factory=list)
    _threads: list[threading.Thread] = field(factory=list)

    def start(self) -> None:
        self._threads = [threading.Thread(target=self._run, args=(owner,)) for owner in self.owners]
        for thread in self._threads:
            thread.start()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Work while the block runs; raises the first error of an owner."""
        self.start()
        try:
            self.wait_for_answers(DEADLINE)
            yield
        finally:
            self.stop.set()
            self.wait()
        if self.wrong:
            raise self.wrong[0]

    def wait(self, seconds: float | None = None) -> None:
        """Wait until each owner has lost an answer or was stopped, but at most this many seconds."""
        deadline = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))

    def wait_for_answers(self, seconds: float) -> None:
        """Wait until each owner has an answer, so that there is something to lose."""
        deadline = time.monotonic() + seconds
        while not all(owner.answered for owner in self.owners):
            require(time.monotonic() < deadline, "an owner gets no answer")
            time.sleep(0.005)

    def wait_for_one(self, seconds: float) -> None:
        """Wait until one owner has lost an answer, but at most this many seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and all(thread.is_alive() for thread in self._threads):
            time.sleep(0.005)

    def end(self) -> None:
        """Stop the owners; raises the first error of one."""
        self.stop.set()
        self.wait()
        if self.wrong:
            raise self.wrong[0]

    def _run(self, owner: Owner) -> None:
        try:
            with self.connect() as client:
                owner.api.server = server_over(client)
                while not self.stop.is_set() and owner.step():
                    pass
        except Exception as error:  # this runs in a thread: the thread that joins it raises the error again
            self.wrong.append(error)
