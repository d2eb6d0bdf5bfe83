"""
PostgreSQL with its default settings, which sync at every commit, used as a queue by SQL alone.

There are two ways. In a table of jobs, these are claimed with SKIP LOCKED, and kept. By the SQL of pgmq, messages are
hidden for a while when they are read, and then deleted; that SQL is from pgmq's documentation, not its extension.
"""

import re
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from attrs import define

from ..calls import CONTENT_BYTES
from ..machine import Effort, used_in_all, version
from .server import Failed, Run, Server, as_user, given_to

_USER = "postgres"
_CONNECTIONS, _BULK_CONNECTIONS = 32, 4
_TABLE = """
CREATE TABLE jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    priority int NOT NULL DEFAULT 50,
    state text NOT NULL DEFAULT 'queued',
    content jsonb NOT NULL,
    updated timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX queued ON jobs (priority DESC, id) WHERE state = 'queued';
"""
#: Each statement is a transaction, as each request to the other servers is.
_LIFE = """
INSERT INTO jobs (content) VALUES ('CONTENT');
UPDATE jobs SET state = 'inprogress', updated = now() WHERE id = (
    SELECT id FROM jobs WHERE state = 'queued' ORDER BY priority DESC, id LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING id, content \\gset
UPDATE jobs SET state = 'complete', updated = now() WHERE id = :id;
"""
_LIVES = """
INSERT INTO jobs (content) SELECT 'CONTENT' FROM generate_series(1, SIZE);
WITH claimed AS (
    UPDATE jobs SET state = 'inprogress', updated = now() WHERE id IN (
        SELECT id FROM jobs WHERE state = 'queued' ORDER BY priority DESC, id LIMIT SIZE FOR UPDATE SKIP LOCKED
    ) RETURNING id, content
) SELECT array_agg(id) AS ids, sum(length(content::text)) AS bytes FROM claimed \\gset
UPDATE jobs SET state = 'complete', updated = now() WHERE id = ANY(:ids::bigint[]);
"""
#: Claims that run at the same time may find only locked jobs; some spare jobs prevent that.
_RESERVE = "INSERT INTO jobs (content) SELECT '{}' FROM generate_series(1, 4000);"
_MESSAGES = """
CREATE TABLE q_bench (
    msg_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    read_ct int NOT NULL DEFAULT 0,
    enqueued_at timestamptz NOT NULL DEFAULT now(),
    vt timestamptz NOT NULL,
    message jsonb,
    headers jsonb
);
CREATE INDEX q_bench_vt_idx ON q_bench (vt ASC);
INSERT INTO q_bench (vt, message) SELECT now(), '{}' FROM generate_series(1, 4000);
"""
_MESSAGE_LIFE = """
INSERT INTO q_bench (vt, message) VALUES (clock_timestamp(), 'CONTENT');
WITH cte AS (
    SELECT msg_id FROM q_bench WHERE vt <= clock_timestamp() ORDER BY msg_id ASC LIMIT 1 FOR UPDATE SKIP LOCKED
) UPDATE q_bench m SET vt = clock_timestamp() + interval '600 s', read_ct = read_ct + 1 FROM cte
WHERE m.msg_id = cte.msg_id RETURNING m.msg_id, m.message \\gset
DELETE FROM q_bench WHERE msg_id = :msg_id;
"""
_MESSAGE_LIVES = """
INSERT INTO q_bench (vt, message) SELECT clock_timestamp(), 'CONTENT' FROM generate_series(1, SIZE);
WITH cte AS (
    SELECT msg_id FROM q_bench WHERE vt <= clock_timestamp() ORDER BY msg_id ASC LIMIT SIZE FOR UPDATE SKIP LOCKED
), read AS (
    UPDATE q_bench m SET vt = clock_timestamp() + interval '600 s', read_ct = read_ct + 1 FROM cte
    WHERE m.msg_id = cte.msg_id RETURNING m.msg_id, m.message
) SELECT array_agg(msg_id) AS ids, sum(length(message::text)) AS bytes FROM read \\gset
DELETE FROM q_bench WHERE msg_id = ANY(:ids::bigint[]);
"""


