"""Measures the cost of work on a database: processor time of this process and of PostgreSQL, and bytes of WAL."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any, Final, TypeVar

import psycopg
from attrs import define, evolve, field

from jobengine.core import commands as c
from jobengine.core.model import Defaults, State
from jobengine.engine.ids import ordered_uuid
from jobengine.engine.postgres.batch.decide import Result
from jobengine.engine.postgres.batch.session import Session
from jobengine.engine.postgres.database.connection import connected
from jobengine.engine.postgres.database.encryption import Seal
from jobengine.engine.postgres.database.rows import Rows
from jobengine.engine.postgres.database.schema import migrate, opened
from jobengine.engine.postgres.sql import DATABASE_CLOCK
from jobengine.engine.postgres.stats import ServerActivity
from jobengine.storage.frames import Kdf

from ..calls import CONTENT_BYTES
from ..servers.postgresql import PostgreSQL

R = TypeVar("R")
SECRET: Final = "the secret of the benchmark"  # noqa: S105  # of nothing but the benchmark
WHO: Final[dict[str, Any]] = {"queue": "q", "access_key": b"key"}
JOB: Final = c.NewJob(content=CONTENT_BYTES)


def work_of(pid: int) -> float:
    """The microseconds of processor time of all threads of a process."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1_000


@define
class Used:
    """The cost of some work: microseconds of processor time, and bytes of WAL."""

    daemon: float
    postgres: float
    wal: float

    def __truediv__(self, number: float) -> "Used":
        return Used(self.daemon / number, self.postgres / number, self.wal / number)

    @staticmethod
    def best(those: "Sequence[Used]") -> "Used":
        """The least processor times of several measurements, and the mean of their bytes of WAL."""
        return evolve(Used.of(min, *those), wal=mean(one.wal for one in those))

    @staticmethod
    def of(how: Callable[[Sequence[float]], float], *those: "Used") -> "Used":
        """Combine several costs: each value by `how`, such as min or mean."""
        return Used(*map(how, zip(*((one.daemon, one.postgres, one.wal) for one in those), strict=True)))

    def __str__(self) -> str:
        return f"daemon {self.daemon:,.1f} µs, PostgreSQL {self.postgres:,.1f} µs, WAL {self.wal:,.0f} bytes"


@define(eq=False)
class Bench:
    """A database with one queue, and a session of the engine on it."""

    server: PostgreSQL
    url: str
    control: "psycopg.Connection[Any]"
    seal: Seal
    session: Session = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.session = self.new_session(DATABASE_CLOCK)

    def new_session(self, clock: Any) -> Session:
        """A new session that reads the time by the SQL expression `clock`."""
        return Session(
            url=self.url,
            interval=False,
            rows=Rows(self.seal),
            new_id=ordered_uuid,
            activity=ServerActivity(),
            steady=time.monotonic,
            clock=clock,
        )

    def use(self, session: Session, work: Callable[[], R]) -> tuple[R, Used]:
        """Call `work`; returns its result, and its cost for this process, the session's backend and WAL."""
        backend = session.run(lambda connection: connection.info.backend_pid)
        wal, postgres, own = self.wal(), work_of(backend), time.process_time()
        answer = work()
        own, postgres = time.process_time() - own, work_of(backend) - postgres
        return answer, Used(own * 1e6, postgres, self.wal() - wal)

    def wal(self) -> float:
        """The total bytes of WAL written."""
        return float(self.one("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))

    def one(self, text: Any) -> Any:
        """The first column of the first row."""
        row = self.control.execute(text).fetchone()
        assert row is not None
        return row[0]

    def clear(self) -> None:
        """Remove all jobs."""
        self.control.execute("TRUNCATE job, tally, lane")

    def claim(self, size: int, tasks: int = 1) -> tuple[Result, Used]:
        """Claim `size` jobs in each of `tasks` tasks."""
        claiming = [c.Claims(queues=("q",), access_key=b"key", count=size)] * tasks
        return self.use(self.session, lambda: self.session.carry_out(claiming))

    def lives(self, size: int, tasks: int = 1) -> Used:
        """Add, claim and complete `size` jobs in each of `tasks` tasks; returns the mean of the three batches."""
        who, session = WHO, self.session
        adding = [c.AddJobs(**who, jobs=(JOB,) * size, defaults=Defaults())] * tasks
        _, added = self.use(session, lambda: session.carry_out(adding))
        result, claimed = self.claim(size, tasks)
        updates = [_completed(outcome.get().jobs) for outcome in result.outcomes]
        _, completed = self.use(session, lambda: session.carry_out([c.UpdateJobs(**who, updates=u) for u in updates]))
        return Used.of(mean, added, claimed, completed)


def _completed(jobs: Sequence[c.Claimed]) -> tuple[c.JobUpdate, ...]:
    done = c.Changes(state=State.COMPLETE)
    return tuple(c.JobUpdate(uid=one.job.spec.uid, lease=one.job.standing.lease, changes=done) for one in jobs)


@contextmanager
def running() -> Iterator[Bench]:
    """A Bench on a PostgreSQL that is removed at the end."""
    server = PostgreSQL()
    with server.running():
        base = f"host=127.0.0.1 port={server.port} user=bench dbname="
        with psycopg.connect(base + "postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE jobs")
            connection.execute("ALTER DATABASE jobs SET search_path = jobengine")
        with connected(base + "jobs") as owner:
            migrate(owner, SECRET.encode(), Kdf(passes=1, kib=8))
            seal = opened(owner, SECRET.encode())
        with psycopg.connect(base + "jobs", autocommit=True) as control:
            bench = Bench(server, base + "jobs", control, seal)
            bench.session.carry_out([c.CreateQueue(**WHO)])
            bench.lives(100)
            yield bench


def print_line(line: str) -> None:
    """Print a line."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
