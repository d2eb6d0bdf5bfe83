"""Unknown fields of bodies: the error text for them, and a way to remove them."""

import re
from typing import Annotated, Any, Final, get_args

import msgspec
from msgspec import Meta, Raw, Struct
from msgspec.structs import fields

from .nearest import meant, shown

__all__ = ["Ignored", "known_only", "unknown_field"]

#: The type of a field that is accepted and ignored.
Ignored = Annotated[Raw, Meta(description="ignored")]

#: How msgspec reports an unknown field, and its place.
_UNKNOWN: Final = "Object contains unknown field `"
_PLACE: Final = "` - at `$"
_STEP: Final = re.compile(r"\.(\w+)")

_read_object: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_write: Final = msgspec.json.Encoder().encode


def unknown_field(error: msgspec.ValidationError, kind: type[Struct]) -> str | None:
    """The error text for a field that `kind` does not have; None if `error` is about something else."""
    text = str(error)
    if not text.startswith(_UNKNOWN):
        return None
    text = text.removeprefix(_UNKNOWN).removesuffix("`")
    name, _, place = text.rpartition(_PLACE) if _PLACE in text else (text, "", "")
    known = [field.encode_name for field in fields(_at(kind, place)) if field.type != Ignored]
    where = f" in {place.removeprefix('.')}" if place else ""
    return f"There is no field {shown(name)}{where}. {meant(name, known)}"


def known_only(body: bytes, kind: type[Struct]) -> bytes:
    """A JSON object without the fields that `kind` does not have; the rest stays as it was, byte for byte."""
    given = _read_object(body)
    kept = {}
    for field in fields(kind):
        value = given.get(field.encode_name)
        if value is None:
            continue
        within = _struct_in(field.type)
        is_object = within is not None and bytes(value).startswith(b"{")
        kept[field.encode_name] = Raw(known_only(bytes(value), within)) if within and is_object else value
    return _write(kept)


def _at(kind: type[Struct], place: str) -> type[Struct]:
    """The struct at a place like ".jobs[3]" in `kind`."""
    for step in _STEP.findall(place):
        types = {field.encode_name: field.type for field in fields(kind)}
        kind = _struct_in(types.get(step)) or kind
    return kind


def _struct_in(kind: Any) -> type[Struct] | None:
    """The struct in a type: the type itself, or the one in an optional type or a list."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return kind
    return next(filter(None, map(_struct_in, get_args(kind))), None)
