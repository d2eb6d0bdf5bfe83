"""The machine's rules about dead-letter queues and moves."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.machine import questions as q
from tests.machine.group_rules import GroupMachine


class MoveMachine(GroupMachine):
    """The machine with all its rules."""

    @rule(names=q.MOVES, key=q.KEYS, keep=q.MINUTES, off=q.SELDOM)
    def set_dead_letter(self, names: tuple[str, str], key: str, keep: int | None, off: bool) -> None:
        name, other = names
        key, target = self.key(name, key), None if off else other
        self.both(
            lambda: self.model.set_dead_letter(name, key, target, keep),
            lambda: self.driver.set_dead_letter(name, key, target, keep),
        )

    @rule(names=q.MOVES, key=q.KEYS, which=q.FILTERS, per_second=q.PER_SECOND, dry=q.SELDOM)
    def move(
        self, names: tuple[str, str], key: str, which: dict[str, Any], per_second: float | None, dry: bool
    ) -> None:
        name, other = names
        key = self.key(name, key)
        expected, got = self.both(
            lambda: self.model.move_all(name, key, which, other, per_second, dry),
            lambda: self.driver.move_all(name, key, which, other, per_second, dry),
        )
        assert got == expected

    @rule(
        names=st.sampled_from([("a", "b"), ("b", "a")]),
        keep=q.MINUTES,
        asked=q.SOME_JOBS,
        worker=q.WORKERS,
        which=q.FILTERS,
        per_second=q.PER_SECOND,
        again=st.booleans(),
    )
    def fail_and_redrive(
        self,
        names: tuple[str, str],
        keep: int | None,
        asked: list[Any],
        worker: str | None,
        which: dict[str, Any],
        per_second: float | None,
        again: bool,
    ) -> None:
        """Let jobs fail in a queue with a dead-letter queue, some of them reported twice, and move them back."""
        name, other = names
        self.set_dead_letter((other, name), "key", keep, off=True)
        self.set_dead_letter(names, "key", keep, off=False)
        self.add_all(name, "key", asked, many=True)
        self.model.settle()
        for _, job, _ in self.claim_now([name], 3, worker):
            for _ in range(1 + again):
                self.update_one(name, self.key(name, "key"), job.uid, job.lease, {"state": "failed", "retry": False})
                self.model.settle()
        self.list_jobs(other, "key", {**which, "moved_from": name}, 2)
        self.move((other, name), "key", {**which, "moved_from": name}, per_second, dry=False)
