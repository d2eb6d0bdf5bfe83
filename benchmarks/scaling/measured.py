"""
What does the work of daemons on PostgreSQL cost? Run from the root: `python -m benchmarks.scaling.measured`.

Measures the values in parameters.py; name parts to measure only these: door, near, far, standby, upkeep. PostgreSQL has
a core of its own. Each cost is the least of several rounds, because other processes only add to it.
"""

import re
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import mean, median
from typing import Final

import psycopg
from attrs import evolve

from jobengine.core import commands as c
from jobengine.core.model import Defaults
from jobengine.engine.ids import new_uuid
from jobengine.engine.postgres.database.connection import connected
from jobengine.engine.postgres.database.rows import Rows
from jobengine.engine.postgres.wake.waiters import poll

from ..machine import be_a_client
from .bench import JOB, WHO, Bench, Used, print_line, running, work_of
from .compared import a_daemon, far, near, standby
from .parameters import COSTS
from .simulation import Costs

_SIZES: Final = (1, 32, 100, 1_000)
_ROUNDS: Final = 5
_UPDATES: Final = "SELECT sum(n_tup_upd), sum(n_tup_hot_upd) FROM pg_stat_user_tables WHERE relname = 'job'"
#: The time two hours from now, in SQL: then the retention of all complete jobs is over.
_LATER = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 7200000"
_FIRST: Final = (
    "SELECT uid FROM job WHERE queue_id = %s AND place = 0 ORDER BY inv_prio, arrival LIMIT 100 FOR UPDATE SKIP LOCKED"
)


# At the engine's door


def _at_the_door(bench: Bench) -> Costs:
    """The costs of a batch, a task and a job, on a straight line through batches of different sizes."""
    at: dict[tuple[int, int], Used] = {}
    for size, tasks in (*((size, 1) for size in _SIZES), (1, 32)):
        at[size, tasks] = _least_of_means(bench, size, tasks)
        print_line(f"a batch of {tasks} tasks of {size} jobs, for each job: {at[size, tasks] / (size * tasks)}")
    one, many, tasks_ = at[1, 1], at[1_000, 1], at[1, 32]
    job = Used.of(lambda two: (two[1] - two[0]) / 999, one, many)
    task = (tasks_.daemon - one.daemon) / 31 - job.daemon
    return evolve(
        COSTS,
        batch=one.daemon - job.daemon - task,
        task=task,
        job=job.daemon,
        pg_batch=one.postgres - job.postgres,
        pg_job=job.postgres,
        wal_batch=one.wal - job.wal,
        wal_job=job.wal,
    )


def _least_of_means(bench: Bench, size: int, tasks: int) -> Used:
    times = 100 if size * tasks == 1 else 8
    means = [Used.of(mean, *(bench.lives(size, tasks) for _ in range(times))) for _ in range(_ROUNDS)]
    return Used.best(means)


def _full_pages(bench: Bench) -> None:
    for size in (1, 100, 1_000):
        bench.control.execute("CHECKPOINT")
        first, second = bench.lives(size), bench.lives(size)
        print_line(f"{size} jobs: WAL {first.wal / size:,.0f} bytes after a checkpoint, then {second.wal / size:,.0f}")


def _removed(bench: Bench) -> Used:
    """The cost of removing a job after its retention."""
    bench.clear()
    for _ in range(4):
        bench.lives(1_000)
    sweeping = bench.new_session(_LATER)
    found: list[Used] = []
    while True:
        result, used = bench.use(sweeping, sweeping.sweep)
        if not result.effects:
            sweeping.close()
            return Used.best(found)
        found.append(used / len(result.effects))


def _walk(bench: Bench) -> float:
    """The microseconds for each locked row that a claim skips."""
    bench.clear()
    for _ in range(5):
        bench.session.carry_out([c.AddJobs(**WHO, jobs=(JOB,) * 1_000, defaults=Defaults())])
    bench.control.execute("VACUUM ANALYZE job")
    queue, costs = bench.one("SELECT queue_id FROM job LIMIT 1"), []
    with ExitStack() as held:
        for others in range(32):
            if others in (0, 1, 3, 7, 31):
                costs.append((others, _claim_cost(bench, queue)))
                print_line(f"a claim of 100 beside {others} that hold 100 each: PostgreSQL {costs[-1][1]:,.0f} µs")
            holder = held.enter_context(connected(bench.url))
            holder.execute("BEGIN")
            holder.execute(_FIRST, [queue])
    return (costs[-1][1] - costs[0][1]) / (100 * costs[-1][0])


def _claim_cost(bench: Bench, queue: int) -> float:
    with connected(bench.url) as connection:
        found = []
        for _ in range(20):
            before = work_of(connection.info.backend_pid)
            connection.execute("BEGIN")
            connection.execute(_FIRST, [queue])
            connection.execute("ROLLBACK")
            found.append(work_of(connection.info.backend_pid) - before)
    return min(found)


def door(bench: Bench) -> None:
    """Measure batches without HTTP: at the engine's door."""
    costs = evolve(_at_the_door(bench), pg_walk=_walk(bench))
    _full_pages(bench)
    gone = _removed(bench)
    print_line(f"to remove a job: {gone}")
    print_line(str(evolve(costs, removal=gone.daemon, pg_removal=gone.postgres, wal_removal=gone.wal)))


