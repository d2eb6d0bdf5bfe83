"""
Clients fail jobs and move them back, on servers that are killed again and again.

Jobs move between a queue and its dead-letter queue all the time. At the end each job whose add was answered must be in
exactly one of the two, and no failed job may be left behind. Before each kill the order of a third queue is changed.
"""

import time
from collections import Counter
from typing import Any, Final

from attrs import define, field

from tests.integration.daemons import Reply, until

from .ageing import QUEUE as AGED
from .ageing import SECONDS, Line
from .campaigns import OnFile, OnPostgres
from .crew import Caller, require
from .crowd import Crowd, Worker

QUEUE: Final = "work"
DEAD: Final = "dead"
WORKERS: Final = 8
#: Seconds between kills.
LOADED: Final = (0.5, 2.0)
#: Jobs that are added at a time.
ADDED: Final = 20


@define
class _Worker(Worker):
    """A client in its own thread, which adds, fails, completes and moves jobs."""

    #: The uids of jobs whose adds were answered.
    added: list[str] = field(factory=list)
    done: Counter[str] = field(factory=Counter)

    def work(self, client: Caller) -> None:
        self.chance.choice([self._add, self._fail, self._fail, self._fail_matching, self._move])(client)

    def _add(self, client: Caller) -> None:
        reply = client.add_many([{"content": {}, "timeout_seconds": 1}] * ADDED, QUEUE)
        require(reply.status == 201, f"new jobs were answered with {reply}")
        self.added += [job["uid"] for job in reply.json["jobs"]]

    def _fail(self, client: Caller) -> None:
        """Fail most of the claimed jobs; a few time out, or are completed."""
        reply = client.take(QUEUE, count=self.chance.choice([1, 5, 20]))
        jobs = reply.json["jobs"] if reply.status == 200 else []
        for job in jobs:
            status = self.chance.choices(["failed", "complete", ""], [8, 1, 1])[0]
            if status:
                ended = client.change(job["uid"], QUEUE, lease=job["lease"], new_status=status)
                require(ended.status in (200, 404, 409), f"{status} was answered with {ended}")
                self.done[status] += 1

    def _fail_matching(self, client: Caller) -> None:
        body = {"queue_name": QUEUE, "filter": {"state": "queued"}, "new_status": "failed"}
        if self.chance.random() < 0.2:
            require(client.call("POST", "/api/v1/jobs", body=body).status == 200, "failing all was refused")

    def _move(self, client: Caller) -> None:
        body: dict[str, Any] = {"queue_name": DEAD, "all": True, "move_to": QUEUE}
        if self.chance.random() < 0.5:
            body["per_second"] = self.chance.choice([50, 1000])
        reply = client.call("POST", "/api/v1/jobs", body=body)
        require(reply.status == 200, f"a move was answered with {reply}")
        self.done["moved"] += reply.json["moved"]


@define
class _Campaign(Crowd):
    """Servers of one database and their clients."""

    workers: list[_Worker] = field(factory=list, init=False)
    line: Line = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.line = Line(self.chance)

    def begin(self) -> None:
        self.start_daemons()
        with self.connect() as client:
            client.make_queue(QUEUE)
            client.make_queue(DEAD)
            client.make_queue(AGED)
            reply = client.set_up(QUEUE, dead_letter={"queue_name": DEAD})
            require(reply.status == 200, f"the dead-letter queue was answered with {reply}")
        self.workers = [_Worker(*self.parts()) for _ in range(WORKERS)]
        self.start_workers(self.workers)

    def round(self) -> None:
        time.sleep(self.chance.uniform(*LOADED))
        self._reorder()
        self.kill_one()
        self.call_until_answered("the order of jobs", self.line.judge)

    def _reorder(self) -> None:
        """Change the order of the queue with ageing, so that a part of its jobs moves before the kill."""
        self.call_until_answered("new jobs", self.line.add)
        self.line.batches += 1
        self.line.seconds = self.chance.choice([one for one in SECONDS if one != self.line.seconds])
        self.call_until_answered("a new order", self.line.change)
        time.sleep(self.chance.choice([0, 0.01, 0.05]))

    def end(self) -> None:
        """Stop the clients, and check that each job is in exactly one queue."""
        self.end_workers()
        until("no job is in progress or failed", self._is_quiet)
        self._judge()
        self.check_end(sum(worker.done.total() for worker in self.workers))

    def _is_quiet(self) -> bool:
        """Whether no attempt can time out any more, and all failed jobs have moved."""
        counts = self._read("queue/stats", QUEUE)["counts"]
        return not (counts["inprogress"] or counts["failed"])

    def _read(self, path: str, queue: str) -> Any:
        def read(client: Caller) -> Reply:
            return client.call("GET", f"/api/v1/{path}", query={"name": queue})

        return self.call_until_answered(path, read).json

    def _judge(self) -> None:
        places: list[tuple[str, str]] = []
        for queue in (QUEUE, DEAD):
            places += [(job["uid"], queue) for job in self._read("queue", queue)["jobs"]]
        numbers = Counter(uid for uid, _ in places)
        twice = [uid for uid, number in numbers.items() if number > 1]
        require(not twice, f"jobs are in both queues: {twice[:3]}")
        lost = [uid for worker in self.workers for uid in worker.added if uid not in numbers]
        require(not lost, f"jobs are in neither queue: {lost[:3]}")


def dead_letters(kills: int = 10) -> OnFile:
    """The trial on a file."""
    return OnFile("dead letters", _Campaign, kills)


def postgres_dead_letters(kills: int = 10) -> OnPostgres:
    """The trial on PostgreSQL."""
    return OnPostgres("dead letters, PostgreSQL", _Campaign, kills)
