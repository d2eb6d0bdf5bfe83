"""Strict JSON: an accepted text has the value of json.loads; a plain reader refuses the same texts."""

import json
from typing import Any, Final

from jobengine.wire.strict_json import NotStrict, check, count_values
from tests.wire.reference_json import reference

from .pieces import Pieces

_STRINGS: Final = rb"""{ } [ ] , : {} [] "a": "\u0061": "": "\\": "\"": "[{" ":," "\ud83d\ude00" "\ud83d" "\u0000" """
_OTHERS: Final = (
    b"0 -0 1 -1 1.5 -0.0 1e5 1E+400 1e-400 0e999 01 1. .5 + - e 9223372036854775807 9223372036854775808 "
    b"-9223372036854775808 -9223372036854775809 18446744073709551615 true false null NaN Infinity -Infinity nul"
)
_BYTES: Final = [b" ", b"\t\r\n", b"\x0b", b"\x00", b"\xc3\xa9", b"\xff", b'"', b"\\", b"0" * 30, b"1" * 400, b"," * 9]
#: Texts of these tokens are JSON more often than random bytes are.
_TOKENS: Final = [*_STRINGS.split(), *_OTHERS.split(), *_BYTES]


def json_text(data: bytes) -> None:
    """The first two bytes are the limits on depth and on values; then comes a text, or the numbers of its tokens."""
    pieces = Pieces(data)
    limits, max_values = pieces.number(), 1 + pieces.number()
    max_depth = 1 + limits % 8
    text = _of_tokens(pieces.rest()) if limits & 128 else pieces.rest()
    found = _checked(text, max_depth, max_values)
    assert (found is not None) is _is_taken(text, max_depth, max_values), text
    if found is not None:
        assert found == repr(json.loads(text)), text
        assert all(step is None for step in count_values(text, max_values))


def _checked(text: bytes, max_depth: int, max_values: int) -> str | None:
    """The value, in a form that tells floats from integers and -0.0 from 0.0; None if it is refused."""
    try:
        return repr(check(text, max_depth, max_values))
    except NotStrict:
        return None


def _of_tokens(numbers: bytes) -> bytes:
    return b"".join(_TOKENS[number % len(_TOKENS)] for number in numbers)


def _is_taken(text: bytes, max_depth: int, max_values: int) -> bool:
    """Whether the plain reader accepts the text."""
    try:
        return _values(reference(text, max_depth)) <= max_values
    except NotStrict:
        return False


def _values(value: Any) -> int:
    """The number of values in a value; an empty array or object counts for two."""
    if isinstance(value, dict):
        value = [*value.values()]
    return 1 + max(1, sum(map(_values, value))) if isinstance(value, list) else 1
