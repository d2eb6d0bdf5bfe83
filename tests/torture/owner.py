"""
A client with its own queue and a plain model of it, so that it always knows the right contents of the queue.

No other client changes the queue, so each answer must be the model's. After a crash the queue must be as in the model,
with or without the one request that was not answered.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from http.client import HTTPException
from typing import Any, Final
from uuid import UUID

from attrs import define, evolve, field, frozen

from tests.machine.api_driver import ADMIN, ApiDriver, claim_body, claimed, refused
from tests.machine.jobs import Asked, Job, Rule
from tests.machine.model import Model
from tests.machine.queues import Queue, Refused

#: Seconds, more than any trial takes: the model's clock does not move, so nothing may expire.
LONG: Final = 80_000
#: Fields with times, which are not compared.
TIMES: Final = (
    *("created", "last_updated", "timeout_time", "lease_expires", "not_before", "started", "ended", "removed_at"),
)
EVERYTHING: Final = {"state": None, "tag": None, "text": None, "retrying": None, "cancelled": None}
STATES: Final = ("queued", "inprogress", "complete", "failed")
GROUPS: Final = ("g", "h", "i")
RULES: Final = (
    *(Rule(), Rule(), Rule(until="started"), Rule(seconds=LONG), Rule(if_queued="replace")),
    *(Rule(if_queued="replace", if_running="add"), Rule(if_queued="replace", debounce=(LONG, LONG))),
)
WRONG_LEASE: Final = "00000000-0000-4000-8000-0000000001ea"
#: A queue with more jobs is emptied: the model gets slower with each job.
MOST: Final = 150


class Disagreement(Exception):
    """An answer, or the state of the server, is wrong."""


@frozen
class Step:
    """One request: a call of the model and a call of the server. Both return the answer."""

    name: str
    tell: Callable[[Model], Any]
    ask: Callable[[ApiDriver], Any]
    #: The request deletes all jobs in slices: a crash may come between two slices.
    in_slices: bool = False


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_times(one) for name, one in value.items() if name not in TIMES}
    return [without_times(one) for one in value] if isinstance(value, list | tuple) else value


def _outcome(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except Refused as why:
        return why


@define
class Owner:
    """See the module; `weights` has how often each step is taken, by the name of its method."""

    name: str
    api: ApiDriver
    random: random.Random
    weights: dict[str, int] | None = None
    model: Model = field(factory=lambda: Model(steady=1_800_000_000_000))
    #: The number of answered requests, by the kind of step.
    answered: Counter[str] = field(factory=Counter)
    unanswered: Step | None = None

    @property
    def has_groups(self) -> bool:
        """Whether jobs of its queue have groups."""
        return self.weights is WITH_GROUPS

    def step(self) -> bool:
        """Take one step and compare the answer with the model's; returns whether there was an answer."""
        # Without a queue no other step is possible.
        kinds = (self.weights or WEIGHTS) if self.name in self.model.queues else {"create": 1}
        (kind,) = self.random.choices(list(kinds), list(kinds.values()))
        step: Step = getattr(self, f"_{kind}")()
        self.unanswered = step
        try:
            got = _outcome(lambda: step.ask(self.api))
        except (OSError, HTTPException):
            return False
        self.unanswered = None
        self.answered[kind] += 1
        self._compare(step, got, self._tell(step, self.model))
        return True

    def _tell(self, step: Step, model: Model) -> Any:
        expected = _outcome(lambda: step.tell(model))
        model.settle()
        return expected

    def _compare(self, step: Step, got: Any, expected: Any) -> None:
        if isinstance(got, Refused) and isinstance(expected, Refused):
            same = self.api.same_error(expected, got)
        else:
            same = without_times(got) == without_times(expected)
        if not same:
            raise Disagreement(f"queue {self.name!r}, {step.name}: the model says {expected!r}, the server {got!r}")

    # After a crash

    def judge(self) -> None:
        """Raise Disagreement if the server's state is wrong. Otherwise the model takes that state."""
        found, step = self.found(), self.unanswered
        self.unanswered = None
        for model in self._outcomes(step):
            if found == self.known(model):
                self.model = model
                return
        request = "no request under way" if step is None else f"{step.name} under way"
        raise Disagreement(f"queue {self.name!r}, {request}: {_difference(self.known(), found)}")

    def look(self) -> None:
        """Check the server's state, without deciding the outcome of the request under way."""
        model, step = self.model, self.unanswered
        try:
            self.judge()
        finally:
            self.model, self.unanswered = model, step

    def _outcomes(self, step: Step | None) -> Iterator[Model]:
        """The possible states of the queue: with and without the request under way."""
        yield self.model
        if step is not None:
            done = deepcopy(self.model)
            self._tell(step, done)
            yield done
        if step is not None and step.in_slices:
            yield from self._half_deleted()

    def _half_deleted(self) -> Iterator[Model]:
        model = deepcopy(self.model)
        queue = model.queues[self.name]
        for job in queue.ordered():
            model.remove_swept(queue, job)
            model.settle()
            yield model

    def known(self, model: Model | None = None) -> Any:
        """The queue in a model; None if it does not exist."""
        model = model or self.model
        queue = model.queues.get(self.name)
        if queue is None:
            return None
        jobs = [self.api.coarse(model.see(job)) for job in queue.ordered()]
        return without_times([queue.settings, jobs, queue.reports(model.now)])

    def found(self) -> Any:
        """The queue on the server; None if it does not exist."""
        query = {"name": self.name}
        try:
            stats = self.api.ask("GET", "/api/v1/queue/stats", query=query, key="key")
        except Refused as why:
            if why.name == "404":
                return None
            raise
        jobs = self.api.ask("GET", "/api/v1/queue", query=query, key="key")["jobs"]
        return without_times([self.api.settings(stats), jobs, self.api.groups(self.name, "key")])

    # The steps

    @property
    def _queue(self) -> Queue:
        return self.model.queues[self.name]

    def _job(self) -> Job | None:
        return self.random.choice([*self._queue.jobs, None])

    def _asked(self) -> Asked:
        pick = self.random.choice
        unique_key = pick([None, None, "k", "l", "m"])
        rule = Rule() if unique_key is None else pick(RULES)
        # The content of a job that may be replaced tells which add was the last.
        number = b'{"n":%d}' % self.random.getrandbits(48)
        return Asked(
            content=number if unique_key else pick([b"{}", b'{"text": "GR\\u00dc\\u00dfE"}', number]),
            priority=self.random.randrange(-1, 3),
            keep=pick([1000, 1000, 1000, 0]),
            timeout=pick([0, LONG]),
            tags=pick([(), ("x",), ("x", "y")]),
            max_attempts=pick([1, 2, 3]),
            retry_delay=pick([0, 0, LONG]),
            unique_key=unique_key,
            rule=rule,
            delay=0 if rule.debounce is not None else pick([0, 0, 0, LONG]),
            group=pick([None, *GROUPS]) if self.has_groups else None,
            # The owner chooses the uid, so that it knows the job if the answer is lost.
            uid=str(UUID(int=self.random.getrandbits(128), version=4)),
        )

    def _changes(self) -> dict[str, Any]:
        pick = self.random.choice
        return pick(
            [
                *([{"group": pick(["", *GROUPS])}] if self.has_groups else []),
                {"state": pick(STATES)},
                {"state": "complete", "result": b'{"done": true}'},
                {"state": "failed", "error": "bad luck", "retry": pick([True, True, False])},
                {"state": "inprogress", "progress": self.random.randrange(101)},
                {"priority": self.random.randrange(-2, 4)},
                {"tags": pick([(), ("x",), ("y", "z")]), "content": b'{"new": 1}'},
                {"cancel": True},
            ]
        )

    def _lease(self, job: Job | None) -> str | None:
        return self.random.choice([None, WRONG_LEASE, *([job.lease] * 6 if job is not None and job.lease else [])])

    def _filter(self) -> dict[str, Any]:
        pick = self.random.choice
        return {
            "state": pick([None, *STATES]),
            "tag": pick([None, "x", "y"]),
            "group": pick([None, None, *GROUPS]) if self.has_groups else None,
            "text": pick([None, None, "grüße"]),
            "retrying": pick([None, None, None, True, False]),
            "cancelled": pick([None, None, None, True, False]),
        }

    def _create(self) -> Step:
        def tell(model: Model) -> None:
            model.queues[self.name] = Queue(owner="key")

        return Step("create the queue", tell, lambda api: api.create(self.name, "key"))

    def _delete_queue(self) -> Step:
        def tell(model: Model) -> None:
            del model.queues[self.name]

        def ask(api: ApiDriver) -> None:
            # On a server with an admin key, the queue's own key is not enough.
            api.ask("DELETE", "/api/v1/queue", query={"name": self.name}, key="key", headers=ADMIN)

        return Step("delete the queue", tell, ask)

    def _set_up(self) -> Step:
        pick = self.random.choice
        given: dict[str, Any] = {
            "paused": pick([False] * 5 + [True]),
            "max_jobs": pick([0, 0, 0, 40]),
            "require_lease": pick([0, 1]) > 0,
        }
        if self.has_groups:
            # In fair order a server on a file forgets at a restart which group was served last.
            given |= {
                "limits": pick([None, None, 3, 6]),
                "group_limits": pick([None, 1, 2]),
                "group_order": pick(["arrival", "strict"]),
                "group_on_failure": pick(["next", "hold"]),
            }

        def tell(model: Model) -> dict[str, Any]:
            queue = model.queues[self.name]
            queue.set_up(given)
            return queue.settings

        return Step(f"set up {given}", tell, lambda api: api.set_up(self.name, "key", given))

    def _change_group(self) -> Step:
        pick = self.random.choice
        group, given = pick(GROUPS), {"in_progress": pick([None, 1, 4]), "paused": pick([False, False, True])}
        return Step(
            f"change the group {group} {given}",
            lambda model: model.change_group(self.name, "key", group, given),
            lambda api: api.change_group(self.name, "key", group, given),
        )

    def _reset_group(self) -> Step:
        group = self.random.choice(GROUPS)
        return Step(
            f"reset the group {group}",
            lambda model: model.reset_group(self.name, "key", group),
            lambda api: api.reset_group(self.name, "key", group),
        )

    def _add(self) -> Step:
        return self._add_these("add", [self._asked()], many=False)

    def _add_many(self) -> Step:
        return self._add_these("add many", [self._asked() for _ in range(self.random.randrange(2, 20))], many=True)

    def _add_these(self, name: str, asked: list[Asked], *, many: bool) -> Step:
        def tell(model: Model) -> Any:
            return [self.api.coarse(seen) for _, _, seen in model.add(self.name, "key", asked, many)]

        uids = [one.uid for one in asked[:5]]
        return Step(f"{name} {uids}", tell, lambda api: [job for _, job in api.add(self.name, "key", asked, many)])

    def _claim(self) -> Step:
        pick = self.random.choice
        claim: dict[str, Any] = {
            "queues": [self.name],
            "key": "key",
            "count": self.random.randrange(1, 4),
            "tags": pick([(), (), ("x",)]),
            "worker": pick([None, "w1", "w2"]),
        }
        leases: dict[str, str] = {}

        def ask(api: ApiDriver) -> Any:
            answer = api.server.call("POST", "/api/v1/job/next", body=claim_body(claim), key="key")
            if answer.status >= 400:
                raise refused(answer.status, answer.json)
            jobs = claimed(answer)
            leases.update({job["uid"]: lease for _, job, lease in jobs})
            return [job for _, job, _ in jobs]

        def tell(model: Model) -> Any:
            given = model.claim(claim["queues"], "key", claim["count"], claim["tags"], claim["worker"])
            for _, job, _ in given:
                # Not known if there was no answer.
                job.lease = leases.get(str(job.uid))
            return [self.api.coarse(seen) for _, _, seen in given]

        return Step(f"claim {claim}", tell, ask)

    def _update(self) -> Step:
        job = self._job()
        changes, lease = self._changes(), self._lease(job)
        uid = WRONG_LEASE if job is None else str(job.uid)

        def tell(model: Model) -> Any:
            seen = model.update(self.name, "key", uid, lease, changes)
            return None if lease is None and changes.keys() == {"state"} else self.api.coarse(seen)

        return Step(f"update {uid} {changes}", tell, lambda api: api.update(self.name, "key", uid, lease, changes))

    def _sweep(self) -> Step:
        which, changes = self._filter(), self._changes()

        def tell(model: Model) -> int:
            return model.change_all(self.name, "key", which, changes, False)

        return Step(
            f"update all {which} {changes}", tell, lambda api: api.sweep(self.name, "key", which, changes, False)
        )

    def _sweep_delete(self) -> Step:
        return self._delete_these(EVERYTHING if len(self._queue.jobs) > MOST else self._filter())

    def _delete_these(self, which: dict[str, Any]) -> Step:
        def tell(model: Model) -> int:
            return model.sweep(self.name, "key", which, model.remove_swept)

        return Step(f"delete all {which}", tell, lambda api: api.sweep_delete(self.name, "key", which, False))

    def _delete(self) -> Step:
        job = self._job()
        uid = WRONG_LEASE if job is None else str(job.uid)
        return Step(
            f"delete {uid}",
            lambda model: model.delete(self.name, "key", uid),
            lambda api: api.delete(self.name, "key", uid),
        )

    def _read(self) -> Step:
        job = self._job()
        uid = WRONG_LEASE if job is None else str(job.uid)
        return Step(
            f"read {uid}",
            lambda model: self.api.coarse(model.see(model.read(self.name, "key", uid))),
            lambda api: api.read(self.name, "key", uid),
        )

    def _load(self) -> Step:
        """Add long jobs, which make the file long, or delete them if they exist."""
        if self._queue.jobs:
            return evolve(self._delete_these(EVERYTHING), in_slices=True)
        asked = [
            Asked(content=b'{"text": "%s"}' % (b"x" * 900_000), uid=self._asked().uid, keep=1000) for _ in range(4)
        ]
        return self._add_these("load", asked, many=True)


WEIGHTS: Final = {
    "delete_queue": 1,
    "set_up": 2,
    "add": 18,
    "add_many": 6,
    "claim": 20,
    "update": 30,
    "sweep": 3,
    "sweep_delete": 3,
    "delete": 8,
    "read": 5,
}
#: For a queue whose jobs have groups.
WITH_GROUPS: Final = {**WEIGHTS, "set_up": 4, "change_group": 4, "reset_group": 2}


def _difference(known: Any, found: Any) -> str:
    """The difference between two states of a queue, shortened: contents may be long."""
    if known is None or found is None or known[0] != found[0]:
        return f"known {str(known)[:500]}, found {str(found)[:500]}"
    before, after = ({job["uid"]: job for job in jobs} for jobs in (known[1], found[1]))
    wrong = [(before.get(uid), after.get(uid)) for uid in before | after if before.get(uid) != after.get(uid)]
    if known[2] != found[2]:
        return f"known groups {str(known[2])[:500]}, found {str(found[2])[:500]}"
    if not wrong:
        return "the order of the jobs has changed"
    shown = "; ".join(f"known {str(one)[:300]}, found {str(other)[:300]}" for one, other in wrong[:3])
    return f"{len(wrong)} of {len(before | after)} jobs differ: {shown}"
