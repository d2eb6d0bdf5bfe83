# Made from _async/keys.py by tests/client/twin.py: edit that one and run it again.
"""The keys of a queue."""

from .. import calls
from ..secret import Secret, as_secret
from ..values import AccessKey
from .queue_calls import QueueCalls


class Keys:
    """The keys of a queue, except the owner's."""

    def __init__(self, queue: QueueCalls) -> None:
        self._queue = queue

    def add(self, role: str, key: str | Secret) -> AccessKey:
        """Add a key with a role: producer, worker or viewer."""
        key = as_secret(key)
        body = {"queue_name": self._queue.name, "role": role, "access_key": key}
        return self._queue._ask(calls.ADD_KEY, body=body)

    def list(self) -> "list[AccessKey]":
        """The keys, oldest first."""
        return self._queue._ask(calls.LIST_KEYS, query={"name": self._queue.name})

    def revoke(self, id: str) -> None:  # noqa: A002  # the word of the API
        """Revoke the key with this id."""
        self._queue._ask(calls.REVOKE_KEY, query={"name": self._queue.name, "keyID": id})
