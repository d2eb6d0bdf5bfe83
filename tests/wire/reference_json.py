"""A second reader of strict JSON, slow and plain, to compare jobengine.wire.strict_json with."""

import json
import re
from math import isinf
from typing import Any, Final, NoReturn

from jobengine.wire.strict_json import NotStrict

_LARGEST: Final = (1 << 63) - 1
#: A string, which is skipped, or a bracket.
_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)


def reference(text: bytes, max_depth: int) -> Any:
    """The value of a text; raises NotStrict."""
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
        raise NotStrict("a key occurs twice in an object")
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
