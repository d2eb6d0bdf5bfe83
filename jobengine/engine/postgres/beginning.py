"""Begins transactions: reads the time, and the queues that a batch is about."""

from collections.abc import Mapping, Sequence
from typing import Final, LiteralString

from attrs import evolve, field, frozen
from psycopg import Connection

from ...storage.errors import Damaged
from .arrays import bigints, byteas, texts
from .connection import Row, Statement, together
from .profile import LOCKING, Profile
from .rows import Known, Rows

__all__ = ["Now", "begin", "begin_sweep", "now_of", "queues_read"]

#: A proposed floor never comes before the floor, so a job that comes after the proposal comes after both.
_FLOOR: Final[LiteralString] = "coalesce(q.proposed_prio, q.floor_prio), coalesce(q.proposed_arrival, q.floor_arrival)"
#: The first deadline by each clock is compared. Of `EXISTS (... due <= ...)` PostgreSQL expects that it is true of a
#: third of the jobs, so it may read all jobs of the queue to find one, though none is due.
#: With LIMIT 1 PostgreSQL knows that `meta` has one row. Otherwise it expects hundreds, for each of which it would look
#: for due jobs, finds the plan for any queues too costly, and makes a new one for each batch: 90 microseconds.
_QUEUES: Final[LiteralString] = (
    "SELECT t.wall, t.ahead, t.undone, q.id, q.rev, q.watched_until > t.wall, q.name_digest, q.sealed, {floor}, "
    "coalesce((SELECT due FROM job WHERE queue_id = q.id AND due IS NOT NULL ORDER BY due LIMIT 1) "
    "<= t.wall - t.ahead, false) OR coalesce((SELECT due_wall FROM job WHERE queue_id = q.id "
    "AND due_wall IS NOT NULL ORDER BY due_wall LIMIT 1) <= t.wall, false) "
    "FROM (SELECT {clock} AS wall, ahead, undone FROM meta LIMIT 1) t LEFT JOIN queue q ON {which}"
)
#: Some queues in which jobs are due, and when the next job of the others is; not those that are known to be damaged.
#: Each queue costs two looks into an index.
#: An index over the deadlines of all queues would cost less, but a queue with many due jobs would slow down all others.
_DUE_QUEUES: Final[LiteralString] = (
    "WITH t AS MATERIALIZED (SELECT {clock} AS wall, ahead, undone FROM meta), "
    "first AS MATERIALIZED (SELECT q.id, least("
    "(SELECT due FROM job WHERE queue_id = q.id AND due IS NOT NULL ORDER BY due LIMIT 1), (SELECT due_wall - t.ahead "
    "FROM job WHERE queue_id = q.id AND due_wall IS NOT NULL ORDER BY due_wall LIMIT 1)) AS soonest FROM t, queue q "
    "WHERE q.id <> ALL(%s)) "
    "SELECT t.wall, t.ahead, t.undone, q.id, q.rev, q.watched_until > t.wall, q.name_digest, q.sealed, {floor}, true, "
    "(SELECT min(soonest) FROM first WHERE soonest > t.wall - t.ahead) "
    "FROM t LEFT JOIN (SELECT f.soonest, q.* FROM first f JOIN queue q USING (id)) q ON q.soonest <= t.wall - t.ahead "
    "ORDER BY q.soonest LIMIT 50"
)
#: Until the commit nobody else makes a queue.
_ALONE: Final[LiteralString] = "SELECT 1 FROM meta FOR UPDATE"


#: The tables, and the sequence of batches, that are not there.
_MISSING: Final[LiteralString] = (
    "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass('jobengine.' || name) IS NULL ORDER BY 1"
)
_TABLES: Final = ("batch", "event", "gone", "job", "last_batch", "meta", "queue", "tag", "tally", "unique_key")


class Lacking(Exception):
    """The database lacks tables or rows without which nothing can be carried out; str() says which."""


