"""
The bytes of the database file: header and frames, as laid out in docs/database-format.md.

The functions are pure, except that they draw random ids, keys and nonces. They know nothing of jobs: a record is bytes.
"""

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from hashlib import blake2b
from typing import Final
from zlib import crc32

from attrs import evolve, field, frozen
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox
from nacl.utils import random

from .errors import Damaged, NewerFormat, NotADatabase, WrongSecret

#: Shows damage by a transfer as text, like PNG's magic number: it has a byte above 127, a line end and an end-of-file
#: character, which such a transfer alters.
_MAGIC: Final = b"\x89JEDB\r\n\x1a"
_MAJOR: Final = 1
_MINOR: Final = 0
#: The unencrypted header: magic, major, minor, file id, argon2id passes, argon2id KiB, salt.
_CLEAR: Final = struct.Struct(">8sHH16sII16s")
_SEALED: Final = SecretBox.NONCE_SIZE + SecretBox.MACBYTES + 32 + 32
HEADER_SIZE: Final = _CLEAR.size + _SEALED + 4
#: The largest argon2id parameters to accept. A file's parameters are used before they can be authenticated, so a forged
#: header could demand any amount of time and memory.
MAX_PASSES: Final = 10
MAX_KIB: Final = 1 << 20

#: The first bytes of every frame; a search for them finds good frames after damage.
MARKER: Final = b"\xf2JEF"
#: marker, length of the box, CRC-32 of length and position
_HEAD: Final = struct.Struct(">4sII")
FRAME_HEAD: Final = _HEAD.size
_CHECKED: Final = struct.Struct(">IQ")
#: file id, frame number, tag of the frame before, kind
_PREFIX: Final = struct.Struct(">16sQ16sB")
_LENGTH: Final = struct.Struct(">I")
_BOX_OVERHEAD: Final = SecretBox.NONCE_SIZE + SecretBox.MACBYTES + _PREFIX.size
#: The longest box (the encrypted part of a frame) that is ever written.
MAX_BOX: Final = 1 << 28
#: The most bytes of records in one frame, except that a longer record gets a frame of its own. Well below MAX_BOX,
#: since each record has overhead.
_MOST: Final = MAX_BOX // 2


class Kind(IntEnum):
    """The kinds of frames."""

    #: A part of the snapshot at the beginning of a file.
    SLICE = 1
    #: The end of the snapshot; it has no records.
    SNAPSHOT_END = 2
    #: One commit.
    COMMIT = 3
    #: The daemon closed the file in an orderly way, or the file is a backup that ends here; it has no records.
    CLOSE = 4


class BadFrame(Exception):
    """There is no valid frame at this place."""


@frozen(kw_only=True)
class Kdf:
    """The parameters of argon2id (RFC 9106), which derives a key from the SECRET."""

    #: Passes over the memory.
    passes: int = 3
    #: Memory in KiB.
    kib: int = 64 * 1024


@frozen(kw_only=True)
class Lock:
    """The key that encrypts a database's data key, derived from the SECRET, and the derivation's parameters."""

    #: The parameters of the derivation.
    kdf: Kdf
    #: The 16 bytes of the derivation's salt.
    salt: bytes
    #: The 32 bytes of the key.
    key: bytes = field(repr=False)

    @classmethod
    def derive(cls, secret: bytes, kdf: Kdf, salt: bytes | None = None) -> "Lock":
        """Derive the key from a SECRET; takes 0.1 s with the default parameters. Draws a salt if none is given."""
        salt = random(argon2id.SALTBYTES) if salt is None else salt
        key = argon2id.kdf(SecretBox.KEY_SIZE, secret, salt, opslimit=kdf.passes, memlimit=kdf.kib * 1024)
        return cls(kdf=kdf, salt=salt, key=key)


@frozen(kw_only=True)
class Frame:
    """The contents of a frame."""

    kind: Kind
    records: tuple[bytes, ...] = field(repr=False)


