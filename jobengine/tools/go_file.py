"""
Reads the database of the Go version of JobEngine: one encrypted JSON text.

The encryption is AES-256-GCM (NIST SP 800-38D): a nonce of 12 bytes, then the text, then a tag of 16. The key is the
MD5 of the SECRET, as 32 hexadecimal characters. AES-GCM comes from `cryptography`, which TLS needs anyway: libsodium
has it only on processors with AES instructions.
"""

from collections.abc import Sequence
from hashlib import md5
from typing import Annotated, Final

from msgspec import DecodeError, Meta, Raw, Struct, field
from msgspec.json import Decoder

from ..storage.errors import WrongSecret

_NONCE: Final = 12
_TAG: Final = 16
#: The last second of the year 9999.
_LATEST: Final = 253_402_300_799

_Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
_Time = Annotated[int, Meta(ge=0, le=_LATEST)]


class BadGoFile(Exception):
    """A file of the Go version that can't be imported; str() says why."""


class GoJob(Struct, forbid_unknown_fields=True):
    """A job; times are Unix seconds."""

    uid: Annotated[str, Meta(pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\\Z")]
    priority: Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
    keep_minutes: _Count
    timeout_minutes: _Count
    created: _Time
    last_updated: _Time
    timeout_time: _Count
    content: Raw
    state: str


class GoQueue(Struct, forbid_unknown_fields=True):
    """A queue with its jobs; jobs of the same priority are in the order of their arrival."""

    name: str
    #: SHA-512 of the queue's key.
    access_key: Annotated[str, Meta(pattern="^[0-9a-fA-F]{128}\\Z")]
    #: Go writes null for an empty list.
    written: list[GoJob] | None = field(name="jobs")
    size: int = 0

    @property
    def jobs(self) -> Sequence[GoJob]:
        """The queue's jobs."""
        return self.written or ()


class _GoFile(Struct, forbid_unknown_fields=True):
    queues: dict[str, Raw] | None


_read_file: Final = Decoder(_GoFile).decode
_read_queue: Final = Decoder(GoQueue).decode


def read_go_file(sealed: bytes, secret: bytes) -> Sequence[GoQueue]:
    """The queues in a file of the Go version; raises WrongSecret and BadGoFile."""
    text = _opened(sealed, secret)
    try:
        text.decode()
        found = _read_file(text).queues
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadGoFile(f"it is damaged: {error}") from None
    return [_queue(name, raw) for name, raw in (found or {}).items()]


def _opened(sealed: bytes, secret: bytes) -> bytes:
    if len(sealed) < _NONCE + _TAG:
        raise BadGoFile("it is too short to be a database of the Go version")
    from cryptography.exceptions import InvalidTag  # takes time to load, and is needed here alone
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key = md5(secret, usedforsecurity=False).hexdigest().encode()
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
    except InvalidTag:
        raise WrongSecret(
            "it does not open with this SECRET of the Go version: the SECRET is wrong, or the file is damaged "
            "or not of the Go version"
        ) from None


def _queue(name: str, raw: Raw) -> GoQueue:
    try:
        queue = _read_queue(raw)
    except (DecodeError, RecursionError) as error:
        raise BadGoFile(f"queue {name!r}: {error}") from None
    if queue.name != name:
        raise BadGoFile(f"queue {name!r} has a record with the name {queue.name!r}")
    return queue
