"""The public names of the client, the worker and the fixtures are those that their pages list."""

import re
from collections.abc import Iterator
from inspect import isclass
from pathlib import Path
from typing import Any, get_args, is_typeddict

import pytest

from jobengine import client, testing, worker
from jobengine.client.answers import Answer

_DOCS = Path(__file__).parents[2] / "docs"


def _listed(page: str) -> dict[str, set[str]]:
    """The names of each class, from a page's table with a class in each row."""
    _, section = re.split(r"^##+ All names$", (_DOCS / page).read_text(), flags=re.MULTILINE)
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", section.split("\n#")[0], re.MULTILINE)
    return {name: set(re.findall(r"`([^`]+)`", names)) for name, names in rows}


def _foreign(kind: type) -> set[str]:
    """The attributes that a class inherits from Python's library."""
    return {name for base in kind.__mro__ if not base.__module__.startswith("jobengine") for name in dir(base)}


def _shown(thing: Any) -> set[str]:
    """The names that completion shows on an object, or on a class."""
    kind = thing if isclass(thing) else type(thing)
    return {name for name in dir(thing) if not name.startswith("_")} - _foreign(kind)


def _objects() -> Iterator[Any]:
    """An object of each class whose objects have attributes that the class lacks."""
    job = client.Job({"uid": "u", "lease": "l"})
    for engine in (client.JobEngine, client.AsyncJobEngine):
        made = engine("http://server.example", access_key="k")
        yield from (made, made.queue("q"), made.queue("q").keys)
    yield client.ClaimedJob(client.JobEngine("http://server.example").queue("q"), job)
    yield client.AsyncClaimedJob(client.AsyncJobEngine("http://server.example").queue("q"), job)
    yield from (client.NewJob({}), client.JobEngineError("It failed."))
    yield from (worker.Worker("q", url="http://server.example"), worker.RunningJob("q", job, print))
    yield from (worker.Fail(), worker.Retry(), testing.Server("http://server.example"))


def _public(module: Any) -> dict[str, set[str]]:
    """The names of each class of a module."""
    objects = {type(one).__name__: one for one in _objects()}
    return {name: _names(getattr(module, name), objects.get(name)) for name in module.__all__}


def _names(kind: Any, made: object) -> set[str]:
    if is_typeddict(kind):
        return set(kind.__annotations__)
    if not isclass(kind):
        return set(get_args(kind))
    if issubclass(kind, Answer):
        return _shown(kind) - {"raw"}
    return _shown(kind if made is None else made)


def test_the_page_about_the_client_lists_all_names() -> None:
    errors = {name for name in client.__all__ if _is_error(name)} - {"JobEngineError"}
    found = {name: names for name, names in _public(client).items() if name not in errors}
    assert {name: names for name, names in found.items() if not name.startswith("Async")} == _listed("client.md")


def _is_error(name: str) -> bool:
    kind = getattr(client, name)
    return isclass(kind) and issubclass(kind, client.JobEngineError)


@pytest.mark.parametrize("name", [name for name in client.__all__ if name.startswith("Async")])
def test_a_class_for_asyncio_has_the_names_of_the_class_for_threads(name: str) -> None:
    public = _public(client)
    assert public[name] == public[name.removeprefix("Async")]


@pytest.mark.parametrize("name", [name for name in client.__all__ if _is_error(name)])
def test_all_errors_show_the_same_attributes(name: str) -> None:
    kind = getattr(client, name)
    assert _shown(kind("It failed.")) == _shown(client.JobEngineError("It failed."))


def test_the_page_about_workers_lists_all_names() -> None:
    found = _public(worker) | {"Server": _public(testing)["Server"]}
    assert found == _listed("workers.md")
    assert {*testing.__all__} - {"Server"} <= set(re.findall(r"\w+", (_DOCS / "workers.md").read_text()))


@pytest.mark.parametrize("module", [client, worker])
def test_dir_lists_exactly_the_exported_names(module: Any) -> None:
    assert {name for name in dir(module) if not name.startswith("_")} == set(module.__all__)
