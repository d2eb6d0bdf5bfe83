"""The reference of the Python packages: the names that they export, which mkdocstrings writes from their docstrings."""

from importlib import import_module
from inspect import isclass
from typing import Any, Final

from jobengine.client import JobEngineError
from jobengine.client.answers import Answer

#: The names that come first, in the order in which a program uses them.
_FIRST: Final = ("JobEngine", "Queue", "NewJob", "ClaimedJob", "Batch", "Schedules", "Keys", "Worker", "RunningJob")


def names(module: str) -> str:
    """A section for each exported name of a module. AsyncX is left out if there is X, which has the same methods."""
    public = import_module(module)
    shown = [name for name in public.__all__ if name.removeprefix("Async") not in {*public.__all__} - {name}]
    shown.sort(key=lambda name: _place(public, name))
    return "".join(f"::: {module}.{name}\n{_options(getattr(public, name))}\n" for name in shown)


def _options(thing: Any) -> str:
    """The members that all errors share are shown only once, at their base class."""
    is_error = isclass(thing) and issubclass(thing, JobEngineError) and thing is not JobEngineError
    return "    options: {inherited_members: false, merge_init_into_class: false}\n" if is_error else ""


def _place(public: Any, name: str) -> tuple[int, int, str]:
    """A sort key: first the names in _FIRST, then answers, then options and other names, and errors last."""
    if name in _FIRST:
        return 0, _FIRST.index(name), name
    thing = getattr(public, name)
    if isclass(thing) and issubclass(thing, JobEngineError):
        return 3, 0, name
    return (1 if isclass(thing) and issubclass(thing, Answer) else 2), 0, name
