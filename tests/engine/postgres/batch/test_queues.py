"""What making a queue reads, however many queues there are."""

from collections.abc import Callable, Iterable

import pytest

from jobengine.core import commands as c
from jobengine.core.errors import QueueExists, TooManyQueues
from jobengine.engine.postgres.batch.session import Session
from jobengine.engine.postgres.database.pipeline import Row, Statement, Trips
from jobengine.engine.postgres.database.rows import Rows
from tests.contract.asking import KEY

pytestmark = pytest.mark.slow

MANY = 200


def _make(session: Session, name: str, most: int | None = None) -> None:
    (outcome,) = session.carry_out([c.CreateQueue(queue=name, access_key=KEY, max_queues=most)]).outcomes
    outcome.get()


@pytest.mark.parametrize("most", [None, 10_000])
def test_creating_a_queue_reads_equally_much_however_many_there_are(
    session: Session, monkeypatch: pytest.MonkeyPatch, most: int | None
) -> None:
    read: list[int] = []
    make = Trips.make

    def note(trips: Trips, statements: Iterable[Statement], sent: Callable[[], None]) -> list[list[Row]]:
        answers = make(trips, statements, sent)
        read.extend(map(len, answers))
        return answers

    def refuse(*_: object) -> None:
        raise AssertionError("a queue was opened")

    monkeypatch.setattr(Trips, "make", note)
    _make(session, "first", most)
    few = read.copy()
    for number in range(MANY):
        _make(session, f"queue {number}", most)
    read.clear()
    monkeypatch.setattr(Rows, "queue", refuse)
    _make(session, "last", most)
    assert sum(read) == sum(few)
    # Plans are forgotten once a second, by a statement of its own.
    assert abs(len(read) - len(few)) <= 1


def test_creating_a_queue_is_refused_if_its_name_is_taken_or_the_limit_is_reached(session: Session) -> None:
    for number in range(3):
        _make(session, f"queue {number}", 3)
    with pytest.raises(QueueExists):
        _make(session, "queue 1", 3)
    with pytest.raises(TooManyQueues):
        _make(session, "another", 3)
    # Then the numbers of queues no longer say how many there are.
    session.carry_out([c.DeleteQueue(queue="queue 1", access_key=KEY)])
    _make(session, "another", 3)
    with pytest.raises(TooManyQueues):
        _make(session, "queue 1", 3)
    _make(session, "queue 1")
