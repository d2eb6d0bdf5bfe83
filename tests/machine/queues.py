"""
A queue of the plain model, and which of its jobs a claim gets.

Limits and the order of groups are computed from the list of jobs each time: there are no counters. Rates are left out:
tests/engine/test_rates.py judges them.
"""

from collections import Counter
from typing import Any, Final

from attrs import define, field

from tests.machine.jobs import FINISHED, Job

#: The settings that callers see and change.
SETTINGS: Final = (
    *("paused", "draining", "require_lease", "max_jobs", "defaults"),
    *("limits", "group_limits", "group_order", "group_on_failure", "seconds_per_priority"),
)
#: The name that stands for the queue itself in holds.
OF_QUEUE: Final = ""


#: The calls that each role may make; the owner may make all.
ROLES: Final = {
    "producer": {"add", "read"},
    "worker": {"claim", "peek", "update"},
    "viewer": {"read", "peek", "list", "explain", "stats"},
}


class Refused(Exception):
    """The model refuses a call."""

    def __init__(self, name: str, **more: Any) -> None:
        super().__init__(name, more)
        self.name = name
        self.more = more


@define(kw_only=True)
class DeadLetter:
    """A queue's dead-letter queue: its name, itself, and the minutes for which it keeps a job."""

    name: str
    queue: "Queue"
    keep: int
    #: Whether a job was to be moved there when the queue was gone and another had its name.
    missing: bool = False


@define(kw_only=True)
class Own:
    """A group's own settings."""

    in_progress: int | None = None
    weight: int = 1
    paused: bool = False


