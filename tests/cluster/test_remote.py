"""Calls through a link: many at a time, cancelled, refused, and lost with the link."""

from collections.abc import AsyncGenerator, Awaitable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from jobengine.cluster import remote as remotes
from jobengine.cluster import server as servers
from jobengine.core import commands as c
from jobengine.core.model import Defaults, Job, State
from jobengine.engine.door import Busy, NoLead, OutcomeUnknown, Unavailable
from tests.cluster.lines import ADDRESS, joined
from tests.contract.asking import KEY, new_job
from tests.doubles import Wrapping, make_engine, new_clock, start
from tests.pending import Pending

CLAIMS = c.Claims(queues=("q",), access_key=KEY)
JOBS = c.ListJobs(queue="q", access_key=KEY, limit=1)


class Slow(Wrapping):
    """An engine that records calls; its answers wait for `go`, if it is closed."""

    def __init__(self, engine: Any) -> None:
        super().__init__(engine)
        self.calls: list[Any] = []
        self.waiting: list[Deferred[Any]] = []
        self.is_closed = False
        self.taken = 0
        self.ended = 0

    async def ask(self, command: Any) -> Any:
        self.calls.append(command)
        answer = await self._engine.ask(command)
        if self.is_closed:
            self.waiting.append(Deferred())
            await self.waiting[-1]
        return answer

    async def read_queue(self, command: Any) -> AsyncGenerator[Any, None]:
        return self._items(await self._engine.read_queue(command))

    async def _items(self, stream: Any) -> AsyncGenerator[Any, None]:
        try:
            async for item in stream:
                self.taken += 1
                yield item
        finally:
            self.ended += 1


class Pair:
    """A lead with the queue `q`, and a follower's door."""

    def __init__(self, path: Path, calls: int = 10_000) -> None:
        self.clock = new_clock()
        self.engine = make_engine(path, self.clock)
        start(self.engine, lambda: self.clock.advance(0))
        self.slow = Slow(self.engine)
        self.refusal: Exception | None = None
        self.door, self.lines, self.server = joined(self._door, self.clock, calls=calls)
        self.get(self.door.ask(c.CreateQueue(queue="q", access_key=KEY)))

    def _door(self) -> Any:
        if self.refusal is not None:
            raise self.refusal
        return self.slow

    @property
    def line(self) -> Any:
        return self.lines.lines[-1]

    def begin(self, asked: Awaitable[Any], *, pump: bool = True) -> Pending:
        pending = Pending(asked, self.lines.pump)
        if pump:
            self.lines.pump()
        return pending

    def get(self, asked: Awaitable[Any]) -> Any:
        return self.begin(asked).answer

    def add(self) -> Job:
        (added,) = self.get(self.door.ask(new_job()))
        job: Job = added.job
        return job

    def state(self, job: Job) -> State:
        read: Job = self.get(self.door.ask(c.ReadJob(queue="q", access_key=KEY, uid=job.spec.uid)))
        return read.state


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path / "db")
    yield pair
    pair.door.stop()
    pair.server.stop()
    pair.engine.release()
    pair.engine.journal.close(orderly=False)


# One message a turn, answers in any order


def test_the_calls_and_the_answers_of_a_turn_are_one_record_each(pair: Pair) -> None:
    sent: list[str] = []

    def count(data: bytes, to: str) -> bytes:
        sent.append(to)
        return data

    turns = pair.line.lead.turn, pair.line.follower.turn
    pending = [pair.begin(pair.door.ask(new_job()), pump=False) for _ in range(50)]
    pair.line.altering = count
    pair.lines.pump()
    assert all(len(one.answer) == 1 for one in pending)
    assert (pair.line.lead.turn, pair.line.follower.turn) == (turns[0] + 1, turns[1] + 1)
    assert sent == ["lead", "follower"]


def test_an_answer_does_not_wait_for_the_answers_of_earlier_calls(pair: Pair) -> None:
    waiting = pair.begin(pair.door.claim(c.Claims(queues=("q",), access_key=KEY, wait=30)))
    assert pair.get(pair.door.ask(c.ListJobs(queue="q", access_key=KEY, limit=1))).jobs == []
    assert not waiting.answered
    job = pair.add()
    assert [one.job.spec.uid for one in waiting.answer.jobs] == [job.spec.uid]


