"""
Compares measurements of 1, 2 and 4 daemons on PostgreSQL with the simulation, and measures the standby's work.

PostgreSQL has one core; daemons, clients and the standby share the other.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from attrs import evolve, frozen

from jobengine.engine.postgres.database.connection import connected

from ..calls import Conversation, add_many, claim_many, complete_many, converse_with, uids_in
from ..machine import CLIENT_CORE, directory, free_port
from ..servers import JobEngine
from ..servers.postgresql import tool
from ..servers.server import as_user, given_to
from .bench import SECRET, Bench, print_line, work_of
from .parameters import COSTS
from .simulation import Load, Place, simulate
from .slowly import slowly

_ROUNDS: Final = 3
#: Seconds by which the standby's messages are delayed.
_FAR: Final = 0.02


def _conversation(size: int, deadline: float, done: list[int]) -> Conversation:
    adding, claiming = add_many("q", size), claim_many("q", size)
    while time.perf_counter() < deadline:
        yield adding
        uids = uids_in((yield claiming))
        if uids:
            yield complete_many("q", uids)
        done.append(len(uids))


def near(bench: Bench) -> None:
    """Compare without a standby."""
    _compare(bench, Place(cores=1, daemon_cores=1, trip=_trip(bench), sync=0))


def far(bench: Bench) -> None:
    """Compare with a distant standby, so that daemons wait more than they work."""
    with directory() as home, _standby(bench, home, delay=_FAR):
        _compare(bench, Place(cores=1, daemon_cores=1, trip=_trip(bench), sync=0, standby=_commit(bench)))


def _compare(bench: Bench, place: Place) -> None:
    for clients, size in ((32, 1), (4, 100)):
        print_line(f"{clients} clients of each daemon, {size} jobs a request, standby {place.standby or 0:.0f} µs away")
        for number in (1, 2, 4):
            load = Load(daemons=number, clients=clients, size=size)
            found, computed = _middle(bench, load), simulate(load, place, evolve(COSTS, wal_removal=0)).jobs
            requests = 3 / load.size
            # The daemons' work for HTTP and JSON is all of their work minus that for rules and driver.
            request = (found.daemons - COSTS.batch * found.batches - COSTS.task * requests - COSTS.job * 3) / requests
            rate = f"{found.rate:,.0f} jobs/s, computed {computed:,.0f} ({computed / found.rate - 1:+.0%})"
            each = f"HTTP {request:.0f} µs a request, client {found.clients / requests:.0f}"
            work = f"{found.daemons:,.0f} µs at daemons, {found.postgres:,.0f} at PostgreSQL"
            print_line(f"  {number} daemons: {rate}; {each}; a job {work}, in {found.batches:.4f} batches")


def _middle(bench: Bench, load: Load) -> "_Round":
    """The round with the median rate of several rounds."""
    with ExitStack() as stack:
        servers = [stack.enter_context(a_daemon(bench)) for _ in range(load.daemons)]
        _round(bench, servers, load)
        return sorted((_round(bench, servers, load) for _ in range(_ROUNDS)), key=lambda one: one.rate)[_ROUNDS // 2]


@contextmanager
def a_daemon(bench: Bench) -> Iterator[JobEngine]:
    """A running daemon, on the core of the clients."""
    server = JobEngine(settings={"DATABASE_URL": bench.url, "SECRET": SECRET})
    with directory() as server.home:
        try:
            server.begin()
            for thread in Path(f"/proc/{server.pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {CLIENT_CORE})
            yield server
        finally:
            server.stop()


@frozen
class _Round:
    """The measurements of one round; work is in microseconds of processor time."""

    #: Jobs a second. The other values are for each job: the work of daemons, of clients and of PostgreSQL, and the
    #: number of batches.
    rate: float
    daemons: float
    clients: float
    postgres: float
    batches: float


def _round(bench: Bench, servers: Sequence[JobEngine], load: Load) -> _Round:
    done, began, start = list[int](), time.perf_counter(), _counted(bench, servers)
    ports = [server.port for server in servers for _ in range(load.clients)]
    converse_with([(port, _conversation(load.size, began + 2, done)) for port in ports])
    seconds, jobs = time.perf_counter() - began, sum(done)
    return _Round(
        jobs / seconds,
        *((after - before) / jobs for after, before in zip(_counted(bench, servers), start, strict=True)),
    )


def _counted(bench: Bench, servers: Sequence[JobEngine]) -> tuple[float, float, float, float]:
    """The totals so far: the work of daemons, of clients and of PostgreSQL, and the number of batches."""
    backends = _named(bench.server.pid, "postgres")
    daemons = sum(work_of(server.pid) for server in servers)
    return daemons, work_of(os.getpid()), sum(map(work_of, backends)), _batches(servers)


def _batches(servers: Sequence[JobEngine]) -> float:
    return sum(server.metric("jobengine_batch_tasks_count") for server in servers)


def _commit(bench: Bench) -> float:
    """The microseconds that a commit takes."""
    found = []
    for _ in range(20):
        began = time.perf_counter()
        bench.control.execute("SELECT pg_logical_emit_message(true, '', '')")
        found.append((time.perf_counter() - began) * 1e6)
    return median(found)


def _trip(bench: Bench) -> float:
    """The microseconds of a round trip, without the work of both ends."""
    found = []
    with connected(bench.url) as connection:
        for _ in range(500):
            before, own, began = work_of(connection.info.backend_pid), time.process_time(), time.perf_counter()
            connection.execute("SELECT 1")
            passed, own = time.perf_counter() - began, time.process_time() - own
            found.append((passed - own) * 1e6 - (work_of(connection.info.backend_pid) - before))
    return max(0.0, median(found))


# The standby


def standby(bench: Bench) -> None:
    """Measure the processes of replication for each 1,000 bytes of WAL; the standby has the core of the clients."""
    with directory() as home, _standby(bench, home) as pid:
        bench.lives(1_000)
        pids = {**_named(bench.server.pid, "walsender"), **_named(pid, "walreceiver|startup")}
        found: dict[str, list[float]] = {}
        for _ in range(_ROUNDS):
            before, wal = {one: work_of(one) for one in pids}, bench.wal()
            for size in (100,) * 10 + (1_000,):
                bench.lives(size)
            time.sleep(0.5)  # it replays what is left
            wal = bench.wal() - wal
            for one, name in pids.items():
                found.setdefault(name, []).append((work_of(one) - before[one]) / wal * 1_000)
        for name, costs in found.items():
            print_line(f"{name}: {min(costs):.2f} µs for each 1,000 bytes of WAL")


@contextmanager
def _standby(bench: Bench, home: Path, delay: float = 0) -> Iterator[int]:
    """A standby that commits wait for, and whose answers are delayed by `delay` seconds; yields its process id."""
    given_to("postgres", home)
    port = slowly(bench.server.port, delay)
    data, programs = str(home / "data"), Path(tool("postgres")).parent
    source = f"host=127.0.0.1 port={port} user=bench application_name=standby"
    copy = [str(programs / "pg_basebackup"), "-D", data, "-R", "-X", "stream", "-c", "fast", "-d", source]
    subprocess.run([*as_user("postgres"), *copy], cwd="/", check=True, capture_output=True)
    command = [str(programs / "postgres"), "-D", data, "-k", str(home), "-p", str(free_port())]
    with open(home / "output", "wb") as output:
        process = subprocess.Popen([*as_user("postgres"), *command], cwd="/", stdout=output, stderr=output)
    try:
        bench.control.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        bench.control.execute("SELECT pg_reload_conf()")
        while bench.one("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == 0:
            time.sleep(0.1)
        yield process.pid
    finally:
        bench.control.execute("ALTER SYSTEM RESET synchronous_standby_names")
        bench.control.execute("SELECT pg_reload_conf()")
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _named(parent: int, pattern: str) -> dict[int, str]:
    """The children of a process whose command lines match, each with the text that matched."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    titles = {int(pid): Path(f"/proc/{pid}/cmdline").read_text() for pid in children}
    return {pid: found[0] for pid, title in titles.items() if (found := re.search(pattern, title))}
