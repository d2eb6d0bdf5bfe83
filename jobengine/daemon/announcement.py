"""The log lines at a server's start: database, address and dashboard."""

from attrs import frozen

#: Addresses that mean every address of the machine, and their replacements for a browser on the machine.
_EVERYWHERE = {"//0.0.0.0:": "//localhost:", "//[::]:": "//localhost:"}


@frozen(kw_only=True)
class Announcement:
    """Makes the log lines about a start."""

    #: The absolute path of the database; None if PostgreSQL keeps the jobs.
    db_path: str | None
    #: Whether the database is new: its file did not exist before this start.
    is_new: bool
    #: Whether browsers get a dashboard.
    dashboard: bool
    #: The settings that have no effect, because LISTEN is set.
    ignored: tuple[str, ...] = ()

    def ready(self, place: str) -> str:
        """The line for a server that is ready at `place`, an address such as http://127.0.0.1:6006."""
        database = "PostgreSQL as its database" if self.db_path is None else f"the database {self.db_path}"
        return f"JobEngine is ready at {place}, with {database}{self._dashboard(place)}"

    def _dashboard(self, place: str) -> str:
        if not self.dashboard or not place.startswith("http"):
            return ""
        for everywhere, here in _EVERYWHERE.items():
            place = place.replace(everywhere, here)
        return f" and the dashboard {place}/"

    def warnings(self) -> list[str]:
        """Warnings about settings without effect, and about a new database, whose DB_PATH may be mistaken."""
        found = []
        if self.ignored:
            found.append(f"LISTEN is used; ignored: {', '.join(self.ignored)}")
        if self.is_new:
            new = f"the database {self.db_path} is new: this start created it; if it should have jobs, check DB_PATH"
            found.append(new)
        return found
