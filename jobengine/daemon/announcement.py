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

    def warning(self) -> str:
        """A warning after the first start of a new database, which may be a mistaken DB_PATH; otherwise empty."""
        if not self.is_new:
            return ""
        return f"the database {self.db_path} is new: this start created it; if it should have jobs, check DB_PATH"
