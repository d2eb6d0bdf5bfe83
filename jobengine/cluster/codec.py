"""
Commands, answers and errors as msgpack, and back.

The decoders come from the classes of commands, from the parameter of Command that is the type of the answer, and from
the annotations of Door: a new command needs nothing here. A decoded value equals the encoded one, except that sequences
become lists.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cache
from hashlib import blake2b
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs
from msgspec import Raw, Struct, defstruct
from msgspec.msgpack import Decoder, Encoder, Ext

from ..core import commands as c
from ..core import model
from ..core.errors import DomainError
from ..core.schedules import Calendar
from ..engine.door import Door, Unavailable
from ..timetable import TIMETABLE

Decode = Callable[[Any], Any]
#: Grows with every change of the link itself: its messages, verbs and this encoding.
PROTOCOL: Final = 1
#: The methods of Door that travel, besides `ask`; the answer of a stream is one of its items.
VERBS: Final = ("claim", "peek", "read_job", "move_matching", "update_matching", "delete_matching")
STREAMS: Final = ("read_queue", "watch", "backup")
#: The types of msgpack's extensions.
_ERROR, _ENUM = 1, 2
#: The first bytes of an extension.
_EXTENSIONS: Final = frozenset({*range(0xC7, 0xCA), *range(0xD4, 0xD9)})
_GENERIC: Final = "The server that leads has failed to answer; its log says why. The change may or may not be made."


# Errors


def _sent_state(value: object) -> object:
    """An enum keeps its type: msgspec would send only its value."""
    return Ext(_ENUM, encode((type(value).__name__, value.value))) if isinstance(value, Enum) else value


def _error(error: BaseException) -> Ext:
    if not isinstance(error, DomainError | Unavailable):
        error = Unavailable(_GENERIC)
    state = {name: _sent_state(value) for name, value in vars(error).items() if name != "__notes__"}
    return Ext(_ERROR, encode((type(error).__name__, [*map(_sent_state, error.args)], state)))


def _read_extension(code: int, data: memoryview) -> Any:
    if code == _ENUM:
        kind, value = _read_any(data)
        return getattr(model, kind)(value)
    name, arguments, state = _read_any(data)
    if (kind := _error_class(name)) is None:
        return Unavailable(_GENERIC)
    error = kind.__new__(kind, *arguments)
    vars(error).update(state)
    return error


@cache
def _error_class(name: str) -> type[Exception] | None:
    kinds: list[Any] = [DomainError, Unavailable]
    return next((one for kind in kinds for one in _below(kind) if one.__name__ == name), None)


def _below(kind: Any) -> Iterator[Any]:
    yield kind
    for derived in kind.__subclasses__():
        yield from _below(derived)


def _encode_other(value: object) -> object:
    if isinstance(value, BaseException):
        return _error(value)
    if type(value) is type(TIMETABLE):
        # Each server has its own.
        return None
    raise NotImplementedError(f"{type(value)} can't be sent to another server")


def _decode_other(kind: type, value: object) -> object:
    if kind is Calendar:
        return TIMETABLE
    if isinstance(value, kind):
        return value
    raise NotImplementedError(f"{kind} can't be received from another server")


#: Encodes a command, an answer or an error.
encode: Final[Callable[[object], bytes]] = Encoder(enc_hook=_encode_other).encode
_read_any: Final[Decode] = Decoder(ext_hook=_read_extension).decode


def decode_error(body: bytes | Raw) -> Exception:
    """The error that `encode` was given, made without its constructor."""
    error = _read_any(body)
    return error if isinstance(error, DomainError | Unavailable) else Unavailable(_GENERIC)


# Types

#: How a value of a type is sent: the type that msgspec decodes, and the function that then makes the value, or None.
_Sent = tuple[Any, Decode | None]


def decoder(kind: Any) -> Decode:
    """The function that decodes a value of this type. Raises TypeError for a type that can't be sent."""
    sent, finish = _sent(kind)
    read = Decoder(sent, dec_hook=_decode_other, ext_hook=_read_extension).decode
    return read if finish is None else lambda body: finish(read(body))


