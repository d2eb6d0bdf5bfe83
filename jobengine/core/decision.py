"""What all rules share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from .errors import JobNotFound, QueueNotFound
from .facts import Fact
from .model import Job, Recent
from .tables import Table, TableSet

__all__ = ["NOTHING", "Decision", "Lately", "NewId", "Rules", "job_of", "table_of"]

#: Makes a random UUID as text at each call.
NewId = Callable[[], str]

A = TypeVar("A")
#: Facts, and the answer.
Decision = tuple[Sequence[Fact], A]
#: Functions that decide a command, by the type of the command.
Rules = Mapping[type, Callable[..., Decision[Any]]]

#: The facts of a command that changes nothing.
NOTHING: Final[tuple[Fact, ...]] = ()


class Lately(Protocol):
    """Gives the recent activity of a queue by its name."""

    def recent(self, name: str) -> Recent:
        """In the last minute and hour."""

    def since_start(self, name: str) -> Mapping[str, int]:
        """Since the engine was started; see QueueTotals."""


def table_of(tables: TableSet, name: str) -> Table:
    """The table of a queue; raises QueueNotFound."""
    table = tables.queues.get(name)
    if table is None:
        raise QueueNotFound(name)
    return table


def job_of(table: Table, uid: str) -> Job:
    """A job of a queue; raises JobNotFound."""
    job = table.job(uid)
    if job is None:
        raise JobNotFound(uid)
    return job
