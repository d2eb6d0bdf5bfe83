"""Error texts for values of a wrong type or size: each names the field, the rule, and the value's type."""

import re
from typing import Final

import msgspec
from msgspec import Struct

from .time_text import LAST_SECOND
from .unknown_fields import advice_of

#: Marks the place in msgspec's errors. This module, unknown_fields and strict_json depend on their wording.
_PLACE: Final = " - at `$"
_MISSING: Final = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_TYPE: Final = re.compile(r"Expected `([a-z]+(?: \| [a-z]+)*?)(?: \| null)?`, got `([a-z]+)`")
_LENGTH: Final = re.compile(r"Expected `(str|array)` of length (>=|<=) ([0-9]+)")
_BOUND: Final = re.compile(r"Expected `(?:int|float)` (>=|<=) ([0-9]+(?:\.[0-9]*[1-9])?)(?:\.0)?")
_PATTERN: Final = "Expected `str` matching regex "
_RANGE: Final = "out of range"
#: Types by msgspec's names.
_NAMES: Final = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "null": "null",
    "object": "an object",
    "str": "a text",
}
#: The type of a sent value, by msgspec's name.
_GIVEN: Final = {**_NAMES, "bool": "a boolean"}
#: Advice for a time that is too late.
_LATE: Final = "; send Unix seconds, not milliseconds"
#: Fields with a time, and advice for a value of another type.
_TIMES: Final = frozenset(("not_before", "held_until"))
_SECONDS: Final = "; send Unix seconds"
_UNITS: Final = {"array": "items", "str": "characters"}


def type_error(error: msgspec.ValidationError, kind: type[Struct]) -> str:
    """A sentence for the client, such as `jobs[3].priority must be a whole number, not a text.`"""
    problem, _, place = str(error).rpartition(_PLACE) if _PLACE in str(error) else (str(error), "", "`")
    place = place.removesuffix("`").removeprefix(".")
    missing = _MISSING.fullmatch(problem)
    if missing is not None:
        advice = "" if place else advice_of(kind).get(missing[1], "")
        return f"{place}.{missing[1]} is missing. {advice}".strip(". ") + "."
    advice = _SECONDS if place.rpartition(".")[2] in _TIMES and _TYPE.fullmatch(problem) else ""
    return f"{place or 'The body'} {_rule(problem)}{advice}."


def _rule(problem: str) -> str:
    """The rule that a value breaks, as the end of a sentence; derived from msgspec's error text."""
    if (found := _TYPE.fullmatch(problem)) is not None:
        if found.groups() == ("int", "float"):
            return "must be a whole number, not a decimal number"
        wanted = " or ".join(_NAMES.get(name, name) for name in found[1].split(" | "))
        return f"must be {wanted}, not {_GIVEN.get(found[2], found[2])}"
    if (found := _LENGTH.fullmatch(problem)) is not None:
        return _length(*found.groups())
    if (found := _BOUND.fullmatch(problem)) is not None:
        if found[1] == ">=":
            return f"must be {found[2]} or more"
        return f"must be at most {found[2]}{_LATE if found[2] == str(LAST_SECOND) else ''}"
    if problem.startswith(_PATTERN):
        # The only field with a pattern is a uid.
        return "must be a UUID in lower case"
    return "must be a smaller number" if _RANGE in problem else "is not valid"


def _length(kind: str, sign: str, number: str) -> str:
    if sign == ">=":
        return "must not be empty" if number == "1" else f"must have {number} {_UNITS[kind]} or more"
    if number == "0":
        return "must be an empty list: dependencies can only be removed"
    return f"must have at most {number} {_UNITS[kind]}"
