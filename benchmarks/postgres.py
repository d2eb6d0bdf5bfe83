"""
How fast is JobEngine on PostgreSQL? Run from the root: `python -m benchmarks.postgres`, or with `short` for a minute.

PostgreSQL has a core of its own, with its default settings. Servers are measured on the other core: without HTTP
(benchmarks/door.py), and over HTTP from clients on that core. Beside them, pgbench does the same work by SQL alone, in
a plain table and by the SQL of pgmq, and procrastinate is used as in benchmarks.contenders.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

from attrs import define, field
from msgspec.json import decode

from jobengine.engine.postgres.database.connection import connected
from jobengine.engine.postgres.database.schema import migrate
from jobengine.storage.frames import Kdf

from .contenders import Player, Way
from .door import SECRET, Work
from .machine import CLIENT_CORE, directory
from .results import TIMES, Outcome, Results, rounds, run_alone, say
from .servers import Failed, JobEngine, PostgreSQL, Run, Server
from .servers.postgresql import pgmq

#: A shared machine gets slower and faster within a minute. So ratios come from many short rounds.
_SECONDS, _ROUNDS = 2.0, 7
#: Seconds of a round over HTTP; no row about HTTP has a target.
_HTTP_SECONDS = 4.0
_JOBS = 1_000_000
_CLIENTS, _BULK_CLIENTS = 32, 4
#: The most seconds that a process may take for its work.
_PATIENCE = 1_800.0
#: Targets: jobs a second in bulk; two and four servers compared with one; the last tenth of many jobs compared with the
#: third tenth.
_BULK, _TWO, _FOUR, _LAST = 20_000, 1.2, 1, 0.9
#: The number of groups, the jobs of each that stay in the queue, and the target: a share of the rate without groups.
_GROUPS, _EACH, _SHARE = 100_000, 10, 0.6
#: The flows of queues with these groups, as JSON.
_FLOWS: Final[Mapping[str, str]] = {
    "limit 2": '{"group_limits": {"in_progress": 2}}',
    "fair": '{"group_order": "fair"}',
}
#: A few groups that all clients use, the flow of their queue, and the target: two servers' share of one server's rate.
_HOT, _HOT_FLOW, _HOT_SHARE = 10, '{"group_order": "fair", "group_limits": {"in_progress": 200}}', 1


def _migrated(server: PostgreSQL) -> None:
    with connected(server.url) as connection:
        migrate(connection, SECRET.encode(), Kdf(passes=1, kib=1024))


@define(eq=False, kw_only=True)
class WithoutHttp(PostgreSQL):
    """Servers without HTTP on one PostgreSQL and one queue, each with its clients."""

    name: str = "JobEngine on PostgreSQL, without HTTP"
    daemons: int = 1
    #: The number of groups, and the flow of their queue, as JSON; how many jobs stay in the queue.
    groups: int = 0
    flow: str = "{}"
    kept: int = 0

    def start(self, home: Path) -> None:
        """Start PostgreSQL, with the tables."""
        super().start(home)
        _migrated(self)

    def singles(self, seconds: float) -> Run:
        """Do jobs one by one; the clients are spread over the servers."""
        return self._run(_CLIENTS // self.daemons, 1, seconds)

    def bulk(self, size: int, seconds: float) -> Run:
        """Do jobs `size` at a time, with a few clients in each server."""
        return self._run(_BULK_CLIENTS, size, seconds)

    def _run(self, clients: int, size: int, seconds: float) -> Run:
        before = self.cost()
        works = self.work(clients, size, seconds, 0)
        jobs = sum(work.jobs for work in works)
        rate = sum(work.jobs / work.seconds for work in works)
        return Run(rate, 0, cost=(self.cost() - before) / jobs)

    def work(self, clients: int, size: int, seconds: float, jobs: int) -> list[Work]:
        """The work of each server; see benchmarks/door.py. Raises Failed."""
        arguments = [self.url, *map(str, (clients, size, seconds, jobs, self.groups, self.kept, self.flow))]
        with directory() as home, ExitStack() as stack:
            players = [Player(arguments, home / str(number), "benchmarks.door") for number in range(self.daemons)]
            for one in players:
                stack.callback(one.stop)
            for one in players:
                _until_warm(one)
            for one in players:
                one.go()
            return [_work(one) for one in players]


def _until_warm(player: Player) -> None:
    """Wait while a process fills its queue."""
    if player.line(_PATIENCE) != "warm":
        raise Failed(f"a server ended: {player.errors.read_text()[-300:]}")


def _work(player: Player) -> Work:
    line = player.line(_PATIENCE)
    if not line:
        raise Failed(f"a server ended: {player.errors.read_text()[-300:]}")
    return decode(line, type=Work)


@define(eq=False, kw_only=True)
class OnPostgres(JobEngine):
    """The daemon on a PostgreSQL of its own."""

    name: str = "JobEngine on PostgreSQL"
    core: int = CLIENT_CORE
    database: PostgreSQL = field(factory=PostgreSQL)

    def found(self) -> bool:
        """Whether PostgreSQL is installed."""
        return self.database.found()

    def start(self, home: Path) -> None:
        """Start PostgreSQL and the daemon."""
        (home / "database").mkdir()
        self.database.start(home / "database")
        _migrated(self.database)
        self.settings = {"DATABASE_URL": self.database.url, "SECRET": SECRET}
        super().start(home)

    def stop(self) -> None:
        """End the daemon and PostgreSQL."""
        super().stop()
        self.database.stop()


def measure(results: Results) -> None:
    """Measure without HTTP and with it, and compare with the contenders; adds the rows to `results`."""
    _without_http(results, _SECONDS, _ROUNDS)
    _groups(results, _SECONDS, TIMES)
    _through_http(results)
    _many(results, _JOBS, TIMES)


def _short(results: Results) -> None:
    _without_http(results, 1, 1)
    _groups(results, 1, 1, groups=5_000)
    _many(results, 20_000, 1)


def _without_http(results: Results, seconds: float, times: int) -> None:
    results.saw(PostgreSQL())
    _bulk(results, seconds, times)
    _singles(results, seconds, times)
    _several(results, seconds, times)


def _bulk(results: Results, seconds: float, times: int) -> None:
    what = "PostgreSQL: bulk of 1,000, add → claim → complete"
    servers: list[Server] = [WithoutHttp(), PostgreSQL(name="SQL alone"), pgmq()]
    ours, *theirs = rounds([(server, lambda server: server.bulk(1_000, seconds)) for server in servers], times)
    results.bound(f"{what}, without HTTP", [run.jobs for run in ours.runs], "jobs/s", _BULK, least=True)
    _compare(results, what, ours, theirs, [None, None])


def _singles(results: Results, seconds: float, times: int) -> None:
    what = f"PostgreSQL: one by one, {_CLIENTS} at the same time, add → claim → complete"
    servers: list[Server] = [WithoutHttp(), PostgreSQL(name="pgbench, SKIP LOCKED"), pgmq()]
    ours, *theirs = rounds([(server, lambda server: server.singles(seconds)) for server in servers], times)
    _compare(results, what, ours, theirs, [1, None])


def _several(results: Results, seconds: float, times: int) -> None:
    some = [WithoutHttp(name=f"{number} servers", daemons=number) for number in (1, 2, 4)]
    one, two, four = rounds([(server, lambda server: server.bulk(100, seconds)) for server in some], times)
    for many, target in ((two, _TWO), (four, _FOUR)):
        results.compare(f"PostgreSQL: bulk of 100, {many.name} on one queue, without HTTP", many, one, target)


def _groups(results: Results, seconds: float, times: int, groups: int = _GROUPS) -> None:
    """Compare many groups with none, in bulk; and on a few groups, two servers with one."""
    kept = groups * _EACH
    servers: list[Server] = [WithoutHttp(name="no groups", kept=kept)]
    servers += [WithoutHttp(name=name, groups=groups, flow=flow, kept=kept) for name, flow in _FLOWS.items()]
    plain, *grouped = rounds([(server, lambda server: server.bulk(1_000, seconds)) for server in servers], times)
    for one in grouped:
        what = f"PostgreSQL: {groups:,} groups of {_EACH}, {one.name}, bulk of 1,000, without HTTP"
        results.compare(what, one, plain, _SHARE)
    some = [
        WithoutHttp(name=f"{number} on hot groups", daemons=number, groups=_HOT, flow=_HOT_FLOW, kept=1_000)
        for number in (1, 2)
    ]
    one, two = rounds([(server, lambda server: server.bulk(100, seconds)) for server in some], times)
    results.compare(f"PostgreSQL: {_HOT} hot groups, bulk of 100, 2 servers, without HTTP", two, one, _HOT_SHARE)


def _through_http(results: Results) -> None:
    """Measure over HTTP: the daemon shares its core with the client, as procrastinate's two processes do."""
    both: tuple[Server, Server] = OnPostgres(), PostgreSQL(name="SQL alone")
    ours, theirs = rounds([(one, lambda server: server.singles(_HTTP_SECONDS)) for one in both])
    results.compare("PostgreSQL: one by one over HTTP, add → claim → complete", ours, theirs)
    ours, theirs = rounds([(one, lambda server: server.bulk(1_000, _HTTP_SECONDS)) for one in both])
    results.compare("PostgreSQL: bulk of 1,000 over HTTP, add → claim → complete", ours, theirs)
    procrastinate = PostgreSQL(name="procrastinate", library="procrastinate")
    pairs = [(OnPostgres(), Way("jobengine", 4_000).measured), (procrastinate, Way("procrastinate", 800).measured)]
    ours, theirs = rounds(pairs)
    results.compare("PostgreSQL: one process adds, one works off: 8 threads each, one job in a call", ours, theirs)


