"""The command `jobengine` as a process, with the key of a queue `mail`."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define

from .daemons import Daemon, until

#: Where the installed `jobengine` and `twistd` are.
BIN = Path(sys.executable).parent
KEY = "correct horse"
ADMIN_KEY = "battery staple"
#: The job that examples name.
UID = "0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11"


@define
class Shell:
    daemon: Daemon
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "JOBENGINE_URL": f"http://127.0.0.1:{self.daemon.port}",
            "JOBENGINE_ACCESS_KEY": KEY,
            "JOBENGINE_ADMIN_KEY": ADMIN_KEY,
        }

    def __call__(
        self, *arguments: str, sent: str = "", code: int = 0, environment: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command, which must end with `code`; returns its output."""
        done = subprocess.run(
            ["jobengine", *arguments],
            cwd=self.home,
            env={**self.environment, **(environment or {})},
            input=sent,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, (arguments, done)
        assert not [key for key in (KEY, ADMIN_KEY) if key in done.stdout + done.stderr]
        return done

    def start(
        self, *arguments: str, environment: Mapping[str, str] | None = None, **more: Any
    ) -> "subprocess.Popen[bytes]":
        """Start a command without waiting for its end; `output` and `errors` are its outputs."""
        with open(self.home / "output", "wb") as output, open(self.home / "errors", "wb") as errors:
            return subprocess.Popen(
                ["jobengine", *arguments],
                cwd=self.home,
                env={**self.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                **more,
            )

    def wait_for(self, text: str, where: str = "output") -> str:
        """Wait until the output of a running command has the text; returns that output."""

        def printed() -> str:
            said = (self.home / where).read_text()
            return said if text in said else ""

        said: str = until(f"{text!r} is in its {where}", printed)
        return said

    def make_queues(self, *names: str) -> None:
        with self.daemon.client(key=KEY, admin_key=ADMIN_KEY) as client:
            for name in names:
                client.call("DELETE", "/api/v1/queue", query={"name": name})
                client.make_queue(name)

    def add(self, contents: Sequence[Any], queue: str = "mail", **job: Any) -> list[str]:
        """The uids of jobs that were added."""
        with self.daemon.client(key=KEY) as client:
            reply = client.add_many([{"content": content, **job} for content in contents], queue)
            return [one["uid"] for one in reply.json["jobs"]]

    def jobs(self, queue: str = "mail") -> dict[str, Any]:
        with self.daemon.client(key=KEY) as client:
            return client.jobs(queue)


def stop(process: "subprocess.Popen[bytes]", number: int = signal.SIGINT) -> int:
    process.send_signal(number)
    return process.wait(20)
