"""The machine's rules about limits and groups."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.machine import questions as q
from tests.machine.machine import EngineMachine


class GroupMachine(EngineMachine):
    """The machine, with rules about groups."""

    @rule(name=q.NAMES, key=q.KEYS, settings=q.FLOWS)
    def limit(self, name: str, key: str, settings: dict[str, Any]) -> None:
        self.set_up(name, key, settings, None)

    @rule(name=q.NAMES, key=q.KEYS, group=q.GROUPS, settings=q.OWN)
    def change_group(self, name: str, key: str, group: str, settings: dict[str, Any]) -> None:
        key, settings = self.key(name, key), self.changes(settings)
        expected, got = self.both(
            lambda: self.model.change_group(name, key, group, settings),
            lambda: self.driver.change_group(name, key, group, settings),
        )
        if expected is not None:
            assert got == self.timed(expected)

    @rule(name=q.NAMES, key=q.KEYS, group=q.GROUPS)
    def reset_group(self, name: str, key: str, group: str) -> None:
        key = self.key(name, key)
        self.both(lambda: self.model.reset_group(name, key, group), lambda: self.driver.reset_group(name, key, group))

    @rule(name=st.sampled_from(["a", "b"]), settings=q.FLOWS, count=q.COUNTS, worker=q.WORKERS, wait=q.TIMES)
    def wait_for_a_slot(self, name: str, settings: dict[str, Any], count: int, worker: str | None, wait: int) -> None:
        """Claim as many jobs as the limits allow, wait, and change the limits."""
        self.claim_now([name], 20, worker)
        self.claim([name], "key", count, (), worker, wait)
        self.agree()
        self.set_up(name, "key", settings, None)

    @rule(
        name=st.sampled_from(["a", "b"]),
        settings=q.WHOLE_FLOWS,
        own=q.WHOLE_OWN,
        asked=q.PLAIN_JOBS,
        steps=st.lists(q.STEPS_OF_WORK, min_size=4, max_size=20),
    )
    def take_turns(
        self, name: str, settings: dict[str, Any], own: dict[str, Any], asked: list[Any], steps: list[Any]
    ) -> None:
        """Change settings, then claim and finish jobs, so that groups take turns."""
        self.set_up(name, "key", settings, None)
        self.change_group(name, "key", "g", own)
        self.model.settle()
        self.add_all(name, "key", asked, many=True)
        self.agree()
        for step in steps:
            if isinstance(step, dict):
                self.end_first(name, step)
            elif step < 1_000:
                self.claim_now([name], step, None)
            else:
                self.let_time_go_by(step)
            self.agree()
        self.explain_all(name)

    def end_first(self, name: str, changes: dict[str, Any]) -> None:
        """Change the first job in progress."""
        running = [job for job in self.model.queues[name].ordered() if job.state == "inprogress"]
        for job in running[:1]:
            self.update_one(name, self.key(name, "key"), job.uid, job.lease, changes)

    @rule(name=st.sampled_from(["a", "b"]))
    def explain_all(self, name: str) -> None:
        """Check that each job that can't be claimed has a reason, and the right one."""
        for job in self.model.queues[name].ordered():
            self.explain(name, self.key(name, "key"), job.uid)

    @rule(names=q.SEVERAL, count=q.COUNTS, worker=q.WORKERS, tags=q.TAGS, wait=q.TIMES)
    def take_all_and_wait_for_more(
        self, names: list[str], count: int, worker: str | None, tags: tuple[str, ...], wait: int
    ) -> None:
        self.claim_now(names, 20, worker)
        self.claim(names, "key", count, tags, worker, wait)
