"""The real daemon as a process of its own, and a plain blocking client to talk to it."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import urlencode

from attrs import define, field, frozen

from tests.schema import check_answer

ROOT = Path(__file__).parents[2]
TWISTD = (sys.executable, str(Path(sys.executable).with_name("twistd")))
JOBENGINE = (sys.executable, str(Path(sys.executable).with_name("jobengine")))
SECRET = "the secret of the tests"
#: The server's user: root without root's rights, since another user might have no access to the files.
AS_ITS_USER = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
#: Runs a program under strace, which needs no privilege; attaching to a running server takes CAP_SYS_PTRACE. With -D
#: the process is the program, not strace.
STRACE = ("strace", "-D", "-f", "-qq", "-o", "/dev/null")
#: Options of strace that keep a server from protecting its memory: otherwise strace sees no texts, such as paths.
READABLE = ("-e", "trace=prctl", "-e", "inject=prctl:retval=0")
#: Seconds that a test waits for a process. On a busy machine a start alone may take 20.
DEADLINE = float(os.environ.get("TEST_DEADLINE", "60"))
#: Bytes of an answer that is long.
_LONG = 200_000


def until(what: str, happened: Callable[[], Any], seconds: float = DEADLINE) -> Any:
    """Poll until `happened` returns a true value; returns this value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = happened()
        if result:
            return result
        time.sleep(0.02)
    raise AssertionError(f"in {seconds:.0f} s it did not come about that {what}")


