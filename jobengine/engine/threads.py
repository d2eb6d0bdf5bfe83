"""The threads on which an engine runs its blocking calls."""

from typing import Protocol

from ..storage.committer import Run


class Thread(Run, Protocol):
    """A thread for the disk, or for a connection; see jobengine.storage.disk_thread.DiskThread."""

    def start(self) -> None:
        """Begin to run calls."""

    def stop(self) -> None:
        """Run the calls that wait, then end."""
