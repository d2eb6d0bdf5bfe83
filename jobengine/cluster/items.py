"""The verbs of the items that two servers send to each other, and how an item is encoded."""

from typing import Final

from msgspec import Raw
from msgspec.msgpack import Encoder

#: Of a follower: cancel the call, or close the stream; the next item of a stream.
CANCEL, NEXT = "cancel", "next"
#: Of the lead: an answer, or an item of a stream; the end of a stream; an error.
VALUE, END, ERROR = "v", "end", "e"
#: The body of an item without one.
NOTHING: Final = b"\xc0"
_encode: Final = Encoder().encode


def item(number: int, verb: str, name: str, body: bytes) -> bytes:
    """An encoded Item (see jobengine.cluster.link), with an encoded body."""
    return _encode((number, verb, name, Raw(body)))
