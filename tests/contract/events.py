"""The stream of events of a queue."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.model import EventBatch, JobEvent, Role, State
from tests.contract.asking import Asker, Contract
from tests.contract.world import World
from tests.pending import Pending


def events_of(batches: Sequence[EventBatch]) -> list[JobEvent]:
    return [event for batch in batches for event in batch.events]


class EventsContract(Contract):
    """The events that watchers of a queue get."""

    def _seen(self, ask: Asker, stream: Any, count: int, first: Pending | None = None) -> list[JobEvent]:
        """The next `count` events of a stream; `first` is a read that was already started."""
        events: list[JobEvent] = [] if first is None else events_of(first.answer)
        while len(events) < count:
            events += events_of(ask.get(anext(stream)))
        assert len(events) == count
        return events

    def test_changes_of_state_are_events_in_the_same_order(self, world: World, ask: Asker) -> None:
        stream = ask.watch()
        first = world.begin(anext(stream))
        job = ask.add()
        held = ask.hold()
        ask.update(held, progress=5)
        ask.update(held, State.COMPLETE)
        ask.delete(job)
        events = self._seen(ask, stream, 4, first)
        states = [None, State.QUEUED, State.INPROGRESS, State.COMPLETE, None]
        assert [(one.before, one.state) for one in events] == list(pairwise(states))
        assert {one.uid for one in events} == {job.spec.uid}
        assert events[0].at == world.now

    def test_a_client_that_reconnects_gets_the_events_it_missed(self, world: World, ask: Asker) -> None:
        next_one = world.begin(anext(ask.watch()))
        job, missed = ask.add(), ask.add()
        seen = events_of(next_one.answer)[0]
        assert seen.uid == job.spec.uid
        assert [one.uid for one in self._seen(ask, ask.watch(after=seen.id), 1)] == [missed.spec.uid]

    @pytest.mark.parametrize("after", [None, "never-1"])
    def test_a_client_that_reconnects_before_its_first_event_gets_the_events_it_missed(
        self, ask: Asker, after: str | None
    ) -> None:
        stream = ask.watch_all(after=after)
        if after is not None:
            assert ask.get(anext(stream)) is None
        start: Any = ask.get(anext(stream))
        missed = ask.add()
        assert [one.uid for one in self._seen(ask, ask.watch(after=start), 1)] == [missed.spec.uid]

    def test_a_client_that_reconnects_too_late_learns_that_events_are_lost(self, ask: Asker) -> None:
        assert ask.get(anext(ask.watch(after="never-1"))) is None

    def test_a_watcher_gets_the_event_of_a_timeout_exactly_at_the_timeout(self, world: World, ask: Asker) -> None:
        ask.add(timeout_seconds=5)
        held = ask.hold()
        stream = ask.watch()
        next_one = world.begin(anext(stream))
        world.advance(4.999)
        assert not next_one.answered
        world.advance(0.001)
        (event,) = events_of(next_one.answer)
        assert (event.uid, event.state) == (held.spec.uid, State.FAILED)

    @pytest.mark.parametrize("end", ["queue", "key", "engine"])
    def test_a_stream_ends_if_its_queue_is_deleted_its_key_revoked_or_the_server_stops(
        self, world: World, ask: Asker, end: str
    ) -> None:
        key_id = ask.add_key(Role.VIEWER, b"v")
        next_one = world.begin(anext(ask.watch(key=b"v")))
        if end == "queue":
            ask.ask(c.DeleteQueue)
        elif end == "key":
            ask.ask(c.RevokeKey, key_id=key_id)
            ask.add()
        else:
            world.engine.release()
        world.settle()
        with pytest.raises(StopAsyncIteration):
            assert next_one.answer

    def test_a_stream_ends_at_once_if_its_queue_was_deleted_before_the_first_read(self, ask: Asker) -> None:
        stream = ask.watch()
        ask.ask(c.DeleteQueue)
        with pytest.raises(StopAsyncIteration):
            ask.get(anext(stream))

    def test_a_recreated_queue_has_its_own_event_stream(self, world: World, ask: Asker) -> None:
        next_one = world.begin(anext(ask.watch()))
        ask.add()
        (event,) = events_of(next_one.answer)
        ask.ask(c.DeleteQueue)
        ask.create()
        assert ask.get(anext(ask.watch(after=event.id))) is None
