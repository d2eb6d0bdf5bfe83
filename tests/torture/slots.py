"""
Fifty clients of a queue with limits, on servers that are killed again and again.

Each client records when it certainly held a job: from its claim's answer until it requested the job's end, or until
its lease ran out. At no moment may more jobs be in progress than the limits allowed; and when all is quiet, every slot
is free again, and no job is held that could run.
"""

import time
from collections import defaultdict
from collections.abc import Iterable
from itertools import count
from math import inf
from typing import Any, Final

from attrs import define, field

from tests.integration.daemons import until

from .campaigns import OnFile, OnPostgres
from .crew import Caller, require
from .crowd import Crowd, Worker

QUEUE: Final = "limited"
CLIENTS: Final = 50
GROUPS: Final = (None, *(f"customer {number}" for number in range(15)))
#: A group with a limit of its own.
SPECIAL: Final = "customer 0"
OF_SPECIAL: Final = 3
#: The limits at the beginning, and the values to which they are changed.
OF_ALL: Final = 20
OF_EACH: Final = 2
CHANGED: Final = {"limits": (5, 10, 20, 30), "group_limits": (1, 2, 2, 3)}
#: Seconds of a lease, and the most seconds by which the clocks of a client and the server may differ.
LEASE: Final = 2
ROUNDING: Final = 0.005
#: Jobs that are added at a time.
ADDED: Final = 150
#: Seconds between kills.
LOADED: Final = (0.5, 2.0)


@define
class Hold:
    """A job that a client held; times are of the monotonic clock."""

    uid: str
    group: str | None
    #: When the claim was sent and answered.
    sent: float
    began: float
    #: The job was certainly in progress until this time.
    until: float


@define
class Limit:
    """The values of one limit; a change may take effect at any time between request and answer."""

    #: (value, sent, answered); infinity without an answer.
    changes: list[tuple[int, float, float]] = field(factory=list)

    def most(self, begin: float, end: float) -> int:
        """The greatest value that may have been in force between two times."""
        found = []
        over = inf
        for value, sent, answered in reversed(self.changes):
            if sent <= end and over >= begin:
                found.append(value)
            over = min(over, answered)
        return max(found)


def exceeded(holds: Iterable[Hold], limit: Limit) -> list[tuple[float, int, int]]:
    """
    The times at which more jobs were in progress than the limit allowed, with both numbers.

    The last of these jobs was claimed while the limit certainly held.
    """
    wrong, running = [], list[Hold]()
    for hold in sorted(holds, key=lambda one: one.began):
        running = [one for one in [*running, hold] if one.until > hold.began]
        allowed = limit.most(max((one.sent for one in running), default=hold.began), hold.began)
        if len(running) > allowed:
            wrong.append((hold.began, len(running), allowed))
    return wrong


@define
class _Worker(Worker):
    """A client in its own thread, which claims jobs and ends each in one of many ways."""

    holds: list[Hold] = field(factory=list)
    #: When each job's deletion was requested.
    deletions: dict[str, float] = field(factory=dict)
    claims: int = 0

    def timeout(self) -> float:
        # Some clients disconnect before the answer.
        return self.chance.choice([0.05, 30.0, 30.0])

    def work(self, client: Caller) -> None:
        sent = time.monotonic()
        reply = client.take(QUEUE, count=self.chance.choice([1, 1, 3]), wait=0.2)
        began = time.monotonic()
        self.claims += 1
        require(reply.status in (200, 204), f"a claim was answered with {reply}")
        jobs = reply.json["jobs"] if reply.status == 200 else []
        held = [Hold(job["uid"], job.get("group"), sent, began, sent + LEASE - ROUNDING) for job in jobs]
        self.holds += held
        for job, hold in zip(jobs, held, strict=True):
            if self.chance.random() < 0.1:
                # The worker dies while it holds this job: the lease runs out.
                continue
            time.sleep(self.chance.choice([0, 0.01, 0.05]))
            self._beat(client, job, hold)
            self._end(client, job, hold)

    def _beat(self, client: Caller, job: Any, hold: Hold) -> None:
        sent = time.monotonic()
        if client.change(job["uid"], QUEUE, lease=job["lease"], progress=50).status == 200:
            hold.until = sent + LEASE - ROUNDING

    def _end(self, client: Caller, job: Any, hold: Hold) -> None:
        hold.until = min(hold.until, time.monotonic())
        kinds: list[dict[str, Any]] = [
            {"new_status": "complete"},
            {"new_status": "complete"},
            {"new_status": "failed", "error": "bad luck"},
            {"new_status": "queued"},
            {"new_status": "queued", "delay_seconds": 1},
            {"new_status": "queued", "hold_seconds": 1},
            {},
        ]
        changes = self.chance.choices(kinds, [6, 6, 4, 4, 1, 1, 3])[0]
        if changes:
            reply = client.change(job["uid"], QUEUE, lease=job["lease"], **changes)
            require(reply.status in (200, 404, 409), f"{changes} was answered with {reply}")
        else:
            # A deletion needs no lease, so it may end another client's hold.
            self.deletions.setdefault(job["uid"], time.monotonic())
            require(client.delete(job["uid"], QUEUE).status in (200, 204, 404), "a deletion was refused")


