"""Redis with an append-only file, synced before each answer."""

import shutil
from pathlib import Path

from attrs import define

from ..machine import version
from .server import Server


@define(eq=False, kw_only=True)
class Redis(Server):
    """Redis, for the libraries that keep their jobs in it."""

    name: str = "Redis"
    package: str = "redis-server"

    def found(self) -> bool:
        """Whether Redis is installed."""
        return shutil.which("redis-server") is not None

    def version(self) -> str:
        """The name and version of Redis."""
        return "Redis " + version(["redis-server", "--version"], r"v=(\S+)")

    def start(self, home: Path) -> None:
        """Start Redis with its file in the directory, and without snapshots, which this measurement does not need."""
        durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        where = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(home)]
        self.launch(["redis-server", *where, *durable], home, self.listens)
