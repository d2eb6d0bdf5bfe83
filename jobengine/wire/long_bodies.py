"""
Reads long bodies in pieces, so that other requests can run between them.

A body with a list of many items is split: each piece is a body with some of the items and all fields outside the list,
and takes a few ms. Any other long body is checked in steps.
"""

import re
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import accumulate
from typing import Final, TypeVar

import msgspec
from attrs import frozen
from msgspec import Raw

from .json_values import ELSEWHERE
from .request_head import BadInput
from .strict_json import NotStrict, check_steps, count_values, reason
from .type_errors import type_error

T = TypeVar("T")

#: Returns after other requests have run.
Pause = Callable[[], Awaitable[None]]

#: The most values in a body, if its access key was checked before the body arrived.
MOST_BULK_VALUES: Final = 1_000_000
#: A piece ends with the item that makes it this many bytes or longer. Most bodies of 1,000 jobs are one piece: with 64
#: KiB a bulk job took 8 % longer, and other requests were delayed just as much (benchmarks.stalls).
_PIECE: Final = 128 << 10
#: A body without a list is checked in steps if it has more bytes than this.
_LONG: Final = 64 << 10
#: A body of at most this many bytes is read without a pause: reading takes no longer than the rest of the request.
SHORT: Final = 8 << 10
#: The most bytes of a body outside its list of items.
_MOST_AROUND: Final = 4 << 10
#: The most bytes of an item besides its content and its result.
_MOST_BESIDE: Final = 64 << 10
#: The place of an item in an error text, such as `jobs[3]`.
_INDEX: Final = re.compile(r"\b(jobs|updates)\[(\d+)\]")


@frozen(kw_only=True)
class Bounds:
    """The limits of a body with many items."""

    items: int
    values: int
    #: The most bytes of one job's content, and of its result.
    content_bytes: int


class Checked(bytes):
    """A body that was found to be strict JSON."""

    #: The names of the body's fields.
    fields: frozenset[str]


async def checked(body: bytes, max_depth: int, pause: Pause) -> bytes:
    """
    Return the body, checked in steps if it is long, with a `pause` between steps. Raises BadInput.

    A short body is returned unchecked: it is checked when it is decoded.
    """
    if len(body) > SHORT:
        await pause()
    if len(body) <= _LONG:
        return body
    steps, result = check_steps(body, max_depth), Checked(body)
    try:
        while True:
            next(steps)
            await pause()
    except StopIteration as end:
        result.fields = frozenset(end.value if isinstance(end.value, dict) else ())
    except NotStrict as error:
        raise BadInput(f"The body is not JSON that JobEngine accepts: {error}.") from None
    await pause()
    return result


class _Lists(msgspec.Struct):
    jobs: Raw = Raw()
    updates: Raw = Raw()


_lists: Final = msgspec.json.Decoder(_Lists).decode
_items: Final = msgspec.json.Decoder(list[Raw]).decode


async def read_in_pieces(read: Callable[[bytes], T], body: bytes, bounds: Bounds, pause: Pause) -> list[T]:
    """
    Call `read` with each piece of a body and return the results, at least one. Raises BadInput.

    A short body, or one without a list of items, is one piece.
    """
    if len(body) > SHORT:
        await pause()
    if len(body) <= _PIECE:
        return [_read(read, body, 0)]
    await _count(body, bounds.values, pause)
    listed = _listed(body)
    if listed is None:
        # The body is one change to many jobs, or invalid; `read` decides.
        if len(body) > 2 * bounds.content_bytes + _MOST_BESIDE:
            raise BadInput("The body is too long for a request without a list of items.")
        return [read(body)]
    await pause()
    results = []
    async for piece, first in _pieces(body, listed, bounds, pause):
        results.append(_read(read, piece, first))
        await pause()
    return results


def _read(read: Callable[[bytes], T], piece: bytes, first: int) -> T:
    """
    Call `read` with a piece, and correct the item's index in errors; `first` is the number of items
    before the piece.
    """
    try:
        return read(piece)
    except BadInput as error:
        raise _in_the_whole(str(error), first) from None


async def _pieces(body: bytes, listed: bytes, bounds: Bounds, pause: Pause) -> AsyncIterator[tuple[bytes, int]]:
    """Yield each piece, and the number of items before it."""
    start = _start_of(body, listed)
    before, behind = body[:start] + b"[", b"]" + body[start + len(listed) :]
    items = _items_of(listed, bounds)
    await pause()
    for first, last in _slices(items, bounds):
        yield b"%b%b%b" % (before, b",".join(items[first:last]), behind), first


def _in_the_whole(error: str, first: int) -> BadInput:
    """The error of a piece, with the item's index in the whole body; `first` items precede the piece."""
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
        more = f"; up to {MOST_BULK_VALUES} are accepted if the query names the queue (?queue_name=)"
        raise BadInput(f"The body is too large: {error}{more if most < MOST_BULK_VALUES else ''}.") from None


def _listed(body: bytes) -> bytes | None:
    """The JSON text of the list of items; None unless there is exactly one list."""
    try:
        found = _lists(body)
    except msgspec.ValidationError as error:
        raise BadInput(type_error(error, _Lists)) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"The body is not JSON that JobEngine accepts: {reason(error)}.") from None
    lists = [bytes(raw) for raw in (found.jobs, found.updates) if bytes(raw)]
    return lists[0] if len(lists) == 1 and lists[0].startswith(b"[") else None


def _start_of(body: bytes, listed: bytes) -> int:
    """The offset of the list in the body; the list is longer than the rest, so no other field has the same text."""
    around = len(body) - len(listed)
    if around > _MOST_AROUND:
        raise BadInput(f"The body has more than {_MOST_AROUND} bytes outside the list of items.")
    return next(start for start in range(around + 1) if body.startswith(listed, start))


def _items_of(listed: bytes, bounds: Bounds) -> Sequence[bytes]:
    try:
        items = _items(listed)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"The body is not JSON that JobEngine accepts: {reason(error)}.") from None
    if len(items) > bounds.items:
        raise BadInput(f"The body has more than {bounds.items} items; send them in several requests.")
    return list(map(bytes, items))


def _slices(items: Sequence[bytes], bounds: Bounds) -> list[tuple[int, int]]:
    """The index of each piece's first item, and of the item after its last; without items, one empty piece."""
    most, lengths = 2 * bounds.content_bytes + _MOST_BESIDE, list(map(len, items))
    if max(lengths, default=0) > most:
        index = next(index for index, length in enumerate(lengths) if length > most)
        raise BadInput(
            f"Item {index} of the list is longer than {most} bytes. Its content and its result may have at most "
            f"{bounds.content_bytes} bytes each; {ELSEWHERE}",
            index,
        )
    ends = list(accumulate(lengths))
    slices: list[tuple[int, int]] = []
    first = size = 0
    while not slices or first < len(items):
        last = min(bisect_left(ends, size + _PIECE) + 1, len(items))
        slices.append((first, last))
        first, size = last, ends[last - 1] if last else 0
    return slices
