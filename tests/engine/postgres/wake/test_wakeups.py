"""Servers on one PostgreSQL that notify each other of changes."""

import select
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from jobengine.core.effects import JobEffect
from jobengine.core.model import State
from jobengine.engine.postgres.batch.begin import Now
from jobengine.engine.postgres.batch.decide import Result
from jobengine.engine.postgres.wake.news import ENDED, READY, NewsSender, news_of
from tests.contract.asking import Asker
from tests.doubles import AtOnce
from tests.engine.postgres.world import Held, PostgresWorld
from tests.pending import Pending
from tests.postgres import Database

pytestmark = pytest.mark.slow


class Sockets:
    """The sockets of a reactor that waits for them only when the test says so."""

    def __init__(self) -> None:
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)

    def wait(self) -> None:
        """Wait until a socket has data, then let its reader read the data."""
        readable, _, _ = select.select(self.readers, [], [], 10)
        assert readable, "nothing comes"
        for reader in readable:
            reader.doRead()


class HearingWorld(PostgresWorld):
    """One of several servers, which receives the notifications of the others."""

    def __init__(self, url: str) -> None:
        self.sockets = Sockets()
        self.thread = Held()
        super().__init__(url, readers=self.sockets, thread=self._thread)
        self.ask = Asker(self)

    def _thread(self, name: str) -> AtOnce:
        return self.thread if name.startswith("lane") else AtOnce()

    @property
    def hears(self) -> bool:
        return self.figure("hears_notifications") == 1

    def hear(self) -> None:
        self.sockets.wait()
        self.settle()

    def hear_echo(self) -> None:
        while not self.hears:
            self.hear()
        # So that its next notification is sent at once.
        self.advance(0.05)

    def hear_until(self, other: "HearingWorld", done: Callable[[], bool]) -> None:
        """Receive notifications of another server until `done`, for less time than a poll would take."""
        for _ in range(19):
            if done():
                return
            other.advance(0.05)
            self.hear()
            self.advance(0.05)
        raise AssertionError("it is not told")


@pytest.fixture
def worlds(database: Database) -> Iterator[tuple[HearingWorld, HearingWorld]]:
    """Two servers that receive each other's notifications, and a queue."""
    database.clear()
    worlds = HearingWorld(database.url), HearingWorld(database.url)
    for world in worlds:
        world.hear_echo()
    worlds[0].ask.create()
    yield worlds
    for world in worlds:
        world.close()


def _given(pending: Pending) -> list[str]:
    return [one.job.spec.uid for one in pending.answer.jobs]


def test_a_client_that_waits_at_one_server_is_woken_by_a_change_at_another(
    worlds: tuple[HearingWorld, HearingWorld],
) -> None:
    here, there = worlds
    first = there.ask.add()
    claim, end = here.ask.claiming(), here.ask.awaiting(first)
    assert _given(claim) == [first.spec.uid]
    event = here.begin(anext(here.ask.watch()))
    there.ask.update(first, State.COMPLETE)
    here.hear_until(there, lambda: end.answered and event.answered)
    assert end.answer.state is State.COMPLETE
    assert [one.state for batch in event.answer for one in batch.events] == [State.COMPLETE]


def test_a_job_reaches_a_client_at_another_server_before_the_next_poll(
    worlds: tuple[HearingWorld, HearingWorld],
) -> None:
    here, there = worlds
    claim, peek = here.ask.claiming(tags=("a",)), here.ask.peeking()
    job = there.ask.add(tags=("a", "b"))
    here.hear_until(there, lambda: claim.answered)
    assert _given(claim) == [job.spec.uid]
    peek.cancel()


def test_a_job_added_between_an_empty_claim_and_its_wait_is_not_missed(
    worlds: tuple[HearingWorld, HearingWorld],
) -> None:
    here, there = worlds
    here.thread.holds = True
    claim = here.ask.claiming()
    job = there.ask.add()
    while here.figure("notifications_received") < there.figure("notifications_sent"):
        here.hear()
    here.thread.let_go()
    here.advance(0.05)
    assert _given(claim) == [job.spec.uid]


def test_without_notifications_a_server_polls_every_two_seconds(
    worlds: tuple[HearingWorld, HearingWorld], database: Database
) -> None:
    here, _ = worlds
    silent = PostgresWorld(database.url)
    claim = here.ask.claiming()
    # The first poll comes early, since jobs may have been locked during the claim.
    here.advance(0.25)
    Asker(silent).add()
    here.advance(1.999)
    assert not claim.answered
    here.advance(0.001)
    assert claim.answered
    silent.close()


