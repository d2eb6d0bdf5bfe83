"""
Long bodies: one with many items is read in pieces, each a body of its own with some of the items, and any other is
checked in steps.

What is done to a piece takes a few ms, and others can be let in between. Together the pieces say what the whole says:
what stands around the list is in each of them, and is looked at with the first.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeVar

import msgspec
from attrs import frozen
from msgspec import Raw

from .parameters import BadInput
from .strict_json import NotStrict, check_steps, count_values

__all__ = ["MOST_BULK_VALUES", "Bounds", "Checked", "Pause", "checked", "field_names", "read_in_pieces"]

T = TypeVar("T")

#: Lets others in, and returns.
Pause = Callable[[], Awaitable[None]]

#: Values that a body may have whose key was looked at before it is read.
MOST_BULK_VALUES: Final = 1_000_000
#: Bytes of a piece, or the items that make up the first so many.
_PIECE: Final = 64 << 10
#: Bytes of a body that is read at once, as most are: it takes no longer than all else that is done for a request.
_SHORT: Final = 8 << 10
#: Bytes that may stand around the list.
_MOST_AROUND: Final = 4 << 10
#: Bytes of an item beside its content and its result.
_MOST_BESIDE: Final = 64 << 10
#: How errors name an item.
_INDEX: Final = re.compile(r"\b(jobs|updates)\[(\d+)\]")


@frozen(kw_only=True)
class Bounds:
    """How much may be in a body with many items."""

    items: int
    values: int
    #: Bytes of the content of one, and of its result.
    content_bytes: int


class Checked(bytes):
    """A body that was checked as strict JSON."""

    #: The names of the fields in it.
    fields: frozenset[str]


def field_names(value: object) -> frozenset[str]:
    """The names of the fields of a JSON value, which may be no object."""
    return frozenset(value) if isinstance(value, dict) else frozenset()


async def checked(body: bytes, max_depth: int, pause: Pause) -> bytes:
    """
    A body that can be read, once `pause` has let others in; checked in steps if it is long. Raises BadInput.

    A short one, or one of a piece, is checked when it is read.
    """
    if len(body) > _SHORT:
        await pause()
    if len(body) <= _PIECE:
        return body
    steps, result = check_steps(body, max_depth), Checked(body)
    try:
        while True:
            next(steps)
            await pause()
    except StopIteration as end:
        result.fields = field_names(end.value)
    except NotStrict as error:
        raise BadInput(f"The body is not JSON that JobEngine takes: {error}.") from None
    await pause()
    return result


class _Lists(msgspec.Struct):
    jobs: Raw = Raw()
    updates: Raw = Raw()


_lists: Final = msgspec.json.Decoder(_Lists).decode
_items: Final = msgspec.json.Decoder(list[Raw]).decode


async def read_in_pieces(read: Callable[[bytes], T], body: bytes, bounds: Bounds, pause: Pause) -> list[T]:
    """
    What `read` makes of each piece of a body, at least of one; raises BadInput.

    What is short, or not a body with many items, is one piece.
    """
    if len(body) > _SHORT:
        await pause()
    if len(body) <= _PIECE:
        return [_read(read, body, 0)]
    await _count(body, bounds.values, pause)
    listed = _listed(body)
    if listed is None:
        # It is one change to many jobs, or a bad body: `read` finds that out.
        if len(body) > 2 * bounds.content_bytes + _MOST_BESIDE:
            raise BadInput("The body has no list of items, and is too long for anything else.")
        return [read(body)]
    await pause()
    results = []
    async for piece, first in _pieces(body, listed, bounds, pause):
        results.append(_read(read, piece, first))
        await pause()
    return results


def _read(read: Callable[[bytes], T], piece: bytes, first: int) -> T:
    """What `read` makes of a piece with `first` items before it; an error names the item by its index in the whole."""
    try:
        return read(piece)
    except BadInput as error:
        raise _in_the_whole(str(error), first) from None


async def _pieces(body: bytes, listed: bytes, bounds: Bounds, pause: Pause) -> AsyncIterator[tuple[bytes, int]]:
    """Each piece, and how many items there are before it."""
    start = _start_of(body, listed)
    before, behind = body[:start] + b"[", b"]" + body[start + len(listed) :]
    items = _items_of(listed, bounds)
    await pause()
    for first, last in _slices(items, bounds):
        yield b"%b%b%b" % (before, b",".join(items[first:last]), behind), first


def _in_the_whole(error: str, first: int) -> BadInput:
    """What is wrong with an item of a piece, with its index in the whole; `first` items are before the piece."""
    found = _INDEX.search(error)
    if found is None:
        return BadInput(error)
    index = int(found[2]) + first
    return BadInput(f"{error[: found.start()]}{found[1]}[{index}]{error[found.end() :]}", index)


async def _count(body: bytes, most: int, pause: Pause) -> None:
    try:
        for _ in count_values(body, most):
            await pause()
    except NotStrict as error:
        more = f"; if it names its queue in the query (?queueName=), {MOST_BULK_VALUES} are taken"
        raise BadInput(f"The body is too much: {error}{more if most < MOST_BULK_VALUES else ''}.") from None


def _listed(body: bytes) -> bytes | None:
    """The text of the list of items, if there is just one such list."""
    try:
        found = _lists(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"The body is not JSON that JobEngine takes: {error}.") from None
    lists = [bytes(raw) for raw in (found.jobs, found.updates) if bytes(raw)]
    return lists[0] if len(lists) == 1 and lists[0].startswith(b"[") else None


def _start_of(body: bytes, listed: bytes) -> int:
    """Where the list stands; were it there twice, either would do, as the other stays where it is."""
    around = len(body) - len(listed)
    if around > _MOST_AROUND:
        raise BadInput(f"The body has more than {_MOST_AROUND} bytes beside the list of items.")
    return next(start for start in range(around + 1) if body.startswith(listed, start))


def _items_of(listed: bytes, bounds: Bounds) -> Sequence[bytes]:
    try:
        items = _items(listed)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"The body is not JSON that JobEngine takes: {error}.") from None
    if len(items) > bounds.items:
        raise BadInput(f"The body has more than {bounds.items} items; send them in several requests.")
    return [bytes(item) for item in items]


def _slices(items: Sequence[bytes], bounds: Bounds) -> list[tuple[int, int]]:
    """Where each piece begins and ends; one with no items if there are none."""
    most = 2 * bounds.content_bytes + _MOST_BESIDE
    slices, first, size = [], 0, 0
    for index, item in enumerate(items, 1):
        if len(item) > most:
            raise BadInput(f"Item {index - 1} of the list is longer than {most} bytes.", index - 1)
        size += len(item)
        if size >= _PIECE:
            slices.append((first, index))
            first, size = index, 0
    if first < len(items) or not slices:
        slices.append((first, len(items)))
    return slices
