"""Fields of bodies that JobEngine does not know: what to say of them, and how to leave them out."""

import re
from typing import Annotated, Any, Final, get_args

import msgspec
from msgspec import Meta, Raw, Struct
from msgspec.structs import fields

from .nearest import meant, shown

__all__ = ["PassedOver", "known_only", "unknown_field"]

#: The type of a field that a client may send and that is not looked at.
PassedOver = Annotated[Raw, Meta(description="passed over")]

#: What msgspec says of a field that a struct has not, and where.
_UNKNOWN: Final = "Object contains unknown field `"
_PLACE: Final = "` - at `$"
_STEP: Final = re.compile(r"\.(\w+)")

_read_object: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_write: Final = msgspec.json.Encoder().encode


def unknown_field(error: msgspec.ValidationError, kind: type[Struct]) -> str | None:
    """What to tell a client whose body has a field that `kind` has not; None if `error` is about something else."""
    text = str(error)
    if not text.startswith(_UNKNOWN):
        return None
    text = text.removeprefix(_UNKNOWN).removesuffix("`")
    name, _, place = text.rpartition(_PLACE) if _PLACE in text else (text, "", "")
    known = [field.encode_name for field in fields(_at(kind, place)) if field.type != PassedOver]
    where = f" in {place.removeprefix('.')}" if place else ""
    return f"There is no field {shown(name)}{where}. {meant(name, known)}"


def known_only(body: bytes, kind: type[Struct]) -> bytes:
    """A JSON object without what `kind` does not know; all else is byte for byte as it was."""
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
    """The struct that a type is, or has in it: an optional one, or a list of them."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return kind
    return next(filter(None, map(_struct_in, get_args(kind))), None)
