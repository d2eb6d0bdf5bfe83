"""A server on PostgreSQL with only one session, and the statements that it sends."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from attrs import define, field

from jobengine.core import commands as c
from jobengine.core.model import Defaults
from jobengine.engine.ids import new_uuid
from jobengine.engine.postgres.batch.plan import Task
from jobengine.engine.postgres.batch.session import Session
from jobengine.engine.postgres.database.pipeline import Row, Statement, Trips
from tests.contract.asking import KEY
from tests.engine.postgres.world import session_on

WHO: dict[str, Any] = {"queue": "q", "access_key": KEY}


@define
class Server:
    """A session that calls `meanwhile` once, after it has loaded the rows to add or claim a job."""

    session: Session = field(init=False)
    meanwhile: Callable[[], object] = int

    @classmethod
    def on(cls, url: str, **parts: Any) -> "Server":
        """A server on a database."""
        server = cls()
        server.session = session_on(url, new_id=server._new_id, **parts)
        return server

    def _new_id(self) -> str:
        happens, self.meanwhile = self.meanwhile, int
        happens()
        return new_uuid()

    def ask(self, *tasks: Task) -> list[Any]:
        """Carry out tasks as one batch; returns their answers."""
        return [outcome.get() for outcome in self.session.carry_out(tasks).outcomes]

    def add(self, number: int = 1, **asked: Any) -> list[str]:
        """The uids of new jobs."""
        jobs = tuple(c.NewJob(content=b"{}", **asked) for _ in range(number))
        (added,) = self.ask(c.AddJobs(**WHO, jobs=jobs, defaults=Defaults()))
        return [one.job.spec.uid for one in added]

    def claim(self, *before: Task, count: int = 1) -> list[str]:
        """The uids of claimed jobs; the tasks `before` are in the same batch."""
        *_, claimed = self.ask(*before, c.Claims(queues=("q",), access_key=KEY, count=count))
        return [one.job.spec.uid for one in claimed.jobs]


def statements_sent(monkeypatch: pytest.MonkeyPatch) -> list[Statement]:
    """The statements that batches send from now on."""
    sent: list[Statement] = []
    make = Trips.make

    def note(trips: Trips, statements: Iterable[Statement], all_sent: Callable[[], None]) -> list[list[Row]]:
        made = list(statements)
        sent.extend(made)
        return make(trips, made, all_sent)

    monkeypatch.setattr(Trips, "make", note)
    return sent
