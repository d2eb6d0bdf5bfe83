"""The measurements of a session."""

from attrs import define


@define
class Totals:
    """A session's measurements since its start."""

    batches: int = 0
    tasks: int = 0
    seconds: float = 0
    redone: int = 0
    connected: int = 0
    round_trips: int = 0
    #: The seconds for which the database's oldest snapshot had been open at the last measurement.
    oldest_snapshot: float = 0
    #: The number of damaged jobs in all queues at the last count.
    damaged_jobs: int = 0

    def count_round_trip(self) -> None:
        """Count one more round trip."""
        self.round_trips += 1