@frozen(kw_only=True)
class Chain:
    """
    The position in the chain of frames. Each frame authenticates the previous frame's tag, so frames can't be removed
    or moved.
    """

    _box: SecretBox = field(repr=False)
    #: The 16 random bytes that identify the file.
    file_id: bytes
    #: The number of the next frame; the first is 0.
    number: int = 0
    #: The authentication tag of the frame before; zeros for the first.
    tag: bytes = bytes(SecretBox.MACBYTES)
    #: Whether the frame before is a closing frame.
    closed: bool = False

    def seal(self, kind: Kind, records: Sequence[bytes], position: int) -> "tuple[bytes, Chain]":
        """
        Encrypt records as the next frame, to be written at `position`. Returns its bytes and the chain after it. Raises
        ValueError if the frame would be longer than MAX_BOX.
        """
        parts = [_PREFIX.pack(self.file_id, self.number, self.tag, kind)]
        for record in records:
            parts += (_LENGTH.pack(len(record)), record)
        box = bytes(self._box.encrypt(b"".join(parts)))
        if len(box) > MAX_BOX:
            raise ValueError("the records are too long for a frame")
        head = _HEAD.pack(MARKER, len(box), _checksum(len(box), position))
        return head + box, self._followed_by(box, kind)

    def backup_end(self, position: int) -> bytes:
        """The closing frame of a backup, at `position`; empty bytes if the frame before is a closing frame already."""
        return b"" if self.closed else self.seal(Kind.CLOSE, (), position)[0]

    def open(self, box: bytes) -> "tuple[Frame, Chain]":
        """
        The frame in a box (see `box_length`), and the chain after it.

        Raises BadFrame if the box is not exactly the next frame of this file, and NewerFormat if its kind is unknown.
        """
        clear = self._unseal(box)
        file_id, number, tag, kind = _PREFIX.unpack_from(clear)
        if (file_id, number, tag) != (self.file_id, self.number, self.tag):
            raise BadFrame("it is a frame, but not the next one of this file")
        # Check the kind first: frames of a newer version may have other contents.
        known = _kind(kind)
        return Frame(kind=known, records=_records(clear)), self._followed_by(box, known)

    def is_frame(self, box: bytes) -> bool:
        """Whether a box is a frame encrypted with this file's key, anywhere in the chain."""
        try:
            self._unseal(box)
        except BadFrame:
            return False
        return True

    def _unseal(self, box: bytes) -> bytes:
        try:
            clear = self._box.decrypt(box)
        except (CryptoError, ValueError) as error:
            raise BadFrame("its authentication tag is wrong") from error
        if len(clear) < _PREFIX.size:
            raise BadFrame("its contents are cut short")
        return clear

    def _followed_by(self, box: bytes, kind: Kind) -> "Chain":
        tag = box[SecretBox.NONCE_SIZE : SecretBox.NONCE_SIZE + SecretBox.MACBYTES]
        return evolve(self, number=self.number + 1, tag=tag, closed=kind is Kind.CLOSE)


def new_file(lock: Lock) -> tuple[bytes, Chain]:
    """
    Draw a file id and a data key. Returns the header, with the data key encrypted by `lock`, and the chain of the first
    frame.
    """
    file_id, data_key = random(16), random(SecretBox.KEY_SIZE)
    clear = _CLEAR.pack(_MAGIC, _MAJOR, _MINOR, file_id, lock.kdf.passes, lock.kdf.kib, lock.salt)
    sealed = bytes(SecretBox(lock.key).encrypt(data_key + _digest(clear)))
    body = clear + sealed
    return body + _LENGTH.pack(crc32(body)), Chain(box=SecretBox(data_key), file_id=file_id)


def check_magic(header: bytes) -> None:
    """Raise NotADatabase unless the first bytes are those of a database."""
    if not header:
        raise NotADatabase("the file is empty")
    if header[: len(_MAGIC)] != _MAGIC:
        raise NotADatabase("it does not begin as a JobEngine database does")


