"""
Encrypts client data before it goes to the database; the data can be read only with the SECRET.

The SECRET decrypts the data key. The data key encrypts records, and keys the digests by which names, tags and unique
keys are looked up.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from attrs import field, frozen
from nacl.bindings import crypto_secretbox_easy
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox
from nacl.utils import random

from ....storage.errors import Damaged, WrongSecret
from ....storage.frames import MAX_KIB, MAX_PASSES, Kdf, Lock

_DIGEST_BYTES: Final = 16
#: The bytes of a sealed data key.
_SEALED_KEY: Final = SecretBox.NONCE_SIZE + SecretBox.MACBYTES + SecretBox.KEY_SIZE


@frozen
class SealedKey:
    """The data key as stored, and the parameters of its encryption with the SECRET."""

    kdf: Kdf
    #: The 16 bytes of the salt.
    salt: bytes
    sealed: bytes


@frozen
class Seal:
    """Seals and opens records."""

    _key: bytes = field(repr=False)
    _box: SecretBox = field(init=False, repr=False)

    @_box.default
    def _make_box(self) -> SecretBox:
        return SecretBox(self._key)

    def seal(self, record: bytes) -> bytes:
        """The record, encrypted and authenticated, which makes it 40 bytes longer."""
        return self.seal_all([record])[0]

    def seal_all(self, records: Sequence[bytes]) -> list[bytes]:
        """Like `seal` for each record, but a third faster."""
        key, size = self._key, SecretBox.NONCE_SIZE
        random_bytes = random(size * len(records))
        nonces = [random_bytes[at : at + size] for at in range(0, len(random_bytes), size)]
        return [nonce + crypto_secretbox_easy(one, nonce, key) for nonce, one in zip(nonces, records, strict=True)]

    def open(self, sealed: bytes) -> bytes:
        """The record; raises Damaged if it was altered."""
        try:
            return bytes(self._box.decrypt(sealed))
        except (CryptoError, ValueError):
            raise Damaged("a row fails authentication: it was altered or damaged") from None

    def digest(self, kind: bytes, text: str) -> bytes:
        """
        The 16-byte digest by which a text is looked up. `kind`, at most 16 bytes, makes the digests of names, tags and
        keys differ.
        """
        return blake2b(text.encode(), key=self._key, digest_size=_DIGEST_BYTES, person=kind).digest()


def new_key(secret: bytes, kdf: Kdf) -> SealedKey:
    """A new data key, sealed with a key derived from the SECRET."""
    lock = Lock.derive(secret, kdf)
    return SealedKey(kdf, lock.salt, bytes(SecretBox(lock.key).encrypt(random(SecretBox.KEY_SIZE))))


def _may_be_key(kept: SealedKey) -> bool:
    """
    Whether a row may hold a data key. Decrypting any other row would fail with meaningless errors,
    or use all memory.
    """
    kdf = kept.kdf
    is_kdf = 1 <= kdf.passes <= MAX_PASSES and 8 <= kdf.kib <= MAX_KIB
    return is_kdf and len(kept.salt) == argon2id.SALTBYTES and len(kept.sealed) == _SEALED_KEY


def open_key(kept: SealedKey, secret: bytes) -> Seal:
    """Decrypt the data key, for a Seal; raises WrongSecret, and Damaged if the row can't hold a key."""
    if not _may_be_key(kept):
        raise Damaged("the row of the table meta was altered; restore it from a backup")
    lock = Lock.derive(secret, kept.kdf, kept.salt)
    try:
        return Seal(bytes(SecretBox(lock.key).decrypt(kept.sealed)))
    except CryptoError:
        # Raise from None: the traceback of the cause would hold the key.
        raise WrongSecret("the SECRET is not the one this database was made with") from None
