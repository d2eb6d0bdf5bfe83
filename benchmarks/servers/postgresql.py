"""PostgreSQL with its default settings, which sync at every commit; jobs in a table are claimed with SKIP LOCKED."""

import re
import shutil
import signal
import subprocess
from pathlib import Path

from attrs import define

from ..calls import CONTENT_BYTES
from ..machine import Effort, version
from .server import Failed, Run, Server, as_user, given_to

_USER = "postgres"
_CONNECTIONS = 32
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
#: Each statement is a transaction, as each request of the others is.
_LIFE = """
INSERT INTO jobs (content) VALUES ('CONTENT');
UPDATE jobs SET state = 'inprogress', updated = now() WHERE id = (
    SELECT id FROM jobs WHERE state = 'queued' ORDER BY priority DESC, id LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING id, content \\gset
UPDATE jobs SET state = 'complete', updated = now() WHERE id = :id;
""".replace("CONTENT", CONTENT_BYTES.decode())
#: A claim beside others may find no job, because all that it sees are locked. Some spare jobs prevent that.
_RESERVE = "INSERT INTO jobs (content) SELECT '{}' FROM generate_series(1, 100);"


def tool(name: str) -> str:
    """The path of one of its programs, of the newest version; empty if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    return str(found[-1]) if found else shutil.which(name) or ""


@define(eq=False, kw_only=True)
class PostgreSQL(Server):
    """A cluster of its own; the client is its own benchmark, pgbench."""

    name: str = "PostgreSQL SKIP LOCKED"
    package: str = "postgresql"

    def found(self) -> bool:
        """Whether it is installed."""
        return all(tool(name) for name in ("initdb", "postgres", "psql", "pgbench"))

    def version(self) -> str:
        """Its name and version."""
        return "PostgreSQL " + version([tool("postgres"), "--version"], r"PostgreSQL\) (\S+)")

    def start(self, home: Path) -> None:
        """Make a cluster in the directory and start it, with an empty table."""
        given_to(_USER, home)
        data = str(home / "data")
        _run([tool("initdb"), "--pgdata", data, "--auth=trust", "--username=bench", "--no-sync"], _USER)
        where = ["-D", data, "-k", str(home), "-p", str(self.port), "-c", "listen_addresses=127.0.0.1"]
        # A kill would leave its shared memory behind.
        self.launch([tool("postgres"), *where], home, self.listens, user=_USER, ends_at=signal.SIGQUIT)
        self._sql(_TABLE + _RESERVE)

    def _sql(self, text: str) -> None:
        _run([tool("psql"), *self._where(), "--quiet", "--set=ON_ERROR_STOP=1", "--command", text, "postgres"])

    def _where(self) -> list[str]:
        return ["--host=127.0.0.1", f"--port={self.port}", "--username=bench"]

    def singles(self, seconds: float) -> Run:
        """See Server; the load is made by pgbench, with prepared statements."""
        script = ["--no-vacuum", "--protocol=prepared", "--file=/dev/stdin"]
        load = [f"--client={_CONNECTIONS}", "--jobs=1", f"--time={seconds:.0f}"]
        with Effort.measured() as effort:
            said = _run([tool("pgbench"), *self._where(), *script, *load, "postgres"], given=_LIFE)
        found = re.search(r"^tps = ([\d.]+)", said, re.MULTILINE)
        if found is None:
            raise Failed(f"pgbench said: {said}")
        return Run(float(found[1]), effort.share)


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
