"""A link is used only by servers with its key, and shows every change on the way."""

from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, field
from msgspec import Raw, msgpack
from twisted.internet.testing import StringTransport

from jobengine import __version__
from jobengine.cluster import link as links
from jobengine.cluster.items import item
from jobengine.cluster.link import RECORD, FollowerLink, Identity, Item, LeadLink, SealedLink
from jobengine.cluster.remote import RemoteDoor
from jobengine.cluster.server import STRANGERS, LinkServer
from tests.cluster.lines import ADDRESS, SHARED, Line, Lines, records
from tests.doubles import new_clock


@define
class User:
    """Records what a link reports."""

    ready: int = 0
    messages: list[list[Item]] = field(factory=list)
    reasons: list[str] = field(factory=list)

    def link_ready(self, link: SealedLink) -> None:
        self.ready += 1

    def link_items(self, link: SealedLink, items: list[Item]) -> None:
        self.messages.append(items)

    def link_lost(self, link: SealedLink, reason: str) -> None:
        self.reasons.append(reason)


class Two:
    """The two sides of a link."""

    def __init__(self, key: bytes = SHARED, cell: str = "main", server: str = "follower", expected: str = "lead"):
        self.clock = new_clock()
        self.at_lead, self.at_follower = User(), User()
        self.lead = LeadLink(Identity(key=SHARED, server="lead", cell="main"), self.at_lead, self.clock)
        self.follower = FollowerLink(Identity(key=key, server=server, cell=cell), self.at_follower, self.clock)
        self.follower.expected = expected
        self.line = Line(self.lead, self.follower).open()

    def pump(self) -> None:
        for _ in range(50):
            self.clock.advance(0)
            self.line.pump()

    def ready(self) -> "Two":
        self.pump()
        assert (self.at_lead.ready, self.at_follower.ready) == (1, 1)
        return self

    def send(self, *bodies: bytes) -> None:
        """Each body in a message of its own."""
        for number, body in enumerate(bodies):
            self.follower.send(item(number, "ask", "", msgpack.encode(body)))
            self.clock.advance(0)

    def received(self) -> list[list[bytes]]:
        return [[msgpack.decode(one.body) for one in items] for items in self.at_lead.messages]


def test_items_of_one_turn_are_one_message_in_order() -> None:
    two = Two().ready()
    for number in range(3):
        two.follower.send(item(number, "ask", "X", b"\xc0"))
    two.pump()
    assert two.at_lead.messages == [[Item(number, "ask", "X", Raw(b"\xc0")) for number in range(3)]]


@pytest.mark.parametrize("size", [1, RECORD - 30, RECORD - 17, RECORD, 3 * RECORD, 5_000_000])
def test_a_message_of_any_size_arrives_in_records_of_at_most_64_kib(size: int) -> None:
    two = Two().ready()
    two.send(b"x" * size)
    longest: list[int] = []

    def watching(data: bytes, _to: str) -> bytes:
        longest.extend(len(one) - 4 for one in records(data))
        return data

    two.line.altering = watching
    two.pump()
    assert [list(map(len, items)) for items in two.received()] == [[size]]
    assert max(longest) <= RECORD


def test_nothing_readable_is_on_the_wire() -> None:
    two = Two().ready()
    two.send(b"a secret content")
    assert b"secret" not in two.line.at_follower.value()
    two.pump()
    assert two.received() == [[b"a secret content"]]


