"""
The types of the server's answers, for msgspec: an answer of another shape did not come from a JobEngine.

The types are made from the fields of the classes. Checking a job takes about a microsecond.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, TypeGuard, get_args

from msgspec import Meta, Raw, Struct, defstruct
from msgspec.json import Decoder

from .answers import Answer, Field
from .schedules import as_text_time, as_text_times
from .values import Job, as_awaited

#: Decodes a body; raises ValueError or RecursionError if it has another shape.
Shape = Callable[[bytes], object]

_Uid = Annotated[str, Meta(min_length=1)]
#: Seconds that datetime can represent.
_Moment = Annotated[float, Meta(ge=-62_135_596_800, lt=253_402_300_800)]
#: A time in ISO 8601 with an offset.
_Time = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d(:\d\d)?)$")]
#: Fields with a text; each class that has such a field requires it.
_REQUIRED: Final = frozenset({"uid", "name", "role", "status", "id", "group"})
#: Fields with other values; each class that has such a field requires it.
_REQUIRED_VALUES: Final = frozenset({"hours", "matched", "nodes", "time"})


class _Awaited(Struct, gc=False):
    """A job of another queue in `depends_on`."""

    queue_name: str
    uid: _Uid


#: The JSON types of fields whose values have other types in Python, by the function that reads the field.
_READ: Final[Mapping[Any, Any]] = {
    as_text_time: _Time,
    as_text_times: list[_Time],
    as_awaited: list[_Uid | _Awaited],
}

_made: Final[dict[type[Answer], Any]] = {}


def _wire_type(field: "Field[Any]") -> Any:
    """The type of a field in JSON."""
    kind = get_args(getattr(field, "__orig_class__", None))[0]
    reads = field.reads
    if kind is Any:
        return Raw
    if reads is None:
        return kind
    if _is_answer(reads):
        return of(reads)
    if reads in _READ:
        return _READ[reads]
    parts = {kind, *get_args(kind)}
    if datetime in parts:
        return _Moment if kind is datetime else float
    if timedelta in parts:
        return float
    item = get_args(kind)[0]
    return list[of(item) if _is_answer(item) else item]  # type: ignore[misc]  # made at run time


def _may_be_missing(field: "Field[Any]") -> bool:
    """Whether None is among the values of a field."""
    return type(None) in get_args(get_args(getattr(field, "__orig_class__", None))[0])


def _is_answer(kind: Any) -> TypeGuard[type[Answer]]:
    return isinstance(kind, type) and issubclass(kind, Answer)


def fields_of(kind: type[Answer]) -> dict[str, "Field[Any]"]:
    """The fields of a class, by their names on the wire."""
    return {
        field.wire: field
        for base in reversed(kind.__mro__)
        for field in vars(base).values()
        if isinstance(field, Field)
    }


def of(kind: type[Answer]) -> Any:
    """The struct for answers of this `kind`. Only identifying fields are required: an older server may lack others."""
    if kind not in _made:
        fields: list[Any] = []
        for wire, field in fields_of(kind).items():
            type_ = _wire_type(field)
            if type_ is Raw:
                fields.append((wire, Raw, Raw()))
            elif wire in _REQUIRED and type_ is str:
                fields.append((wire, _Uid))
            elif wire in _REQUIRED_VALUES and not _may_be_missing(field):
                fields.append((wire, type_))
            else:
                fields.append((wire, type_ | None, None))
        _made[kind] = defstruct(kind.__name__, fields, kw_only=True)
    return _made[kind]


def list_of(name: str, kind: Any) -> Any:
    """The struct for an object with a list in one field."""
    return defstruct("_List", [(name, list[kind])])


def page_of(name: str, kind: Any) -> Any:
    """The struct for a page of a list."""
    return defstruct("_Page", [(name, list[kind]), ("next_cursor", str | None, None)])


class Dropped(Struct, gc=False):
    """The field of a failure list that counts the jobs left out of it."""

    dropped: int


class _Brief(Struct, gc=False):
    """The outcome of one job in a bulk add."""

    uid: _Uid
    status: int
    replaced: bool | None = None


class _Result(_Brief):
    """The outcome of one update in a bulk request."""

    job: of(Job) | None = None  # type: ignore[valid-type]  # made at run time
    cancel_requested: bool | None = None
    error: str | None = None


class _Claimed(Struct, gc=False):
    """
    The fields of a claimed job that a worker needs. Other fields stay unchecked: with short jobs, checking would take
    most of a worker's time.
    """

    uid: _Uid
    lease: _Uid
    queue_name: _Uid
    timeout_seconds: float | None = None
    attempts: int | None = None
    cancel_requested: bool | None = None


class _Claim(Struct):
    """The answer to a claim."""

    jobs: list[_Claimed]
    results: list[_Result] | None = None


RESULTS: Final = Decoder(list_of("results", _Result)).decode
CLAIMED: Final = Decoder(_Claim).decode
brief_jobs: Final = Decoder(list_of("jobs", _Brief)).decode
