"""RabbitMQ with a quorum queue: a job is published and confirmed, delivered to a consumer, and acknowledged."""

import selectors
import shutil
from pathlib import Path
from time import perf_counter
from typing import Any

from attrs import define, field

from ..amqp import Channel
from ..calls import CONTENT_BYTES
from ..machine import Effort, free_port, version
from .server import Run, Server, given_to

#: Debian's program itself, without its wrapper, which always uses the system's directories.
_SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_USER = "rabbitmq"
_SINGLES, _BULKS = 32, 4


@define(eq=False, kw_only=True)
class RabbitMQ(Server):
    """A node of its own, with an epmd of its own; the client is one process with plain sockets."""

    name: str = "RabbitMQ quorum queue"
    package: str = "rabbitmq-server"
    #: Whether each job is fetched by a get, like a claim, instead of being pushed to a consumer.
    gets: bool = False
    _epmd_port: int = field(factory=free_port)
    _node_port: int = field(factory=free_port)
    #: Each measurement has a queue of its own.
    _queues: int = 0

    def found(self) -> bool:
        """Whether RabbitMQ is installed."""
        return _SCRIPT.exists() and shutil.which("epmd") is not None

    def version(self) -> str:
        """The name and version of RabbitMQ."""
        return "RabbitMQ " + version(["dpkg-query", "--show", "--showformat=${Version}", self.package], r"^([\d.]+)")

    def start(self, home: Path) -> None:
        """Start RabbitMQ with all its files in the directory."""
        given_to(_USER, home)
        environment = {
            "HOME": str(home),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"bench{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "none"),
            "RABBITMQ_CONFIG_FILE": str(home / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
        }
        self.launch(["epmd"], home, lambda: True, user=_USER, environment=environment)
        self.launch([str(_SCRIPT)], home, self._answers, user=_USER, environment=environment)

    def _answers(self) -> bool:
        """Whether a queue can be declared, which is possible only some time after RabbitMQ's port has a listener."""
        if not self.listens():
            return False
        try:
            Channel(self.port, b"first", 1).close()
        except (OSError, RuntimeError):
            return False
        return True

    def singles(self, seconds: float) -> Run:
        """Each of 32 connections publishes a job, has it confirmed, gets or receives one, and acknowledges it."""
        return self._lives(_SINGLES, 1, seconds)

    def bulk(self, size: int, seconds: float) -> Run:
        """Publish, receive and acknowledge `size` jobs at a time over a few connections."""
        return self._lives(_BULKS, size, seconds)

    def _lives(self, connections: int, size: int, seconds: float) -> Run:
        self._queues += 1
        queue = b"bench%d" % self._queues
        channels = [Channel(self.port, queue, 0 if self.gets else size) for _ in range(connections)]
        try:
            with Effort.measured() as effort:
                jobs = _drive(channels, size, perf_counter() + seconds)
        finally:
            for channel in channels:
                channel.close()
        return Run(jobs / effort.seconds, effort.share)


def _drive(channels: list[Channel], size: int, deadline: float) -> int:
    """Publish, take and acknowledge jobs on all channels until the deadline; returns their number."""
    messages = channels[0].message(CONTENT_BYTES) * size
    times = dict.fromkeys(channels, 1)
    with selectors.DefaultSelector() as selector:
        for channel in channels:
            selector.register(channel, selectors.EVENT_READ)
            channel.send(messages)
        while perf_counter() < deadline:
            for key, _ in selector.select(1):
                _go_on(key.fileobj, times, size, messages)
    return sum(channel.delivered for channel in channels)


def _go_on(channel: Any, times: dict[Channel, int], size: int, messages: bytes) -> None:
    channel.receive()
    goal = times[channel] * size
    if channel.confirmed < goal:
        return
    if not channel.prefetch and channel.gets < goal:
        channel.get()
    elif channel.delivered >= goal:
        channel.send(channel.acknowledge() + messages)
        times[channel] += 1
