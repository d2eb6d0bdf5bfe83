"""
Workers that record which job each held and when, and the comparison of these records with the jobs' histories.

Some work correctly, some die silently, and some go on after their lease has expired and try to finish then.
"""

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from http.client import HTTPException
from itertools import count, pairwise
from time import monotonic
from typing import Any, Final

from attrs import define, field, frozen

from .daemons import Client, Reply, until

#: Seconds that a claim waits. Short, since a hold counts from when the claim was sent.
WAIT: Final = 0.2
#: If a server was killed within this many seconds after an empty answer to a claim, that claim may hold a job.
NEAR: Final = 1
#: Seconds by which the clocks of the worker and of the server may differ in counting a lease: both in milliseconds.
ROUNDING: Final = 0.005


class Kind(Enum):
    #: A kind of worker that sends heartbeats while it works, and finishes in time.
    GOOD = "good"
    #: A kind that works without heartbeats for longer than its lease, and then tries to finish.
    SLOW = "slow"
    #: A kind that dies at every other job; another worker replaces it.
    MORTAL = "mortal"


@define
class Hold:
    """One attempt at a job, as its worker saw it; times are of the monotonic clock."""

    worker: str
    uid: str
    number: int
    lease: str = field(repr=False)
    timeout: float
    #: When the answer to its claim arrived; the server made the claim earlier.
    began: float
    #: When the last request was sent whose answer confirmed the lease; the server carried it out later.
    renewed: float
    #: The last request that may have renewed the lease was carried out before this time, or never.
    touched: float
    #: When the request that finished it was sent, if it was answered with 200.
    finished: float | None = None
    #: "complete" or "failed" if it was finished, "timeout" if the lease was lost or left to end.
    outcome: str = "timeout"
    #: When the first request to finish the job without an answer was sent, and with which outcome.
    unanswered: tuple[float, str] | None = None

    @property
    def surely_until(self) -> float:
        """The worker certainly held the job until this time, maybe longer."""
        ends = [self.renewed + self.timeout - ROUNDING]
        if self.finished is not None:
            ends.append(self.finished)
        if self.unanswered is not None:
            ends.append(self.unanswered[0])
        return min(ends)

    @property
    def outcomes(self) -> set[str]:
        """The outcomes that the job's history may have: after a lost answer, the repeated failure may be refused."""
        if self.finished is not None or self.unanswered is None:
            return {self.outcome}
        return {self.outcome, self.unanswered[1]}


@define
class Reconnecting:
    """A client that connects on demand, and reconnects after `hang_up`."""

    make_client: Callable[[], Client]
    _client: Client | None = None

    def client(self) -> Client:
        if self._client is None:
            self._client = self.make_client()
        return self._client

    def hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None


