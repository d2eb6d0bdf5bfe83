"""Makes the plain model's calls to a Engine."""

import shutil
from collections.abc import Coroutine
from itertools import count
from pathlib import Path
from typing import Any

from attrs import astuple, define, field, fields
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock

from jobengine.core import commands as c
from jobengine.core import errors
from jobengine.core import model as m
from jobengine.core.dead_letters import DUE
from jobengine.core.flow import NO_FLOW, GroupOrder, Limits, OnFailure
from jobengine.core.moves import Pace
from jobengine.core.stats import GroupReport
from jobengine.core.unique_rule import Debounce, IfInProgress, IfQueued, UniqueRule, Until
from jobengine.core.wall_time import shown
from jobengine.engine.engine import Engine
from tests.core.worlds import picture
from tests.doubles import CountedIds, make_engine, new_clock, start
from tests.machine.jobs import Asked, Rule
from tests.machine.queues import Refused
from tests.pending import Pending

#: The slack of compaction in bytes: small, so that files are compacted often.
SLACK = 3_000
#: The counts in the stats beside the states.
KINDS = ("ready", "held", "delayed", "retrying", "cancelled", "held_until")


class Question(Pending):
    """A command in progress; its answer is the result, or the model's error."""

    @property
    def answer(self) -> Any:
        try:
            return super().answer
        except CancelledError:
            return None
        except errors.DomainError as error:
            return refused(error)


def refused(error: BaseException) -> Refused:
    if isinstance(error, errors.BadItem):
        return Refused(type(error.why).__name__, index=error.index)
    if isinstance(error, errors.LeaseLost | errors.LeaseRequired | errors.ClaimRequired | errors.GroupInUse):
        return Refused(type(error).__name__, state=error.state.value, worker=error.worker)
    return Refused(type(error).__name__)


def _rule_of(rule: UniqueRule | None) -> Rule:
    if rule is None:
        return Rule()
    debounce = None if rule.debounce is None else (rule.debounce.seconds, rule.debounce.at_most_seconds)
    return Rule(
        until=rule.until.value,
        seconds=rule.seconds,
        if_queued=rule.if_queued.value,
        if_running=rule.if_running.value,
        debounce=debounce,
    )


def _unique_rule(rule: Rule) -> UniqueRule | None:
    if rule == Rule():
        return None
    return UniqueRule(
        until=Until(rule.until),
        seconds=rule.seconds,
        if_queued=IfQueued(rule.if_queued),
        if_running=IfInProgress(rule.if_running),
        debounce=None if rule.debounce is None else Debounce(*rule.debounce),
    )


def _outcome(added: c.Added) -> str:
    return "new" if added.new else "replaced" if added.replaced else "kept"


def seen(job: m.Job) -> dict[str, Any]:
    spec, standing, notes, origin = job.spec, job.standing, job.standing.notes, job.spec.rare.moved_from
    return {
        "uid": spec.uid,
        "content": spec.content,
        "priority": spec.priority,
        "keep": spec.keep.minutes,
        "keep_failed": spec.keep.failed_minutes,
        "removed_at": job.deadline if job.state in m.FINISHED and notes.dead_letter != DUE else None,
        "timeout": spec.timeout_seconds,
        "until": spec.timeout_time,
        "tags": spec.tags,
        "max_attempts": spec.max_attempts,
        "retry_delay": spec.retry_delay_seconds,
        "unique_key": spec.rare.unique_key,
        "rule": _rule_of(spec.rare.unique),
        "group": spec.rare.own_group,
        "moved_from": origin and (origin.queue, origin.at),
        "not_moved": "" if notes.dead_letter == DUE else notes.dead_letter,
        "created": spec.created,
        "updated": standing.updated,
        "state": job.state.value,
        "attempts": standing.attempts,
        "worker": standing.worker,
        "started": standing.claimed if job.state is m.State.INPROGRESS else None,
        "lease_expires": job.lease_expires,
        "ready_at": standing.ready_at,
        "not_before": standing.not_before,
        "progress": notes.progress,
        "result": notes.result,
        "error": notes.error,
        "cancel": notes.cancel_requested,
        "cancelled": job.cancelled,
        "history": [(one.worker, one.started, one.ended, one.outcome, one.error, one.times) for one in notes.history],
    }


def group_of(report: GroupReport) -> dict[str, Any]:
    state, own = report.state, report.settings
    return {
        "queued": state.queued,
        "ready": report.ready,
        "held": report.held,
        "in_progress": state.in_progress,
        "held_until": report.held_until,
        "own": (own.in_progress, own.weight, own.paused),
    }