def test_a_server_that_misses_its_own_test_notification_polls_every_quarter_second(
    worlds: tuple[HearingWorld, HearingWorld],
) -> None:
    here, there = worlds
    # The server sends itself a notification, which does not arrive.
    here.advance(30)
    claim = here.ask.claiming()
    here.advance(2)
    assert not here.hears
    there.ask.add()
    here.advance(0.249)
    assert not claim.answered
    here.advance(0.001)
    assert claim.answered


def test_a_replaced_listener_connection_is_trusted_after_it_receives_a_test_notification(
    worlds: tuple[HearingWorld, HearingWorld],
) -> None:
    here, there = worlds
    listeners = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN jobengine'"
    here.control.execute(listeners)
    claim = here.ask.claiming()
    while here.hears:
        here.hear()
    assert here.sockets.readers == []
    there.ask.add()
    here.advance(0.25)
    assert claim.answered
    here.advance(5)
    assert not here.hears
    here.hear_echo()
    claim = here.ask.claiming()
    job = there.ask.add()
    here.hear_until(there, lambda: claim.answered)
    assert _given(claim) == [job.spec.uid]


def test_notifications_contain_no_queue_name_and_malformed_notifications_are_skipped(
    worlds: tuple[HearingWorld, HearingWorld],
) -> None:
    here, there = worlds
    there.control.execute("LISTEN jobengine")
    for strange in ("", "R", "one R two", f"one {READY}{'0' * 32}"):
        there.control.execute("SELECT pg_notify('jobengine', %s)", [strange])
    there.ask.create("secret")
    claim = here.ask.claiming("secret")
    there.advance(0.05)
    there.ask.add("secret")
    here.hear_until(there, lambda: claim.answered)
    payloads = [one.payload for one in there.control.notifies(timeout=20, stop_after=6)]
    assert not any("secret" in one for one in payloads)
    assert len(payloads[-1].split()) == 2


# The notifications that are sent


def test_the_first_notification_is_sent_at_once_and_later_ones_in_at_most_20_sends_a_second() -> None:
    clock, sent = Clock(), list[list[str]]()

    def send(payloads: list[str]) -> "Deferred[None]":
        sent.append(payloads)
        return succeed(None)

    sender = NewsSender(clock=clock, digest=str.encode, send=send)
    clock.advance(1)
    sender.add({(READY, "first")})
    clock.advance(0)
    assert len(sent) == 1
    for at in range(1000):
        sender.add({(READY, f"q{at}"), (ENDED, "first")})
        clock.advance(0.001)
    assert len(sent) in (20, 21)
    clock.advance(1)
    wanted = {(READY, f"q{at}") for at in range(1000)}
    received = {one for payloads in sent for part in payloads for one in sender.wanted_in(part, wanted)}
    assert len(received) == 1000
    assert all(len(part) < 8000 for payloads in sent for part in payloads)


def test_many_notifications_are_sent_in_parts_and_a_failed_send_does_not_stop_later_sends() -> None:
    clock, sent = Clock(), list[tuple[list[str], Deferred[None]]]()

    def send(payloads: list[str]) -> "Deferred[None]":
        sent.append((payloads, Deferred()))
        return sent[-1][1]

    sender = NewsSender(clock=clock, digest=lambda name: name.encode().rjust(16), send=send)
    clock.advance(1)
    sender.add({(READY, str(at)) for at in range(1000)})
    clock.advance(0)
    ((payloads, done),) = sent
    assert [len(part) < 8000 for part in payloads] == [True] * 5
    sender.add({(READY, "later")})
    clock.advance(1)
    assert len(sent) == 1
    done.errback(OSError())
    clock.advance(0)
    assert [sender.wanted_in(part, {(READY, "later")}) for part in sent[1][0]] == [{(READY, "later")}]
    sent[1][1].callback(None)
    assert sender.sent == 1


def test_a_stopped_sender_sends_no_waiting_notifications() -> None:
    clock, done = Clock(), Deferred[None]()
    sender = NewsSender(clock=clock, digest=str.encode, send=lambda _payloads: done)
    sender.add({(READY, "first")})
    clock.advance(0)
    sender.add({(READY, "second")})
    sender.stop()
    done.callback(None)
    assert clock.getDelayedCalls() == []


def test_the_expiry_of_a_job_of_a_deleted_queue_is_notified_but_is_no_event() -> None:
    removed = [JobEffect("gone", "uid", None, None)]
    assert news_of(Result(now=Now(0, 0, {}), outcomes=(), effects=removed, soonest=None)) == {(ENDED, "gone")}
