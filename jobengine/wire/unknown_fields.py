"""Unknown fields in bodies: explains or removes them."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Final, NamedTuple, get_args

import msgspec
from msgspec import Meta, Raw, Struct
from msgspec.structs import fields

from .did_you_mean import did_you_mean, quoted
from .request_head import BadInput

#: The type of a field that is accepted and ignored.
Ignored = Annotated[Raw, Meta(description="ignored")]

#: The field for the queue has two names in bodies: each call documents one name, and accepts the other too.
_OTHER: Final = {"name": "queue_name", "queue_name": "name"}
#: The beginning of msgspec's error about an unknown field; the field's name and place follow.
_UNKNOWN: Final = "Object contains unknown field `"
_PLACE: Final = "` - at `$"
_STEP: Final = re.compile(r"\.(\w+)")

_read_object: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_read_list: Final = msgspec.json.Decoder(list[Raw]).decode
_write: Final = msgspec.json.Encoder().encode


class UnknownField(NamedTuple):
    """A field that the struct does not have."""

    #: The error text.
    text: str
    #: Whether the field is `name` or `queue_name`: most requests accept either for the queue's name.
    names_queue: bool


def unknown_field(error: msgspec.ValidationError, kind: type[Struct]) -> UnknownField | None:
    """The unknown field that caused a decoding error; None if the error has another cause."""
    text = str(error)
    if not text.startswith(_UNKNOWN):
        return None
    text = text.removeprefix(_UNKNOWN).removesuffix("`")
    name, _, place = text.rpartition(_PLACE) if _PLACE in text else (text, "", "")
    holder = struct_at(kind, place)
    known = [field.encode_name for field in fields(holder) if field.type != Ignored]
    where = f" in {place.removeprefix('.')}" if place else ""
    advice = advice_of(holder).get(name) or did_you_mean(name, known)
    return UnknownField(f"There is no field {quoted(name)}{where}. {advice}", name in _OTHER)


def advice_of(kind: type[Struct]) -> Mapping[str, str]:
    """Advice by field name: for a struct's unknown fields, and for missing required fields."""
    advice: Mapping[str, str] = getattr(kind, "advice", {})
    return advice


def known_only(body: bytes, kind: type[Struct]) -> bytes:
    """A JSON object without its unknown fields, and without those of objects in it; lists in it stay as they are."""
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


def with_main_names(body: bytes, kind: type[Struct], *, pass_unknown: bool) -> bytes:
    """
    Rename each field for a queue to the field's name in `kind`, at any depth. Raises BadInput for an object with both
    names, unless unknown fields are ignored.
    """
    if not body.startswith(b"{"):
        return body
    given, main = _read_object(body), _queue_field(kind)
    changed = False
    if main is not None and (other := _OTHER[main]) in given:
        if main not in given:
            given[main], changed = given.pop(other), True
        elif not pass_unknown:
            raise BadInput("name and queue_name mean the same; send one of them.")
    for name, within in _structs_in(kind):
        if name in given and _names_queue(within):
            value = bytes(given[name])
            items = _read_list(value) if value.startswith(b"[") else [given[name]]
            renamed = [Raw(with_main_names(bytes(item), within, pass_unknown=pass_unknown)) for item in items]
            given[name] = Raw(_write(renamed)) if value.startswith(b"[") else renamed[0]
            changed = True
    return _write(given) if changed else body


def _queue_field(kind: type[Struct]) -> str | None:
    """The name of the struct's field for a queue; None for a struct in which both names have a meaning."""
    names = [field.name for field in fields(kind) if field.name in _OTHER and field.type != Ignored]
    return names[0] if len(names) == 1 else None


@cache
def _names_queue(kind: type[Struct]) -> bool:
    """Whether the struct, or a struct within it, has a field for a queue that accepts both names."""
    return _queue_field(kind) is not None or any(_names_queue(within) for _, within in _structs_in(kind))


def _structs_in(kind: type[Struct]) -> Iterator[tuple[str, type[Struct]]]:
    """The fields that contain another struct, each with this struct."""
    for field in fields(kind):
        within = _struct_in(field.type)
        if within is not None:
            yield field.encode_name, within


def struct_at(kind: type[Struct], place: str) -> type[Struct]:
    """The type of the struct at a place in `kind`, such as ".jobs[3]"."""
    for step in _STEP.findall(place):
        types = {field.encode_name: field.type for field in fields(kind)}
        kind = _struct_in(types.get(step)) or kind
    return kind


def _struct_in(kind: Any) -> type[Struct] | None:
    """The struct in a type: the type itself, or the struct in an optional type or a list."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return kind
    return next(filter(None, map(_struct_in, get_args(kind))), None)