def free_port() -> int:
    """A port without a listener, below the system's ephemeral ports, so that it stays free during a restart."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port


@frozen
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """
    One connection that is kept open. Checks answers against the schema. Of long answers only the first of each kind is
    checked in a run: checking others would cost seconds.
    """

    _long: ClassVar[set[tuple[str, str, int]]] = set()

    def __init__(
        self,
        port: int,
        *,
        key: str = "key",
        admin_key: str | None = None,
        sampled: bool = False,
        timeout: float = DEADLINE,
    ) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=timeout)
        self._key = key
        self._who = {"X-Access-Key": key, **({} if admin_key is None else {"X-Admin-Key": admin_key})}
        self._sampled = sampled
        self._seen: set[tuple[str, str, int]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """The answer to one request; raises OSError or HTTPException if none comes."""
        sent = {**self._who, **(headers or {})}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        self._connection.request(method, path + ("?" + urlencode(query) if query else ""), data, sent)
        response = self._connection.getresponse()
        reply = Reply(response.status, dict(response.getheaders()), response.read())
        self._check(method, path, reply)
        return reply

    def _check(self, method: str, path: str, reply: Reply) -> None:
        kind = (method, path, reply.status)
        is_long = len(reply.body) > _LONG
        seen = self._long if is_long else self._seen
        if kind not in seen or not (self._sampled or is_long):
            check_answer(method, path, reply.status, reply.headers, reply.body)
            seen.add(kind)

    def make_queue(self, name: str = "q") -> None:
        assert self.call("PUT", "/api/v1/queue", body={"name": name, "access_key": self._key}).status == 201

    def add(self, content: Any = None, queue: str = "q", **job: Any) -> Reply:
        return self.call("PUT", "/api/v1/job", body={"queue_name": queue, "job": {"content": content or {}, **job}})

    def add_many(self, jobs: Sequence[Mapping[str, Any]], queue: str = "q") -> Reply:
        body = {"queue_name": queue, "jobs": jobs}
        return self.call("PUT", "/api/v1/jobs", query={"queueName": queue}, body=body)

    def claim(self, queue: str = "q") -> Reply:
        return self.call("GET", "/api/v1/job/next", query={"queueName": queue, "markQueued": "true"})

    def take(self, queue: str = "q", **more: Any) -> Reply:
        """A claim with any options, such as `wait`, `worker`, `count`, `tags`."""
        return self.call("POST", "/api/v1/job/next", body={"queue_names": [queue], **more})

    def peek(self, queue: str = "q") -> Reply:
        return self.call("GET", "/api/v1/job/next", query={"queueName": queue})

    def read(self, uid: str, queue: str = "q") -> Reply:
        return self.call("GET", "/api/v1/job", query={"queueName": queue, "jobUID": uid})

    def update(self, uid: str, state: str, queue: str = "q") -> Reply:
        return self.call("POST", "/api/v1/job", body={"queue_name": queue, "uid": uid, "new_status": state})

    def change(self, uid: str, queue: str = "q", **changes: Any) -> Reply:
        """An update with any fields, such as `lease`, `new_status`, `progress`."""
        return self.call("POST", "/api/v1/job", body={"queue_name": queue, "uid": uid, **changes})

    def set_up(self, queue: str = "q", **how: Any) -> Reply:
        return self.call("POST", "/api/v1/queue", body={"name": queue, **how})

    def delete(self, uid: str, queue: str = "q") -> Reply:
        return self.call("DELETE", "/api/v1/job", query={"queueName": queue, "jobUID": uid})

    def list(self, queue: str = "q") -> Reply:
        return self.call("GET", "/api/v1/queue", query={"name": queue})

    def jobs(self, queue: str = "q") -> dict[str, Any]:
        """Every job of a queue, by uid."""
        reply = self.list(queue)
        assert reply.status == 200, reply
        return {job["uid"]: job for job in reply.json["jobs"]}

    def ready(self) -> Reply:
        return self.call("GET", "/readyz")

    def metric(self, name: str) -> float:
        text = self.call("GET", "/metrics").body.decode()
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        assert found is not None, text
        return float(found[1])


@define
class Daemon:
    """`twistd -n jobengine` in a directory of its own; the same database at every start."""

    home: Path
    #: Additional environment variables; an empty value removes a variable.
    settings: dict[str, str] = field(factory=dict)
    #: Options of `twistd jobengine`.
    options: Sequence[str] = ()
    #: A command that runs the daemon, such as strace.
    prefix: Sequence[str] = ()
    #: The program that runs the daemon.
    program: Sequence[str] = TWISTD
    #: The arguments of the program.
    command: Sequence[str] = ("--nodaemon", "--pidfile=", "jobengine")
    process: "subprocess.Popen[bytes] | None" = None
    _port: int | None = None
    _log_begins: int = 0

    @property
    def db_path(self) -> Path:
        return self.home / self.environment.get("DB_PATH", "jobengine.jedb")

    @property
    def environment(self) -> dict[str, str]:
        least = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "API_PORT": "0", "SECRET": SECRET}
        return {name: value for name, value in {**least, **self.settings}.items() if value}

    @property
    def log_path(self) -> Path:
        return self.home / "log"

    @property
    def log(self) -> str:
        """The log since the last start."""
        return self.log_path.read_bytes()[self._log_begins :].decode() if self.log_path.exists() else ""

    @property
    def errors(self) -> str:
        """The output on stderr since the last start."""
        return (self.home / "stderr").read_text()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def port(self) -> int:
        port = self._port
        if port is None:
            port = self._port = int(until("it listens", self._find_port)[1])
        return port

    def client(self, **more: Any) -> Client:
        return Client(self.port, **more)

    def launch(self) -> None:
        """Start its process, without waiting until it is ready."""
        self.home.mkdir(exist_ok=True)
        log_begins = self.log_path.stat().st_size if self.log_path.exists() else 0
        with open(self.log_path, "ab") as log, open(self.home / "stderr", "wb") as errors:
            self.process = subprocess.Popen(
                [*self.prefix, *self.program, *self.command, *self.options],
                cwd=self.home,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=errors,
            )
        # Reset the port last: a thread that reads the port meanwhile finds the new process and its log.
        self._log_begins = log_begins
        self._port = None

    def start(self) -> Self:
        """Start the daemon, and wait until it accepts changes."""
        self.launch()
        until("it is ready", self.is_ready)
        return self

    def is_ready(self) -> bool:
        with self.client() as client:
            return client.ready().status == 200

    def wait(self, seconds: float = DEADLINE) -> int:
        """Wait until it ends; returns the exit code, or minus the number of a signal. Fails if it does not end."""
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not end within {seconds} s; {self.all_output()}") from None

    def run(self) -> int:
        """Start the daemon, which must fail to start; returns the exit code."""
        self.launch()
        return self.wait()

    def terminate(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def stop(self, seconds: float = DEADLINE) -> int:
        self.terminate()
        return self.wait(seconds)

    def kill(self) -> None:
        """Send SIGKILL; the process may have ended already."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def all_output(self) -> str:
        return f"log:\n{self.log[-4000:]}\nstderr:\n{self.errors[-4000:]}"

    def memory(self, name: str) -> int:
        """A figure of /proc/PID/status such as VmRSS, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) << 10

    def _find_port(self) -> "re.Match[str] | None":
        found = re.search(r"JobSite(?: \(TLS\))? starting on (\d+)", self.log)
        if found is None and self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"it ended with {self.process.returncode}; {self.all_output()}")
        return found


class Forked(Daemon):
    """`twistd jobengine` without -n: the daemon forks, and is found by its pid file."""

    @property
    def log_path(self) -> Path:
        return self.home / "twistd.log"

    @property
    def pid(self) -> int:
        return int((self.home / "twistd.pid").read_text())

    def launch(self) -> None:
        self.command = ("jobengine",)
        super().launch()
        # The parent exits when the child has started, with 0 if the start succeeded.
        assert self.wait() == 0, self.errors

    def stop(self, seconds: float = DEADLINE) -> int:
        pid = self.pid
        os.kill(pid, signal.SIGTERM)
        # The daemon's parent has ended, so it is now a child of the tests.
        _, status = until("it has ended", lambda: (ended := os.waitpid(pid, os.WNOHANG))[0] and ended, seconds)
        return os.waitstatus_to_exitcode(status)
