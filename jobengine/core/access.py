"""
Access keys and roles: keys are kept as keyed digests and compared in constant time; each command names its roles.

A key is checked at every request, so the digest is one fast keyed hash (BLAKE2b, RFC 7693) and not a slow one; the
database that holds it is encrypted as a whole. A database from the Go version has only the SHA-512 of each owner's key:
a digest of the SHA-512 is kept, and marked, until the key is first used.
"""

from hashlib import blake2b, sha512
from hmac import compare_digest
from typing import Final, Protocol
from uuid import UUID

from attrs import evolve

from .errors import AccessDenied, NotAllowed
from .model import Grant, Queue, Role

#: Roles: only the owner; every set below includes the owner too.
OWNERS: Final = frozenset({Role.OWNER})
READERS: Final = frozenset({Role.OWNER, Role.VIEWER})
WORKERS: Final = frozenset({Role.OWNER, Role.WORKER})
PRODUCERS: Final = frozenset({Role.OWNER, Role.PRODUCER})

#: Marks digests made from a key's SHA-512, not from the key.
_OF_SHA512: Final = "sha512:"
#: The grant of the owner's key, and of the server's admin key.
_ALL: Final = Grant(Role.OWNER)


def digest_of(access_key: bytes, salt: str) -> str:
    """The stored digest of an access key, as 64 hexadecimal characters; `salt` is at most 64 bytes."""
    return blake2b(access_key, key=salt.encode(), digest_size=32, person=b"je-access").hexdigest()


def digest_of_sha512(hexadecimal: str, salt: str) -> str:
    """The stored digest of a key that is known only by its SHA-512: `hexadecimal`, 128 characters in lower case."""
    return _OF_SHA512 + digest_of(hexadecimal.encode(), salt)


def is_of_go_version(queue: Queue) -> bool:
    """Whether only the SHA-512 of the owner's key is known."""
    return queue.digest.startswith(_OF_SHA512)


def with_own_digest(queue: Queue, access_key: bytes) -> Queue | None:
    """
    The queue with a digest of the owner's key instead of a digest of the key's SHA-512.

    None if the queue has such a digest already, or `access_key` is not the owner's key.
    """
    if not is_of_go_version(queue):
        return None
    digest = digest_of(access_key, queue.salt)
    return evolve(queue, digest=digest) if _is_of(queue.digest, queue, access_key, digest) else None


def derived_uid(queue: Queue, idempotency_key: str, key_id: str | None) -> str:
    """The uid of a job added with an Idempotency-Key and the access key `key_id`: the same at each repetition."""
    text = f"{key_id or ''}/{idempotency_key}"
    digest = blake2b(text.encode(), key=queue.salt.encode(), digest_size=16, person=b"je-once").digest()
    return str(UUID(bytes=digest, version=4))


class Keyed(Protocol):
    """What `authorise` uses of a command about one queue; see QueueCommand."""

    @property
    def roles(self) -> frozenset[Role]:
        """The roles that may send the command."""

    @property
    def access_key(self) -> bytes:
        """The key; ignored if `admin`."""

    @property
    def admin(self) -> bool:
        """Whether the server's admin key was sent."""

    @property
    def named_in(self) -> str | None:
        """The field of the request that names the queue; None for the request's own queue."""


def authorise(queue: Queue, command: Keyed, now: int) -> Grant:
    """
    Check the key of a command and return its grant for `queue` at `now`; raises AccessDenied or NotAllowed.

    Takes the same time for every wrong key.
    """
    grant = _ALL if command.admin else _grant(queue, command.access_key, now)
    if grant is None:
        raise AccessDenied(queue.name, command.named_in)
    if grant.role not in command.roles:
        raise NotAllowed(queue.name, grant.role)
    return grant


def _grant(queue: Queue, access_key: bytes, now: int) -> Grant | None:
    digest = digest_of(access_key, queue.salt)
    found = None
    for key in queue.keys:
        if compare_digest(digest, key.digest):
            found = Grant(key.role, key.id)
    old = queue.old_key
    if old is not None and _is_of(old.digest, queue, access_key, digest) and now < old.until:
        found = _ALL
    # The owner's key is checked last: if it was also added with a role, it must still open everything.
    if _is_of(queue.digest, queue, access_key, digest):
        found = _ALL
    return found


def _is_of(kept: str, queue: Queue, access_key: bytes, digest: str) -> bool:
    """Whether `kept` is a stored digest of this key; `digest` is what `digest_of` returns for the key."""
    if kept.startswith(_OF_SHA512):
        digest = digest_of_sha512(sha512(access_key).hexdigest(), queue.salt)
    return compare_digest(digest, kept)
