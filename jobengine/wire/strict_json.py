"""
JSON as the API takes it: RFC 8259, and of what that leaves open only what every reader understands alike.

Refused are texts that are not UTF-8, NaN and infinities, numbers too large for a double, integers beyond 64 bits, lone
surrogates, keys that come twice in an object, nesting deeper than a limit, and more values than a limit.

Every step is one pass at C speed, and what is costly comes after the bounds: the worst mebibyte takes some ms.
"""

import json
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import repeat
from typing import Any, Final

import msgspec

from .nearest import shown

__all__ = ["MOST_VALUES", "NotStrict", "check", "check_steps", "count_values"]

#: Values that a text may have, if nothing else is said; those in an object count, its keys do not.
MOST_VALUES: Final = 100_000
#: Numbers that a text may have whose exponent has three digits or more: they take long to read.
_MOST_EXTREME: Final = 20_000
#: Bytes that are counted at a time.
_SLICE: Final = 1 << 18
#: Bytes of a text that is looked through for the key that comes twice, or half of a surrogate pair.
_SHORT: Final = 4 << 10
#: Leaves of the brackets only whether they open or close, and of all else nothing.
_ROUND: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"{}[]"))
#: Makes each digit a 0, each e an e, and all else a space; signs and points are taken away.
_DIGITS: Final = bytes(ord("0" if byte in b"0123456789" else "e" if byte in b"eE" else " ") for byte in range(256))
_NO_DIGITS: Final = b"+-."
#: So many digits may be an integer beyond 64 bits; a number with so many digits, or such an exponent, may be one that
#: msgspec takes 10 microseconds to read.
_LONG: Final = b"0" * 19
_VERY_LONG: Final = b"0" * 100
_EXTREME: Final = b"e000"
#: A number with so many digits may be half way between two doubles, which takes msgspec half a microsecond; of more
#: than so many it is not found out.
_FINE: Final = b"0" * 16
_MANY_FINE: Final = 1_000
_LONG_NUMBER: Final = re.compile(rb"[0-9.eE+\-]{19,}+")
_PAIR: Final = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_HALF: Final = "it has half of a surrogate pair in a string"
_LARGEST: Final = b"%d" % ((1 << 63) - 1)
_LEAST: Final = b"%d" % (1 << 63)

_decode_usual: Final = msgspec.json.Decoder().decode
#: No other number is beyond a double: of those that are left as they are nothing else is to be known.
_decode_fine: Final = msgspec.json.Decoder(float_hook=msgspec.Raw).decode
#: Python reads a float in half a microsecond at most, whatever it is.
_decode_extreme: Final = msgspec.json.Decoder(float_hook=float).decode


class NotStrict(ValueError):
    """The text is not JSON as the API takes it; str() says what is wrong with it."""


def check(text: bytes, max_depth: int, max_values: int = MOST_VALUES) -> Any:
    """The value that a JSON text stands for; raises NotStrict."""
    steps = check_steps(text, max_depth, max_values)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def check_steps(text: bytes, max_depth: int, max_values: int = MOST_VALUES) -> Generator[None, None, Any]:
    """As `check`, in steps, so that others can be let in between."""
    outside = _outside_strings(text, max_values)
    if 1 + _more_values(outside) > max_values:
        raise _too_many(max_values)
    if _is_deeper(outside, max_depth):
        raise NotStrict(f"it is nested deeper than {max_depth}")
    yield
    decoder = _decoder_for(outside)
    yield
    value = _decode(text, decoder)
    yield
    again = msgspec.json.encode(value)
    # Most texts come as they would be written here: then there is nothing to count.
    if again != text:
        _compare(text, outside, _outside_strings(again, max_values))
    return value


def count_values(text: bytes, max_values: int) -> Iterator[None]:
    """Raise NotStrict if a text, which need not be JSON, has more values; each step looks at some of a long one."""
    count, start, inside = 1, 0, 0
    while start < len(text):
        piece = text[start : start + _SLICE]
        # A backslash stays with what it escapes.
        if start + _SLICE < len(text) and (len(piece) - len(piece.rstrip(b"\\"))) % 2:
            piece = piece[:-1]
        start += len(piece)
        parts = _without_escapes(piece).split(b'"', 4 * max_values + 2)
        count += _more_values(b"".join(parts[inside::2]))
        inside = (inside + len(parts) - 1) % 2
        if count > max_values:
            raise _too_many(max_values)
        yield


