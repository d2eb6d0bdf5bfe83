"""
Changes of jobs as streams of events, and their watchers.

An event is published only when its change is on disk. Memory is bounded twice: a fixed number of the newest events is
kept for all queues together, and a watcher that falls too far behind is dropped.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from attrs import define, field
from msgspec import Struct
from twisted.internet.defer import Deferred

from ..core.effects import JobEffect
from ..core.model import FAILED, EventBatch, JobEvent, State

#: The most events kept for watchers that reconnect. A request's events stay in memory until all of them are dropped.
_KEPT: Final = 10_000
#: The event number in an id has fewer digits than this.
_DIGITS: Final = 19
#: If more events than this wait for a watcher, the next event ends its stream. One request may cause as many as this.
_BACKLOG: Final = 10_000
#: The most events in a batch; all watchers share one batch and its encoded form.
_PIECE: Final = 500


class Events(Struct, frozen=True):
    """The changes of jobs in one queue by one request; events are made from them if the queue has watchers."""

    #: The stream of these events.
    stream: "Stream"
    #: The numbers of the first and the last event; the others are consecutive.
    first: int
    last: int
    #: Of each changed job: uid, old state, new state, group, and why it is not moved; see JobEvent.
    changes: list[tuple[str, State | None, State | None, str | None, str | None]]
    #: Milliseconds since the epoch.
    at: int

    def batches(self, after: int = 0) -> Iterator[EventBatch]:
        """The events with a number above `after`, in batches."""
        skipped = max(0, after + 1 - self.first)
        for start in range(skipped, len(self.changes), _PIECE):
            numbered = enumerate(self.changes[start : start + _PIECE], self.first + start)
            yield EventBatch(tuple([self._event(number, *change) for number, change in numbered]))

    def _event(
        self, number: int, uid: str, before: State | None, state: State | None, group: str | None, not_moved: str | None
    ) -> JobEvent:
        its_id = f"{self.stream.id}-{number}"
        return JobEvent(id=its_id, uid=uid, before=before, state=state, at=self.at, group=group, not_moved=not_moved)


@define(eq=False)
class Stream:
    """The events of one queue, from its creation or the server's start to its deletion or the server's end."""

    #: Random text in the ids of the stream's events, which no other stream has.
    id: str
    #: The numbers of the last event made, the last published, and the last one dropped.
    made: int = 0
    published: int = 0
    dropped: int = 0
    #: The stream's watchers.
    watchers: "set[Watcher]" = field(factory=set)

    def number_in(self, event_id: str) -> int | None:
        """The number in an event's id; None if the id is not of this stream, or the event after it was dropped."""
        stream, _, number = event_id.rpartition("-")
        if stream != self.id or not (number.isascii() and number.isdigit() and len(number) < _DIGITS):
            return None
        return int(number) if self.dropped <= int(number) <= self.published else None


@define(eq=False)
class Watcher:
    """A watcher of a queue; `next` gives the events since the last call."""

    stream: Stream
    #: The number of the last event before those that the watcher gets.
    after: int
    #: Whether some of the events that the watcher requested are no longer kept.
    gone: bool
    _waiting: deque[EventBatch] = field(factory=deque)
    #: The number of waiting events.
    behind: int = 0
    _wake: "Deferred[None] | None" = field(default=None)
    _ended: bool = False

    @property
    def start(self) -> str:
        """The id after which the watcher's events begin."""
        return f"{self.stream.id}-{self.after}"

    async def next(self) -> list[EventBatch] | None:
        """Wait for events, and return some batches of them; None at the end of the stream."""
        if not self._waiting and not self._ended:
            self._wake = Deferred()
            await self._wake
        if self._ended:
            return None
        batches: list[EventBatch] = []
        taken = 0
        while self._waiting and taken < _PIECE:
            batches.append(self._waiting.popleft())
            taken += len(batches[-1].events)
        self.behind -= taken
        return batches

    def give(self, batches: Iterable[EventBatch]) -> None:
        """Deliver events, or drop the watcher if it is too far behind."""
        if self.behind > _BACKLOG:
            self.end()
            return
        for batch in batches:
            self._waiting.append(batch)
            self.behind += len(batch.events)
        if self._waiting:
            self._fire()

    def end(self) -> None:
        """End the stream of this watcher."""
        self._ended = True
        self._waiting.clear()
        self._fire()

    @property
    def ended(self) -> bool:
        """Whether the stream has ended."""
        return self._ended

    def _fire(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None and not wake.called:
            wake.callback(None)


@define
class Feed:
    """All events of one engine."""

    #: Makes random text.
    _new_id: Callable[[], str]
    _kept: deque[Events] = field(factory=deque)
    #: How many events are kept. Dropped events of the first request in `_kept` don't count; see Stream.dropped.
    _number: int = 0
    _streams: dict[str, Stream] = field(factory=dict)

    def events(self, queue: str, effects: Sequence[JobEffect], at: int) -> Events | None:
        """The events of changes in a queue, to be published later: see JobEvent. None without any event."""
        changes = []
        for effect in effects:
            old, new = effect.old, effect.new
            before = None if old is None else old.standing.state
            state = None if new is None else new.standing.state
            if before is not state or (state is FAILED and effect.not_moved):
                job = new or old
                assert job is not None
                not_moved = effect.not_moved if state is FAILED else None
                changes.append((effect.uid, before, state, job.spec.rare.group, not_moved))
        if not changes:
            return None
        stream = self._stream(queue)
        first = stream.made + 1
        stream.made += len(changes)
        return Events(stream, first, stream.made, changes, at)

    def publish(self, events: Events) -> None:
        """Publish events whose changes are on disk."""
        stream = events.stream
        stream.published = events.last
        self._keep(events)
        if not stream.watchers:
            return
        batches = list(events.batches())
        for watcher in tuple(stream.watchers):
            watcher.give(batches)
            if watcher.ended:
                self.leave(watcher)

    def watch(self, queue: str, after: str | None) -> Watcher:
        """Watch a queue: the events after the one with the id `after`, or for None the events from now on."""
        stream = self._stream(queue)
        number = None if after is None else stream.number_in(after)
        start = stream.published if number is None else number
        watcher = Watcher(stream, start, gone=after is not None and number is None)
        if number is not None:
            missed = (events for events in self._kept if events.stream is stream and events.last > number)
            watcher.give(batch for events in missed for batch in events.batches(number))
        stream.watchers.add(watcher)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Remove a watcher."""
        watcher.stream.watchers.discard(watcher)

    @property
    def watching(self) -> int:
        """The number of watchers."""
        return sum(len(stream.watchers) for stream in self._streams.values())

    def end(self, queue: str | None = None) -> None:
        """End the stream of a deleted queue, or all streams."""
        for name in [queue] if queue is not None else list(self._streams):
            stream = self._streams.pop(name, None)
            for watcher in () if stream is None else tuple(stream.watchers):
                watcher.end()

    def _stream(self, queue: str) -> Stream:
        stream = self._streams.get(queue)
        if stream is None:
            stream = self._streams[queue] = Stream(self._new_id()[-12:])
        return stream

    def _keep(self, events: Events) -> None:
        self._kept.append(events)
        self._number += len(events.changes)
        while self._number > _KEPT:
            oldest = self._kept[0]
            gone = min(self._number - _KEPT, oldest.last - oldest.stream.dropped)
            oldest.stream.dropped += gone
            self._number -= gone
            if oldest.stream.dropped == oldest.last:
                self._kept.popleft()
