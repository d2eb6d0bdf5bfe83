"""The plain model with moves of jobs between queues: into dead-letter queues, and by filter."""

from collections import Counter
from typing import Any

from attrs import define

from tests.machine.jobs import FINISHED, Asked, Job
from tests.machine.model import NEVER, Model
from tests.machine.queues import DeadLetter, Queue, Refused


@define(eq=False, kw_only=True)
class MovingModel(Model):
    """The whole model: queues, and moves of jobs between them."""

    #: Whether a repeated report of a failure gets the job that the first one has moved.
    knows_repeated: bool

    def set_dead_letter(self, name: str, key: str, other: str | None, keep: int | None) -> None:
        queue = self.open(name, key, "set up")
        if other is None:
            queue.dead_letter = None
            return
        target, before = self.open(other, key, "set up"), queue.dead_letter
        if target is queue or target.dead_letter is not None:
            raise Refused("BadDeadLetter")
        if keep is None:
            keep = 20_160 if before is None else before.keep
        queue.dead_letter = DeadLetter(name=other, queue=target, keep=keep)

    def tick(self) -> None:
        super().tick()
        while sum(self._bury(name, queue) for name, queue in self.queues.items()):
            super().tick()

    def due(self, job: Job) -> int:
        return NEVER if job.has_failed else super().due(job)

    def move_all(
        self, name: str, key: str, which: dict[str, Any], to: str, per_second: float | None, dry: bool
    ) -> tuple[int, int, dict[str, int]]:
        """Move all jobs that match; returns how many matched, how many were moved, and why the others were not."""
        queue, target = self.open(name, key, "sweep"), self.open(to, key, "sweep")
        self.tick()
        jobs = list(self.matching(queue, **which))
        moved: list[Job] = []
        left: Counter[str] = Counter()
        for job in jobs:
            why = job.state if job.state in ("complete", "inprogress") else self._why_it_stays(job, target, moved)
            if why:
                left[why] += 1
            else:
                moved.append(job)
        for index, job in enumerate([] if dry else moved):
            self._move_back(name, queue, job, target)
            if per_second is not None:
                at = max(
                    self.wall + int(index * 1000 / per_second),
                    job.ready_at and job.ready_at + self.ahead,
                    job.not_before,
                )
                job.ready_at, job.not_before = 0, at if at > self.wall else 0
        self.counted["moved"] += 0 if dry else len(moved)
        self.counted["not moved"] += left.total()
        self.settle()
        return len(jobs), len(moved), dict(left)

    def update(
        self, name: str, key: str, uid: str | None, lease: str | None, changes: dict[str, Any]
    ) -> dict[str, Any]:
        """Update a job; a holder that repeats the failure report that moved its job gets the moved job."""
        try:
            return super().update(name, key, uid, lease, changes)
        except Refused as refused:
            is_lost = self.knows_repeated and refused.name == "JobNotFound"
            setting = self.queues[name].dead_letter if is_lost else None
            if setting is not None and lease is not None and changes.get("state") == "failed":
                for job in self.queues[setting.name].jobs if setting.name in self.queues else ():
                    if job.uid == uid and job.lease == lease and job.moved_from and job.moved_from[0] == name:
                        self.counted["report repeated"] += 1
                        return self.see(job)
            raise

    def set_up(self, queue: Queue, settings: dict[str, Any]) -> None:
        seconds, lines = queue.seconds_per_priority, [(job, job.line) for job in queue.jobs]
        super().set_up(queue, settings)
        if seconds != queue.seconds_per_priority:
            # Waiters are served before the jobs move to their new places.
            for job, line in lines:
                job.line = line
            self.settle()
            for job in queue.jobs:
                if job.state not in FINISHED:
                    queue.put_in_line(job)
        plain = (queue.limits, queue.group_limits, queue.group_order, queue.group_on_failure)
        queue.knows_groups = queue.knows_groups or bool(queue.held) or plain != (None, None, "arrival", "next")

    def change_group(self, name: str, key: str, group: str, settings: dict[str, Any]) -> dict[str, Any]:
        report, queue = super().change_group(name, key, group, settings), self.queues[name]
        queue.knows_groups = queue.knows_groups or bool(queue.own or queue.held)
        return report

    def add(self, name: str, key: str, asked: list[Asked], many: bool) -> list[tuple[Job, str, dict[str, Any]]]:
        added, queue = super().add(name, key, asked, many), self.queues[name]
        has_groups = any(how == "new" and job.group is not None for job, how, _ in added)
        queue.knows_groups = queue.knows_groups or has_groups
        return added

    def _alter(self, queue: Queue, job: Job, changes: dict[str, Any]) -> None:
        super()._alter(queue, job, changes)
        if changes.get("group") is not None or changes.get("hold"):
            queue.knows_groups = True
        if changes.get("state") == "failed":
            self._judge(queue, job)

    def _outlive(self, queue: Queue, job: Job) -> bool:
        changed = super()._outlive(queue, job)
        self._judge(queue, job)
        return changed

    def _judge(self, queue: Queue, job: Job) -> None:
        """Decide whether a job that has just failed is to leave: not if it holds its group."""
        if job.has_failed and (queue.dead_letter is None or queue.sticks(job)):
            job.has_failed = False
            job.not_moved = job.not_moved if queue.dead_letter is None else "holds_group"
            self._ended[-1] = (job, self.see(job))

    def _bury(self, name: str, queue: Queue) -> int:
        """Move the jobs of a queue that have just failed; returns how many were to be moved."""
        failed = [job for job in queue.ordered() if job.has_failed]
        for job in failed:
            job.has_failed, setting = False, queue.dead_letter
            assert setting is not None
            job.not_moved = self._why_it_stays(job, setting.queue, [])
            if self.queues.get(setting.name) is not setting.queue:
                setting.missing = True
                job.not_moved = "replaced" if setting.name in self.queues else "missing"
            self.counted["stayed" if job.not_moved else "buried"] += 1
            if job.not_moved:
                continue
            job.keep_before = job.keep_failed if job.keep_before is None else job.keep_before
            job.keep_failed = setting.keep
            if not setting.queue.knows_groups:
                job.lost_group, job.group = job.group or job.lost_group, None
            self._carry(name, queue, job, setting.queue)
        return len(failed)

    def _move_back(self, name: str, queue: Queue, job: Job, target: Queue) -> None:
        if job.state == "failed":
            self._change(job, {"state": "queued"})
        if job.keep_before is not None:
            job.keep_failed, job.keep_before = job.keep_before, None
        target.knows_groups = target.knows_groups or job.shown_group is not None
        self._carry(name, queue, job, target)

    def _carry(self, name: str, queue: Queue, job: Job, target: Queue) -> None:
        if target.knows_groups:
            job.group, job.lost_group = job.shown_group, None
        self._remove(queue, job)
        job.moved_from, job.arrival = (name, self.now), target.arrived
        target.arrived += 1
        target.jobs.append(job)
        target.put_in_line(job)
        target.meet()

    def _why_it_stays(self, job: Job, target: Queue, arriving: list[Job]) -> str:
        if target.draining:
            return "draining"
        if any(one.uid == job.uid for one in [*target.jobs, *arriving]):
            return "uid_taken"
        return "full" if target.max_jobs and len(target.jobs) + len(arriving) >= target.max_jobs else ""
