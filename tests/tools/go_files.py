"""Databases of the Go version, encrypted by a different library than the one that JobEngine decrypts them with."""

import json
from collections.abc import Mapping, Sequence
from hashlib import md5, sha512
from typing import Any

from Crypto.Cipher import AES

GO_SECRET = b"the secret of the Go version"
CREATED = 1_700_000_000


def go_job(number: int, **more: Any) -> dict[str, Any]:
    return {
        "uid": f"00000000-0000-4000-8000-{number:012}",
        "priority": 0,
        "keep_minutes": 60,
        "timeout_minutes": 10,
        "created": CREATED,
        "last_updated": CREATED + number,
        "timeout_time": 0,
        "content": {"n": number},
        "state": "queued",
        **more,
    }


def go_queue(name: str, key: bytes, jobs: Sequence[Mapping[str, Any]] | None, **more: Any) -> dict[str, Any]:
    access_key = sha512(key).hexdigest()
    return {"jobs": jobs, "access_key": access_key, "size": len(jobs or ()), "name": name, **more}


def sealed(text: bytes, secret: bytes = GO_SECRET) -> bytes:
    """The text as the Go version writes it."""
    nonce = bytes(range(12))
    cipher = AES.new(md5(secret).hexdigest().encode(), AES.MODE_GCM, nonce=nonce)
    text, tag = cipher.encrypt_and_digest(text)
    return nonce + text + tag


def go_file(*queues: Mapping[str, Any]) -> bytes:
    return sealed(json.dumps({"queues": {queue["name"]: queue for queue in queues}}).encode())
