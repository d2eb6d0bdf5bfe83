"""
Access keys: kept as keyed digests, compared in constant time.

A key is checked at every request, so the digest is one fast keyed hash (BLAKE2b, RFC 7693) and not a slow one; the
database that holds it is encrypted as a whole.
"""

from hashlib import blake2b
from hmac import compare_digest

from .model import Queue

__all__ = ["digest_of", "opens"]


def digest_of(access_key: bytes, salt: str) -> str:
    """The digest under which an access key is kept, as 64 hexadecimal characters; `salt` is at most 64 bytes."""
    return blake2b(access_key, key=salt.encode(), digest_size=32, person=b"je-access").hexdigest()


def opens(queue: Queue, access_key: bytes) -> bool:
    """Whether `access_key` is the key of `queue`; takes the same time for every wrong key."""
    return compare_digest(digest_of(access_key, queue.salt), queue.digest)
