"""Says which part of a handler's result JSON can't represent."""

import json
import sys
from collections.abc import Callable, Iterator
from inspect import unwrap
from math import isfinite
from pathlib import Path
from typing import Any, Final

#: The deepest level to search. The server accepts less; a list or dict that contains itself goes deeper.
_DEEPEST: Final = 100
#: The most characters of a path.
_LONGEST: Final = 80


def fault_of(value: Any) -> str | None:
    """What JSON can't represent in a value, and where, such as "a datetime at rows[2].sent_at"; None if all is JSON."""
    found = next(_faults(value, "", 0), None)
    if found is None:
        return None
    fault, path = found
    path = path.removeprefix(".")
    return f"{fault} at {path if len(path) <= _LONGEST else f'{path[:_LONGEST]}…'}" if path else fault


def handler_name(function: Callable[..., Any]) -> str:
    """The module and name of a handler; for the main program, which may be started in several ways, its file's name."""
    inner = unwrap(getattr(function, "func", function))
    if not hasattr(inner, "__qualname__"):
        inner = type(inner)
    module = inner.__module__
    if module in ("__main__", "__mp_main__"):
        module = Path(getattr(sys.modules[module], "__file__", None) or module).stem
    name = inner.__qualname__.replace(".<locals>", "").replace("<lambda>", "lambda")
    return f"{module}.{name}" if module else name


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