def _sent(kind: Any) -> _Sent:
    """Msgspec can't decode a union of a value and an error: the first byte tells which of them follows."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType) and any(isinstance(one, type) and issubclass(one, DomainError) for one in parts):
        return _sent_union(parts)
    if origin in (Sequence, list) or (origin is tuple and parts[1:] == (...,)):
        item, finish = _sent(parts[0])
        if finish is not None:
            made = tuple if origin is tuple else list
            return list[item], lambda items: made(map(finish, items))  # type: ignore[valid-type]
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _sent_struct(kind)
    return kind, None


def _sent_union(parts: Sequence[Any]) -> _Sent:
    value = decoder(Union[tuple(one for one in parts if not _is_error(one))])  # noqa: UP007
    return Raw, lambda raw: (_read_any if memoryview(raw)[0] in _EXTENSIONS else value)(raw)


def _is_error(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, DomainError)


def _sent_struct(kind: Any) -> _Sent:
    fields = {name: _sent(hint) for name, hint in _fields(kind).items()}
    finishing = [(name, finish) for name, (_, finish) in fields.items() if finish is not None]
    if not finishing:
        return kind, None
    sent = defstruct(kind.__name__, [(name, one) for name, (one, _) in fields.items()], kw_only=True)

    def finish(read: Any) -> Any:
        values = {name: getattr(read, name) for name in fields}
        return kind(**values | {name: made(values[name]) for name, made in finishing})

    return sent, finish


@cache
def _fields(kind: Any) -> Mapping[str, Any]:
    """The types of the fields of a Struct or attrs class, by name; empty for other types."""
    if not isinstance(kind, type) or not (issubclass(kind, Struct) or attrs.has(kind)):
        return {}
    names = kind.__struct_fields__ if issubclass(kind, Struct) else [one.name for one in attrs.fields(kind)]
    hints = get_type_hints(kind)
    return {name: hints[name] for name in names}


# Commands and answers


def commands() -> list[type[c.Command[Any]]]:
    """All commands, with those of which others are derived, by name."""
    return sorted(dict.fromkeys(_below(c.Command)), key=lambda kind: kind.__name__)


@cache
def answer_type(command: type) -> Any:
    """The type of a command's answer; NoneType if it has none, and Any for a base class that leaves it open."""
    for base in (*getattr(command, "__orig_bases__", ()), *command.__bases__):
        origin = get_origin(base) or base
        if not issubclass(origin, c.Command):
            continue
        answer = get_args(base)[0] if get_args(base) else answer_type(origin)
        if not isinstance(answer, TypeVar):
            return NoneType if answer is None else answer
    return Any


@cache
def command_decoder(name: str) -> Decode:
    """The function that decodes the commands of a class; raises KeyError for an unknown name."""
    for kind in _below(c.Command):
        if kind.__name__ == name:
            return decoder(kind)
    raise KeyError(name)


@cache
def answer_decoder(command: type) -> Decode:
    """The function that decodes the answers to commands of this class."""
    return decoder(answer_type(command))


@cache
def argument_decoder(verb: str) -> Decode:
    """The function that decodes the argument of a method of Door; None is the argument of `backup`."""
    return decoder(_hints(verb).get("command", NoneType))


@cache
def result_decoder(verb: str) -> Decode:
    """The function that decodes the answer of a method of Door, or an item of its stream."""
    returned = _hints(verb)["return"]
    return decoder(get_args(returned)[0] if get_origin(returned) is AsyncGenerator else returned)


def _hints(verb: str) -> Mapping[str, Any]:
    return get_type_hints(getattr(Door, verb))


# The language of two servers


def _described(kind: Any, known: dict[str, str]) -> str:
    """A type as text; describes the classes that it is made of in `known`."""
    if parts := get_args(kind):
        return f"{get_origin(kind)}[{', '.join(_described(part, known) for part in parts)}]"
    name: str = getattr(kind, "__name__", str(kind))
    if name not in known:
        known[name] = name
        if isinstance(kind, type) and issubclass(kind, Enum):
            known[name] = f"{name}: {[one.value for one in kind]}"
        elif fields := _fields(kind):
            known[name] = f"{name}: {[(field, _described(one, known)) for field, one in fields.items()]}"
    return name


def _fingerprint() -> str:
    known: dict[str, str] = {}
    for kind in commands():
        known[f"answer of {kind.__name__}"] = _described(answer_type(kind), known)
        _described(kind, known)
    for verb in (*VERBS, *STREAMS):
        known[f"method {verb}"] = str([_described(hint, known) for hint in _hints(verb).values()])
    for error in (*_below(DomainError), *_below(Unavailable)):
        known[f"error {error.__name__}"] = ""
    return blake2b(repr((PROTOCOL, sorted(known.items()))).encode(), digest_size=8).hexdigest()


#: Equal in two servers that understand each other.
FINGERPRINT: Final = _fingerprint()