def _altered(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def _swapped(data: bytes) -> bytes:
    first, second, *rest = records(data)
    return b"".join([second, first, *rest])


@pytest.mark.parametrize(
    ("change", "arrived"),
    [
        (_altered, 2),
        (_swapped, 0),
        (lambda data: data + b"".join(list(records(data))[:1]), 3),
        (lambda data: b"".join(list(records(data))[1:]), 0),
        (lambda data: data[:4] + b"\0" + data[5:], 0),
    ],
    ids=["altered", "swapped", "replayed", "dropped", "altered at the start"],
)
def test_a_changed_record_ends_the_link_and_is_not_carried_out(change: Callable[[bytes], bytes], arrived: int) -> None:
    two = Two().ready()
    two.send(b"1", b"2", b"3")
    two.line.altering = lambda data, to: change(data) if to == "lead" else data
    two.pump()
    assert len(two.at_lead.messages) == arrived
    assert two.at_lead.reasons == ["a record was altered, repeated or lost on the way"]
    assert len(two.at_follower.reasons) == 1


def test_a_cut_record_is_not_carried_out() -> None:
    two = Two().ready()
    two.send(b"1")
    two.line.altering = lambda data, to: data[:-1]
    two.pump()
    assert two.at_lead.messages == []
    two.line.cut()
    assert len(two.at_lead.reasons) == 1


def test_a_recorded_link_can_not_be_replayed_to_the_lead() -> None:
    two, taken = Two(), bytearray()

    def record(data: bytes, to: str) -> bytes:
        if to == "lead":
            taken.extend(data)
        return data

    two.line.altering = record
    two.ready()
    two.send(b"1")
    two.pump()
    user = User()
    again = LeadLink(Identity(key=SHARED, server="lead", cell="main"), user, two.clock)
    again.makeConnection(StringTransport())
    again.dataReceived(bytes(taken))
    assert (user.ready, user.messages, len(user.reasons)) == (0, [], 1)


def test_what_one_side_has_sent_can_not_be_reflected_to_it() -> None:
    two = Two().ready()
    two.send(b"1")
    two.follower.dataReceived(two.line.at_follower.value())
    assert two.at_follower.messages == []
    assert two.at_follower.reasons == ["a record was altered, repeated or lost on the way"]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"key": bytes(32)}, "both need the same SECRET"),
        ({"cell": "billing"}, "belongs to the cell 'main', this one to 'billing'"),
        ({"server": "lead"}, "leads back to this server itself"),
        ({"expected": "other"}, "another server answers there"),
    ],
)
def test_a_wrong_server_is_refused_for_a_reason_that_operators_understand(parts: Any, words: str) -> None:
    two = Two(**parts)
    two.pump()
    assert two.at_follower.ready == 0
    assert [words in one for one in two.at_follower.reasons] == [True]


def test_servers_of_different_languages_refuse_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    two = Two()
    other = msgpack.encode(("other", "9.9", "follower", "main"))
    monkeypatch.setattr(two.follower, "write_hello", lambda: two.follower._write(b"l" + other))
    two.pump()
    assert (two.at_lead.ready, two.at_lead.reasons) == (
        0,
        [f"the server there has version 9.9, this one {__version__}: they need the same version"],
    )


def test_a_lead_shows_a_stranger_nothing_that_its_key_has_encrypted() -> None:
    clock, user = new_clock(), User()
    lead = LeadLink(Identity(key=SHARED, server="lead", cell="main"), user, clock)
    transport = StringTransport()
    lead.makeConnection(transport)
    lead.dataReceived(b"\0\0\0\x20" + bytes(32) + b"\0\0\0\x40" + bytes(64))
    challenge, refusal = records(transport.value())
    assert (len(challenge), refusal) == (36, b"\0\0\0\x03key")
    assert transport.disconnecting


@pytest.mark.parametrize("length", [257, 1 << 16, (1 << 32) - 1])
def test_a_stranger_can_not_announce_a_long_record(length: int) -> None:
    two = Two()
    two.lead.dataReceived(length.to_bytes(4, "big"))
    assert two.at_lead.reasons == ["it sent a record that is too long"]


def test_an_authenticated_server_can_not_announce_a_record_over_64_kib() -> None:
    two = Two().ready()
    two.lead.dataReceived((RECORD + 1).to_bytes(4, "big"))
    assert two.at_lead.reasons == ["it sent a record that is too long"]


