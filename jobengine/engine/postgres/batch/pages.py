"""Which jobs are on a page of a queue."""

from typing import Final, LiteralString

from attrs import frozen
from psycopg import Connection

from ....core.model import Position
from ....core.places import PLACES_OF
from ....core.required_rows import PageOf
from ....core.sorting import Sort
from ....core.tables import PAGE_BYTES
from ..database.pipeline import Row, Statement

_TIMES: Final[dict[Sort, LiteralString]] = {Sort.CREATED: "created", Sort.UPDATED: "updated"}
#: The least and the largest number in a column.
_LEAST: Final = -(1 << 63)
_MOST: Final = (1 << 63) - 1

#: The index gives execution order within one place. Jobs that are due are left out: they have left the place, even if
#: that is not written yet.
_OF_PLACE: Final[LiteralString] = (
    "(SELECT uid, bytes, inv_prio AS value, arrival FROM job WHERE queue_id = %s AND place = %s AND "
    "(inv_prio, arrival) > (%s, %s) AND coalesce(due > %s, true) AND coalesce(due_wall > %s, true) "
    "ORDER BY inv_prio, arrival LIMIT %s)"
)
_OF_PLACES: Final[LiteralString] = "SELECT * FROM ({places}) p ORDER BY value, arrival LIMIT %s"
_BY_TIME: Final[LiteralString] = (
    "SELECT uid, bytes, {time}, arrival FROM job WHERE queue_id = %s AND place = ANY(%s) AND "
    "({time}, arrival) {after} (%s, %s) AND coalesce(due > %s, true) AND coalesce(due_wall > %s, true) "
    "ORDER BY {time} {way}, arrival {way} LIMIT %s"
)


@frozen
class PageRows:
    """The jobs on a page, and where the next page begins."""

    uids: list[str]
    #: The position of the last job, or None if no more follow.
    following: Position | None


def find_page(connection: "Connection[Row]", queue_id: int, page: PageOf, elapsed: int, wall: int) -> PageRows:
    """Find the jobs on a page at this time; the page ends early if their contents are long."""
    statement = (
        _by_place(queue_id, page, elapsed, wall) if page.sort is None else _by_time(queue_id, page, elapsed, wall)
    )
    found = connection.execute(statement.text, statement.values).fetchall()
    some = found[: _fitting(found, page.limit)]
    return PageRows([row[0] for row in some], _position(some[-1], page.sort) if len(some) < len(found) else None)


def _fitting(found: list[Row], limit: int) -> int:
    """How many of the jobs are on the page; the last of them may exceed PAGE_BYTES."""
    size = 0
    for count, row in enumerate(found[:limit], 1):
        size += row[1]
        if size > PAGE_BYTES:
            return count
    return min(limit, len(found))


def _position(row: Row, sort: Sort | None) -> Position:
    uid, _, value, arrival = row
    # The column holds ~priority. A position begins with -priority, which is one more.
    return (value + 1 if sort is None else value, arrival, uid)


def _by_place(queue_id: int, page: PageOf, elapsed: int, wall: int) -> Statement:
    value, arrival, _ = page.after or (_LEAST + 1, -1, "")
    limit = page.limit + 1
    places = PLACES_OF[page.state]
    values: list[int] = []
    for place in places:
        values += [queue_id, int(place), _bounded(value - 1), _bounded(arrival), elapsed, wall, limit]
    text = _OF_PLACES.format(places=" UNION ALL ".join([_OF_PLACE] * len(places)))
    return Statement(text, [*values, limit])


def _by_time(queue_id: int, page: PageOf, elapsed: int, wall: int) -> Statement:
    assert page.sort is not None
    down = page.sort.is_descending
    value, arrival, _ = page.after or ((_MOST, _MOST, "") if down else (_LEAST, _LEAST, ""))
    text = _BY_TIME.format(time=_TIMES[page.sort.ascending], after="<" if down else ">", way="DESC" if down else "ASC")
    places = list(map(int, PLACES_OF[page.state]))
    return Statement(text, [queue_id, places, _bounded(value), _bounded(arrival), elapsed, wall, page.limit + 1])


def _bounded(number: int) -> int:
    return max(_LEAST, min(number, _MOST))
