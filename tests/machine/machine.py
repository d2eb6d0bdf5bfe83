"""Makes the same random calls to an engine and to the plain model, and compares all answers and contents."""

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from attrs import evolve
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.doubles import START
from tests.machine import questions as q
from tests.machine.api_driver import without_fingerprints
from tests.machine.jobs import Asked, Job
from tests.machine.model import Claimed, Waiter
from tests.machine.moves import MovingModel
from tests.machine.queues import Queue, Refused

DATA = st.data()
NO_UID = "00000000-0000-4000-8000-00000000dead"


class EngineMachine(RuleBasedStateMachine):
    """The state machine; a subclass sets the driver of its engine."""

    driver_kind: Any
    #: The number of events of each kind, over all examples.
    counted: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.driver = self.driver_kind(Path(self.folder.name))
        self.model = MovingModel(START * 1000, slice_size=self.driver.slice_size, knows_repeated=not self.driver.exact)
        self.pending: dict[int, Any] = {}
        self.old_leases = ["00000000-0000-4000-8000-0000000001ea"]

    def teardown(self) -> None:
        self.counted.update(self.model.counted)
        self.driver.close()
        self.folder.cleanup()

    # Comparing

    def both(self, model: Any, engine: Any) -> tuple[Any, Any]:
        """Make a call to both, and return both answers, or None twice if both refuse with the same error."""
        try:
            expected = model()
        except Refused as refused:
            expected = refused
        try:
            got = engine()
        except Refused as refused:
            got = refused
        if isinstance(expected, Refused) or isinstance(got, Refused):
            self.same_refusal(expected, got)
            return None, None
        return expected, got

    def same_refusal(self, expected: Any, got: Any) -> None:
        assert isinstance(expected, Refused), f"refused with {got!r}, expected {expected!r}"
        assert isinstance(got, Refused), f"expected {expected!r}, got {got!r}"
        assert self.driver.same_error(expected, got), f"expected {expected!r}, got {got!r}"

    def same_job(self, expected: dict[str, Any], got: dict[str, Any]) -> None:
        assert without_fingerprints(got) == self.driver.coarse(expected)

    def same_jobs(self, expected: list[dict[str, Any]], got: list[dict[str, Any]]) -> None:
        assert [*map(without_fingerprints, got)] == [self.driver.coarse(one) for one in expected]

    def same_claims(self, expected: Any, got: Any) -> None:
        """Check that the claimed jobs are the same. The engine chooses the leases, which must be new."""
        claimed = [(name, without_fingerprints(job)) for name, job, _ in got]
        assert claimed == [(name, self.driver.coarse(seen)) for name, _, seen in expected]
        for (_, job, _), (_, _, lease) in zip(expected, got, strict=True):
            assert lease
            assert lease not in self.old_leases
            self.old_leases.append(lease)
            if job.state == "inprogress" and job.lease is None:
                job.lease = lease

    def waiters_agree(self) -> None:
        """Check that the same waiters got the same answers."""
        for number, pending in list(self.pending.items()):
            assert pending.answered == (number in self.model.told), number
            if not pending.answered:
                continue
            expected, got = self.model.told.pop(number), pending.answer
            del self.pending[number]
            if isinstance(expected, Refused) or isinstance(got, Refused):
                self.same_refusal(expected, got)
            elif isinstance(expected, list):
                self.same_claims(expected, got)
            else:
                self.same_job(expected, got)

    @invariant()
    def count_operations(self) -> None:
        self.model.counted["operations"] += 1

    @invariant()
    def agree(self) -> None:
        self.model.settle()
        whole = self.driver.picture()
        self.waiters_agree()
        assert whole.keys() == self.model.queues.keys()
        for name, queue in self.model.queues.items():
            settings, jobs, counts, groups = whole[name]
            assert settings == queue.settings
            self.same_jobs([self.model.see(job) for job in queue.ordered()], jobs)
            assert counts == self.timed(queue.counts(self.model.now))
            assert groups == {group: self.timed(seen) for group, seen in queue.reports(self.model.now).items()}
            held = counts["held"] + sum(one["held"] for one in groups.values())
            self.model.counted["held"] += held > 0

    def timed(self, seen: dict[str, Any]) -> dict[str, Any]:
        """A queue or group, with the end of its hold as callers see it."""
        until = seen["held_until"]
        return {**seen, "held_until": until and self.driver.coarse_time(until + self.model.ahead)}

    # Choosing

    def key(self, name: str, key: str) -> str:
        """Replace "key" by the owner's present key, so that most calls succeed."""
        return self.model.queues[name].owner if key == "key" and name in self.model.queues else key

    def chosen(self, data: st.DataObject, name: str) -> Job | None:
        """A job of the queue, or None for a job that does not exist."""
        jobs = self.model.queues[name].ordered() if name in self.model.queues else []
        job: Job | None = data.draw(st.sampled_from([*jobs * 4, None]))
        return job

    def lease(self, data: st.DataObject, job: Job | None) -> str | None:
        which = data.draw(q.LEASES)
        if which == "right" and job is not None and job.lease is not None:
            return job.lease
        return {"none": None, "wrong": self.old_leases[0]}.get(which, self.old_leases[-1])

    def changes(self, changes: dict[str, Any]) -> dict[str, Any]:
        """Replace seconds from now in the changes by an absolute time."""
        for name in ("until", "held_until"):
            if changes.get(name):
                changes = {**changes, name: self.model.wall // 1000 + changes[name]}
        return changes

    def asked(self, asked: Asked) -> Asked:
        seconds = self.model.wall // 1000
        return evolve(
            asked,
            until=asked.until and seconds + asked.until,
            not_before=asked.not_before and seconds + asked.not_before,
        )

    # Queues

    @initialize(one=q.SOME_JOBS, other=q.SOME_JOBS)
    def two_queues_with_jobs(self, one: list[Asked], other: list[Asked]) -> None:
        for name, asked in (("a", one), ("b", other)):
            self.create(name, "key")
            self.add_all(name, "key", asked, many=True)

    def create(self, name: str, key: str) -> None:
        self.both(lambda: self.model_create(name, key), lambda: self.driver.create(name, key))

    def model_create(self, name: str, key: str) -> None:
        if name in self.model.queues:
            raise Refused("QueueExists")
        self.model.queues[name] = Queue(owner=key)

    @rule(name=q.NAMES, key=st.sampled_from(["wrong", "w", "key"]), asked=q.SOME_JOBS, really=q.SELDOM)
    def replace_queue(self, name: str, key: str, asked: list[Asked], really: bool) -> None:
        """Creating a queue whose name is taken is refused with any key; after a deletion it succeeds."""
        if name == "none":
            return
        self.create(name, key)
        key = self.key(name, key) if really else "wrong"

        def delete() -> None:
            self.model.open(name, key, "delete queue")
            del self.model.queues[name]
            self.model.settle()

        self.both(delete, lambda: self.driver.delete_queue(name, key))
        if name not in self.model.queues:
            self.waiters_agree()
            self.create(name, "key")
            self.add_all(name, "key", asked, many=True)

    @rule(name=q.NAMES, key=q.KEYS, settings=q.SETTINGS, new=st.sampled_from([None, None, None, "new", "key"]))
    def set_up(self, name: str, key: str, settings: dict[str, Any], new: str | None) -> None:
        key = self.key(name, key)
        settings = self.changes(settings)
        given = settings if new is None else {**settings, "new_access_key": new}

        def change() -> dict[str, Any]:
            queue = self.model.open(name, key, "set up")
            if new is not None:
                queue.check_new(new, queue.keys)
            self.model.set_up(queue, settings)
            queue.owner = new or queue.owner
            self.model.settle()
            return queue.settings

        expected, got = self.both(change, lambda: self.driver.set_up(name, key, given))
        assert got == expected

    @rule(name=q.NAMES, key=q.KEYS, role=q.ROLES, new=q.NEW_KEYS)
    def add_key(self, name: str, key: str, role: str, new: str) -> None:
        key = self.key(name, key)
        queue, key_id = self.both(
            lambda: self.model.open_for_new(name, key, new), lambda: self.driver.add_key(name, key, role, new)
        )
        if queue is not None:
            assert key_id not in [one for one, _, _ in queue.keys]
            queue.keys.append((key_id, role, new))

    @rule(
        name=st.sampled_from(["a", "b"]),
        role=st.sampled_from([("p", "producer"), ("w", "worker"), ("v", "viewer")]),
        asked=q.JOBS,
        changes=q.CHANGES,
        which=q.FILTERS,
        data=DATA,
    )
    def try_a_role(
        self,
        name: str,
        role: tuple[str, str],
        asked: Asked,
        changes: dict[str, Any],
        which: dict[str, Any],
        data: st.DataObject,
    ) -> None:
        key, role_name = role
        self.add_key(name, "key", role_name, key)
        self.add_all(name, key, [asked], many=False)
        self.agree()
        self.look(name, key, data)
        self.peek(name, key)
        self.list_jobs(name, key, which, 2)
        self.update(name, key, data, changes)
        self.agree()

    @rule(name=q.NAMES, key=q.KEYS, data=DATA)
    def revoke_key(self, name: str, key: str, data: st.DataObject) -> None:
        key = self.key(name, key)
        known = self.model.queues[name].keys if name in self.model.queues else []
        key_id = data.draw(st.sampled_from([*(one for one, _, _ in known), NO_UID]))

        def revoke() -> None:
            queue = self.model.open(name, key, "revoke key")
            if key_id == NO_UID:
                raise Refused("KeyNotFound")
            queue.keys = [one for one in queue.keys if one[0] != key_id]

        self.both(revoke, lambda: self.driver.revoke_key(name, key, key_id))
        expected, got = self.both(
            lambda: [one[:2] for one in self.model.open(name, key, "keys").keys], lambda: self.driver.keys(name, key)
        )
        assert got == expected

    # Adding

    @rule(name=q.NAMES, key=q.KEYS, asked=q.JOBS, once=st.sampled_from([None, None, None, "once"]))
    def add(self, name: str, key: str, asked: Asked, once: str | None) -> None:
        self.add_all(name, key, [evolve(asked, uid=None, once=once) if once else asked], many=False)

    @rule(name=q.NAMES, key=q.KEYS, asked=st.lists(q.JOBS, min_size=1, max_size=4))
    def add_many(self, name: str, key: str, asked: list[Asked]) -> None:
        self.add_all(name, key, asked, many=True)

    def add_all(self, name: str, key: str, asked: list[Asked], many: bool) -> None:
        key, asked = self.key(name, key), [self.asked(one) for one in asked]
        expected, got = self.both(
            lambda: self.model.add(name, key, asked, many), lambda: self.driver.add(name, key, asked, many)
        )
        if expected is None:
            return
        for (job, how, seen), (was, given) in zip(expected, got, strict=True):
            assert was == (how if how != "kept" or not self.driver.coarse_about_new(many) else "new")
            if job.uid is None:
                job.uid = given["uid"]
                assert not [one for one in self.model.queues[name].jobs if one is not job and one.uid == job.uid]
            self.same_job({**seen, "uid": job.uid}, given)

    # Looking

    @rule(name=q.NAMES, key=q.KEYS, data=DATA)
    def look(self, name: str, key: str, data: st.DataObject) -> None:
        key, job = self.key(name, key), self.chosen(data, name)
        uid = NO_UID if job is None else job.uid
        expected, got = self.both(
            lambda: self.model.see(self.model.read(name, key, uid)), lambda: self.driver.read(name, key, uid)
        )
        if expected is not None:
            self.same_job(expected, got)
        self.explain(name, key, uid)

    def explain(self, name: str, key: str, uid: str | None) -> None:
        """The reasons must be the same: each job that is held has a reason."""
        expected, got = self.both(
            lambda: self.model.explain(name, key, uid), lambda: self.driver.explain(name, key, uid)
        )
        assert got == expected
        self.model.counted[f"explained {expected[3]}" if expected else "not explained"] += 1

    @rule(name=q.NAMES, key=q.KEYS)
    def peek(self, name: str, key: str) -> None:
        key = self.key(name, key)

        def peek() -> list[dict[str, Any]]:
            queue = self.model.open(name, key, "peek")
            return [self.model.see(job) for job in queue.claimable(self.model.now, most=1)]

        expected, got = self.both(peek, lambda: [one for one in [self.driver.peek(name, key)] if one is not None])
        if expected is not None:
            self.same_jobs(expected, got)

    @rule(name=q.NAMES, key=q.KEYS, which=q.FILTERS, limit=q.COUNTS)
    def list_jobs(self, name: str, key: str, which: dict[str, Any], limit: int) -> None:
        key = self.key(name, key)
        expected, got = self.both(
            lambda: [self.model.see(job) for job in self.model.matching(self.model.open(name, key, "list"), **which)],
            lambda: self.driver.listed(name, key, which, limit),
        )
        if expected is not None:
            self.same_jobs(expected, got)

    # Claiming and waiting

    @rule(names=q.SEVERAL, key=q.KEYS, count=q.COUNTS, tags=q.TAGS, worker=q.WORKERS, wait=st.just(0) | q.TIMES)
    def ask_to_claim(
        self, names: list[str], key: str, count: int, tags: tuple[str, ...], worker: str | None, wait: int
    ) -> None:
        self.claim(names, key, count, tags, worker, wait)

    def claim(
        self, names: list[str], key: str, count: int, tags: tuple[str, ...], worker: str | None, wait: int
    ) -> None:
        key, wait = self.key(names[0], key), min(wait, 55_000)
        claim = {"queues": names, "key": key, "count": count, "tags": tags, "worker": worker}
        number = self.model.wait_claim(self.model.steady + wait, **claim)
        self.pending[number] = self.driver.start_claim({**claim, "wait": wait / 1000})
        self.waiters_agree()

    @rule(name=st.sampled_from(["a", "b"]), data=DATA, wait=q.TIMES, key=q.KEYS)
    def await_end(self, name: str, data: st.DataObject, wait: int, key: str) -> None:
        key, job, wait = self.key(name, key), self.chosen(data, name), min(wait, 55_000)
        if job is None:
            return
        number = self.model.await_end(name, key, job, self.model.steady + wait)
        self.pending[number] = self.driver.start_read(name, key, job.uid, wait / 1000)
        self.waiters_agree()

    @rule(data=DATA)
    def one_waiter_leaves(self, data: st.DataObject) -> None:
        if self.model.waiters:
            self.leave(data.draw(st.sampled_from(self.model.waiters)))

    def leave(self, waiter: Waiter) -> None:
        self.model.leave(waiter)
        self.driver.leave(self.pending.pop(waiter.number))

    @rule(names=q.SEVERAL, count=q.COUNTS)
    def one_caller_leaves_before_its_claim_is_answered(self, names: list[str], count: int) -> None:
        if not self.driver.exact:
            return
        key = self.key(names[0], "key")
        pending = self.driver.start_claim(
            {"queues": names, "key": key, "count": count, "tags": (), "worker": "gone", "wait": 0}, pump=False
        )
        self.driver.leave(pending)
        try:
            claimed = self.model.claim(names, key, count, (), "gone")
            self.model.counted["put back"] += len(claimed)
            self.model.put_back(claimed)
        except Refused as refused:
            self.same_refusal(refused, pending.answer)

    # Changing

    @rule(
        name=st.sampled_from(["a", "b"]),
        worker=q.WORKERS,
        many=st.lists(q.CHANGES, max_size=2),
        end=st.sampled_from([None, "complete", "failed"]),
    )
    def work(self, name: str, worker: str | None, many: list[dict[str, Any]], end: str | None) -> None:
        """Claim a job, and change it as its holder."""
        for _, job, _ in self.claim_now([name], 1, worker):
            for changes in [*many, *([] if end is None else [{"state": end}])]:
                self.update_one(name, self.key(name, "key"), job.uid, job.lease, self.changes(changes))
                self.model.settle()

    def claim_now(self, names: list[str], count: int, worker: str | None) -> list[Claimed]:
        """Claim jobs that are ready, without waiting."""
        claim = {"queues": names, "key": self.key(names[0], "key"), "count": count, "tags": (), "worker": worker}
        number = self.model.wait_claim(self.model.steady, **claim)
        given = self.model.told[number]
        self.pending[number] = self.driver.start_claim({**claim, "wait": 0})
        self.waiters_agree()
        return [] if isinstance(given, Refused) else given

    @rule(name=q.NAMES, key=q.KEYS, data=DATA, changes=q.CHANGES)
    def update(self, name: str, key: str, data: st.DataObject, changes: dict[str, Any]) -> None:
        key, job, changes = self.key(name, key), self.chosen(data, name), self.changes(changes)
        uid, lease = NO_UID if job is None else job.uid, self.lease(data, job)
        self.update_one(name, key, uid, lease, changes)

    def update_one(self, name: str, key: str, uid: str | None, lease: str | None, changes: dict[str, Any]) -> None:
        expected, got = self.both(
            lambda: self.model.update(name, key, uid, lease, changes),
            lambda: self.driver.update(name, key, uid, lease, changes),
        )
        if got is not None:
            self.same_job(expected, got)

    @rule(name=q.NAMES, key=q.KEYS, data=DATA, many=st.lists(q.CHANGES, min_size=1, max_size=3))
    def update_many(self, name: str, key: str, data: st.DataObject, many: list[dict[str, Any]]) -> None:
        key, updates = self.key(name, key), []
        for changes in many:
            job = self.chosen(data, name)
            updates.append((NO_UID if job is None else job.uid, self.lease(data, job), self.changes(changes)))
        expected, got = self.both(
            lambda: self.model.update_many(name, key, updates), lambda: self.driver.update_many(name, key, updates)
        )
        for one, other in zip(expected or (), got or (), strict=True):
            if isinstance(one, Refused) or isinstance(other, Refused):
                self.same_refusal(one, other)
            else:
                self.same_job(one, other)

    @rule(name=q.NAMES, key=q.KEYS, which=q.FILTERS, changes=q.CHANGES, dry=st.booleans())
    def sweep(self, name: str, key: str, which: dict[str, Any], changes: dict[str, Any], dry: bool) -> None:
        # A change by filter can't hold a group or queue.
        key, changes = self.key(name, key), {**self.changes(changes), "hold": None}
        expected, got = self.both(
            lambda: self.model.change_all(name, key, which, changes, dry),
            lambda: self.driver.sweep(name, key, which, changes, dry),
        )
        assert got == expected

    @rule(name=q.NAMES, key=q.KEYS, which=q.FILTERS, dry=q.SELDOM.map(lambda really: not really))
    def sweep_delete(self, name: str, key: str, which: dict[str, Any], dry: bool) -> None:
        key = self.key(name, key)
        act = None if dry else self.model.remove_swept
        expected, got = self.both(
            lambda: self.model.sweep(name, key, which, act), lambda: self.driver.sweep_delete(name, key, which, dry)
        )
        assert got == expected

    @rule(name=q.NAMES, key=q.KEYS, data=DATA)
    def delete(self, name: str, key: str, data: st.DataObject) -> None:
        key, job = self.key(name, key), self.chosen(data, name)
        uid = NO_UID if job is None else job.uid
        self.both(lambda: self.model.delete(name, key, uid), lambda: self.driver.delete(name, key, uid))

    # Time

    @rule(ms=q.TIMES)
    def let_time_go_by(self, ms: int) -> None:
        """
        Advance the time from event to event. If a wait would end at the same time at which a job is due, their order is
        undefined, so the waiter leaves first.
        """
        end = self.model.steady + ms
        while self.model.steady < end:
            due, late = self.model.next_time()
            moment = min(due, late, end)
            for waiter in [one for one in self.model.waiters if one.ends == due == moment]:
                self.leave(waiter)
            self.driver.advance(moment - self.model.steady)
            self.model.steady = moment
            self.model.settle()
            self.waiters_agree()

    @rule(ms=q.STEPS)
    def set_the_clock(self, ms: int) -> None:
        self.model.counted["clock set"] += 1
        self.driver.step_clock(ms)
        self.model.step_clock(ms)

    @rule(kill=st.booleans(), step=st.sampled_from([0, 0, 0, 0]) | q.STEPS, down=st.sampled_from([0, 0, 40_000]))
    def restart(self, kill: bool, step: int, down: int) -> None:
        if kill:
            for waiter in list(self.model.waiters):
                self.model.leave(waiter)
            self.pending.clear()
        self.model.counted["killed" if kill else "stopped"] += 1
        self.model.release()
        self.driver.restart(kill=kill, step=step, down=down)
        self.model.steady += down
        self.model.restart(step)
        self.waiters_agree()
        self.model.settle()
        # The engine does not store which group was served last: after a restart any order is right.
        for name, queue in self.model.queues.items():
            queue.turn, queue.served = self.driver.served(name)
