"""
JSON as the API takes it: RFC 8259, and of what that leaves open only what every reader understands alike.

Refused are texts that are not UTF-8, NaN and infinities, numbers too large for a double, integers beyond 64 bits, lone
surrogates, keys that come twice in an object, and nesting deeper than a limit.
"""

import json
import re
from collections import Counter
from math import isinf
from typing import Any, Final, NoReturn

import msgspec

from .nearest import shown

__all__ = ["NotStrict", "check", "quick", "thorough"]

_LARGEST: Final = (1 << 63) - 1
#: A string, to be passed over, or a bracket. A string without an end reaches to the end of the text: if it did not
#: match, each quote in it would be tried anew, in time that grows with the square of the length. Nothing in it is tried
#: a second way (++): what would be needed for that takes 60 bytes for each escape.
_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
#: More quotes than this are not looked at quickly: their pieces would take more memory than the text.
_MOST_QUOTES: Final = 500_000
#: Bytes up to which `thorough` is the quicker one: it has less to prepare.
_SHORT: Final = 500
#: Leaves of the brackets only whether they open or close, and of all else nothing.
_ROUND: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"{}[]"))
#: Makes each digit a 0 and all else a space; and so many digits may be an integer beyond 64 bits.
_ZEROS: Final = bytes(ord("0" if byte in b"0123456789" else " ") for byte in range(256))
_MANY_DIGITS: Final = b"0" * 19
_UNSURE: Final = object()


class NotStrict(ValueError):
    """The text is not JSON as the API takes it; str() says what is wrong with it."""


def check(text: bytes, max_depth: int) -> Any:
    """The value that a JSON text stands for; raises NotStrict."""
    value = _UNSURE if len(text) <= _SHORT else quick(text, max_depth)
    return thorough(text, max_depth) if value is _UNSURE else value


def quick(text: bytes, max_depth: int, unsure: Any = _UNSURE) -> Any:
    """
    The value of a text that is good beyond doubt, or `unsure`.

    With many jobs it takes a third of the time of `thorough`, for the price of never knowing what is wrong. Of a text
    with escapes it is never sure: there it would be slower.
    """
    if b"\\" in text or text.count(b'"') > _MOST_QUOTES:
        return unsure
    outside = _outside_strings(text)
    if _deeper(outside, max_depth) or _MANY_DIGITS in outside.translate(_ZEROS):
        return unsure
    try:
        value = msgspec.json.decode(text)
        again = msgspec.json.encode(value)
    except (msgspec.MsgspecError, ValueError):
        return unsure
    # Of a key that comes twice one value is left, and with the other its colon is gone. Most texts come as they would
    # be written here: then there is nothing to count.
    whole = again == text or outside.count(b":") == _outside_strings(again).count(b":")
    return value if whole else unsure


def thorough(text: bytes, max_depth: int) -> Any:
    """As `check`, by looking at every part."""
    _check_depth(text, max_depth)
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotStrict(f"it is not UTF-8 at byte {error.start}") from None
    try:
        value = _decode(decoded)
    except json.JSONDecodeError as error:
        raise NotStrict(f"{error.msg.removesuffix(' at')} at character {error.pos}") from None
    if "\\u" in decoded:
        _check_surrogates(value)
    return value


def _outside_strings(text: bytes) -> bytes:
    """What stands between the strings, if the text is JSON without escapes."""
    return b"".join(text.split(b'"')[::2])


def _deeper(outside: bytes, max_depth: int) -> bool:
    """Whether it is nested deeper, or not at all as it should be: each round takes away the innermost brackets."""
    brackets = outside.translate(_ROUND, _NO_BRACKETS)
    for _ in range(max_depth):
        fewer = brackets.replace(b"[]", b"")
        if len(fewer) == len(brackets):
            break
        brackets = fewer
    return bool(brackets)


def _check_depth(text: bytes, max_depth: int) -> None:
    if text.count(b"{") + text.count(b"[") <= max_depth:
        return
    depth = 0
    for token in _TOKEN.finditer(text):
        match token.group():
            case b"{" | b"[":
                depth += 1
            case b"}" | b"]":
                depth -= 1
        if depth > max_depth:
            raise NotStrict(f"it is nested deeper than {max_depth}")


def _check_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise NotStrict("it has half of a surrogate pair in a string") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise NotStrict(f"the key {shown(twice)} comes twice in an object")
    return value


def _integer(digits: str) -> int:
    # Python reads no more than 4,300 digits, with an error of its own.
    value = int(digits) if len(digits) <= 20 else _LARGEST + 1
    if not -_LARGEST - 1 <= value <= _LARGEST:
        raise NotStrict("an integer is beyond 64 bits")
    return value


def _float(digits: str) -> float:
    value = float(digits)
    if isinf(value):
        raise NotStrict("a number is too large")
    return value


def _constant(name: str) -> NoReturn:
    raise NotStrict(f"{name} is not JSON")


_decode: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
).decode
