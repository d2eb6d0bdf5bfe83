"""Events of jobs: published when on disk, resumed after the last one, and bounded for watchers that do not read."""

from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.effects import JobEffect
from jobengine.core.model import Job, JobEvent, Standing, State
from jobengine.engine.event_feed import _BACKLOG, _KEPT, _PIECE, Feed, Watcher
from tests.core.worlds import spec_of
from tests.doubles import CountedIds
from tests.engine.engines import KEY, Desk
from tests.engine.test_durability import FULL
from tests.pending import Pending


@pytest.fixture
def desk(desk: Desk) -> Desk:
    desk.create("other")
    return desk


class Watching:
    """A watcher of a queue."""

    def __init__(self, desk: Desk, after: str | None = None, queue: str = "q") -> None:
        self.desk = desk
        command = c.Subscribe(queue=queue, access_key=KEY, after=after)
        self.stream: Any = desk.told(desk.engine.watch(command))
        self.events: list[JobEvent | None] = []
        self.over = False
        self.asked: Pending | None = None
        # A stream begins when it is first read.
        self.read()

    def read(self) -> list[JobEvent | None]:
        """All events so far; None means that some were missed."""
        while not self.over:
            if self.asked is None:
                self.asked = Pending(self._next())
            # The engine lets other requests run between events of the same moment.
            self.desk.turn()
            if not self.asked.answered:
                break
            self.asked = None
        return self.events

    async def _next(self) -> None:
        try:
            piece = await self.stream.__anext__()
        except StopAsyncIteration:
            self.over = True
        else:
            if not isinstance(piece, str):
                self.events += [None] if piece is None else [event for batch in piece for event in batch.events]

    @property
    def moves(self) -> list[Any]:
        return [event and (event.before, event.state) for event in self.read()]

    def last(self) -> str:
        event = self.read()[-1]
        assert event is not None
        return event.id


ADDED = (None, State.QUEUED)


def test_an_event_is_sent_only_when_it_is_on_disk(desk: Desk) -> None:
    watching = Watching(desk)
    desk.ask(desk.adding())
    desk.turn()
    assert watching.moves == []
    desk.thread.step()
    assert watching.moves == [ADDED]


def test_changes_refused_by_a_full_disk_become_events_when_they_are_written(desk: Desk) -> None:
    watching = Watching(desk)
    desk.files.faults["write"] = [FULL] * 1000
    desk.ask(desk.adding())
    desk.settle()
    assert watching.moves == []
    desk.files.faults.clear()
    desk.clock.advance(0.5)
    desk.settle()
    assert watching.moves == [ADDED]


def test_an_event_being_written_at_a_reconnect_is_sent_once(desk: Desk) -> None:
    first = Watching(desk)
    desk.told(desk.adding())
    seen = first.last()
    desk.ask(desk.adding())
    desk.turn()
    # The watcher comes during the write, and is answered when the write is done.
    again = Watching(desk, seen)
    assert again.moves == [ADDED]


def test_event_ids_from_before_a_restart_are_unknown(desk: Desk) -> None:
    first = Watching(desk)
    desk.told(desk.adding())
    seen = first.last()
    desk.restart()
    assert Watching(desk, seen).moves == [None]


def test_an_event_id_of_another_queue_is_unknown(desk: Desk) -> None:
    other = Watching(desk, queue="other")
    desk.told(desk.adding("other"))
    assert Watching(desk, other.last()).moves == [None]


def test_an_event_number_not_yet_assigned_is_unknown(desk: Desk) -> None:
    first = Watching(desk)
    desk.told(desk.adding())
    stream, _, number = first.last().rpartition("-")
    assert Watching(desk, f"{stream}-{int(number) + 1}").moves == [None]


# The feed alone


def job(number: int) -> Job:
    spec = spec_of(str(number), arrival=number)
    return Job(spec, Standing(state=State.QUEUED, updated=0))


def publish(feed: Feed, queue: str, number: int) -> list[JobEvent]:
    """Publish this many events, each of its own request."""
    made: list[JobEvent] = []
    for n in range(number):
        made += publish_together(feed, queue, 1, n)
    return made


def publish_together(feed: Feed, queue: str, number: int, start: int = 0) -> list[JobEvent]:
    effects = [JobEffect(queue, job(n).spec.uid, None, job(n)) for n in range(start, start + number)]
    events = feed.events(queue, effects, 0)
    assert events is not None
    feed.publish(events)
    return [event for batch in events.batches() for event in batch.events]