def served_in(engine: Engine, name: str) -> tuple[int, dict[str | None, int]]:
    """The number of the last claim, and for each group the number of the last claim that served it."""
    turns = engine.executor.tables.queues[name].turns
    # Only groups in fair order know it.
    groups = {} if turns is None else {one: getattr(group, "served", 0) for one, group in turns.groups.items()}
    return 0 if turns is None else turns.turn, groups


def filter_of(which: dict[str, Any]) -> c.Filter:
    state, text = which["state"], which["text"]
    return c.Filter(
        state=None if state is None else m.State(state),
        tag=which["tag"],
        group=which.get("group"),
        moved_from=which.get("moved_from"),
        text=None if text is None else text.casefold(),
        retrying=which["retrying"],
        cancelled=which["cancelled"],
    )


def changes_of(changes: dict[str, Any]) -> c.Changes:
    given = dict(changes)
    names = (("until", "timeout_time"), ("delay", "delay_seconds"), ("hold", "hold_seconds"))
    for theirs, ours in names:
        if theirs in given:
            given[ours] = given.pop(theirs)
    if given.get("state") is not None:
        given["state"] = m.State(given["state"])
    return c.Changes(**given)


@define(eq=False)
class LocalDriver:
    """A Engine in this process, on a real file and with a simulated clock."""

    folder: Path
    #: Times are in milliseconds, leases are shown, and callers can disconnect before their answer.
    exact = True
    slice_size = 2
    clock: Clock = field(factory=new_clock)
    ahead: int = 0
    new_id: CountedIds = field(factory=CountedIds)
    path: Path = field(init=False)
    engine: Engine = field(init=False)
    _names: "count[int]" = field(factory=count)

    def __attrs_post_init__(self) -> None:
        self.path = self.folder / "db"
        self._start()

    def _start(self) -> None:
        pace = {"compaction_slack": SLACK, "compaction_pause": 0}
        self.engine = make_engine(self.path, self.clock, now=self._now, new_id=self.new_id, **pace)
        start(self.engine, self.pump)

    def _now(self) -> int:
        return int(self.clock.seconds() * 1000) + self.ahead

    def close(self) -> None:
        self.engine.journal.close(orderly=False)

    def pump(self) -> None:
        for _ in range(12):
            if not any(call.getTime() <= self.clock.rightNow for call in self.clock.calls):
                return
            self.clock.advance(0)

    # Time

    def advance(self, ms: int) -> None:
        self.clock.advance(ms / 1000)
        self.pump()

    def step_clock(self, ms: int) -> None:
        self.ahead += ms

    def restart(self, *, kill: bool, step: int, down: int) -> None:
        if kill:
            self.path = Path(shutil.copy(self.path, self.folder / f"db{next(self._names)}"))
            self.engine.journal.close(orderly=False)
            for call in list(self.clock.getDelayedCalls()):
                call.cancel()
        else:
            stopped = self.engine.stop()
            self.pump()
            assert stopped.called
        assert not self.clock.getDelayedCalls()
        self.clock.advance(down / 1000)
        self.ahead += step
        self._start()

    # Asking

    def start(self, question: Coroutine[Any, Any, Any]) -> Pending:
        return Question(question, self.pump)

    def get(self, question: Coroutine[Any, Any, Any]) -> Any:
        pending = self.start(question)
        self.pump()
        answer = pending.answer
        if isinstance(answer, Refused):
            raise answer
        return answer

    def leave(self, pending: Pending) -> None:
        pending.cancel()

    # Queues

    def create(self, name: str, key: str) -> None:
        self.get(self.engine.ask(c.CreateQueue(queue=name, access_key=key.encode())))

    def delete_queue(self, name: str, key: str) -> None:
        self.get(self.engine.ask(c.DeleteQueue(queue=name, access_key=key.encode())))

    def set_up(self, name: str, key: str, settings: dict[str, Any]) -> dict[str, Any]:
        given = dict(settings)
        if "defaults" in given:
            names = [one.name for one in fields(m.Defaults)]
            given["defaults"] = m.Defaults(**dict(zip(names, given["defaults"], strict=True)))
        for limits in ("limits", "group_limits"):
            if limits in given:
                given[limits] = Limits(in_progress=given[limits]) if given[limits] else None
        for setting, kind in (("group_order", GroupOrder), ("group_on_failure", OnFailure)):
            if setting in given:
                given[setting] = kind(given[setting])
        if "new_access_key" in given:
            given["new_access_key"] = given["new_access_key"].encode()
        command = c.ChangeQueue(queue=name, access_key=key.encode(), **given)
        return self._settings(self.get(self.engine.ask(command)))

    def _settings(self, queue: m.Queue) -> dict[str, Any]:
        defaults, flow, its = queue.defaults, queue.flow or NO_FLOW, queue.dead_letter
        return {
            "paused": queue.paused,
            "draining": queue.draining,
            "require_lease": queue.require_lease,
            "max_jobs": queue.max_jobs,
            "defaults": defaults and astuple(defaults),
            "limits": flow.limits.in_progress,
            "group_limits": flow.group_limits.in_progress,
            "group_order": flow.group_order.value,
            "group_on_failure": flow.group_on_failure.value,
            "seconds_per_priority": queue.order and queue.order.seconds_per_priority,
            "dead_letter": its and (its.queue, its.keep_minutes, its.missing),
        }

    def change_group(self, name: str, key: str, group: str, settings: dict[str, Any]) -> dict[str, Any]:
        given = {("group_weight" if setting == "weight" else setting): value for setting, value in settings.items()}
        command = c.ChangeGroup(queue=name, access_key=key.encode(), group=group, **given)
        return group_of(self.get(self.engine.ask(command)))

    def reset_group(self, name: str, key: str, group: str) -> None:
        self.get(self.engine.ask(c.ResetGroup(queue=name, access_key=key.encode(), group=group)))

    def groups(self, name: str) -> dict[str, dict[str, Any]]:
        page = self.get(self.engine.ask(c.ListGroups(queue=name, admin=True, limit=100)))
        assert page.following is None
        return {one.name: group_of(one) for one in page.groups}

    def add_key(self, name: str, key: str, role: str, new: str) -> str:
        command = c.AddKey(queue=name, access_key=key.encode(), role=m.Role(role), new_access_key=new.encode())
        key_id: str = self.get(self.engine.ask(command)).id
        return key_id

    def revoke_key(self, name: str, key: str, key_id: str) -> None:
        self.get(self.engine.ask(c.RevokeKey(queue=name, access_key=key.encode(), key_id=key_id)))

    def keys(self, name: str, key: str) -> list[tuple[str, str]]:
        keys = self.get(self.engine.ask(c.ListKeys(queue=name, access_key=key.encode())))
        return [(one.id, one.role.value) for one in keys]

    # Jobs

    def add(self, name: str, key: str, asked: list[Asked], many: bool) -> list[tuple[str, dict[str, Any]]]:
        jobs = tuple(
            c.NewJob(
                content=one.content,
                priority=one.priority,
                keep_minutes=one.keep,
                timeout_seconds=one.timeout,
                timeout_time=one.until,
                tags=one.tags,
                max_attempts=one.max_attempts,
                retry_delay_seconds=one.retry_delay,
                unique_key=one.unique_key,
                unique=_unique_rule(one.rule),
                delay_seconds=one.delay,
                not_before=one.not_before,
                uid=one.uid,
                group=one.group,
                idempotency_key=one.once,
            )
            for one in asked
        )
        command = c.AddJobs(queue=name, access_key=key.encode(), jobs=jobs, defaults=m.Defaults(), many=many)
        return [(_outcome(one), seen(one.job)) for one in self.get(self.engine.ask(command))]

    def read(self, name: str, key: str, uid: str) -> dict[str, Any]:
        return seen(self.get(self.engine.read_job(c.ReadJob(queue=name, access_key=key.encode(), uid=uid))))

    def start_read(self, name: str, key: str, uid: str, wait: float) -> Pending:
        command = c.ReadJob(queue=name, access_key=key.encode(), uid=uid, wait=wait)
        pending = self.start(self._read(command))
        self.pump()
        return pending

    async def _read(self, command: c.ReadJob) -> dict[str, Any]:
        return seen(await self.engine.read_job(command))

    def start_claim(self, claim: dict[str, Any], *, pump: bool = True) -> Pending:
        pending = self.start(self._claim(claim))
        if pump:
            self.pump()
        return pending

    async def _claim(self, claim: dict[str, Any]) -> list[tuple[str, dict[str, Any], str | None]]:
        given = {**claim, "queues": tuple(claim["queues"]), "access_key": claim["key"].encode()}
        del given["key"]
        claimed = await self.engine.claim(c.Claims(**given))
        return [(one.queue, seen(one.job), one.job.standing.lease) for one in claimed.jobs]

    def peek(self, name: str, key: str) -> dict[str, Any] | None:
        job = self.get(self.engine.peek(c.Peek(queue=name, access_key=key.encode())))
        return None if job is None else seen(job)

    def update(self, name: str, key: str, uid: str, lease: str | None, changes: dict[str, Any]) -> dict[str, Any]:
        named: dict[str, Any] = {"queue": name, "access_key": key.encode(), "uid": uid, "lease": lease}
        return seen(self.get(self.engine.ask(c.UpdateJob(**named, changes=changes_of(changes)))))

    def update_many(self, name: str, key: str, updates: list[Any]) -> list[dict[str, Any] | Refused]:
        each = tuple(c.JobUpdate(uid=uid, lease=lease, changes=changes_of(changes)) for uid, lease, changes in updates)
        command = c.UpdateJobs(queue=name, access_key=key.encode(), updates=each)
        answers = self.get(self.engine.ask(command))
        return [refused(one) if isinstance(one, errors.DomainError) else seen(one) for one in answers]

    def sweep(self, name: str, key: str, which: dict[str, Any], changes: dict[str, Any], dry: bool) -> int:
        command = c.UpdateMatching(
            queue=name,
            access_key=key.encode(),
            filter=filter_of(which),
            changes=changes_of(changes),
            limit=self.slice_size,
            dry_run=dry,
        )
        matched: int = self.get(self.engine.update_matching(command))
        return matched

    def sweep_delete(self, name: str, key: str, which: dict[str, Any], dry: bool) -> int:
        command = c.DeleteMatching(
            queue=name, access_key=key.encode(), filter=filter_of(which), limit=self.slice_size, dry_run=dry
        )
        matched: int = self.get(self.engine.delete_matching(command))
        return matched

    def set_dead_letter(self, name: str, key: str, other: str | None, keep: int | None) -> None:
        setting = None if other is None else (other, keep)
        self.get(self.engine.ask(c.ChangeQueue(queue=name, access_key=key.encode(), dead_letter=setting)))

    def move_all(
        self, name: str, key: str, which: dict[str, Any], to: str, per_second: float | None, dry: bool
    ) -> tuple[int, int, dict[str, int]]:
        command = c.MoveMatching(
            queue=name,
            access_key=key.encode(),
            to=to,
            filter=filter_of(which),
            pace=None if per_second is None else Pace(per_second=per_second),
            dry_run=dry,
        )
        moved = self.get(self.engine.move_matching(command))
        return moved.matched, moved.moved, dict(moved.left)

    def listed(self, name: str, key: str, which: dict[str, Any], limit: int) -> list[dict[str, Any]]:
        jobs: list[dict[str, Any]] = []
        after: m.Rank | None = None
        while True:
            command = c.ListJobs(
                queue=name, access_key=key.encode(), filter=filter_of(which), limit=limit, scan=limit + 1, after=after
            )
            page = self.get(self.engine.ask(command))
            assert len(page.jobs) <= limit
            jobs += map(seen, page.jobs)
            after = page.following
            if after is None:
                return jobs

    def explain(self, name: str, key: str, uid: str) -> tuple[str, int | None, bool, str | None]:
        why = self.get(self.engine.ask(c.ExplainJob(queue=name, access_key=key.encode(), uid=uid)))
        return why.job.state.value, why.ahead, why.queue.paused, why.hold and why.hold.by.value

    def delete(self, name: str, key: str, uid: str) -> None:
        self.get(self.engine.ask(c.DeleteJob(queue=name, access_key=key.encode(), uid=uid)))

    # Everything

    def picture(self) -> dict[str, Any]:
        """Each queue: its settings, its jobs in order, the counts of its jobs by kind, and its groups."""
        stats = {one.queue.name: one for one in self.get(self.engine.ask(c.ListQueues(limit=1000)))}
        self.pump()
        whole = {}
        seen_whole = picture(self.engine.executor.tables)
        # The entry "" is not a queue: it has how far the wall clock is ahead.
        ahead = seen_whole.pop("")
        for name, (queue, jobs, _) in seen_whole.items():
            counts = {state.value: number for state, number in stats[name].counts.items()}
            counts |= {kind: getattr(stats[name], kind) for kind in KINDS}
            page = self.get(self.engine.ask(c.ListFailures(queue=name, admin=True, limit=100)))
            counts["failures"] = {group.error: group.count for group in page.failures}
            whole[name] = (self._settings(queue), [seen(shown(job, ahead)) for job in jobs], counts, self.groups(name))
        return whole

    def same_error(self, expected: Refused, got: Refused) -> bool:
        return (expected.name, expected.more) == (got.name, got.more)

    def coarse_about_new(self, many: bool) -> bool:
        """Whether answers hide which jobs are new."""
        return False

    def served(self, name: str) -> tuple[int, dict[str | None, int]]:
        return served_in(self.engine, name)

    def coarse_time(self, ms: int) -> int:
        return ms

    def coarse(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job unchanged: the engine shows all fields."""
        return job