def _compare(
    results: Results, what: str, ours: Outcome, theirs: Sequence[Outcome], targets: Sequence[float | None]
) -> None:
    """Add rows with the rates to `results`, and print PostgreSQL's cost of a job."""
    for outcome, target in zip(theirs, targets, strict=True):
        results.compare(f"{what}, without HTTP", ours, outcome, target)
    for outcome in (ours, *theirs):
        if outcome.runs:
            say(f"{outcome.name}: {median(run.cost for run in outcome.runs) * 1e6:.0f} µs of PostgreSQL for each job")


def _many(results: Results, jobs: int, times: int) -> None:
    """Compare the rates of the last and the third tenth of many jobs that are kept."""
    tenth = f"{jobs // 10:,}"
    what = f"PostgreSQL: of {jobs:,} jobs that are kept, the last {tenth} beside the third"
    results.bound(what, [_last_beside_third(jobs) for _ in range(times)], "", _LAST, least=True)


def _last_beside_third(jobs: int) -> float:
    server = WithoutHttp()
    with server.running():
        rates = server.work(_BULK_CLIENTS, 1_000, 0, jobs)[0].rates
    say(f"{jobs:,} jobs, a tenth each: {', '.join(f'{rate:,.0f}' for rate in rates)} jobs/s")
    return rates[-1] / rates[2]


if __name__ == "__main__":
    raise SystemExit(run_alone(_short if sys.argv[1:] == ["short"] else measure))