def waiting(watcher: Watcher) -> list[JobEvent]:
    """The events that it has not read yet."""
    return [event for batch in watcher._waiting for event in batch.events]


def number_of(event: JobEvent) -> int:
    return int(event.id.rpartition("-")[2])


def test_a_limited_number_of_the_newest_events_of_all_queues_is_kept() -> None:
    feed = Feed(CountedIds())
    first, *_ = publish(feed, "q", 3)
    publish(feed, "other", _KEPT - 3)
    assert not feed.watch("q", first.id).gone
    publish(feed, "other", 1)
    assert not feed.watch("q", first.id).gone
    publish(feed, "other", 1)
    assert feed.watch("q", first.id).gone
    assert len(feed._kept) == _KEPT


def test_a_watch_without_an_event_can_be_resumed_after_its_start_id() -> None:
    feed = Feed(CountedIds())
    seen = publish(feed, "q", 2)
    pending = feed.events("q", [JobEffect("q", "3", None, job(3))], 0)
    assert pending is not None
    start = feed.watch("q", None).start
    feed.publish(pending)
    assert [number_of(event) for event in waiting(feed.watch("q", start))] == [3]
    assert feed.watch("q", seen[0].id).start == seen[0].id


def test_the_oldest_events_of_a_large_request_are_dropped_first() -> None:
    feed = Feed(CountedIds())
    events = publish_together(feed, "q", 1_000)
    publish_together(feed, "other", _KEPT - 400)
    assert feed.watch("q", events[598].id).gone
    back = feed.watch("q", events[599].id)
    assert not back.gone
    assert [number_of(event) for event in waiting(back)] == [*range(601, 1_001)]
    publish(feed, "q", 2)
    assert feed.watch("q", events[600].id).gone
    assert [number_of(event) for event in waiting(feed.watch("q", events[601].id))] == [*range(603, 1_003)]
    publish_together(feed, "other", _KEPT)
    assert feed.watch("q", events[-1].id).gone
    assert (feed._number, len(feed._kept)) == (_KEPT, 1)


def test_each_change_of_a_state_is_an_event() -> None:
    feed = Feed(CountedIds())
    done = Job(job(3).spec, Standing(state=State.COMPLETE, updated=0))
    effects = [
        JobEffect("q", "1", None, job(1)),
        JobEffect("q", "2", job(2), job(2)),
        JobEffect("q", "3", job(3), done),
        JobEffect("q", "4", job(4), None),
        JobEffect("q", "5", None, None),
    ]
    watcher = feed.watch("q", None)
    events = feed.events("q", effects, 7)
    assert events is not None
    feed.publish(events)
    assert [(number_of(e), e.uid, e.before, e.state, e.at) for e in waiting(watcher)] == [
        (1, "1", None, State.QUEUED, 7),
        (2, "3", State.QUEUED, State.COMPLETE, 7),
        (3, "4", State.QUEUED, None, 7),
    ]
    assert feed.events("q", effects[1:2], 8) is None


def test_a_watcher_that_does_not_read_is_dropped_and_keeps_no_events() -> None:
    feed = Feed(CountedIds())
    slow, other = feed.watch("q", None), feed.watch("other", None)
    publish(feed, "q", _BACKLOG + 1)
    assert not slow.ended
    assert len(slow._waiting) == _BACKLOG + 1
    publish(feed, "q", 1)
    assert slow.ended
    assert (len(slow._waiting), len(other._waiting)) == (0, 0)
    assert slow.stream.watchers == set()
    assert not other.ended
    assert Pending(slow.next()).answer is None


def test_a_watcher_that_has_disconnected_gets_no_more_events() -> None:
    feed = Feed(CountedIds())
    watcher = feed.watch("q", None)
    feed.leave(watcher)
    publish(feed, "q", 1)
    assert len(watcher._waiting) == 0


def test_all_watchers_share_the_objects_of_a_batch_of_events() -> None:
    """For example, so that the batches need to be encoded only once."""
    feed = Feed(CountedIds())
    watchers = [feed.watch("q", None) for _ in range(3)]
    publish_together(feed, "q", 3 * _PIECE)
    first, *others = [Pending(watcher.next()).answer for watcher in watchers]
    assert [len(batch.events) for batch in first] == [_PIECE]
    assert all(other[0] is first[0] for other in others)


def test_a_watcher_gets_many_small_batches_of_events_joined_into_larger_ones() -> None:
    feed = Feed(CountedIds())
    watcher = feed.watch("q", None)
    publish(feed, "q", _PIECE + 1)
    assert [len(Pending(watcher.next()).answer) for _ in range(2)] == [_PIECE, 1]
