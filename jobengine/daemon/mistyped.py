"""Finds environment variables that were probably set in place of settings: mistyped names, and those of clients."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final

#: The least similarity (see difflib) of two names that differ by a letter: one is missing, doubled, wrong or swapped.
_ALIKE: Final = 0.87
#: A name shorter than this must have the same letters as a setting: SECRETS and APP_PORT are other programs'.
_SHORT: Final = 8
#: Variables of other programs that resemble a setting, as `_letters` returns them.
_OF_OTHERS: Final = frozenset({"LOGFILE", "SECRETSFILE"})
#: The prefix of clients' variables, as `_letters` returns it. The server's variables have no prefix.
_PREFIX: Final = "JOBENGINE"
#: Clients' variables that without the prefix would be settings, as `_letters` returns them; see `hints`.
_OF_CLIENTS: Final = frozenset({"JOBENGINEADMINKEY"})
#: The names that are compared, and may be logged.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def mistyped(environment: Mapping[str, str], settings: Iterable[str]) -> tuple[str, ...]:
    """A sentence for each variable that is not in `settings`, but nearly. It never has the variable's value."""
    by_letters = {_letters(name): name for name in settings}
    known = {*settings}
    found = ((name, _meant(name, by_letters)) for name in environment if name not in known and _PLAIN.fullmatch(name))
    return tuple(_sentence(name, meant, is_set=bool(environment.get(meant))) for name, meant in found if meant)


def hints(environment: Mapping[str, str], *, has_admin_key: bool) -> tuple[str, ...]:
    """A sentence, without the value, if the admin key is set for clients only; otherwise none."""
    if has_admin_key or not environment.get("JOBENGINE_ADMIN_KEY"):
        return ()
    return (
        "JOBENGINE_ADMIN_KEY is for clients and the command line; this server reads ADMIN_KEY, which is not set, so it "
        "has no admin key",
    )


def _sentence(name: str, meant: str, *, is_set: bool) -> str:
    return f"{name} is not a setting; did you mean {meant}{', which is set too' if is_set else ''}?"


def _meant(name: str, by_letters: Mapping[str, str]) -> str | None:
    letters = _letters(name)
    bare = letters if letters in _OF_CLIENTS else letters.removeprefix(_PREFIX)
    if bare in by_letters:
        return by_letters[bare]
    near = [each for each in by_letters if len(each) >= _SHORT and abs(len(each) - len(letters)) <= 1]
    if letters in _OF_OTHERS or not near:
        return None
    matches = get_close_matches(letters, near, n=1, cutoff=_ALIKE)
    return by_letters[matches[0]] if matches else None


def _letters(name: str) -> str:
    return name.replace("_", "").replace("-", "").upper()