def test_a_message_over_64_mib_ends_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MESSAGE", 200_000)
    two = Two().ready()
    two.send(b"x" * 300_000)
    two.pump()
    assert two.at_lead.reasons == ["it sent a message that is too long"]


def test_a_message_that_is_no_list_of_items_ends_the_link() -> None:
    two = Two().ready()
    two.follower._write(b"l" + msgpack.encode({"a": 1}))
    two.pump()
    assert two.at_lead.reasons == ["it sent a message that can't be read"]


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0\x20" + bytes(32)])
def test_a_slow_stranger_is_disconnected_after_5_seconds(data: bytes) -> None:
    two = Two()
    two.lead.dataReceived(data)
    two.clock.advance(4.9)
    assert two.at_lead.reasons == []
    two.clock.advance(0.1)
    assert two.at_lead.reasons == ["it did not introduce itself in time"]


def test_at_most_32_strangers_are_connected_and_then_servers_again() -> None:
    clock = new_clock()
    server = LinkServer(SHARED, "lead", "main", lambda: None, clock)  # type: ignore[arg-type,return-value]
    factory = server.factory()
    for _ in range(STRANGERS):
        link = factory.buildProtocol(None)
        assert link is not None
        link.makeConnection(StringTransport())
    assert factory.buildProtocol(None) is None
    clock.advance(5)
    assert factory.buildProtocol(None) is not None


def test_a_silent_link_is_dropped_but_an_idle_one_is_kept() -> None:
    two = Two().ready()
    for _ in range(20):
        two.clock.advance(1)
        two.pump()
    assert two.at_lead.reasons == two.at_follower.reasons == []
    for _ in range(5):
        two.clock.advance(1)
    assert two.at_lead.reasons == []
    two.clock.advance(1)
    assert two.at_lead.reasons == ["the server there is silent"]


def test_a_pause_of_this_process_is_no_silence_of_the_other() -> None:
    two = Two().ready()
    two.clock.advance(100)
    two.pump()
    assert two.at_lead.reasons == []


def test_a_link_writes_nothing_while_the_other_side_does_not_read() -> None:
    two = Two().ready()
    two.follower.pauseProducing()
    two.send(b"x" * 200_000)
    two.clock.advance(0)
    assert two.line.at_follower.value() == b""
    two.follower.resumeProducing()
    two.pump()
    assert [list(map(len, items)) for items in two.received()] == [[200_000]]


def test_a_large_message_is_written_over_several_turns() -> None:
    two = Two().ready()
    two.follower.send(item(1, "ask", "", msgpack.encode(b"x" * 2_000_000)))
    # A simulated clock makes all turns at once: make the first one by hand.
    two.follower._flush()
    assert 500_000 < len(two.line.at_follower.value()) < 600_000
    two.pump()
    assert [list(map(len, items)) for items in two.received()] == [[2_000_000]]


def test_a_cell_with_a_name_too_long_for_a_hello_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        _ = Identity(key=SHARED, server="s", cell="c" * 300).hello


def test_a_follower_dials_again_in_growing_pauses_and_reports_the_trouble() -> None:
    clock = new_clock()
    lines = Lines(None, clock)
    door = RemoteDoor(SHARED, "follower", "main", clock, lines.connect)
    door.lead_is("[::1]:8081", "lead")
    assert lines.dialled == [("::1", 8081)]
    assert door.trouble == "The lead at ::1:8081 can't be reached: refused."
    for pause in (0.1, 0.2, 0.4, 0.8, 1, 1):
        clock.advance(pause - 0.01)
        before = len(lines.dialled)
        clock.advance(0.01)
        assert len(lines.dialled) == before + 1
    door.lead_is(ADDRESS, "lead")
    assert lines.dialled[-1] == ("lead.test", 8081)
    door.stop()
    assert (clock.getDelayedCalls(), door.trouble) == ([], "")
