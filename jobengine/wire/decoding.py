"""Decodes a body into a struct, with errors that suggest what to send instead."""

from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from .long_bodies import Checked
from .request_head import BadInput
from .strict_json import NotStrict, check
from .type_errors import type_error
from .unknown_fields import UnknownField, known_only, unknown_field, with_main_names

T = TypeVar("T", bound=msgspec.Struct)


def decode(
    body: bytes, decoder: "msgspec.json.Decoder[T]", max_depth: int, *, pass_unknown: bool
) -> tuple[T, Iterable[str]]:
    """
    The decoded body, and the names of its fields; raises BadInput.

    With `pass_unknown`, unknown fields are ignored.
    """
    kind: Any = decoder.type
    try:
        # `check` returns the parsed body; iterating over a JSON object gives its keys.
        names = body.fields if isinstance(body, Checked) else check(body, max_depth)
        return decoder.decode(body), names
    except NotStrict as error:
        raise BadInput(f"The body is not JSON that JobEngine accepts: {error}.") from None
    except msgspec.ValidationError as error:
        unknown = unknown_field(error, kind)
        if unknown is None:
            raise BadInput(type_error(error, kind)) from None
    return _decode_unusual(body, decoder, unknown, pass_unknown=pass_unknown)


def _decode_unusual(
    body: bytes, decoder: "msgspec.json.Decoder[T]", unknown: UnknownField, *, pass_unknown: bool
) -> tuple[T, Iterable[str]]:
    """Decode a body with a field that its struct lacks: an unknown one, or the queue's name under its other name."""
    kind: Any = decoder.type
    changed = with_main_names(body, kind, pass_unknown=pass_unknown) if unknown.names_queue else body
    if pass_unknown:
        changed = known_only(changed, kind)
    elif changed == body:
        raise BadInput(unknown.text)
    try:
        return decoder.decode(changed), msgspec.json.decode(changed, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError as error:
        further = unknown_field(error, kind)
        raise BadInput(further.text if further else type_error(error, kind)) from None