# Cancelled calls


def test_a_cancelled_claim_that_waits_gets_no_job(pair: Pair) -> None:
    waiting = pair.begin(pair.door.claim(c.Claims(queues=("q",), access_key=KEY, wait=30)))
    waiting.cancel()
    assert pair.state(pair.add()) is State.QUEUED


def test_a_cancelled_claim_is_put_back_before_it_has_left(pair: Pair) -> None:
    job = pair.add()
    pair.begin(pair.door.claim(CLAIMS), pump=False).cancel()
    assert pair.state(job) is State.QUEUED


def test_a_claim_cancelled_while_its_answer_is_on_its_way_is_put_back(pair: Pair) -> None:
    job = pair.add()
    claim = pair.begin(pair.door.claim(CLAIMS), pump=False)
    pair.clock.advance(0)
    pair.line.pump()
    pair.clock.advance(0)
    stored = pair.engine.executor.tables.queues["q"].job(job.spec.uid)
    assert stored is not None
    assert stored.state is State.INPROGRESS
    claim.cancel()
    assert pair.state(job) is State.QUEUED


def test_nothing_is_kept_of_calls_that_are_answered_or_cancelled(pair: Pair) -> None:
    for _ in range(3):
        pair.begin(pair.door.claim(CLAIMS), pump=False).cancel()
        pair.begin(pair.door.claim(c.Claims(queues=("q",), access_key=KEY, wait=9))).cancel()
        pair.add()
    (keeper,) = pair.server._keepers.values()
    assert (pair.door._calls, pair.door._cancelled, keeper._running, keeper._streams) == ({}, {}, {}, {})


# Lost links


def test_without_a_link_nothing_is_sent(pair: Pair) -> None:
    pair.door.lead_is(None, "")
    with pytest.raises(NoLead, match="nothing was carried out"):
        pair.get(pair.door.ask(new_job()))


def test_a_change_lost_with_the_link_may_or_may_not_be_made_and_a_read_can_be_repeated(pair: Pair) -> None:
    pair.slow.is_closed = True
    change = pair.begin(pair.door.ask(new_job()))
    read = pair.begin(pair.door.ask(JOBS))
    claim = pair.begin(pair.door.claim(c.Claims(queues=("q",), access_key=KEY, wait=30, tags=("other",))))
    pair.line.cut()
    assert change.error is claim.error is OutcomeUnknown
    assert read.error is NoLead
    pair.clock.advance(1)
    pair.lines.pump()
    assert pair.door.connected
    assert len([one for one in pair.slow.calls if isinstance(one, c.AddJobs)]) == 1


def test_a_change_that_had_not_left_when_the_link_broke_was_not_carried_out(pair: Pair) -> None:
    change = pair.begin(pair.door.ask(new_job()), pump=False)
    pair.line.cut()
    assert change.error is NoLead


def test_a_claim_that_waits_for_a_follower_that_is_gone_gets_no_job(pair: Pair) -> None:
    pair.begin(pair.door.claim(c.Claims(queues=("q",), access_key=KEY, wait=30)))
    pair.line.cut()
    pair.clock.advance(1)
    pair.lines.pump()
    assert pair.state(pair.add()) is State.QUEUED


def test_the_answers_of_the_last_turn_leave_when_the_lead_stops_to_lead(pair: Pair) -> None:
    pair.slow.is_closed = True
    change = pair.begin(pair.door.ask(new_job()))
    pair.slow.waiting[-1].callback(None)
    pair.server.stop()
    pair.line.pump()
    assert len(change.answer) == 1


def test_another_lead_is_dialled_and_calls_of_the_old_one_fail(pair: Pair) -> None:
    pair.slow.is_closed = True
    change = pair.begin(pair.door.ask(new_job()))
    pair.door.lead_is("other.test:1", "other")
    assert change.error is OutcomeUnknown
    assert pair.lines.dialled[-1] == ("other.test", 1)
    pair.lines.pump()
    assert not pair.door.connected
    assert "another server answers there than the one that leads" in pair.door.trouble


