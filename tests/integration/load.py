"""
Load from many connections, with a record, and the check of a database after a crash.

Each thread records a request before it is sent, and the states that its reply showed. Nothing that a reply showed may
be missing afterwards, unless a later request may have changed it.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from http.client import HTTPException
from itertools import count
from math import inf
from time import monotonic
from typing import Any, Final

from attrs import define, field, frozen

from .daemons import Client, Reply

GONE: Final = "gone"
STATES: Final = ("queued", "inprogress", "complete", "failed")


@define
class Attempt:
    """One request."""

    kind: str
    #: When it was about to be sent, and when its reply was read; infinite if there was none.
    began: float = field(factory=monotonic)
    ended: float = inf
    #: The number in the content of a job that it adds.
    number: str | None = None
    #: The states that it requests, by uid.
    changes: dict[str, str] = field(factory=dict)
    #: The states that its reply showed, by uid.
    shown: dict[str, str] = field(factory=dict)

    def replied(self, shown: Mapping[str, str]) -> None:
        self.ended = monotonic()
        self.shown = dict(shown)


@define
class _Thread:
    """One client, from its first request to the first that is not answered."""

    name: str
    client: Client
    queue: str
    stop: threading.Event
    #: Its requests, in order.
    attempts: list[Attempt] = field(factory=list)
    #: Answers that are wrong.
    wrong: list[Reply] = field(factory=list)
    _random: random.Random = field(init=False)
    _known: list[str] = field(factory=list)

    def run(self) -> None:
        self._random = random.Random(self.name)
        steps: list[tuple[Callable[[str], None], int]] = [
            (self._add, 35),
            (self._claim, 20),
            (self._update, 20),
            (self._delete, 8),
            (self._read, 10),
            (self._peek, 5),
            (self._list, 2),
        ]
        choices, weights = zip(*steps, strict=True)
        numbers = count()
        with self.client:
            while not self.stop.is_set():
                (step,) = self._random.choices(choices, weights)
                try:
                    step(f"{self.name}-{next(numbers)}")
                except (OSError, HTTPException):
                    return

    def _add(self, number: str) -> None:
        attempt = self._attempt(Attempt("add", number=number))
        reply = self.client.add({"n": number}, self.queue, priority=self._random.randrange(3))
        attempt.replied(self._job(reply, 201))

    def _claim(self, _: str) -> None:
        attempt = self._attempt(Attempt("claim"))
        reply = self.client.claim(self.queue)
        if reply.status == 200:
            attempt.changes = {reply.json["uid"]: "inprogress"}
        attempt.replied(self._job(reply, 200, 204))

    def _update(self, _: str) -> None:
        if self._known:
            uid, state = self._random.choice(self._known), self._random.choice(STATES)
            attempt = self._attempt(Attempt("update", changes={uid: state}))
            self._changed(attempt, self.client.update(uid, state, self.queue), 200)

    def _delete(self, _: str) -> None:
        if self._known:
            uid = self._random.choice(self._known)
            attempt = self._attempt(Attempt("delete", changes={uid: GONE}))
            self._changed(attempt, self.client.delete(uid, self.queue), 204)

    def _read(self, _: str) -> None:
        if self._known:
            uid = self._random.choice(self._known)
            attempt = self._attempt(Attempt("read"))
            reply = self.client.read(uid, self.queue)
            attempt.replied({uid: GONE} if reply.status == 404 else self._job(reply, 200))

    def _peek(self, _: str) -> None:
        attempt = self._attempt(Attempt("peek"))
        attempt.replied(self._job(self.client.peek(self.queue), 200, 204))

    def _list(self, _: str) -> None:
        attempt = self._attempt(Attempt("list"))
        reply = self.client.list(self.queue)
        self._expect(reply, 200)
        attempt.replied({job["uid"]: job["state"] for job in reply.json["jobs"]})

    def _attempt(self, attempt: Attempt) -> Attempt:
        self.attempts.append(attempt)
        return attempt

    def _job(self, reply: Reply, *expected: int) -> dict[str, str]:
        self._expect(reply, *expected)
        if reply.status not in (200, 201):
            return {}
        job = reply.json
        self._known.append(job["uid"])
        return {job["uid"]: job["state"]}

    def _changed(self, attempt: Attempt, reply: Reply, expected: int) -> None:
        self._expect(reply, expected, 404)
        if reply.status == 404:
            attempt.changes = dict.fromkeys(attempt.changes, GONE)
        attempt.replied(attempt.changes)

    def _expect(self, reply: Reply, *expected: int) -> None:
        if reply.status not in expected:
            self.wrong.append(reply)


@define
class Load:
    """A number of threads that put load on a queue."""

    _make_client: Callable[[], Client]
    queue: str
    connections: int = 16
    _stop: threading.Event = field(factory=threading.Event)
    _threads: list[tuple[_Thread, threading.Thread]] = field(factory=list)

    def start(self) -> None:
        for number in range(self.connections):
            client = _Thread(f"{self.queue}/{number}", self._make_client(), self.queue, self._stop)
            thread = threading.Thread(target=client.run)
            self._threads.append((client, thread))
            thread.start()

    @property
    def sent(self) -> int:
        """How many requests it has sent so far."""
        return sum(len(client.attempts) for client, _ in self._threads)

    def end(self) -> list[Attempt]:
        """Wait until every thread has stopped; returns all requests."""
        self._stop.set()
        for _, thread in self._threads:
            thread.join()
        wrong = [reply for client, _ in self._threads for reply in client.wrong]
        assert not wrong, wrong[:5]
        return [attempt for client, _ in self._threads for attempt in client.attempts]


@frozen
class Verdict:
    """What was lost or invented: the difference between the recorded requests and the jobs after the crash."""

    #: (uid, state shown, state found) of jobs that are not as they were shown, and that no later request changed.
    lost: list[tuple[str, str, str]]
    #: Numbers of jobs that were never added, or exist twice.
    made_up: list[str]
    #: How many states had been shown.
    shown: int

    @property
    def good(self) -> bool:
        return not self.lost and not self.made_up


def judge(attempts: Iterable[Attempt], found: Mapping[str, Any]) -> Verdict:
    """Compare the jobs that were found (by uid) with the recorded requests and replies."""
    attempts = list(attempts)
    changes: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        for uid in attempt.changes:
            changes.setdefault(uid, []).append(attempt)
    # A claim that was not answered may have taken any job, but one only.
    unanswered_claims = sum(a.kind == "claim" and a.ended == inf for a in attempts)
    claimed: set[str] = set()
    lost = []
    for shown in attempts:
        for uid, state in shown.shown.items():
            now = found[uid]["state"] if uid in found else GONE
            if now == state or any(c.ended >= shown.began and c.changes[uid] == now for c in changes.get(uid, ())):
                continue
            if now == "inprogress" and len(claimed | {uid}) <= unanswered_claims:
                claimed.add(uid)
            else:
                lost.append((uid, state, now))
    return Verdict(lost, _made_up(attempts, found), sum(len(a.shown) for a in attempts))


def _made_up(attempts: Iterable[Attempt], found: Mapping[str, Any]) -> list[str]:
    attempted = {attempt.number for attempt in attempts if attempt.number is not None}
    numbers = Counter(job["content"]["n"] for job in found.values())
    return [number for number, times in numbers.items() if times > 1 or number not in attempted]
