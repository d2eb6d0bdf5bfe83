"""
Checks rates by a sliding window, independently of the marks that the engine keeps.

The trial advances the engines' clock. Claims, ends of jobs, restarts and steps of the wall clock come at random
times; then every window is checked, wherever it begins. While the server of a file is down the wall clock is only set
back: the engine can't distinguish a clock that was set forward from elapsed time.
"""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen

from jobengine.core import commands as c
from jobengine.core.flow import Limits, Rate
from jobengine.core.model import Defaults, Job, State

from .owner import Disagreement
from .rate_engines import Engines, Place, on_file, on_postgres
from .trials import Tally

KEY: Final = b"key"
GROUPS: Final = ("a", "b", "c")
#: The least number of ready jobs in each group.
READY: Final = 10
#: A claim may be late by at most the rate's window divided by this.
LATE: Final = 16


def too_many(times: list[int], rate: Rate) -> list[tuple[int, int]]:
    """The first and last time of each run of claims that exceeds the rate by one claim within a window."""
    window = rate.seconds * 1000
    runs = zip(times, times[rate.count :], strict=False)
    return [(first, last) for first, last in runs if last - first < window]


def too_late(asked: list[int], times: list[int], rate: Rate) -> list[tuple[int, int]]:
    """
    The earliest possible time and the real time of each claim that came too late.

    Each claim was requested at its time in `asked`, and only the rate delayed it.
    """
    window = rate.seconds * 1000
    opens = [0] * rate.count + [time + window for time in times]
    possible = [max(pair) for pair in zip(asked, opens, strict=False)]
    return [pair for pair in zip(possible, times, strict=True) if pair[1] > pair[0] + window // LATE]


@define
class Life:
    """Engines with a queue whose claims have rates."""

    engines: Engines
    chance: random.Random
    limits: Limits
    #: The rates of the groups; None is the key of the rate for all other groups.
    rates: dict[str | None, Rate]
    #: Time, in milliseconds of the monotonic clock, and group of each claim that was not returned.
    claims: list[tuple[int, str]] = field(factory=list)
    counted: Counter[str] = field(factory=Counter)
    _ready: Counter[str] = field(factory=Counter)

    def __attrs_post_init__(self) -> None:
        self._ask(c.CreateQueue(queue="q", access_key=KEY))
        self._ask(
            c.ChangeQueue(queue="q", access_key=KEY, limits=self.limits, group_limits=Limits(rate=self.rates[None]))
        )
        for group in GROUPS:
            if group in self.rates:
                self._ask(c.ChangeGroup(queue="q", access_key=KEY, group=group, rate=self.rates[group]))

    @property
    def now(self) -> int:
        return int(self.engines.clock.seconds() * 1000)

    @property
    def window(self) -> int:
        """The longest window."""
        rates = [*self.rates.values(), *([self.limits.rate] if self.limits.rate else [])]
        return max(rate.seconds for rate in rates) * 1000

    def _ask(self, command: Any) -> Any:
        return self.engines.begin(self.engines.engine().ask(command)).answer

    def fill(self) -> None:
        """Add jobs, so that each group has ready jobs."""
        for group in GROUPS:
            if self._ready[group] < READY:
                jobs = (c.NewJob(content=b"{}", group=group, keep_minutes=0, max_attempts=3),) * READY
                self._ask(c.AddJobs(queue="q", access_key=KEY, jobs=jobs, defaults=Defaults()))
                self._ready[group] += READY

    # What happens

    def happen(self, what: str) -> None:
        self.counted[what] += 1
        getattr(self, what)()

    def wait(self) -> None:
        self.engines.advance(self.chance.randrange(max(2, self.window // self.chance.choice([4, 30, 200]))))

    def claim(self) -> None:
        self.fill()
        count = self.chance.choice([1, 1, 1, 2, 5])
        claims = c.Claims(queues=("q",), access_key=KEY, count=count)
        self.record_claims([one.job for one in self.engines.begin(self.engines.engine().claim(claims)).answer.jobs])

    def record_claims(self, jobs: list[Job]) -> None:
        for job in jobs:
            group = job.spec.rare.group or ""
            self.claims.append((self.now, group))
            self._ready[group] -= 1
            self._end(job)

    def _end(self, job: Job) -> None:
        """Finish a job, or release it; after a release its next claim counts as well."""
        state, retry = self.chance.choice([(State.COMPLETE, True), (State.QUEUED, True), (State.FAILED, False)])
        changes = c.Changes(state=state, retry=retry)
        update = c.UpdateJob(queue="q", access_key=KEY, uid=job.spec.uid, lease=job.standing.lease, changes=changes)
        self._ask(update)
        self._ready[job.spec.rare.group or ""] += state is State.QUEUED

    def leave(self) -> None:
        """Disconnect before a claim is answered: the server returns its jobs, and the claim does not count."""
        self.fill()
        claims = c.Claims(queues=("q",), access_key=KEY, count=2)
        self.engines.leave(self.engines.engine().claim(claims))

    def set_clock(self) -> None:
        self.engines.set_clock(self.window)

    def restart(self) -> None:
        self.engines.restart(self.window)

    # Judging

    def judge(self) -> None:
        """Raise Disagreement if a window has too many claims."""
        lists = [(group, self.rates.get(group) or self.rates[None]) for group in GROUPS]
        found = {group: too_many([at for at, its in self.claims if its == group], rate) for group, rate in lists}
        if self.limits.rate is not None:
            found["all"] = too_many([at for at, _ in self.claims], self.limits.rate)
        wrong = {name: runs[:3] for name, runs in found.items() if runs}
        if wrong:
            raise Disagreement(f"too many claims with {self.limits} and {self.rates}: {wrong}")

    def use(self, number: int) -> None:
        """Make this many claims, each as soon as possible; raises Disagreement if one comes too late."""
        asked, times = [], [at for at, _ in self.claims]
        first = len(times)
        while len(times) < first + number:
            self.fill()
            # One claim waits at a time; before some claims the worker is busy for a while.
            self.engines.advance(self.chance.choice([0, 0, 0, self.chance.randrange(self.window // 20 + 1)]))
            asked.append(self.now)
            self.record_claims(self._claimed_in_time())
            times.append(self.claims[-1][0])
        rate = self.limits.rate
        assert rate is not None
        late = too_late([*times[:first], *asked], times, rate)
        if late:
            raise Disagreement(f"claims came too late with {rate}: {late[:3]}")

    def _claimed_in_time(self) -> list[Job]:
        """Claim one job, waiting as long as needed."""
        while True:
            claims = c.Claims(queues=("q",), access_key=KEY, wait=50)
            pending = self.engines.begin(self.engines.engine().claim(claims))
            while not pending.answered:
                due = min(call.getTime() for call in self.engines.clock.getDelayedCalls())
                self.engines.advance(max(1, round((due - self.engines.clock.seconds()) * 1000)))
            if pending.answer.jobs:
                return [one.job for one in pending.answer.jobs]


WEIGHTS: Final = {"claim": 60, "wait": 30, "leave": 3, "set_clock": 2, "restart": 1}


@frozen
class Rates:
    """A trial: lives with random rates, until there were this many claims."""

    claims: int = 100_000
    #: The number of claims of one life, and how many of them are made as soon as possible.
    of_each: int = 3_000
    used: int = 500
    #: Seconds of the windows.
    windows: Sequence[int] = (1, 2, 7, 60)
    place: Place = on_file
    name: str = "rates"

    def run(self, seed: int, folder: Path, tally: Tally) -> None:
        chance = random.Random(seed)
        done = 0
        with self.place(chance) as make:
            while done < self.claims:
                done += self._live(chance, make(folder / f"life {done}"), tally)
                done += self._use(chance, make(folder / f"use {done}"))
        tally.operations += done

    def _rate(self, chance: random.Random) -> Rate:
        return Rate(chance.choice([1, 2, 5, 20, 100]), chance.choice(self.windows))

    def _live(self, chance: random.Random, engines: Engines, tally: Tally) -> int:
        limits = Limits(rate=chance.choice([None, self._rate(chance)]))
        try:
            life = Life(engines, chance, limits, {None: self._rate(chance), "a": self._rate(chance)})
            while len(life.claims) < self.of_each:
                (what,) = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
                life.happen(what)
            life.judge()
        finally:
            engines.close()
        tally.kills += life.counted["restart"]
        tally.clock_steps += life.counted["set_clock"]
        return len(life.claims)

    def _use(self, chance: random.Random, engines: Engines) -> int:
        """A life in which only the queue has a rate, and claims are made as soon as possible."""
        try:
            life = Life(engines, chance, Limits(rate=self._rate(chance)), {None: Rate(1_000_000, 1)})
            life.use(self.used)
            life.judge()
        finally:
            engines.close()
        return len(life.claims)


#: The trial on PostgreSQL, where each of these steps takes longer.
POSTGRES_RATES: Final = Rates(
    claims=2_000, of_each=400, used=100, windows=(1, 2, 7), place=on_postgres, name="rates, PostgreSQL"
)
