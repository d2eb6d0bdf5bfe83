"""
The events of watched queues. Events are kept while a client watches the queue, on any server. Each batch numbers its
events under the lock of the queue's row, so all watchers see the same order.
"""

from collections.abc import Iterator, Sequence
from typing import Final, LiteralString

from attrs import define, field, frozen
from msgspec import MsgspecError
from psycopg import Connection
from twisted.logger import Logger

from ....core.errors import QueueNotFound
from ....core.model import EventBatch, JobEvent
from ....storage.errors import Damaged
from ...event_feed import Stream, Watcher
from ..batch.decide import EventRecord, read_events
from ..database.arrays import bigints
from ..database.connection import together
from ..database.pipeline import Row, Statement
from ..database.rows import Rows
from ..sql import named
from .news import EVENTS, News

#: A queue counts as watched for this many milliseconds after a watcher's poll.
_KEPT: Final = 60_000
#: The number of rows to read at a time for each watcher.
_ROWS: Final = 100
_BEGIN_WATCH: Final = named("begin_watch")
_EXTEND_WATCHES: Final = named("extend_watches")
_READ_EVENTS: Final = named("read_events")
_FORGET_EVENTS: Final = named("forget_events")
_DELETE_EVENTS: Final = named("delete_events")

_DAMAGED: Final = "events of queue number {queue_id} were damaged and are deleted; its watchers read the jobs again"
_log: Final = Logger()


@frozen
class WatchStart:
    """The start of a new watch."""

    #: The queue's name.
    queue: str
    #: The queue's number.
    queue_id: int
    #: The number of the last event before the watch.
    number: int
    #: Whether some of the requested events are no longer kept.
    gone: bool


@define(eq=False)
class Watch:
    """A client of this server that watches a queue."""

    #: The queue's name.
    queue: str
    #: The queue's number.
    queue_id: int
    #: The number of the last event that was delivered to the watcher.
    number: int
    watcher: Watcher
    #: Whether the watch has ended because its next events are no longer kept.
    missed: bool = field(default=False, init=False)


@frozen
class ReadEvents:
    """The events read for the watchers."""

    #: Events for each watcher, with the number of the last event.
    events: Sequence[tuple[Watch, int, EventBatch]]
    #: The watchers of deleted queues.
    ended: Sequence[Watch]
    #: The watchers whose next events are no longer kept.
    missed: Sequence[Watch]


def begin_watch(
    connection: "Connection[Row]", rows: Rows, clock: LiteralString, name: str, after: str | None
) -> WatchStart:
    """
    Keep the events of a queue from now on, for a watch that starts after the event with the id `after` or, if that is
    None, after the queue's last event. Raises QueueNotFound.
    """
    row = _BEGIN_WATCH.at(clock).execute(connection, kept=_KEPT, digest=rows.name(name)).fetchone()
    if row is None:
        raise QueueNotFound(name)
    queue_id, last, first = row
    number = None if after is None else _number_in(after, queue_id)
    is_kept = number is not None and first <= number <= last
    has = number if number is not None and is_kept else last
    return WatchStart(name, queue_id, has, gone=after is not None and not is_kept)


def read_watched(
    connection: "Connection[Row]", rows: Rows, clock: LiteralString, watches: Sequence[tuple[Watch, int]]
) -> ReadEvents:
    """Read the new events for these watchers, and mark their queues as still watched."""
    ids = sorted({watch.queue_id for watch, _ in watches})
    there, found = together(
        connection,
        _EXTEND_WATCHES.at(clock)(kept=_KEPT, queue_ids=bigints(ids)),
        _READ_EVENTS(
            watches=bigints(range(len(watches))),
            queue_ids=bigints([watch.queue_id for watch, _ in watches]),
            numbers=bigints([after for _, after in watches]),
            most=_ROWS,
        ),
    )
    events, damaged = [], dict[Watch, int]()
    for index, last, count, at, sealed in found:
        watch, after = watches[index]
        try:
            batch = _batch(watch.queue_id, last, _records(rows, count, sealed), at)
        except Damaged:
            damaged[watch] = last
            continue
        events.append((watch, last, EventBatch(tuple(one for one in batch if _number(one) > after))))
    for queue_id, last in {(watch.queue_id, last) for watch, last in damaged.items()}:
        _drop(connection, queue_id, last)
    kept_from: dict[int, int] = dict(there)
    ended = [watch for watch, _ in watches if watch.queue_id not in kept_from]
    missed = [watch for watch, after in watches if after < kept_from.get(watch.queue_id, after) or watch in damaged]
    return ReadEvents(events, ended, missed)


