"""Finds the jobs on a page of a queue."""

from typing import Final

from attrs import frozen
from psycopg import Connection

from ....core.flow import GROUP
from ....core.model import Position, State
from ....core.places import PLACES_OF
from ....core.required_rows import PageOf
from ....core.sorting import Sort
from ....core.tables import PAGE_BYTES
from ..database.pipeline import Row
from ..database.rows import Rows
from ..sql import NamedStatement, named

_PAGE_BY_RANK: Final = named("page_by_rank")
_PAGE_OF_GROUP: Final = named("page_of_group")
_PAGES_BY_TIME: Final = {
    Sort.CREATED: named("page_by_created"),
    Sort.NEWEST_CREATED: named("page_by_newest_created"),
    Sort.UPDATED: named("page_by_updated"),
    Sort.NEWEST_UPDATED: named("page_by_newest_updated"),
}
#: The least and the largest number in a column.
_LEAST: Final = -(1 << 63)
_MOST: Final = (1 << 63) - 1


@frozen
class PageRows:
    """The jobs on a page, and where the next page begins."""

    uids: list[str]
    #: The position of the page's last job, or None if no jobs follow.
    following: Position | None


def find_page(
    connection: "Connection[Row]", rows: Rows, queue_id: int, page: PageOf, elapsed: int, wall: int
) -> PageRows:
    """Find a page's jobs at this time; the page ends early if their contents are long."""
    statement, after = _by_rank(page) if page.sort is None else _by_time(page, page.sort)
    which: dict[str, bytes | list[int]] = {"places": list(map(int, PLACES_OF[page.state]))}
    if page.group is not None and page.sort is None:
        statement, which = _PAGE_OF_GROUP, _places_of_group(rows.item(GROUP, page.group), page.state)
    found = statement.execute(
        connection,
        queue_id=queue_id,
        **which,
        elapsed=elapsed,
        wall=wall,
        most=page.limit + 1,
        **{name: max(_LEAST, min(number, _MOST)) for name, number in after.items()},
    ).fetchall()
    some = found[: _fitting(found, page.limit)]
    return PageRows([row[0] for row in some], _position(some[-1], page.sort) if len(some) < len(found) else None)


def _places_of_group(key: bytes, state: State | None) -> dict[str, bytes | list[int]]:
    """The parameters that page_of_group has instead of `places`: the group, and places of jobs in this state."""
    return {
        "key": key,
        "queued": [int(place) for place in PLACES_OF[state] if place.state is State.QUEUED],
        "others": [int(place) for place in PLACES_OF[state] if place.state is not State.QUEUED],
    }


def _fitting(found: list[Row], limit: int) -> int:
    """The number of jobs that fit on the page; the last of them may exceed PAGE_BYTES."""
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


def _by_rank(page: PageOf) -> tuple[NamedStatement, dict[str, int]]:
    """The statement that finds a page in execution order, and the rank where the page begins."""
    value, arrival, _ = page.after or (_LEAST + 1, -1, "")
    return _PAGE_BY_RANK, {"inv_prio": value - 1, "arrival": arrival}


def _by_time(page: PageOf, sort: Sort) -> tuple[NamedStatement, dict[str, int]]:
    first = _MOST if sort.is_descending else _LEAST
    value, arrival, _ = page.after or (first, first, "")
    return _PAGES_BY_TIME[sort], {"time": value, "arrival": arrival}
