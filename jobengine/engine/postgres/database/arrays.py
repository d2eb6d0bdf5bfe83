"""
Packs columns of many rows as arrays in PostgreSQL's binary format.

A fast path: psycopg would look up each item's type, and convert items one by one. Here the types are known, and all
items are packed at once.
"""

import struct
from collections.abc import Sequence
from itertools import chain
from typing import Final, cast

#: The types of items in pg_type.
_BIGINT, _BYTEA, _TEXT = 20, 17, 25
#: The head of an array: number of dimensions, whether there are NULLs, item type, number of items, index of the first.
_HEAD: Final = struct.Struct(">iiIii")
_LENGTH: Final = struct.Struct(">i")
_NULL: Final = _LENGTH.pack(-1)
_NUMBER: Final = struct.Struct(">iq")


class Array(bytes):
    """A packed array."""

    __slots__ = ()


class Bigints(Array):
    """A packed array of bigint."""

    __slots__ = ()


class Byteas(Array):
    """A packed array of bytea."""

    __slots__ = ()


class Texts(Array):
    """A packed array of text."""

    __slots__ = ()


def bigints(numbers: Sequence[int | None]) -> Bigints:
    """A column of whole numbers."""
    if numbers and numbers[0] == numbers[-1] and numbers.count(numbers[0]) == len(numbers):
        # Many columns have the same number in all rows.
        one = numbers[0]
        return Bigints(_head(_BIGINT, numbers) + (_NULL if one is None else _NUMBER.pack(8, one)) * len(numbers))
    if None in numbers:
        parts = [_NULL if one is None else _NUMBER.pack(8, one) for one in numbers]
        return Bigints(_head(_BIGINT, parts) + b"".join(parts))
    items: list[int | None] = [8] * (2 * len(numbers))
    items[1::2] = numbers
    return Bigints(_head(_BIGINT, numbers) + struct.pack(f">{'iq' * len(numbers)}", *items))


def byteas(values: Sequence[bytes | None]) -> Byteas:
    """A column of bytes."""
    return Byteas(_packed(_BYTEA, values))


def texts(values: Sequence[str]) -> Texts:
    """A column of text."""
    return Texts(_packed(_TEXT, [value.encode() for value in values]))


def _packed(oid: int, values: Sequence[bytes | None]) -> bytes:
    head = _head(oid, values)
    if values and values[0] is None and values.count(None) == len(values):
        return head + _NULL * len(values)
    if None in values:
        return head + b"".join([_NULL if value is None else _LENGTH.pack(len(value)) + value for value in values])
    given = cast("Sequence[bytes]", values)
    lengths = [*map(len, given)]
    if len({*lengths}) == 1:
        length = _LENGTH.pack(lengths[0])
        return head + length + length.join(given)
    return head + b"".join(chain.from_iterable(zip(map(_LENGTH.pack, lengths), given, strict=True)))


def _head(oid: int, values: Sequence[object]) -> bytes:
    return _HEAD.pack(1, 1, oid, len(values), 1)