@frozen
class Now:
    """The time of a batch, and the queues that it names."""

    #: Elapsed time and the wall clock, in milliseconds.
    elapsed: int
    wall: int
    known: dict[str, Known]
    profile: Profile = LOCKING
    #: How often a correction of `ahead` was undone; see clock.py.
    undone: int = 0
    #: When the next job is due, by elapsed time, in the queues that are not known; only for a sweep.
    soonest: int | None = None
    #: The numbers and revisions of queues that can't be opened, by the digests of their names.
    damaged: Mapping[bytes, tuple[int, int]] = field(factory=dict)

    @property
    def ahead(self) -> int:
        """By how many milliseconds the wall clock is ahead of elapsed time."""
        return self.wall - self.elapsed

    def damaged_among(self, names: Sequence[str], rows: Rows) -> frozenset[str]:
        """Those of these queues that can't be opened."""
        return frozenset(name for name in names if rows.name(name) in self.damaged) if self.damaged else frozenset()

    def confirms(self, guess: Mapping[str, Known]) -> bool:
        """Whether these queues, and no others, are as they were guessed, and have no jobs that are due."""
        return self.known.keys() == guess.keys() and all(
            (one.id, one.rev, one.due) == (guess[name].id, guess[name].rev, False) for name, one in self.known.items()
        )


def begin(
    connection: "Connection[Row]",
    rows: Rows,
    clock: LiteralString,
    names: Sequence[str] | None,
    first: Sequence[Statement] = (),
    *,
    profile: Profile = LOCKING,
    alone: bool = False,
) -> Now:
    """
    Begin a transaction: carry out `first`, and read the time and these queues (None: all).

    With `alone`, no other may make queues.
    """
    alone_first = [profile.of(Statement(_ALONE))] if alone else []
    begun = together(connection, Statement(profile.begin), *first, *alone_first, queues_read(rows, clock, names))
    return now_of(rows, begun[-1], profile)


def queues_read(rows: Rows, clock: LiteralString, names: Sequence[str] | None) -> Statement:
    """The statement that reads the time and these queues (None: all)."""
    which: LiteralString = "true" if names is None else "q.name_digest = ANY((SELECT %s)::bytea[])"
    values = [] if names is None else [byteas([rows.name(name) for name in names])]
    return Statement(_QUEUES.format(clock=clock, which=which, floor=_FLOOR), values)


def begin_sweep(
    connection: "Connection[Row]", rows: Rows, clock: LiteralString, first: Sequence[Statement], *, profile: Profile
) -> Now:
    """Begin a transaction: carry out `first`, and read the time, and the queues in which jobs are due."""
    *_, missing, found = together(
        connection,
        Statement(profile.begin),
        *first,
        Statement(_MISSING, [texts(_TABLES)]),
        Statement(_DUE_QUEUES.format(clock=clock, floor=_FLOOR), [bigints(rows.damaged.numbers())]),
    )
    if missing:
        raise Lacking("tables are missing: " + ", ".join(name for (name,) in missing))
    now = now_of(rows, [row[:-1] for row in found], profile)
    return evolve(now, soonest=found[0][-1])


def now_of(rows: Rows, found: Sequence[Row], profile: Profile) -> Now:
    """The time and the queues in the answer to `queues_read`."""
    known, damaged = {}, {}
    for _wall, _ahead, _undone, number, rev, watched, digest, sealed, *floor, due in found:
        if number is None:
            continue
        try:
            queue = rows.queue(number, rev, digest, sealed)
        except Damaged as error:
            rows.damaged.note(number, str(error))
            damaged[digest] = (number, rev)
            continue
        its = Known(id=number, rev=rev, queue=queue, watched=watched, due=due, floor=(floor[0], floor[1]))
        known[queue.name] = its
    if not found:
        raise Lacking("the table meta is empty")
    wall, ahead, undone = found[0][:3]
    return Now(wall - ahead, wall, known, profile, undone, damaged=damaged)