@define
class _Campaign(Crowd):
    """Servers of one database, their clients, and the limits."""

    workers: list[_Worker] = field(factory=list, init=False)
    limits: dict[str, Limit] = field(factory=lambda: {"limits": Limit(), "group_limits": Limit()})
    _numbers: "count[int]" = field(factory=count)

    def begin(self) -> None:
        self.start_daemons()
        with self.connect() as client:
            client.make_queue(QUEUE)
            self._limit(limits=OF_ALL, group_limits=OF_EACH)
            order = self.chance.choice(["arrival", "fair"])
            require(client.set_up(QUEUE, group_order=order).status == 200, "an order was refused")
            own = {"queue_name": QUEUE, "group": SPECIAL, "in_progress": OF_SPECIAL}
            require(client.call("PUT", "/api/v1/group", body=own).status == 200, "a group's settings were refused")
        self.workers = [_Worker(*self.parts()) for _ in range(CLIENTS)]
        self.start_workers(self.workers)

    def round(self) -> None:
        self._add()
        end = time.monotonic() + self.chance.uniform(*LOADED)
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, self.chance.uniform(0.1, 0.5)))
            name = self.chance.choice(list(self.limits))
            self._limit(**{name: self.chance.choice(CHANGED[name])})
        self.kill_one()

    def _add(self) -> None:
        """Add jobs to a few groups, more than these may run at a time, and to some other groups."""
        groups = [*self.chance.choices(GROUPS, k=ADDED // 2), *self.chance.choices(GROUPS[:4], k=ADDED // 2)]
        jobs = [
            {"content": {"n": next(self._numbers)}, "timeout_seconds": LEASE, "max_attempts": 3}
            | ({} if group is None else {"group": group})
            for group in groups
        ]
        self.call_until_answered("new jobs", lambda client: client.add_many(jobs, QUEUE))

    def _limit(self, **limits: int) -> None:
        sent, body = time.monotonic(), {name: {"in_progress": value} for name, value in limits.items()}
        self.call_until_answered("new limits", lambda client: client.set_up(QUEUE, **body))
        for name, value in limits.items():
            self.limits[name].changes.append((value, sent, time.monotonic()))

    # Judging

    def end(self) -> None:
        """Stop the clients, check their logs, and run the remaining jobs."""
        self.end_workers()
        self._judge_holds()
        with self.connect() as client:
            until("no job is in progress or waits for a time", lambda: self._is_quiet(client))
            while self._stats(client)["counts"]["queued"]:
                self._run_all(client)
        self.check_end(sum(worker.claims for worker in self.workers))

    def _judge_holds(self) -> None:
        holds = [hold for worker in self.workers for hold in worker.holds]
        deletions: dict[str, float] = {}
        for worker in self.workers:
            for uid, sent in worker.deletions.items():
                deletions[uid] = min(sent, deletions.get(uid, inf))
        of_group: dict[str, list[Hold]] = defaultdict(list)
        for hold in holds:
            hold.until = min(hold.until, deletions.get(hold.uid, inf))
            if hold.group is not None:
                of_group[hold.group].append(hold)
        wrong = {"the queue": exceeded(holds, self.limits["limits"])}
        for group, its in of_group.items():
            special = Limit([(OF_SPECIAL, 0.0, 0.0)])
            wrong[group] = exceeded(its, special if group == SPECIAL else self.limits["group_limits"])
        found = {name: times[:3] for name, times in wrong.items() if times}
        require(not found, f"more jobs in progress than allowed: {found}")

    def _stats(self, client: Caller) -> Any:
        return client.call("GET", "/api/v1/queue/stats", query={"name": QUEUE}).json

    def _groups(self, client: Caller) -> list[Any]:
        query = {"queueName": QUEUE, "limit": "100"}
        groups: list[Any] = client.call("GET", "/api/v1/groups", query=query).json["groups"]
        return groups

    def _is_quiet(self, client: Caller) -> bool:
        stats = self._stats(client)
        held = [group for group in self._groups(client) if group["held_until"] is not None]
        return not (stats["counts"]["inprogress"] or stats["delayed"] or stats["held_until"] or held)

    def _run_all(self, client: Caller) -> None:
        """Claim and finish as many jobs as the limits allow; check that no slot is lost and no job is held in vain."""
        stats, groups = self._stats(client), self._groups(client)
        require(not any(group["in_progress"] for group in groups), f"slots are lost: {groups}")
        of_all, of_each = (limit.changes[-1][0] for limit in self.limits.values())
        in_groups = [min(one["queued"], OF_SPECIAL if one["group"] == SPECIAL else of_each) for one in groups]
        free = stats["counts"]["queued"] - sum(one["queued"] for one in groups) + sum(in_groups)
        expected = min(of_all, free)
        require(stats["ready"] == expected, f"{expected} jobs can run, {stats['ready']} are ready")
        require(stats["ready"] + stats["held"] == stats["counts"]["queued"], f"the counts differ: {stats}")
        jobs = client.take(QUEUE, count=1000).json["jobs"]
        require(len(jobs) == expected, f"{expected} jobs can run, {len(jobs)} were claimed")
        updates = [{"uid": job["uid"], "lease": job["lease"], "new_status": "complete"} for job in jobs]
        body = {"queue_name": QUEUE, "updates": updates}
        results = client.call("POST", "/api/v1/jobs", query={"queueName": QUEUE}, body=body).json["results"]
        require(all(one["status"] == 200 for one in results), f"jobs were not finished: {results[:3]}")


def slots(kills: int = 10) -> OnFile:
    """The trial on a file."""
    return OnFile("limits", _Campaign, kills)


def postgres_slots(kills: int = 10) -> OnPostgres:
    """The trial on PostgreSQL."""
    return OnPostgres("limits, PostgreSQL", _Campaign, kills)
