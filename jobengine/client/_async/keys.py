"""The keys of a queue."""

from typing import Any, Protocol

from .. import calls
from ..secret import Secret, as_secret
from ..values import AccessKey


class AsyncOwner(Protocol):
    """The queue, as its keys use it."""

    name: str

    async def _ask(self, call: calls.Call[Any], **more: Any) -> Any: ...


class AsyncKeys:
    """The keys of a queue, except the owner's."""

    def __init__(self, queue: AsyncOwner) -> None:
        self._queue = queue

    async def add(self, role: str, key: str | Secret) -> AccessKey:
        """Add a key with a role: producer, worker or viewer."""
        key = as_secret(key)
        body = {"queue_name": self._queue.name, "role": role, "access_key": key}
        added: AccessKey = await self._queue._ask(calls.ADD_KEY, body=body)
        return added

    async def list(self) -> "list[AccessKey]":
        """The keys, oldest first."""
        keys: list[AccessKey] = await self._queue._ask(calls.LIST_KEYS, query={"name": self._queue.name})
        return keys

    async def revoke(self, id: str) -> None:  # noqa: A002  # the word of the API
        """Revoke the key with this id."""
        await self._queue._ask(calls.REVOKE_KEY, query={"name": self._queue.name, "keyID": id})
