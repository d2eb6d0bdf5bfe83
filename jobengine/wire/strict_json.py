"""
Strict JSON: RFC 8259, limited to texts that every parser reads alike.

It rejects text that is not UTF-8, NaN and infinities, numbers too large for a double, integers beyond 64 bits, lone
surrogates, repeated keys in an object, and more nesting or more values than a limit.

Each step is one pass at C speed, and the costly ones come after the limits: the worst mebibyte takes some ms.
"""

import json
import re
from collections.abc import Callable, Generator, Iterator
from itertools import repeat
from typing import Any, Final

import msgspec

from .did_you_mean import quoted

#: The most values in a text, by default; keys of objects don't count.
MOST_VALUES: Final = 100_000
#: The most numbers with an exponent of three digits or more, which are slow to parse.
_MOST_EXTREME: Final = 20_000
#: The bytes that one step examines when values are counted, or long integers checked.
_SLICE: Final = 1 << 18
#: An error names the repeated key, or a lone surrogate, only in texts of at most this many bytes: the search is slow.
_SHORT: Final = 4 << 10
#: The backslash as a number: `_BACKSLASH in text` takes a tenth of the time of `b"\\\\" in text`.
_BACKSLASH: Final = ord("\\")
#: With these arguments `bytes.translate` keeps only brackets and braces, and turns braces into brackets.
_ROUND: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"{}[]"))
#: Turns digits into 0, e and E into e, and all else into a space; signs and points are removed.
_DIGITS: Final = bytes(ord("0" if byte in b"0123456789" else "e" if byte in b"eE" else " ") for byte in range(256))
_NO_DIGITS: Final = b"+-."
#: A number with this many digits may be an integer beyond 64 bits. A number with _VERY_LONG digits, or with an _EXTREME
#: exponent, may take msgspec 10 microseconds to parse.
_LONG: Final = b"0" * 19
_VERY_LONG: Final = b"0" * 100
_EXTREME: Final = b"e000"
#: A number with this many digits may lie half way between two doubles, which takes msgspec half a microsecond to
#: decide. With more than _MANY_FINE such numbers, floats are not parsed.
_FINE: Final = b"0" * 16
_MANY_FINE: Final = 1_000
_LONG_NUMBER: Final = re.compile(rb"[0-9.eE+\-]{19,}+")
_PAIR: Final = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_HALF: Final = "it has half of a surrogate pair in a string"
_LARGEST: Final = b"%d" % ((1 << 63) - 1)
_LEAST: Final = b"%d" % (1 << 63)

_decode_usual: Final = msgspec.json.Decoder().decode
#: The decoder for texts whose numbers all fit in a double. Floats stay unparsed, because their values are not needed.
_decode_fine: Final = msgspec.json.Decoder(float_hook=msgspec.Raw).decode
#: The decoder that parses floats by Python, in at most half a microsecond each.
_decode_extreme: Final = msgspec.json.Decoder(float_hook=float).decode


class NotStrict(ValueError):
    """The text is not strict JSON; str() says why."""


def check(text: bytes, max_depth: int, max_values: int = MOST_VALUES) -> Any:
    """Parse a JSON text and return its value; raises NotStrict."""
    outside = _within_limits(text, max_depth, max_values)
    digits = outside.translate(_DIGITS, _NO_DIGITS)
    if _LONG in digits:
        _check_integers(outside)
    value = _decode(text, _decoder_for(digits))
    _check_encoded(value, text, outside, max_values)
    return value


def check_steps(text: bytes, max_depth: int, max_values: int = MOST_VALUES) -> Generator[None, None, Any]:
    """Like `check`, in steps: other work can be done between them."""
    outside = _within_limits(text, max_depth, max_values)
    digits = outside.translate(_DIGITS, _NO_DIGITS)
    yield
    if _LONG in digits:
        for piece in _pieces(outside):
            _check_integers(piece)
            yield
    decoder = _decoder_for(digits)
    yield
    value = _decode(text, decoder)
    yield
    _check_encoded(value, text, outside, max_values)
    return value


def count_values(text: bytes, max_values: int) -> Iterator[None]:
    """Raise NotStrict if a text has too many values; each step reads a slice. The text may be invalid JSON."""
    count, start, inside = 1, 0, 0
    while start < len(text):
        piece = text[start : start + _SLICE]
        # A backslash stays with the character it escapes.
        if start + _SLICE < len(text) and (len(piece) - len(piece.rstrip(b"\\"))) % 2:
            piece = piece[:-1]
        start += len(piece)
        parts = _without_escapes(piece).split(b'"', 4 * max_values + 2)
        outside = b"".join(parts[inside::2])
        count += outside.count(b",") + _brackets(outside)
        inside = (inside + len(parts) - 1) % 2
        if count > max_values:
            raise _too_many(max_values)
        yield


def _within_limits(text: bytes, max_depth: int, max_values: int) -> bytes:
    """A JSON text without its strings; raises NotStrict if it has too many values or too much nesting."""
    outside = _outside_strings(text, max_values)
    brackets = _brackets(outside)
    # Counting takes time, and most texts are shorter than the limit.
    if len(outside) >= max_values and 1 + outside.count(b",") + brackets > max_values:
        raise _too_many(max_values)
    if brackets > max_depth and _is_deeper(outside, max_depth):
        raise NotStrict(f"it is nested deeper than {max_depth}")
    return outside


