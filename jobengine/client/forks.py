"""Tells clients when the process they are in is a fork of the one they were made in."""

import os
import weakref
from typing import Protocol

__all__ = ["forget_in_children"]


class _Forgets(Protocol):
    def after_fork(self) -> None:
        """Begin anew, in the child process."""


_clients: "weakref.WeakSet[_Forgets]" = weakref.WeakSet()


def forget_in_children(client: _Forgets) -> None:
    """Call `after_fork` of the client in each child process, as long as the client is there."""
    _clients.add(client)


def _after_fork() -> None:
    for client in list(_clients):
        client.after_fork()


if hasattr(os, "register_at_fork"):  # not where there is no fork
    os.register_at_fork(after_in_child=_after_fork)
