"""A header is opened only if it is unchanged; otherwise it is refused with the same result as by a plain reader."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Final
from unittest.mock import patch
from zlib import crc32

from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox

from jobengine.storage.errors import StorageError
from jobengine.storage.frames import HEADER_SIZE, open_header

from .pieces import Pieces

#: The key of every SECRET and salt here: the real derivation takes too long.
_KEY: Final = b"k" * 32
_DATA_KEY: Final = b"d" * 32
_NONCE: Final = b"n" * 24
_CLEAR: Final = struct.Struct(">8sHH16sII16s")
_MAGIC: Final = b"\x89JEDB\r\n\x1a"
_GOOD: Final = _CLEAR.pack(_MAGIC, 1, 0, b"i" * 16, 3, 65536, b"s" * 16)


def header(data: bytes) -> None:
    """Change a good header as the data say, repair some of its checks, and read it with both readers."""
    pieces = Pieces(data)
    mend = pieces.number()
    made = _changed(_sealed(_GOOD, mend), pieces)
    if mend & 1:
        made = _sealed(made[: _CLEAR.size].ljust(_CLEAR.size, b"\0"), mend)
    if mend & 2 and len(made) == HEADER_SIZE:
        made = made[:-4] + crc32(made[:-4]).to_bytes(4, "big")
    if mend & 4:
        made = made[: pieces.number()]
    assert _opened(made) == _reference(made), made


def _sealed(clear: bytes, mend: int) -> bytes:
    """A header whose data key belongs to this clear part, or to another."""
    digest = blake2b(_GOOD if mend & 8 else clear, digest_size=32).digest()
    key = b"another key that opens nothing.." if mend & 16 else _KEY
    body = clear + bytes(SecretBox(key).encrypt(_DATA_KEY + digest, _NONCE))
    return body + crc32(body).to_bytes(4, "big")


def _changed(whole: bytes, pieces: Pieces) -> bytes:
    made = bytearray(whole)
    for _ in range(pieces.number() % 8):
        at, new = pieces.number() % len(made), pieces.piece(pieces.number() % 9)
        made[at : at + len(new)] = new
    return bytes(made[:HEADER_SIZE])


def _opened(made: bytes) -> tuple[object, ...]:
    with _derivations() as derived:
        try:
            lock, chain = open_header(made, b"SECRET")
        except StorageError as error:
            return type(error).__name__, derived
    return (lock.kdf.passes, lock.kdf.kib, lock.salt, chain.file_id), derived


@contextmanager
def _derivations() -> Iterator[list[tuple[int, int]]]:
    """The passes and KiB of every derivation that was begun."""
    begun: list[tuple[int, int]] = []

    def kdf(size: int, secret: bytes, salt: bytes, *, opslimit: int, memlimit: int) -> bytes:
        assert (size, secret, len(salt)) == (32, b"SECRET", 16)
        begun.append((opslimit, memlimit // 1024))
        return _KEY

    with patch.object(argon2id, "kdf", kdf):
        yield begun


def _reference(made: bytes) -> tuple[object, ...]:
    """The result by docs/database-format.md, and the parameters for which a key is derived."""
    refused = _refused_before_deriving(made)
    if refused is not None:
        return refused, []
    _, _, _, file_id, passes, kib, salt = _CLEAR.unpack_from(made)
    derived = [(passes, kib)]
    try:
        opened = SecretBox(_KEY).decrypt(made[_CLEAR.size : -4])
    except CryptoError:
        return "WrongSecret", derived
    if opened[32:] != blake2b(made[: _CLEAR.size], digest_size=32).digest():
        return "Damaged", derived
    return (passes, kib, salt, file_id), derived


def _refused_before_deriving(made: bytes) -> str | None:
    if not made.startswith(_MAGIC):
        return "NotADatabase"
    if len(made) < HEADER_SIZE:
        return "Damaged"
    _, major, _, _, passes, kib, _ = _CLEAR.unpack_from(made)
    if major > 1:
        return "NewerFormat"
    whole = crc32(made[:-4]).to_bytes(4, "big") == made[-4:]
    return None if whole and 1 <= passes <= 10 and 8 <= kib <= 1 << 20 else "Damaged"