@define
class Worker:
    """A sequence of workers: whenever one dies, a new one with a new name replaces it."""

    place: int
    kind: Kind
    make_client: Callable[[], Client]
    stop: threading.Event
    queue: str = "q"
    holds: list[Hold] = field(factory=list)
    #: Names of workers whose claim got no answer: each may have claimed a job.
    unanswered: list[str] = field(factory=list)
    #: Names of workers whose claim got no job, with the time of the answer.
    empty: list[tuple[str, float]] = field(factory=list)
    #: Answers that are wrong.
    wrong: list[tuple[str, Hold | None, Reply]] = field(factory=list)
    deaths: int = 0
    #: The number of finishes that were refused because the lease had ended.
    refused: int = 0
    _connection: Reconnecting = field(init=False)
    _random: random.Random = field(init=False)

    def run(self) -> None:
        self._connection, self._random = Reconnecting(self.make_client), random.Random(self.place)
        names = (f"{self.kind.value}-{self.place}-{life}" for life in count())
        name = next(names)
        while not self.stop.is_set():
            if (hold := self._claim(name)) is not None and not self._work(hold):
                self._connection.hang_up()
                self.deaths += 1
                name = next(names)
        self._connection.hang_up()

    def _claim(self, name: str) -> Hold | None:
        sent = monotonic()
        try:
            reply = self._connection.client().take(self.queue, wait=WAIT, worker=name)
        except (OSError, HTTPException):
            self.unanswered.append(name)
            self._connection.hang_up()
            time.sleep(0.05)
            return None
        began = monotonic()
        if _is_starting(reply):
            time.sleep(0.05)
            return None
        if reply.status != 200:
            self._expect(reply.status == 204, "claim", None, reply)
            self.empty.append((name, began))
            return None
        (job,) = reply.json["jobs"]
        hold = Hold(name, job["uid"], job["attempts"], job["lease"], job["timeout_seconds"], began, sent, began)
        self.holds.append(hold)
        return hold

    def _work(self, hold: Hold) -> bool:
        """Work on a job; returns whether the worker is still alive afterwards."""
        if self.kind is Kind.SLOW and self._random.random() < 0.5:
            time.sleep(hold.timeout + self._random.uniform(0.05, 0.5))
        elif self.kind is Kind.MORTAL and self._random.random() < 0.5:
            time.sleep(self._random.uniform(0, 0.3))
            return False
        elif not self._beat(hold, self._random.choice([0.02, 0.1, 0.3, 2.5])):
            return True
        self._finish(hold)
        return True

    def _beat(self, hold: Hold, seconds: float) -> bool:
        """Work for this many seconds, with heartbeats; returns whether the job is still held afterwards."""
        end = monotonic() + seconds
        while (left := end - monotonic()) > 0:
            time.sleep(min(left, hold.timeout / 4))
            if not self._update(hold, new_status="inprogress"):
                return False
        return True

    def _finish(self, hold: Hold) -> None:
        if self._random.random() < 0.2:
            outcome, changes = "failed", {"new_status": "failed", "error": "bad luck"}
        else:
            outcome, changes = "complete", {"new_status": "complete", "result": hold.worker}
        sent = monotonic()
        if self._update(hold, **changes):
            hold.finished, hold.outcome = sent, outcome
        else:
            self.refused += 1

    def _update(self, hold: Hold, **changes: Any) -> bool:
        """Update the job, repeating the request until there is an answer; returns whether the job was still held."""
        while True:
            sent = monotonic()
            try:
                reply = self._connection.client().change(hold.uid, self.queue, lease=hold.lease, **changes)
            except (OSError, HTTPException):
                hold.touched = monotonic()
                if hold.unanswered is None and changes["new_status"] != "inprogress":
                    hold.unanswered = (sent, changes["new_status"])
                self._connection.hang_up()
                if self.stop.is_set():
                    # The server may be down, and not answer.
                    return False
                time.sleep(0.05)
                continue
            if _is_starting(reply):
                time.sleep(0.05)
                continue
            self._expect(reply.status in (200, 409), "update", hold, reply)
            if reply.status == 200:
                over = sent > hold.touched + hold.timeout + ROUNDING
                self._expect(not over, "an update after the end of the lease", hold, reply)
                hold.renewed, hold.touched = sent, monotonic()
            return reply.status == 200

    def _expect(self, right: bool, what: str, hold: Hold | None, reply: Reply) -> None:
        if not right:
            self.wrong.append((what, hold, reply))


@define
class Workforce:
    """Workers, each in a thread of its own."""

    workers: list[Worker]
    stop: threading.Event
    #: When servers were killed. A server may still claim a job for a claim that it has answered without a job; it
    #: releases that job, unless it is killed first.
    kills: list[float] = field(factory=list)
    _threads: list[threading.Thread] = field(factory=list)

    @classmethod
    def of(cls, make_client: Callable[[], Client], queue: str = "q", **numbers: int) -> "Workforce":
        """A workforce with this many workers of each kind, by its name in lower case."""
        stop = threading.Event()
        kinds = [Kind(name) for name, number in numbers.items() for _ in range(number)]
        return cls([Worker(place, kind, make_client, stop, queue) for place, kind in enumerate(kinds)], stop)

    def start(self) -> None:
        self._threads = [threading.Thread(target=worker.run) for worker in self.workers]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def holds(self) -> list[Hold]:
        return [hold for worker in self.workers for hold in worker.holds]

    @property
    def unanswered(self) -> Counter[str]:
        names = Counter(name for worker in self.workers for name in worker.unanswered)
        empty = (one for worker in self.workers for one in worker.empty)
        return names + Counter(name for name, at in empty if any(abs(at - kill) < NEAR for kill in self.kills))

    @property
    def wrong(self) -> list[Any]:
        return [wrong for worker in self.workers for wrong in worker.wrong]


