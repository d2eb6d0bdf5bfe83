"""Says which part of a value JSON can't represent."""

import json
from collections.abc import Iterator
from math import isfinite
from typing import Any, Final

#: The deepest level to search. The server accepts less; a list or dict that contains itself goes deeper.
_DEEPEST: Final = 100
#: The most characters of a path.
_LONGEST: Final = 80


def fault_of(value: Any, name: str = "") -> str | None:
    """
    What JSON can't represent in a value, and where, such as "a datetime at rows[2].sent_at"; None if all is JSON. The
    path begins with the value's `name`, as in "result.rows".
    """
    found = next(_faults(value, name, 0), None)
    if found is None:
        return None
    fault, path = found
    path = path.removeprefix(".")
    return fault if path == name else f"{fault} at {path if len(path) <= _LONGEST else f'{path[:_LONGEST]}…'}"


def _faults(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    """Each part that JSON can't represent, and its path."""
    if not isinstance(value, dict | list | tuple):
        if fault := _scalar_fault(value):
            yield fault, path
    elif depth == _DEEPEST:
        yield f"more than {_DEEPEST} levels, or a {type(value).__qualname__} that contains itself,", path
    elif isinstance(value, dict):
        for key, one in value.items():
            if fault := _scalar_fault(key):
                yield f"{fault} as a key", path
            yield from _faults(one, path + _place(key), depth + 1)
    else:
        for index, one in enumerate(value):
            yield from _faults(one, f"{path}[{index}]", depth + 1)


def _scalar_fault(value: Any) -> str | None:
    if isinstance(value, str):
        return None if _is_utf_8(value) else "a text with a lone surrogate"
    if isinstance(value, float):
        return None if isfinite(value) else f"the number {value}"
    return None if value is None or isinstance(value, int) else _with_article(value)


def _is_utf_8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _place(key: Any) -> str:
    if not isinstance(key, str):
        return f"[{key}]"
    return f".{key}" if key.isidentifier() else f"[{json.dumps(key)}]"


def _with_article(value: Any) -> str:
    name = type(value).__qualname__
    return f"an {name}" if name[0].lower() in "aeiou" else f"a {name}"
