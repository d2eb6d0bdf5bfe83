"""The log lines at a server's start: database, address and dashboard."""

import os
from ipaddress import ip_address
from urllib.parse import urlsplit

from attrs import frozen

#: Addresses that mean every address of the machine, and their replacements for a browser on the machine.
_EVERYWHERE = {"//0.0.0.0:": "//localhost:", "//[::]:": "//localhost:"}


@frozen(kw_only=True)
class Announcement:
    """Makes the log lines about a start."""

    #: The absolute path of the database; None if PostgreSQL keeps the jobs.
    db_path: str | None
    #: What the log calls the PostgreSQL that keeps the jobs: its database and host; empty if a file keeps them.
    postgres: str = ""
    #: Whether the database is new: its file did not exist before this start.
    is_new: bool
    #: Whether browsers get a dashboard.
    dashboard: bool
    #: The settings that have no effect, because LISTEN is set.
    ignored: tuple[str, ...] = ()
    #: A sentence about certificates in the server's files that it does not send; empty if it sends all.
    unsent_chain: str = ""
    #: Sentences about environment variables that resemble settings.
    mistyped: tuple[str, ...] = ()
    #: Sentences about environment variables that only clients read.
    hints: tuple[str, ...] = ()
    #: Whether there is an admin key.
    has_admin_key: bool = True
    #: Why the admin key and the SECRET can be guessed; empty if they can't.
    weak_admin_key: str = ""
    weak_secret: str = ""
    #: Whether the server is in a container: then the published ports decide who can reach it.
    in_container: bool = False

    def ready(self, place: str) -> str:
        """The line for a server that is ready at `place`, an address such as http://127.0.0.1:6006."""
        database = self.postgres if self.db_path is None else f"the database {self.db_path}"
        return f"JobEngine is ready at {place}, with {database}{self._dashboard(place)}"

    def _dashboard(self, place: str) -> str:
        if not self.dashboard or not place.startswith("http"):
            return ""
        for everywhere, here in _EVERYWHERE.items():
            place = place.replace(everywhere, here)
        return f" and the dashboard {place}/"

    def warnings(self, place: str) -> list[str]:
        """
        Warnings about settings without effect, about certificates that are not sent, about a missing or weak admin key
        of a server at `place`, about a weak SECRET, about a new database, whose DB_PATH may be mistaken, and about a
        directory that prevents compactions.
        """
        found = []
        if self.ignored:
            found.append(f"LISTEN is used; ignored: {', '.join(self.ignored)}")
        if self.unsent_chain:
            found.append(self.unsent_chain)
        if self.weak_admin_key:
            found.append(f"ADMIN_KEY, which opens every queue, {self.weak_admin_key} and can be guessed")
        if self.weak_secret:
            found.append(f"SECRET, which encrypts the database, {self.weak_secret} and can be guessed")
        if not self.has_admin_key and not self.in_container and _is_exposed(place):
            found.append(f"ADMIN_KEY is not set, so everybody who can reach {place} can create queues")
        if self.is_new:
            new = f"the database {self.db_path} is new: this start created it; if it should have jobs, check DB_PATH"
            found.append(new)
        return found + self._about_directory()

    def _about_directory(self) -> list[str]:
        directory = "" if self.db_path is None else os.path.dirname(self.db_path)
        if not directory or os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
            return []
        return [f"the directory {directory} can't be written: the database file is never compacted, and only grows"]


def _is_exposed(place: str) -> bool:
    """Whether the address of a server is one that other machines may reach."""
    try:
        host = urlsplit(place).hostname
        return host is not None and not ip_address(host).is_loopback
    except ValueError:
        return False