def _outside_strings(text: bytes, max_values: int) -> bytes:
    """What stands between the strings of a JSON text; raises NotStrict if there are too many strings."""
    plain = _without_escapes(text)
    # Each value is at most a string, with another for its key.
    if plain.count(b'"') > 4 * max_values + 4:
        raise _too_many(max_values)
    return b"".join(plain.split(b'"')[::2])


def _without_escapes(text: bytes) -> bytes:
    """The text with no quotes but those around strings, if it is JSON."""
    return text.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in text else text


def _more_values(outside: bytes) -> int:
    """How many values there are beside the first: one after each comma and each opening bracket, though it be empty."""
    return outside.count(b",") + outside.count(b"[") + outside.count(b"{")


def _too_many(max_values: int) -> NotStrict:
    return NotStrict(f"it has more than {max_values} values")


def _is_deeper(outside: bytes, max_depth: int) -> bool:
    """Whether it is nested deeper; each round takes away the innermost brackets."""
    brackets = outside.translate(_ROUND, _NO_BRACKETS)
    for _ in range(max_depth):
        fewer = brackets.replace(b"[]", b"")
        if len(fewer) == len(brackets):
            # Those that are left have no other half: it is not JSON, as the decoder will say.
            return False
        brackets = fewer
    return bool(brackets)


def _decoder_for(outside: bytes) -> Callable[[bytes], Any]:
    """What decodes a text with such numbers in bounded time; raises NotStrict if no value may have one of them."""
    digits = outside.translate(_DIGITS, _NO_DIGITS)
    if _LONG in digits:
        _check_integers(_LONG_NUMBER.findall(outside))
    extreme = digits.count(_EXTREME)
    if extreme > _MOST_EXTREME:
        raise NotStrict(f"it has more than {_MOST_EXTREME} numbers with an exponent of three digits")
    if extreme or _VERY_LONG in digits:
        return _decode_extreme
    return _decode_fine if digits.count(_FINE) > _MANY_FINE else _decode_usual


def _check_integers(numbers: Sequence[bytes]) -> None:
    # Without its sign, a positive one that is not too large is not too small either.
    for some, most in ((numbers, _LARGEST), (map(bytes.lstrip, numbers, repeat(b"-")), _LEAST)):
        integers = list(filter(bytes.isdigit, some))
        # Those of the same length are ordered as texts as they are as numbers.
        if integers and (max(map(len, integers)) > len(most) or max(integers) > most):
            raise NotStrict("an integer is beyond 64 bits")


def _compare(text: bytes, outside: bytes, again: bytes) -> None:
    """Raise NotStrict if what stands outside strings, in the text and when written again, shows that it is not all."""
    # Of a key that comes twice one value is left, and with the other its colon is gone.
    if outside.count(b":") != again.count(b":"):
        raise NotStrict(f"{_repeated_key(text)} comes twice in an object")
    # Infinity is written as null; nothing else has an n.
    if outside.count(b"n") != again.count(b"n"):
        raise NotStrict("a number is too large")


def _repeated_key(text: bytes) -> str:
    """The key that comes twice, if the text is short enough to look for it."""
    repeated = ["a key"]

    def look(pairs: list[tuple[str, Any]]) -> None:
        keys = [key for key, _ in pairs]
        if len(set(keys)) < len(keys):
            repeated.append(f"the key {shown(max(keys, key=keys.count))}")

    if len(text) <= _SHORT:
        json.loads(text, object_pairs_hook=look)
    return repeated[-1]


def _decode(text: bytes, decode: Callable[[bytes], Any]) -> Any:
    try:
        return decode(text)
    except UnicodeDecodeError:
        raise NotStrict(f"it is not UTF-8{_place_in(text)}") from None
    except RecursionError:
        raise NotStrict("its brackets are never closed") from None
    except msgspec.ValidationError:
        # Of any type is taken, so only a number can be wrong.
        raise NotStrict("a number is too large") from None
    except msgspec.DecodeError as error:
        # Of half a pair at the end of a string msgspec says that the text is cut off.
        said = str(error).removeprefix("JSON is malformed: ")
        raise NotStrict(_HALF if _has_half_a_pair(text) else said) from None


def _has_half_a_pair(text: bytes) -> bool:
    """Whether there is half of a surrogate pair in a text that is short enough to look for it."""
    if len(text) > _SHORT:
        return False
    return _SURROGATE.search(_PAIR.sub(b"", text.replace(rb"\\", b""))) is not None


def _place_in(text: bytes) -> str:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        return f" at byte {error.start}"
    return ""