def _drop(connection: "Connection[Row]", queue_id: int, last: int) -> None:
    """Delete a damaged row. For watchers, its events and all earlier ones are then no longer kept."""
    together(
        connection,
        Statement("BEGIN"),
        _FORGET_EVENTS(last=last, queue_id=queue_id),
        _DELETE_EVENTS(queue_id=queue_id, last=last),
        Statement("COMMIT"),
    )
    _log.error(_DAMAGED, queue_id=queue_id)


def _records(rows: Rows, count: int, sealed: bytes) -> list[EventRecord]:
    """The records of a row of events; raises Damaged."""
    try:
        records = read_events(rows.seal.open(sealed))
    except MsgspecError:
        raise Damaged("a row of the table event holds no record of events") from None
    if len(records) != count:
        raise Damaged("in a row of the table event, the column number contradicts the record")
    return records


def _batch(queue_id: int, last: int, records: Sequence[EventRecord], at: int) -> Iterator[JobEvent]:
    for number, one in enumerate(records, last - len(records) + 1):
        yield JobEvent(
            id=f"{queue_id}-{number}",
            uid=one.uid,
            before=one.before,
            state=one.state,
            at=at,
            group=one.group,
            not_moved=one.not_moved,
        )


def _number(event: JobEvent) -> int:
    return int(event.id.rpartition("-")[2])


def _number_in(event_id: str, queue_id: int) -> int | None:
    """The number in an event's id; None if the id is not of this queue."""
    queue, _, number = event_id.rpartition("-")
    if queue != str(queue_id) or not (number.isascii() and number.isdigit() and len(number) < 19):
        return None
    return int(number)


@define
class Watches:
    """All watchers on this server."""

    _watches: list[Watch] = field(factory=list)

    def __len__(self) -> int:
        """The number of watchers."""
        return len(self._watches)

    def add(self, begun: WatchStart) -> Watch:
        """Add a watcher."""
        watcher = Watcher(Stream(str(begun.queue_id)), begun.number, gone=begun.gone)
        watch = Watch(begun.queue, begun.queue_id, begun.number, watcher)
        self._watches.append(watch)
        return watch

    def leave(self, watch: Watch) -> None:
        """Remove a watcher."""
        if watch in self._watches:
            self._watches.remove(watch)

    def news(self) -> News:
        """The kinds of news that would wake the watchers."""
        return {(EVENTS, watch.queue) for watch in self._watches}

    def numbers(self) -> list[tuple[Watch, int]]:
        """Each watcher, with the number of the last event delivered to it."""
        return [(watch, watch.number) for watch in self._watches]

    def deliver(self, read: ReadEvents) -> None:
        """Deliver the events, and end streams that can't continue."""
        for watch in read.missed:
            watch.missed = True
            watch.watcher.end()
        for watch, last, batch in read.events:
            if last > watch.number and not watch.missed:
                watch.number = last
                watch.watcher.give([batch])
        for watch in read.ended:
            watch.watcher.end()
        # Remove all ended watchers, not only those in `ended`: a stream also ends when its client reads too slowly.
        self._watches = [watch for watch in self._watches if not watch.watcher.ended]

    def end(self) -> None:
        """End all streams."""
        for watch in self._watches:
            watch.watcher.end()
