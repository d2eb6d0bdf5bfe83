"""
Reads the server's answers as frozen values.

An answer keeps the JSON object in `raw`; each access to a field decodes it from there. So unused fields cost nothing,
and unknown fields of newer servers are kept. Seconds and minutes become timedelta, times become datetime in UTC.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Self, TypeVar, overload

from .errors import NotJobEngine

T = TypeVar("T")


class Field(Generic[T]):
    """A field of an Answer: its name on the wire, how to read it, and its default."""

    def __init__(self, wire: str, read: Callable[[Any], T] | None = None, default: Any = None) -> None:
        self.wire = wire
        self.reads = read
        self.default = default

    @overload
    def __get__(self, holder: None, owner: type) -> Self: ...
    @overload
    def __get__(self, holder: "Answer", owner: type) -> T: ...
    def __get__(self, holder: "Answer | None", owner: type) -> Any:
        if holder is None:
            return self
        value = holder.raw.get(self.wire)
        if value is None:
            return self.default
        if self.reads is None:
            return value
        try:
            return self.reads(value)
        except (TypeError, ValueError, OverflowError, OSError):
            raise NotJobEngine(f"The answer did not come from a JobEngine: its {self.wire} is {value!r:.80}.") from None

    def __set__(self, holder: "Answer", value: T) -> None:
        raise AttributeError("values from the server are read-only")


class Answer:
    """An answer of the server; equal to any other with the same `raw`."""

    __slots__ = ("raw",)
    #: The fields that repr shows; repr is short, and hides content, result and lease.
    _shown: tuple[str, ...] = ()
    #: The fields that repr shows as well if they are set.
    _shown_if_set: tuple[str, ...] = ()
    #: The JSON object.
    raw: Mapping[str, Any]

    def __init__(self, raw: Mapping[str, Any]) -> None:
        object.__setattr__(self, "raw", raw)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("values from the server are read-only")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Answer) and type(self) is type(other) and self.raw == other.raw

    __hash__ = None  # type: ignore[assignment]  # it holds a dict

    def __repr__(self) -> str:
        values = {name: getattr(self, name) for name in (*self._shown, *self._shown_if_set)}
        shown = [
            f"{name}={value!r}"
            for name, value in values.items()
            if name in self._shown or (value is not None and value is not False)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __getstate__(self) -> Any:
        return self.raw

    def __setstate__(self, raw: Any) -> None:
        object.__setattr__(self, "raw", raw)


def as_moment(seconds: float) -> datetime | None:
    """Unix seconds as a datetime; None for 0, or for a time outside the range of datetime."""
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (OverflowError, ValueError, OSError):
        return None


def as_time(seconds: float) -> datetime:
    """Unix seconds as a datetime."""
    return datetime.fromtimestamp(seconds, UTC)


def as_span(seconds: float) -> timedelta:
    """Seconds as a timedelta, or the longest timedelta if there are too many."""
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        return timedelta.max


def as_minutes(minutes: float) -> timedelta:
    """Minutes as a timedelta."""
    return as_span(minutes * 60)


def as_limit(seconds: float) -> timedelta | None:
    """Seconds as a timedelta; None for 0, which is no limit."""
    return as_span(seconds) if seconds else None