def open_header(header: bytes, secret: bytes) -> tuple[Lock, Chain]:
    """
    Read the first HEADER_SIZE bytes of a file and decrypt its data key with the SECRET.

    Raises NotADatabase, NewerFormat, Damaged or WrongSecret. The parameters are checked against bounds before a key is
    derived.
    """
    check_magic(header)
    if len(header) < HEADER_SIZE:
        raise Damaged("its header is cut short")
    clear, sealed = header[: _CLEAR.size], header[_CLEAR.size : -4]
    _, major, _, file_id, passes, kib, salt = _CLEAR.unpack(clear)
    if major > _MAJOR:
        raise NewerFormat(f"its format is version {major}, this JobEngine reads up to {_MAJOR}; use a newer one")
    if _LENGTH.pack(crc32(clear + sealed)) != header[-4:]:
        raise Damaged("its header does not match its checksum; without the header no job can be read: restore a backup")
    if not (1 <= passes <= MAX_PASSES and 8 <= kib <= MAX_KIB):
        raise Damaged("its key derivation parameters are out of bounds")
    lock = Lock.derive(secret, Kdf(passes=passes, kib=kib), salt)
    return lock, Chain(box=SecretBox(_data_key(lock, clear, sealed)), file_id=file_id)


def format_version(header: bytes) -> str:
    """The format version in a valid header, such as "1.0"."""
    _, major, minor, *_ = _CLEAR.unpack_from(header)
    return f"{major}.{minor}"


def box_length(head: bytes, position: int) -> int:
    """
    The length in bytes of the box that follows a frame head. `head` is the FRAME_HEAD bytes at `position`; raises
    BadFrame if they are no valid head.
    """
    if len(head) < FRAME_HEAD:
        raise BadFrame("its head is cut short")
    marker, length, checksum = _HEAD.unpack(head)
    if marker != MARKER or checksum != _checksum(length, position):
        raise BadFrame("its head has a wrong marker or checksum")
    if not _BOX_OVERHEAD <= length <= MAX_BOX:
        raise BadFrame("its length is out of bounds")
    return int(length)


def frames_of(chain: Chain, kind: Kind, records: Sequence[bytes], position: int) -> tuple[list[bytes], Chain]:
    """
    The records as one frame, or as several if they are too long, to be written at `position`; and
    the chain after them.
    """
    frames = []
    for part in _parts(records):
        frame, chain = chain.seal(kind, part, position)
        frames.append(frame)
        position += len(frame)
    return frames, chain


def _parts(records: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Split the records into parts, each short enough for one frame."""
    begin = size = 0
    for at, record in enumerate(records):
        size += len(record)
        if size > _MOST and at > begin:
            yield records[begin:at]
            begin, size = at, len(record)
    yield records[begin:]


def _kind(number: int) -> Kind:
    try:
        return Kind(number)
    except ValueError:
        raise NewerFormat(f"a frame of kind {number} is not known to this JobEngine; use a newer one") from None


def _data_key(lock: Lock, clear: bytes, sealed: bytes) -> bytes:
    try:
        opened = SecretBox(lock.key).decrypt(sealed)
    except CryptoError:
        # Raise from None: the traceback of the cause would hold the key.
        raise WrongSecret("the SECRET is not the one this database was written with") from None
    if opened[32:] != _digest(clear):
        raise Damaged("its header was altered: it does not match the digest sealed with its data key")
    return bytes(opened[:32])


def _digest(clear: bytes) -> bytes:
    return blake2b(clear, digest_size=32).digest()


def _checksum(length: int, position: int) -> int:
    return crc32(_CHECKED.pack(length, position))


def _records(clear: bytes) -> tuple[bytes, ...]:
    """The records after the prefix, each preceded by its length; raises BadFrame unless the last one ends the frame."""
    records: list[bytes] = []
    at, end, size, length_at = _PREFIX.size, len(clear), _LENGTH.size, _LENGTH.unpack_from
    while at + size <= end:
        begin = at + size
        at = begin + length_at(clear, at)[0]
        records.append(clear[begin:at])
    if at != end:
        raise BadFrame("its records don't add up to its length")
    return tuple(records)
