"""The messages of a unit of Type=notify, over a socket like systemd's."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent

from jobengine.daemon.systemd import Systemd
from jobengine.engine.door import Readiness


@pytest.fixture
def received(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.setblocking(False)
        yield bound


class _Server:
    """A server that becomes ready when a test empties `reason`."""

    reason = "recovering, 7 %"

    async def readiness(self) -> Readiness:
        return Readiness(ready=not self.reason, reason=self.reason, durability="commit")


def _all(received: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(received.recv(1000).decode())
        except BlockingIOError:
            return messages


def test_while_the_server_is_not_ready_systemd_gets_the_reason_and_more_time_each_second(
    received: socket.socket,
) -> None:
    server, clock = _Server(), Clock()
    systemd = Systemd(received.getsockname(), server.readiness, clock)
    systemd.begin()
    clock.advance(1)
    server.reason = "can't grow:\nno room"
    clock.advance(1)
    wait = "\nEXTEND_TIMEOUT_USEC=10000000"
    assert _all(received) == [f"STATUS={why}{wait}" for why in (*["recovering, 7 %"] * 2, "can't grow: no room")]


def test_readiness_is_reported_once_and_no_timer_remains(received: socket.socket) -> None:
    server, clock = _Server(), Clock()
    systemd = Systemd(received.getsockname(), server.readiness, clock)
    systemd.begin()
    _all(received)
    server.reason = ""
    clock.advance(1)
    assert _all(received) == ["READY=1\nSTATUS=ready"]
    assert clock.getDelayedCalls() == []


def test_after_the_stop_no_further_message_is_sent(received: socket.socket) -> None:
    server, clock = _Server(), Clock()
    systemd = Systemd(received.getsockname(), server.readiness, clock)
    systemd.begin()
    systemd.end()
    Deferred.fromCoroutine(systemd.report_readiness())
    clock.advance(10)
    assert _all(received)[1:] == ["STOPPING=1\nSTATUS=stopping"]


def test_an_abstract_socket_begins_with_an_at_sign() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind("")  # Linux chooses a name
        bound.setblocking(False)
        name = bound.getsockname()[1:].decode()
        Systemd("@" + name, _Server().readiness, Clock()).end()
        assert _all(bound) == ["STOPPING=1\nSTATUS=stopping"]


def test_without_a_socket_nothing_is_sent_to_systemd() -> None:
    clock = Clock()
    systemd = Systemd("", _Server().readiness, clock)
    systemd.begin()
    systemd.end()
    assert clock.getDelayedCalls() == []


def test_a_failed_notification_of_systemd_is_logged_and_the_server_continues(
    tmp_path: Path, events: list[LogEvent]
) -> None:
    Systemd(str(tmp_path / "none"), _Server().readiness, Clock()).end()
    assert [event["log_level"].name for event in events] == ["warn"]