def _outside_strings(text: bytes, max_values: int) -> bytes:
    """A JSON text without its strings; raises NotStrict if there are too many strings."""
    plain = _without_escapes(text) if _BACKSLASH in text else text
    # A value has at most two strings, itself and its key, so at most four quotes.
    most = 4 * max_values + 4
    if len(plain) > most and plain.count(b'"') > most:
        raise _too_many(max_values)
    return b"".join(plain.split(b'"')[::2])


def _without_escapes(text: bytes) -> bytes:
    """The text without escapes, so that the remaining quotes begin and end strings."""
    return text.replace(rb"\\", b"").replace(rb"\"", b"")


def _brackets(outside: bytes) -> int:
    """
    The number of opening brackets. Values are counted as opening brackets plus commas; so an empty
    list counts twice.
    """
    return outside.count(b"[") + outside.count(b"{")


def _too_many(max_values: int) -> NotStrict:
    return NotStrict(f"it has more than {max_values} values")


def _is_deeper(outside: bytes, max_depth: int) -> bool:
    """Whether a text is nested deeper than the limit; each round removes the innermost brackets."""
    brackets = outside.translate(_ROUND, _NO_BRACKETS)
    for _ in range(max_depth):
        fewer = brackets.replace(b"[]", b"")
        if len(fewer) == len(brackets):
            # The rest has unmatched brackets, so the text is not JSON; the decoder reports that.
            return False
        brackets = fewer
    return bool(brackets)


def _decoder_for(digits: bytes) -> Callable[[bytes], Any]:
    """
    The decoder that parses a text with these `digits` in bounded time; raises NotStrict if there are too many slow
    numbers.
    """
    # Most texts have short numbers only.
    if digits.find(_FINE) < 0 and digits.find(_EXTREME) < 0:
        return _decode_usual
    extreme = digits.count(_EXTREME)
    if extreme > _MOST_EXTREME:
        raise NotStrict(f"it has more than {_MOST_EXTREME} numbers with an exponent of three digits")
    if extreme or _VERY_LONG in digits:
        return _decode_extreme
    return _decode_fine if digits.count(_FINE) > _MANY_FINE else _decode_usual


def _pieces(outside: bytes) -> Iterator[bytes]:
    """Slices of a text without strings. Each ends before a comma, so none ends within a number."""
    start = 0
    while start < len(outside):
        comma = outside.find(b",", start + _SLICE)
        end = len(outside) if comma < 0 else comma
        yield outside[start:end]
        start = end + 1


def _check_integers(outside: bytes) -> None:
    """Raise NotStrict if an integer is beyond 64 bits."""
    numbers = _LONG_NUMBER.findall(outside)
    # The first pass finds positive numbers that are too large; the second, without signs, negative ones.
    for some, most in ((numbers, _LARGEST), (map(bytes.lstrip, numbers, repeat(b"-")), _LEAST)):
        integers = list(filter(bytes.isdigit, some))
        # Digits of equal length sort as text as they do as numbers.
        if integers and (max(map(len, integers)) > len(most) or max(integers) > most):
            raise NotStrict("an integer is beyond 64 bits")


def _check_encoded(value: Any, text: bytes, outside: bytes, max_values: int) -> None:
    """Encode the decoded value again; raise NotStrict if the result shows that decoding lost data."""
    encoded = msgspec.json.encode(value)
    # Most texts equal msgspec's encoding; then nothing was lost.
    if encoded == text:
        return
    if _BACKSLASH in text and rb"\u" in text:
        encoded = _outside_strings(encoded, max_values)
    else:
        # Without such escapes, encoding changes no colon and no letter n in strings: count them in the whole text.
        outside = text
    _compare(text, outside, encoded)


def _compare(text: bytes, outside: bytes, again: bytes) -> None:
    """Compare the text outside strings before and after decoding and encoding; raise NotStrict if data was lost."""
    # A repeated key keeps only one value: afterwards there is one colon fewer.
    if outside.count(b":") != again.count(b":"):
        raise NotStrict(f"{_repeated_key(text)} occurs twice in an object")
    # A number that is too large becomes infinity, which is encoded as null: only this adds an n.
    if outside.count(b"n") != again.count(b"n"):
        raise NotStrict("a number is too large")


def _repeated_key(text: bytes) -> str:
    """A repeated key for an error text; it is named if the text is short enough to search."""
    repeated = ["a key"]

    def look(pairs: list[tuple[str, Any]]) -> None:
        """Record a key that an object has twice."""
        keys = [key for key, _ in pairs]
        if len(set(keys)) < len(keys):
            repeated.append(f"the key {quoted(max(keys, key=keys.count))}")

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
        # Every type is accepted, so only a number can cause this error.
        raise NotStrict("a number is too large") from None
    except msgspec.DecodeError as error:
        # msgspec reports a lone surrogate at the end of a string as truncated input.
        raise NotStrict(_HALF if _has_half_a_pair(text) else reason(error)) from None


def reason(error: Exception) -> str:
    """Why a text is not JSON, from msgspec's error; completes a sentence."""
    text = str(error).removeprefix("JSON is malformed: ")
    return "it ends too early" if text == "Input data was truncated" else text


def _has_half_a_pair(text: bytes) -> bool:
    """Whether a text has a lone surrogate; False if it is too long to search."""
    if len(text) > _SHORT:
        return False
    return _SURROGATE.search(_PAIR.sub(b"", text.replace(rb"\\", b""))) is not None


def _place_in(text: bytes) -> str:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        return f" at byte {error.start}"
    return ""
