"""
Workers run jobs that depend on each other, on servers that are killed again and again.

Each worker records when it claimed and when it completed a job. No job may be claimed before all its dependencies were
completed. At the end all failed jobs are retried: then every job runs to its end, and none waits.
"""

import threading
import time
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from typing import Any, Final
from uuid import UUID

from attrs import define, field

from tests.integration.daemons import until

from .campaigns import OnFile, OnPostgres
from .crew import Caller, require
from .crowd import Crowd, Worker
from .owner import Disagreement

QUEUES: Final = ("first", "second")
WORKERS: Final = 12
#: Seconds of a lease.
LEASE: Final = 2
#: Diamonds and batches that are added at a time, and the jobs of a batch.
ADDED: Final = 6
OF_BATCH: Final = 8
#: Seconds between kills.
LOADED: Final = (0.5, 2.0)


@define
class Log:
    """What the workers recorded; times are of the monotonic clock."""

    #: The uids that each job depends on.
    needs: dict[str, list[str]] = field(factory=dict)
    #: When the completion of a job was first sent.
    ending: dict[str, float] = field(factory=dict)
    #: (uid, when its claim was answered).
    claims: list[tuple[str, float]] = field(factory=list)

    def too_early(self) -> list[tuple[str, str]]:
        """Jobs that were claimed before the completion of one of their dependencies was sent, with that dependency."""
        return [
            (uid, needed)
            for uid, began in self.claims
            for needed in self.needs.get(uid, ())
            if self.ending.get(needed, began + 1) > began
        ]


@define
class _Worker(Worker):
    """A worker in a thread of its own."""

    log: Log
    #: The outcomes to choose from for a job; at the end of the trial all jobs are completed.
    only_completes: threading.Event

    def work(self, client: Caller) -> None:
        queue = self.chance.choice(QUEUES)
        reply = client.take(queue, count=self.chance.choice([1, 1, 4]), wait=0.2)
        began = time.monotonic()
        require(reply.status in (200, 204), f"a claim was answered with {reply}")
        for job in reply.json["jobs"] if reply.status == 200 else []:
            self.log.claims.append((job["uid"], began))
            if self.only_completes.is_set() or self.chance.random() > 0.1:
                self._end(client, queue, job)

    def _end(self, client: Caller, queue: str, job: Any) -> None:
        states = ["complete"] if self.only_completes.is_set() else ["complete"] * 6 + ["failed", "failed", "queued"]
        state = self.chance.choice(states)
        if state == "complete":
            self.log.ending.setdefault(job["uid"], time.monotonic())
        reply = client.change(job["uid"], queue, lease=job["lease"], new_status=state)
        require(reply.status in (200, 404, 409), f"{state} was answered with {reply}")


@define
class _Campaign(Crowd):
    """Servers of one database, and their workers."""

    log: Log = field(factory=Log)
    _batches: int = 0
    _only_completes: threading.Event = field(factory=threading.Event)

    def begin(self) -> None:
        self.start_daemons()
        with self.connect() as client:
            for queue in QUEUES:
                client.make_queue(queue)
        self.start_workers([_Worker(*self.parts(), self.log, self._only_completes) for _ in range(WORKERS)])

    def round(self) -> None:
        for _ in range(ADDED):
            self._add_diamond()
            self._add_batch()
        time.sleep(self.chance.uniform(*LOADED))
        self.kill_one()

    def _uid(self) -> str:
        return str(UUID(int=self.chance.getrandbits(128), version=4))

    def _job(self, *needs: str, queue: str = QUEUES[0], elsewhere: str | None = None) -> dict[str, Any]:
        """A new job that depends on others of its queue, and on one of the other queue."""
        uid, on = self._uid(), [*needs] if elsewhere is None else [*needs, {"queue_name": QUEUES[0], "uid": elsewhere}]
        self.log.needs[uid] = [*needs] if elsewhere is None else [*needs, elsewhere]
        job = {"content": {}, "uid": uid, "timeout_seconds": LEASE, "max_attempts": 2, "keep_minutes": 60}
        return {**job, "depends_on": on} if on else job

    def _add_diamond(self) -> None:
        """Four jobs in a diamond, and a job of another queue that depends on its last job."""
        first = self._job()
        left, right = self._job(first["uid"]), self._job(first["uid"])
        last = self._job(left["uid"], right["uid"])
        jobs = [first, left, right, last]
        self.chance.shuffle(jobs)
        self.call_until_answered("new jobs", lambda client: client.add_many(jobs, QUEUES[0]))
        behind = self._job(queue=QUEUES[1], elsewhere=last["uid"])
        self.call_until_answered("a new job", lambda client: client.add_many([behind], QUEUES[1]))

    def _add_batch(self) -> None:
        """A batch, whose jobs are added one after the other while others run."""
        self._batches += 1
        name, queue, then = f"batch {self._batches}", self.chance.choice(QUEUES), self._job()
        body: dict[str, Any] = {"queue_name": queue, "name": name}
        self.call_until_answered(
            "a batch", lambda client: client.call("PUT", "/api/v1/batch", body={**body, "then": then})
        )
        for _ in range(OF_BATCH):
            job = {**self._job(), "batch": name}
            self.log.needs[then["uid"]].append(job["uid"])
            self.call_until_answered("a new job", partial(Caller.add_many, jobs=[job], queue=queue))
        self.call_until_answered(
            "its end", lambda client: client.call("POST", "/api/v1/batch", body={**body, "open": False})
        )

    def end(self) -> None:
        """Retry what has failed until all is complete, and judge the log."""
        self._only_completes.set()
        try:
            until("all jobs are complete", self._are_complete, 90)
        except AssertionError:
            raise Disagreement(f"these are not complete: {self._left()}") from None
        self.end_workers()
        require(not self.log.too_early(), f"jobs were claimed too early: {self.log.too_early()[:3]}")
        self.check_end(len(self.log.claims))

    def _are_complete(self) -> bool:
        with suppress(OSError, HTTPException), self.connect() as client:
            left = 0
            for queue in QUEUES:
                body = {"queue_name": queue, "filter": {"state": "failed"}, "new_status": "queued"}
                require(client.call("POST", "/api/v1/jobs", body=body).status == 200, "a retry was refused")
                counts = client.call("GET", "/api/v1/queue/stats", query={"name": queue}).json["counts"]
                left += sum(number for state, number in counts.items() if state != "complete")
            return not left
        return False

    def _left(self) -> list[str]:
        """Some jobs that are not complete, and why."""
        with self.connect() as client:
            jobs = [(queue, job) for queue in QUEUES for job in client.jobs(queue).values()]
            left = [(queue, job) for queue, job in jobs if job["state"] != "complete"]
            queries = [{"queueName": queue, "jobUID": job["uid"]} for queue, job in left[:5]]
            texts = [client.call("GET", "/api/v1/job/explain", query=query).json["reason"] for query in queries]
            return [f"{len(left)} of {len(jobs)}", *texts]


def workflows(kills: int = 6) -> OnFile:
    """The trial on a file."""
    return OnFile("dependencies", _Campaign, kills)


def postgres_workflows(kills: int = 6) -> OnPostgres:
    """The trial on PostgreSQL."""
    return OnPostgres("dependencies, PostgreSQL", _Campaign, kills)
