"""
The engine on PostgreSQL without locked rows, as on databases that keep rows on many machines.

Only what differs is tried here. `make torture` tries the whole contract (optimistic_engine.py).
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.errors import QueueFull
from jobengine.core.model import Defaults, State
from jobengine.engine.ids import new_uuid
from jobengine.engine.postgres import profile
from jobengine.engine.postgres.batch.session import Session
from jobengine.engine.postgres.database.connection import connected
from jobengine.engine.postgres.profile import LOCKING, OPTIMISTIC, profile_of
from jobengine.engine.waiting_line import Refused
from tests.contract.asking import KEY
from tests.contract.many import ManyContract
from tests.contract.postgres_world import PostgresWorld, session_on
from tests.postgres import Database

pytestmark = pytest.mark.slow

WHO: dict[str, Any] = {"queue": "q", "access_key": KEY}
SOURCES = sorted(Path(profile.__file__).parent.glob("*.py"))
#: What some of those databases lack.
LACKING = re.compile(
    r"advisory|\bTRIGGER\b|\bctid\b|\bDEFERRABLE\b|\bLOCK TABLE\b|\bAS (MATERIALIZED )?\((INSERT|UPDATE|DELETE)\b"
)


@pytest.fixture
def world(database: Database) -> Iterator[PostgresWorld]:
    database.clear()
    world = PostgresWorld(database.url, profile=OPTIMISTIC)
    yield world
    world.close()


class TestOptimisticEngine(ManyContract):
    """The part of the contract that loads and writes many rows at once."""


class Meanwhile:
    """Makes ids; before the first it has something else done, which comes between loading and writing."""

    def __init__(self) -> None:
        self.then: list[Callable[[], Any]] = []

    def __call__(self) -> str:
        while self.then:
            self.then.pop()()
        return new_uuid()


@pytest.fixture
def meanwhile() -> Meanwhile:
    return Meanwhile()


@pytest.fixture
def sessions(database: Database, meanwhile: Meanwhile) -> Iterator[tuple[Session, Session]]:
    """Two; a batch of the first one has something done meanwhile."""
    database.clear()
    both = (
        session_on(database.url, new_id=meanwhile, profile=OPTIMISTIC),
        session_on(database.url, profile=OPTIMISTIC),
    )
    _ask(both[1], c.CreateQueue(**WHO))
    yield both
    for session in both:
        session.close()


def _ask(session: Session, task: c.Command[Any]) -> Any:
    (outcome,) = session.carry_out([task]).outcomes
    return outcome


def _adding(**job: Any) -> c.AddJobs:
    return c.AddJobs(**WHO, jobs=(c.NewJob(content=b"{}", **job),), defaults=Defaults())


def _claimed(session: Session) -> list[str]:
    claims = c.Claims(queues=("q",), access_key=KEY)
    return [one.job.spec.uid for one in _ask(session, claims).get().jobs]


def test_a_job_that_was_claimed_between_loading_and_writing_is_not_claimed_again(
    sessions: tuple[Session, Session], meanwhile: Meanwhile
) -> None:
    first, second = sessions
    uids = [_ask(second, _adding()).get()[0].job.spec.uid for _ in range(2)]
    other: list[str] = []
    meanwhile.then = [lambda: other.extend(_claimed(second))]
    assert (_claimed(first), other) == (uids[1:], uids[:1])
    assert first.totals.redone == 1


def test_a_unique_key_that_was_used_before_is_given_to_one_job_though_no_row_is_locked(
    sessions: tuple[Session, Session], meanwhile: Meanwhile
) -> None:
    first, second = sessions
    keyed, other = _adding(unique_key="k"), list[Any]()
    _ask(second, keyed)
    done = c.JobUpdate(uid=_claimed(second)[0], changes=c.Changes(state=State.COMPLETE))
    _ask(second, c.UpdateJobs(**WHO, updates=(done,)))
    meanwhile.then = [lambda: other.append(_ask(second, keyed))]
    (job,), (same,) = _ask(first, keyed).get(), other[0].get()
    assert job.job.spec.uid == same.job.spec.uid
    assert first.totals.redone == 1


def test_a_queue_takes_no_more_jobs_than_it_may_though_no_row_is_locked(
    sessions: tuple[Session, Session], meanwhile: Meanwhile
) -> None:
    first, second = sessions
    _ask(second, c.ChangeQueue(**WHO, max_jobs=1))
    meanwhile.then = [lambda: _ask(second, _adding())]
    refused = _ask(first, _adding())
    assert isinstance(refused, Refused)
    assert isinstance(refused.error, QueueFull)


# Which profile


class _Says:
    """A connection to a database that says which version it has."""

    def __init__(self, version: str) -> None:
        self.version = version

    def execute(self, _query: str) -> "_Says":
        return self

    def fetchall(self) -> list[tuple[str]]:
        return [(self.version,)]


@pytest.mark.parametrize(
    ("version", "its"),
    [
        ("CockroachDB CCL v24.1.0 (x86_64-pc-linux-gnu, built 2024/05/15, go1.22.2)", OPTIMISTIC),
        ("PostgreSQL 11.2-YB-2.20.1.0-b0 on x86_64-pc-linux-gnu, compiled by clang", OPTIMISTIC),
        ("PostgreSQL 17.2 (Debian 17.2-1) on x86_64-pc-linux-gnu, compiled by gcc", LOCKING),
    ],
)
def test_the_profile_goes_by_what_the_database_says_that_it_is(version: str, its: Any) -> None:
    says: Any = _Says(version)
    assert profile_of(says) is its


def test_postgresql_itself_has_its_rows_locked(database: Database) -> None:
    with connected(database.url) as connection:
        assert profile_of(connection) is LOCKING


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_statement_uses_what_those_databases_lack(path: Path) -> None:
    texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    assert [text for text in texts if isinstance(text, str) and LACKING.search(text)] == []