def add_jobs(client: Client, number: int, queue: str = "q", **content: Any) -> None:
    """Add jobs whose leases are short, with one to four attempts."""
    jobs = [
        {"content": content, "timeout_seconds": 1 + n % 2, "max_attempts": 1 + n % 4, "tags": ["work"]}
        for n in range(number)
    ]
    assert client.add_many(jobs, queue).status == 201


def all_finished(client: Client, queue: str = "q") -> dict[str, Any]:
    """Wait until no job is queued or in progress; returns all jobs by uid."""

    def nothing_left() -> bool:
        counts = client.call("GET", "/api/v1/queue/stats", query={"name": queue}).json["counts"]
        return not counts["queued"] and not counts["inprogress"]

    until("all jobs are finished", nothing_left, seconds=60)
    return client.jobs(queue)


def held_twice(holds: Iterable[Hold]) -> list[tuple[Hold, Hold]]:
    """Pairs of holds of one job that overlap in time, or have the same attempt number."""
    by_uid: dict[str, list[Hold]] = defaultdict(list)
    for hold in holds:
        by_uid[hold.uid].append(hold)
    pairs = []
    for of_one in by_uid.values():
        of_one.sort(key=lambda hold: hold.number)
        pairs += [
            (one, next_)
            for one, next_ in pairwise(of_one)
            if one.number == next_.number or next_.began < one.surely_until
        ]
    return pairs


@frozen
class Verdict:
    """The differences between the jobs' histories and the workers' records."""

    #: Jobs that are neither complete nor failed after all their attempts.
    unfinished: list[Any]
    #: Jobs whose attempts differ from the workers' records, with these records.
    miscounted: list[tuple[Any, list[Hold]]]

    @property
    def good(self) -> bool:
        return not self.unfinished and not self.miscounted


def judge(workforce: Workforce, jobs: Mapping[str, Any]) -> Verdict:
    """Compare the jobs at the end with the workers' records."""
    by_uid: dict[str, list[Hold]] = defaultdict(list)
    for hold in workforce.holds:
        by_uid[hold.uid].append(hold)
    unanswered = workforce.unanswered
    unfinished = [job for job in jobs.values() if not _has_finished(job)]
    miscounted = [(job, by_uid[uid]) for uid, job in jobs.items() if not _matches_records(job, by_uid[uid], unanswered)]
    return Verdict(unfinished, miscounted)


def _has_finished(job: Any) -> bool:
    attempts, outcomes = job.get("attempts"), [attempt["outcome"] for attempt in job.get("history", ())]
    if job["state"] == "complete":
        return "complete" not in outcomes[:-1] and outcomes[-1:] == ["complete"]
    return job["state"] == "failed" and attempts == job.get("max_attempts", 1) and "complete" not in outcomes


def _matches_records(job: Any, holds: Iterable[Hold], unanswered: Counter[str]) -> bool:
    """Whether each attempt is in a worker's record, or may belong to a claim without an answer."""
    history = job.get("history", [])
    known = {hold.number: hold for hold in holds}
    if len(history) != job.get("attempts", 0) or not set(known) <= set(range(1, len(history) + 1)):
        return False
    for number, attempt in enumerate(history, 1):
        hold = known.get(number)
        if hold is None:
            # The answer to its claim was lost with the server; no worker can have finished it.
            if not unanswered[attempt["worker"]] or attempt["outcome"] != "timeout":
                return False
            unanswered[attempt["worker"]] -= 1
        elif hold.worker != attempt["worker"] or attempt["outcome"] not in hold.outcomes:
            return False
    return True


def _is_starting(reply: Reply) -> bool:
    """Whether the server is still reading its database, and has carried nothing out."""
    return reply.status == 503 and "recovering" in reply.json["detail"]