def tool(name: str) -> str:
    """The path of one of PostgreSQL's programs, of the newest version; empty if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    return str(found[-1]) if found else shutil.which(name) or ""


@define(eq=False, kw_only=True)
class PostgreSQL(Server):
    """A PostgreSQL cluster for this benchmark alone; its client is pgbench."""

    name: str = "PostgreSQL SKIP LOCKED"
    package: str = "postgresql"
    #: The SQL that makes the table of jobs, and scripts of pgbench for one job and for many.
    table: str = _TABLE + _RESERVE
    life: str = _LIFE
    lives: str = _LIVES

    def found(self) -> bool:
        """Whether PostgreSQL is installed."""
        return all(tool(name) for name in ("initdb", "postgres", "psql", "pgbench"))

    def version(self) -> str:
        """The name and version of PostgreSQL."""
        return "PostgreSQL " + version([tool("postgres"), "--version"], r"PostgreSQL\) (\S+)")

    def start(self, home: Path) -> None:
        """Make a cluster in the directory and start it, with an empty table."""
        given_to(_USER, home)
        data = str(home / "data")
        _run([tool("initdb"), "--pgdata", data, "--auth=trust", "--username=bench", "--no-sync"], _USER)
        where = ["-D", data, "-k", str(home), "-p", str(self.port), "-c", "listen_addresses=127.0.0.1"]
        # A kill would leave PostgreSQL's shared memory behind.
        self.launch([tool("postgres"), *where], home, self._answers, user=_USER, ends_at=signal.SIGQUIT)
        self._sql(self.table)

    def _answers(self) -> bool:
        """Whether PostgreSQL answers queries: its port has a listener before it is ready."""
        with suppress(Failed):
            self._sql("SELECT 1")
            return True
        return False

    @property
    def url(self) -> str:
        """The URL of its database."""
        return f"postgresql://bench@127.0.0.1:{self.port}/postgres"

    def cost(self) -> float:
        """The seconds of processor time of all its processes."""
        return used_in_all(self._processes[0].pid)

    def _sql(self, text: str) -> None:
        _run([tool("psql"), *self._where(), "--quiet", "--set=ON_ERROR_STOP=1", "--command", text, "postgres"])

    def _where(self) -> list[str]:
        return ["--host=127.0.0.1", f"--port={self.port}", "--username=bench"]

    def singles(self, seconds: float) -> Run:
        """Do jobs one by one, by pgbench with prepared statements."""
        return self._bench(self.life, 1, _CONNECTIONS, seconds)

    def bulk(self, size: int, seconds: float) -> Run:
        """Add, claim and finish jobs, `size` at a time, by pgbench; claims don't return the contents."""
        return self._bench(self.lives, size, _BULK_CONNECTIONS, seconds)

    def _bench(self, script: str, size: int, connections: int, seconds: float) -> Run:
        script = script.replace("CONTENT", CONTENT_BYTES.decode()).replace("SIZE", str(size))
        options = ["--no-vacuum", "--protocol=prepared", "--file=/dev/stdin"]
        load = [f"--client={connections}", "--jobs=1", f"--time={seconds:.0f}"]
        before = self.cost()
        with Effort.measured() as effort:
            output = _run([tool("pgbench"), *self._where(), *options, *load, "postgres"], given=script)
        found = re.search(r"^tps = ([\d.]+)", output, re.MULTILINE)
        if found is None:
            raise Failed(f"pgbench printed no rate: {output}")
        jobs = float(found[1]) * size
        return Run(jobs, effort.share, cost=(self.cost() - before) / effort.seconds / jobs)


def pgmq() -> PostgreSQL:
    """A PostgreSQL server that is used by the SQL of pgmq."""
    return PostgreSQL(name="pgmq's SQL", table=_MESSAGES, life=_MESSAGE_LIFE, lives=_MESSAGE_LIVES)


def _run(command: list[str], user: str = "", given: str = "") -> str:
    """The output of a command; raises Failed."""
    done = subprocess.run(
        [*as_user(user), *command],
        cwd="/",
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failed(f"{Path(command[0]).name}: {' '.join(done.stdout.split())[-300:]}")
    return done.stdout