# Work that goes on beside the jobs


def upkeep(bench: Bench) -> None:
    """Measure vacuum, sweeps and polls of idle queues, claims while a snapshot is held, and NOTIFY."""
    _vacuum(bench)
    for queues in (1, 100, 1_000):
        while bench.one("SELECT count(*) FROM queue") < queues:
            bench.session.carry_out([c.CreateQueue(queue=new_uuid(), access_key=b"key")])
        bench.session.sweep()
        found = [bench.use(bench.session, bench.session.sweep)[1] for _ in range(20)]
        print_line(f"a sweep of {queues} idle queues: {Used.best(found)}")
    rows, session = Rows(bench.seal), bench.session
    found = [bench.use(session, lambda: session.run(lambda on: poll(on, rows, ["q"], [])))[1] for _ in range(50)]
    print_line(f"a look at one queue: {Used.best(found)}")
    _held(bench)
    _notified(bench)
    for listeners in (0, 1, 8, 64):
        _notify(bench, listeners)


def _vacuum(bench: Bench) -> None:
    bench.clear()
    bench.control.execute("ALTER TABLE job SET (autovacuum_enabled = off)")
    for _ in range(10):
        bench.session.carry_out([c.AddJobs(**WHO, jobs=(JOB,) * 1_000, defaults=Defaults())])
    size = "SELECT pg_relation_size('job') / 1e4 || ' in the table, ' || pg_indexes_size('job') / 1e4 || ' in indexes'"
    print_line(f"bytes for each job that was added: {bench.one(size)}")
    bench.clear()
    for _ in range(10):
        bench.lives(1_000)
    bench.control.execute("CHECKPOINT")
    notices: list[str] = []
    bench.control.add_notice_handler(
        lambda notice: notices.append(f"{notice.message_detail or notice.message_primary}")
    )
    backend = bench.control.info.backend_pid
    before, wal = work_of(backend), bench.wal()
    bench.control.execute("VACUUM (VERBOSE, PARALLEL 0, PROCESS_TOAST false) job")
    hits, misses, dirtied = map(int, re.findall(r"(\d+) (?:hits|misses|dirtied)", " ".join(notices))[:3])
    took = f"{(work_of(backend) - before) / 1e4:.2f} µs, WAL {(bench.wal() - wal) / 1e4:.0f} bytes"
    print_line(f"to vacuum for each job: {took}, {(hits + 2 * misses + 20 * dirtied) / 1e4:.1f} units of cost")
    bench.session.run(lambda on: on.execute("SELECT pg_stat_force_next_flush()"))
    updated, hot = bench.control.execute(_UPDATES).fetchone() or (0, 0)
    print_line(f"updates of jobs: {updated}, of which HOT: {hot}")


def _held(bench: Bench) -> None:
    """Measure claims while a snapshot is held, after few jobs and after many."""
    bench.clear()
    with psycopg.connect(bench.url) as holder:
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT 1 FROM queue LIMIT 1")
        for lives in range(11):
            if lives in (1, 5, 10):
                bench.session.carry_out([c.AddJobs(**WHO, jobs=(JOB,) * 400, defaults=Defaults())])
                found = [bench.claim(100)[1].postgres for _ in range(4)]
                print_line(f"a claim of 100 after {lives},000 jobs since a snapshot was taken: {min(found):,.0f} µs")
            bench.lives(1_000)


def _notified(bench: Bench) -> None:
    """Measure a daemon that is notified of changes in a queue without waiters."""
    with a_daemon(bench) as server:
        time.sleep(1)  # it has started to listen
        before = work_of(server.pid)
        for _ in range(500):
            bench.control.execute("NOTIFY jobengine, 'another Rqueue'")
            time.sleep(0.002)
        print_line(f"a notification, at a daemon that hears it: {(work_of(server.pid) - before) / 500:.0f} µs")


def _notify(bench: Bench, number: int) -> None:
    """Measure a NOTIFY: the backend that sends it, and those that deliver it to listeners."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(psycopg.connect(bench.url, autocommit=True)) for _ in range(number)]
        for listener in listeners:
            listener.execute("LISTEN jobs")
        pids = [listener.info.backend_pid for listener in listeners]
        backend, found = bench.control.info.backend_pid, []
        for _ in range(50):
            before = work_of(backend), sum(map(work_of, pids))
            bench.control.execute("NOTIFY jobs, 'q'")
            for listener in listeners:
                list(listener.notifies(timeout=5, stop_after=1))
            found.append((work_of(backend) - before[0], sum(map(work_of, pids)) - before[1]))
        own, theirs = (median(column) for column in zip(*found, strict=True))
        print_line(f"NOTIFY with {number} listeners: {own:.0f} µs, and {theirs:.0f} µs of all their backends")


_PARTS: Final = {part.__name__: part for part in (door, near, far, standby, upkeep)}


def main(names: Sequence[str]) -> int:
    """Measure these parts, or all."""
    be_a_client()
    for name in names or _PARTS:
        with running() as bench:
            _PARTS[name](bench)
            bench.session.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
