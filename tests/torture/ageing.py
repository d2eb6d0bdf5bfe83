"""Changes a queue's priority ageing just before a kill; afterwards all jobs must be in the new order."""

import random
from collections.abc import Sequence
from typing import Any, Final

from attrs import define

from tests.integration.daemons import Reply, until

from .crew import Caller, require

QUEUE: Final = "aged"
#: Jobs that are added at a time: so many that they are moved to new places in several slices.
ADDED: Final = 1_000
#: The seconds that a step of priority may be worth; None is no ageing.
SECONDS: Final = (None, 1, 2)


def misplaced(jobs: Sequence[Any], seconds: int | None) -> list[str]:
    """The uids of the jobs in a list that are behind a job that they should precede; times are known to the second."""
    wrong, last = [], -1 << 62
    before: dict[int, tuple[int, int]] = {}
    for job in jobs:
        batch, index = job["content"]["batch"], job["content"]["index"]
        place = -job["priority"] if seconds is None else job["created"] - job["priority"] * seconds
        # Jobs of one batch were added at the same moment.
        if place < last - (seconds is not None) or (-job["priority"], index) < before.get(batch, (-100, 0)):
            wrong.append(job["uid"])
        last, before[batch] = max(last, place), (-job["priority"], index)
    return wrong


@define
class Line:
    """The queue, with the last acknowledged setting of its order."""

    chance: random.Random
    batches: int = 0
    seconds: int | None = None

    def add(self, client: Caller) -> Any:
        """Add a batch of jobs with different priorities."""
        priorities = self.chance.choices(range(-3, 4), k=ADDED)
        contents = [{"batch": self.batches, "index": index} for index in range(ADDED)]
        jobs = [{"content": one, "priority": priority} for one, priority in zip(contents, priorities, strict=True)]
        return client.add_many(jobs, QUEUE)

    def change(self, client: Caller) -> Any:
        """Change the order; most jobs have their old places when this is answered."""
        order = None if self.seconds is None else {"seconds_per_priority": self.seconds}
        return client.set_up(QUEUE, order=order)

    def judge(self, client: Caller) -> Reply:
        """Wait until all jobs have moved, and check their order; returns the answer with the jobs."""
        query = {"queueName": QUEUE, "jobUID": self._list(client).json["jobs"][0]["uid"]}
        until(
            "all jobs have their new places",
            lambda: "being moved" not in client.call("GET", "/api/v1/job/explain", query=query).json["reason"],
        )
        reply = self._list(client)
        jobs = reply.json["jobs"]
        wrong = misplaced(jobs, self.seconds)
        require(not wrong, f"{len(wrong)} of {len(jobs)} jobs are out of order at {self.seconds} s: {wrong[:3]}")
        return reply

    def _list(self, client: Caller) -> Reply:
        return client.call("GET", "/api/v1/queue", query={"name": QUEUE})
