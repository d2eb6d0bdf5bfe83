"""The message for a mistyped name."""

from collections.abc import Callable, Collection
from functools import wraps
from typing import Final, ParamSpec, TypeVar

#: Names of other clients, and the equivalents here.
_SAME: Final = {"retries": "max_attempts", "max_retries": "max_attempts", "timeout": "timeout_seconds"}

P = ParamSpec("P")
R = TypeVar("R")


def unknown(name: str, known: Collection[str]) -> str:
    """Says that `name` is not known, and which name was meant or, if none is near, which are known."""
    from difflib import get_close_matches  # only needed after a mistake

    # The unit may be missing: delay stands for delay_seconds.
    same = [one for one in (_SAME.get(name),) if one in known]
    near = same or sorted(one for one in known if one.startswith(f"{name}_")) or get_close_matches(name, known, 1)
    return f"{name!r} is not known; " + (
        f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
    )


def suggests(function: Callable[P, R]) -> Callable[P, R]:
    """
    Decorate a function that has an annotation for each argument: the TypeError for an unknown argument names the known
    one that was meant. Python does so only from 3.13 on.
    """
    known = frozenset(function.__annotations__) - {"return"}

    @wraps(function)
    def checked(*arguments: P.args, **named: P.kwargs) -> R:
        """Call the function, if all names are known."""
        for name in named:
            if name not in known:
                raise TypeError(unknown(name, known))
        return function(*arguments, **named)

    return checked