# Refusals


def test_a_server_that_does_not_lead_answers_why(pair: Pair) -> None:
    pair.refusal = NoLead()
    with pytest.raises(NoLead, match="nothing was carried out"):
        pair.get(pair.door.ask(new_job()))


def test_more_calls_than_allowed_are_refused_as_busy(tmp_path: Path) -> None:
    pair = Pair(tmp_path / "db", calls=3)
    waiting = [
        pair.begin(pair.door.claim(c.Claims(queues=("q",), access_key=KEY, wait=30)), pump=False) for _ in range(4)
    ]
    pair.lines.pump()
    assert [one.error for one in waiting] == [None, None, None, Busy]
    waiting[0].cancel()
    pair.add()
    pair.engine.release()


def test_a_request_or_an_answer_that_is_too_large_is_refused(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remotes, "ITEM", 1000)
    monkeypatch.setattr(servers, "ITEM", 1000)
    with pytest.raises(Unavailable, match="request is too large"):
        pair.get(pair.door.ask(new_job(content=b'"' + b"x" * 1000 + b'"')))
    for _ in range(9):
        pair.add()
    with pytest.raises(Unavailable, match="answer is too large"):
        pair.get(pair.door.ask(c.ListJobs(queue="q", access_key=KEY, limit=9)))


def test_a_bulk_request_of_16_mib_and_its_answer_travel(pair: Pair) -> None:
    new = tuple(c.NewJob(content=b'"' + b"x" * (1 << 20) + b'"') for _ in range(16))
    command = c.AddJobs(queue="q", access_key=KEY, jobs=new, defaults=Defaults())
    assert len(pair.get(pair.door.ask(command))) == 16


# Streams


def test_a_stream_is_read_at_the_lead_no_faster_than_here(pair: Pair) -> None:
    for _ in range(5):
        pair.add()
    stream = pair.get(pair.door.read_queue(JOBS))
    assert pair.slow.taken == 0
    for number in (1, 2, 3):
        assert len(pair.get(anext(stream))) == 1
        pair.lines.pump()
        assert pair.slow.taken == number


def test_closing_a_stream_closes_it_at_the_lead(pair: Pair) -> None:
    pair.add()
    stream = pair.get(pair.door.read_queue(JOBS))
    pair.get(anext(stream))
    pair.get(stream.aclose())
    assert pair.slow.ended == 1
    with pytest.raises(StopAsyncIteration):
        pair.get(anext(stream))


@pytest.mark.parametrize("reads", [0, 1])
def test_a_forgotten_stream_is_closed_at_the_lead(pair: Pair, reads: int) -> None:
    pair.add()
    stream = pair.get(pair.door.read_queue(JOBS))
    for _ in range(reads):
        pair.get(anext(stream))
    del stream
    pair.lines.pump()
    (keeper,) = pair.server._keepers.values()
    assert keeper._streams == {}


def test_a_stream_of_a_follower_that_is_gone_is_closed(pair: Pair) -> None:
    pair.add()
    stream = pair.get(pair.door.read_queue(JOBS))
    pair.get(anext(stream))
    pair.line.cut()
    assert pair.slow.ended == 1
    with pytest.raises(NoLead):
        pair.get(anext(stream))


def test_cancelling_the_wait_for_an_event_ends_the_stream_at_the_lead(pair: Pair) -> None:
    stream = pair.get(pair.door.watch(c.Subscribe(queue="q", access_key=KEY)))
    pair.get(anext(stream))
    pair.begin(anext(stream)).cancel()
    assert pair.engine.executor.feed._streams == {} or not any(
        one.watchers for one in pair.engine.executor.feed._streams.values()
    )


def test_the_same_lead_is_not_dialled_twice(pair: Pair) -> None:
    pair.door.lead_is(ADDRESS, "lead")
    assert len(pair.lines.dialled) == 1
    assert pair.server.followers == 1
