"""Finds environment variables that were probably set in place of settings: mistyped names, and those of clients."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final

#: The least similarity (see difflib) of two names that differ by a letter: one is missing, doubled, wrong or swapped.
_ALIKE: Final = 0.87
#: Shorter names are compared by equal letters alone: SECRETS and APP_PORT are names of other programs.
_SHORT: Final = 8
#: Letters of names of other programs that resemble a setting of ours.
_OF_OTHERS: Final = frozenset({"LOGFILE", "SECRETSFILE"})
#: The names that are compared, and may be logged.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def mistyped(environment: Mapping[str, str], settings: Iterable[str]) -> tuple[str, ...]:
    """
    A sentence for each variable that is not in `settings`, but nearly, unless the meant one is set too. It never has
    the variable's value.
    """
    unset = {_letters(name): name for name in settings if not environment.get(name)}
    known = {*settings}
    found = ((name, _meant(name, unset)) for name in environment if name not in known and _PLAIN.fullmatch(name))
    return tuple(f"{name} is not a setting; did you mean {meant}?" for name, meant in found if meant)


def hints(environment: Mapping[str, str], *, has_admin_key: bool) -> tuple[str, ...]:
    """A sentence if only clients have an admin key: their variable is set, and the server has none. Has no value."""
    if has_admin_key or not environment.get("JOBENGINE_ADMIN_KEY"):
        return ()
    return (
        "JOBENGINE_ADMIN_KEY is for clients and the command line; this server reads ADMIN_KEY, which is not set, so it "
        "has no admin key",
    )


def _meant(name: str, unset: Mapping[str, str]) -> str | None:
    letters = _letters(name)
    if letters in unset:
        return unset[letters]
    near = [each for each in unset if len(each) >= _SHORT and abs(len(each) - len(letters)) <= 1]
    if letters in _OF_OTHERS or not near:
        return None
    matches = get_close_matches(letters, near, n=1, cutoff=_ALIKE)
    return unset[matches[0]] if matches else None


def _letters(name: str) -> str:
    return name.replace("_", "").replace("-", "").upper()
