"""
Structs without gc are never part of a reference cycle: no garbage collection would find it.

The types of their fields show it. None leads to a type that may hold anything, such as an exception (which holds the
frames that it has passed), a callable or a class with attributes of its own; and none leads back to itself.
"""

import pkgutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from enum import Enum
from importlib import import_module
from types import NoneType, UnionType
from typing import Annotated, Any, LiteralString, Union, get_args, get_origin, get_type_hints

import attrs
import msgspec
import pytest
from msgspec import Raw, Struct, UnsetType

import jobengine
from jobengine.core.model import Job
from jobengine.core.schedules import Calendar
from jobengine.engine.tables.sorted_list import SortedList
from jobengine.timetable import TIMETABLE

for module in pkgutil.walk_packages(jobengine.__path__, "jobengine."):
    import_module(module.name)

#: Values that hold no other values; the only calendar is the timetable, which has no attributes.
_ATOMS = frozenset({bool, int, float, str, bytes, LiteralString, Raw, None, NoneType, UnsetType, Calendar})
#: Types that hold only values of the types in their parameters.
_CONTAINERS = frozenset({tuple, list, dict, set, frozenset, Sequence, Mapping, Union, UnionType, SortedList})


def _below(kind: Any) -> Iterator[Any]:
    """A class and all that are derived from it."""
    yield kind
    for derived in kind.__subclasses__():
        yield from _below(derived)


def without_gc() -> list[type[Struct]]:
    """The structs of the project that the garbage collector skips."""
    kinds = {kind for kind in _below(Struct) if kind.__module__.startswith("jobengine.")}
    return sorted(
        (kind for kind in kinds if not kind.__struct_config__.gc), key=lambda kind: (kind.__name__, str(kind))
    )


def risks(kind: Any, path: Sequence[type] = ()) -> Iterator[str]:
    """The paths, as class names, from a field of this type to a type that may be part of a cycle."""
    parts = _parts(kind)
    if kind in path:
        yield f"{_way(path)} > itself"
    elif parts:
        for part in parts:
            yield from risks(part, path)
    elif _is_record(kind):
        for one in _below(kind):
            yield from _risks_of_record(one, path)
    elif not _is_atom(kind):
        yield f"{_way(path)} > {kind}"


def _parts(kind: Any) -> list[Any]:
    """The types that a composed type consists of."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return [parts[0]]
    if origin in _CONTAINERS:
        return [part for part in parts if part is not Ellipsis]
    # The parameter of a command is the type of its answer, which the command does not hold.
    return [origin] if isinstance(origin, type) and issubclass(origin, Struct) else []


def _way(path: Sequence[type]) -> str:
    return " > ".join(one.__name__ for one in path)


def _risks_of_record(kind: type, path: Sequence[type]) -> Iterator[str]:
    if not _is_record(kind):
        yield f"{_way((*path, kind))} > any attribute"
        return
    hints = get_type_hints(kind, include_extras=True)
    for name in _fields(kind):
        yield from risks(hints[name], (*path, kind))


def _fields(kind: Any) -> Collection[str]:
    return kind.__struct_fields__ if issubclass(kind, Struct) else [one.name for one in attrs.fields(kind)]


def _is_atom(kind: Any) -> bool:
    if not isinstance(kind, type):
        return kind in _ATOMS
    has_attributes = bool(kind.__dictoffset__)
    return kind in _ATOMS or issubclass(kind, Enum) or (issubclass(kind, bytes | str | int) and not has_attributes)


def _is_record(kind: Any) -> bool:
    """Whether the instances of this class hold only their declared fields."""
    return isinstance(kind, type) and not kind.__dictoffset__ and (issubclass(kind, Struct) or attrs.has(kind))


def test_the_timetable_refers_to_no_other_object() -> None:
    assert not hasattr(TIMETABLE, "__dict__")


def test_the_check_finds_the_structs_without_gc() -> None:
    assert len(without_gc()) > 50


def test_no_struct_without_gc_can_be_part_of_a_reference_cycle() -> None:
    assert [risk for kind in without_gc() for risk in _risks_of_record(kind, ())] == []


class _Plain:
    pass


@pytest.mark.parametrize("kind", [Exception, Any, object, _Plain, Callable[[], int], list[Any], Job | BaseException])
def test_a_field_of_any_type_may_form_a_cycle(kind: Any) -> None:
    made = msgspec.defstruct("Made", [("name", str), ("field", kind)], gc=False)
    assert len(list(_risks_of_record(made, ()))) == 1


def test_a_struct_that_may_hold_itself_may_form_a_cycle() -> None:
    assert list(_risks_of_record(_Node, ())) == ["_Node > itself"]


class _Node(Struct, gc=False):
    nodes: "list[_Node]"
