"""Restarts clients in a forked child process."""

import os
import weakref
from typing import Protocol


class _Forgets(Protocol):
    def _after_fork(self) -> None:
        """Restart in the child process."""


_clients: "weakref.WeakSet[_Forgets]" = weakref.WeakSet()


def forget_in_children(client: _Forgets) -> None:
    """Call the client's `_after_fork` in each child process, as long as the client exists."""
    _clients.add(client)


def _after_fork() -> None:
    for client in list(_clients):
        client._after_fork()


if hasattr(os, "register_at_fork"):  # not on systems without fork
    os.register_at_fork(after_in_child=_after_fork)