@define(kw_only=True, eq=False)
class Queue:
    """A queue and its settings."""

    owner: str
    jobs: list[Job] = field(factory=list)
    arrived: int = 0
    paused: bool = False
    draining: bool = False
    require_lease: bool = False
    max_jobs: int = 0
    #: keep, keep_failed, timeout, max_attempts, retry_delay.
    defaults: tuple[int, int, int, int, int] | None = None
    #: The most jobs in progress, in the queue and in each group.
    limits: int | None = None
    group_limits: int | None = None
    group_order: str = "arrival"
    group_on_failure: str = "next"
    #: Priority ageing.
    seconds_per_priority: int | None = None
    dead_letter: DeadLetter | None = None
    #: Whether it ever had jobs with groups, or settings about them: otherwise failed jobs arrive without their groups.
    knows_groups: bool = False
    own: dict[str, Own] = field(factory=dict)
    #: The elapsed time until which each held group is held.
    held: dict[str, int] = field(factory=dict)
    #: The number of the last claim, and for each group the number of the last claim that served it. A new group counts
    #: as served by the claim before its first job.
    turn: int = 0
    served: dict[str | None, int] = field(factory=dict)
    #: (id, role, key) of each key beside the owner's.
    keys: list[tuple[str, str, str]] = field(factory=list)
    #: The job of each Idempotency-Key, for each access key.
    once: dict[tuple[str | None, str], Job] = field(factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        its = self.dead_letter
        dead_letter = None if its is None else (its.name, its.keep, its.missing)
        return {**{name: getattr(self, name) for name in SETTINGS}, "dead_letter": dead_letter}

    def set_up(self, settings: dict[str, Any]) -> None:
        changed = {**self.settings, **settings}
        if changed["group_order"] == "fair" and changed["seconds_per_priority"]:
            raise Refused("FairWithAgeing")
        before, aged = (self.group_order, self.group_on_failure), self.seconds_per_priority
        for name, value in settings.items():
            setattr(self, name, value)
        if aged != self.seconds_per_priority:
            for job in self.jobs:
                if job.state not in FINISHED:
                    self.put_in_line(job)
        if before != (self.group_order, self.group_on_failure):
            self.turn, self.served = 0, {}
            self.meet()

    def put_in_line(self, job: Job) -> None:
        """Give a job its place by the present order."""
        seconds = self.seconds_per_priority
        job.line = None if seconds is None else job.created - job.priority * seconds * 1000

    def role(self, key: str) -> tuple[str, str | None]:
        """The role of a key, and its id; None for the owner's key."""
        if key == self.owner:
            return "owner", None
        for key_id, role, other in reversed(self.keys):
            if other == key:
                return role, key_id
        raise Refused("AccessDenied")

    def check_new(self, new: str, keys: list[tuple[str, str, str]]) -> None:
        if any(other == new for _, _, other in keys):
            raise Refused("KeyTaken")

    def find(self, uid: str | None) -> Job:
        for job in self.jobs:
            if job.uid == uid:
                return job
        raise Refused("JobNotFound")

    def ordered(self) -> list[Job]:
        return sorted(self.jobs, key=lambda job: job.place)

    def ready(self, tags: tuple[str, ...] = ()) -> list[Job]:
        """The queued jobs without a delay."""
        return [job for job in self.ordered() if job.is_ready and set(tags) <= set(job.tags)]

    # Claims

    def claimable(
        self, now: int, tags: tuple[str, ...] = (), *, most: int | None = None, by_queue: bool = True
    ) -> list[Job]:
        """
        The jobs that single claims would get one after the other, if none of them ended; at most `most`.

        Without `by_queue` the queue as a whole has no limit and no hold.
        """
        taken: list[Job] = []
        left = [job for job in self.ordered() if job.state == "queued"]
        while len(taken) != most and (job := self._next(now, tags, taken, left, by_queue)) is not None:
            taken.append(job)
            left.remove(job)
        return taken

    def held_by(self, job: Job, now: int, ahead: int) -> str | None:
        """
        What holds a queued job now, or a delayed one when its delay ends; None if it can be claimed then.

        The wall clock is `ahead` milliseconds ahead of elapsed time.
        """
        if job.state == "queued" and not job.is_ready:
            return "hold" if self._is_stopped(job.group, max(now, job.ready_at, job.not_before - ahead)) else None
        if not job.is_ready or job in self.claimable(now):
            return None
        own = self.own.get(job.group or "", Own())
        if job.group is not None and (own.paused or self.held.get(job.group, 0) > now):
            return "hold"
        if job not in self.claimable(now, by_queue=False):
            if self.group_order == "strict":
                return "order"
            # The limit may be free, for jobs of the group before this one, while the queue lets none be claimed.
            if not self._has_room(job.group, self._running, now) or self._lets_claim(now):
                return "group_limit"
        return "hold" if self.held.get(OF_QUEUE, 0) > now else "queue_limit"

    def _is_stopped(self, group: str | None, at: int) -> bool:
        """Whether a group is paused, or is held at this time, or its queue is."""
        names = [OF_QUEUE] if group is None else [OF_QUEUE, group]
        return any(self.own.get(name, Own()).paused or self.held.get(name, 0) > at for name in names)

    def serve(self, job: Job) -> None:
        """Record that a group was served: a ready job of it was put in progress."""
        self.turn += 1
        self.served[job.group] = self.turn

    def _next(self, now: int, tags: tuple[str, ...], taken: list[Job], left: list[Job], by_queue: bool) -> Job | None:
        """The job that the next claim gets if the jobs in `taken` were claimed before, and those in `left` were not."""
        running = self._running + taken
        if by_queue and not self._lets_claim(now, len(taken)):
            return None
        names = {job.group for job in left}
        firsts = [self._first(name, tags, left) for name in names if self._has_room(name, running, now)]
        return min((job for job in firsts if job is not None), key=lambda job: self._place(job, taken), default=None)

    @property
    def _running(self) -> list[Job]:
        return [job for job in self.jobs if job.state == "inprogress"]

    def _lets_claim(self, now: int, taken: int = 0) -> bool:
        """Whether the limit and hold of the queue as a whole let one more job be claimed after `taken` others."""
        is_full = self.limits is not None and len(self._running) + taken >= self.limits
        return not is_full and self.held.get(OF_QUEUE, 0) <= now

    def _has_room(self, name: str | None, running: list[Job], now: int) -> bool:
        if name is None:
            return True
        own, here = self.own.get(name, Own()), sum(job.group == name for job in running)
        limit = self.group_limits if own.in_progress is None else own.in_progress
        if own.paused or self.held.get(name, 0) > now or (limit is not None and here >= limit):
            return False
        return self.group_order != "strict" or not (here or self._is_stuck(name))

    def _is_stuck(self, name: str) -> bool:
        """Whether a failed job holds its group."""
        return any(job.group == name and self.sticks(job) for job in self.jobs)

    def sticks(self, job: Job) -> bool:
        strict = self.group_order == "strict" and self.group_on_failure == "hold" and job.group is not None
        return strict and job.state == "failed" and not job.cancelled

    def _first(self, name: str | None, tags: tuple[str, ...], left: list[Job]) -> Job | None:
        """The first job of a group that a claim may get, of those that are queued."""
        its = [job for job in left if job.group == name]
        if self.group_order == "strict" and name is not None:
            its = its[:1]
        return next((job for job in its if job.is_ready and set(tags) <= set(job.tags)), None)

    def _place(self, job: Job, taken: list[Job]) -> tuple[float, ...]:
        """Where a job stands among the first jobs of all groups."""
        if self.group_order != "fair":
            return job.place
        name = job.group
        running = self._running + taken
        load = sum(one.group == name for one in running) / self.own.get(name or "", Own()).weight
        turns = [self.turn + number for number, one in enumerate(taken, 1) if one.group == name]
        return (-job.priority, load, (turns or [self.served[name]])[-1], job.arrival)

    # Groups

    @property
    def groups(self) -> set[str | None]:
        """The groups with unfinished jobs, with a failed one that holds them, with settings of their own or a hold."""
        with_jobs = {job.group for job in self.jobs if job.state not in FINISHED or self.sticks(job)}
        return {*with_jobs, *self.own, *self.held} - {OF_QUEUE}

    def meet(self) -> None:
        """Record new groups as served by the latest claim."""
        for name in self.groups:
            self.served.setdefault(name, self.turn)

    def forget(self, now: int) -> None:
        """End the holds whose time has passed, and forget the groups that no longer exist."""
        self.held = {name: until for name, until in self.held.items() if until > now}
        self.served = {name: self.served.get(name, self.turn) for name in self.groups}

    def hold(self, name: str, until: int, now: int) -> None:
        """Hold a group, or with OF_QUEUE the queue; a time in the past ends a hold."""
        self.held.pop(name, None)
        if until > now:
            self.held[name] = until

    def change_group(self, name: str, settings: dict[str, Any]) -> None:
        own = self.own.pop(name, Own())
        for setting, value in settings.items():
            setattr(own, setting, value)
        if own != Own():
            self.own[name] = own

    # Reports

    def counts(self, now: int) -> dict[str, Any]:
        """The number of jobs of each kind, and the end of the queue's hold."""
        states = [job.state for job in self.jobs]
        counts = {state: states.count(state) for state in ("queued", "inprogress", "complete", "failed")}
        ready = len(self.claimable(now))
        return {
            **counts,
            "ready": ready,
            "held": len(self.ready()) - ready,
            "delayed": counts["queued"] - len(self.ready()),
            "retrying": sum(job.retrying and job.state == "queued" for job in self.jobs),
            "cancelled": sum(job.cancelled for job in self.jobs),
            "held_until": self.held.get(OF_QUEUE),
            "failures": dict(Counter(job.error or None for job in self.jobs if job.is_failure)),
        }

    def reports(self, now: int) -> dict[str, dict[str, Any]]:
        """All groups as callers see them."""
        claimable = self.claimable(now, by_queue=False) if self.groups - {None} else []
        return {name: self.report(name, claimable) for name in self.groups if name is not None}

    def report(self, name: str, claimable: list[Job]) -> dict[str, Any]:
        """A group as callers see it; `claimable` are the jobs that the groups allow to claim."""
        jobs = [job for job in self.jobs if job.group == name]
        queued = [job for job in jobs if job.state == "queued"]
        ready = sum(job.group == name for job in claimable)
        own = self.own.get(name, Own())
        return {
            "queued": len(queued),
            "ready": ready,
            "held": sum(job.is_ready for job in queued) - ready,
            "in_progress": sum(job.state == "inprogress" for job in jobs),
            "held_until": self.held.get(name),
            "own": (own.in_progress, own.weight, own.paused),
        }
