"""The facts with which claims, returned claims and holds change the gates of a queue."""

from collections.abc import Sequence
from functools import lru_cache

from attrs import define, evolve, field
from msgspec.structs import replace

from .facts import Fact, ItemSet, QueueChanged
from .flow import GATE, GROUP, NO_FLOW, OF_QUEUE, Flow, Gate, Rate, gate_of, item_text, settings_of
from .model import Job
from .tables import Table


@define(eq=False)
class GateChanges:
    """The changes that one command makes to the gates of a queue."""

    table: Table
    #: The changed gates as the values of named things.
    _changed: dict[str, str | None] = field(factory=dict)

    def claim(self, jobs: Sequence[Job], now: int) -> None:
        """Count claimed jobs against the rates of the queue and of their groups."""
        flow = self.table.queue.flow
        if flow is None:
            return
        # For a single job, a Counter takes ten times as long.
        groups: dict[str | None, int] = {}
        for job in jobs:
            name = job.spec.rare.group
            groups[name] = groups.get(name, 0) + 1
        if flow.limits.rate is not None and jobs:
            self._changed[OF_QUEUE] = _after_claims(self._text(OF_QUEUE), flow.limits.rate, now, len(jobs))
        item, of_groups = self.table.item, flow.group_limits.rate
        for name, number in groups.items():
            if name is None:
                continue
            own = item(GROUP, name)
            rate = of_groups if own is None else settings_of(own).limits(flow).rate
            if rate is not None:
                self._changed[name] = _after_claims(self._text(name), rate, now, number)

    def give_back(self, job: Job) -> None:
        """Subtract the claim of a job from the rates: the server has undone the claim."""
        if self.table.queue.flow is not None:
            for name in {job.spec.rare.group or OF_QUEUE, OF_QUEUE}:
                self._changed[name] = item_text(self.gate(name).given_back(job.standing.claimed))

    def hold(self, name: str, until: int) -> None:
        """Hold a group, or the queue by OF_QUEUE, until `until`, in elapsed time; 0 ends a hold."""
        self._changed[name] = item_text(replace(self.gate(name), held=until))

    def hold_longer(self, job: Job, until: int) -> None:
        """Hold a job's group, or the queue if it has none, at least until `until`, in elapsed time."""
        name = job.spec.rare.group or OF_QUEUE
        self.hold(name, max(until, self.gate(name).held))

    def facts(self) -> list[Fact]:
        """The facts of all changes. If there are any, a queue without flow gets flow first: gates need it."""
        if not self._changed:
            return []
        name, item = self.table.queue.name, self.table.item
        found = [ItemSet(name, GATE, gate, text) for gate, text in self._changed.items() if text != item(GATE, gate)]
        return [*with_flow(self.table), *found] if found else []

    def gate(self, name: str) -> Gate:
        """A gate after these changes."""
        return gate_of(self._text(name))

    def _text(self, name: str) -> str | None:
        return self._changed[name] if name in self._changed else self.table.item(GATE, name)


@lru_cache(maxsize=128)
def _after_claims(text: str | None, rate: Rate, now: int, number: int) -> str | None:
    """The stored text of a gate after claims. Cached, since a claim gives many groups equal gates."""
    return item_text(gate_of(text).after_claims(rate, now, number))


def with_flow(table: Table, flow: Flow = NO_FLOW) -> list[Fact]:
    """The fact that gives a queue flow, if it has none: groups take effect only with it."""
    return [QueueChanged(evolve(table.queue, flow=flow))] if table.queue.flow is None else []
