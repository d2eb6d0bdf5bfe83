"""A queue is not created if its name is taken or the limit is reached."""

import pytest

from jobengine.core import commands as c
from jobengine.core.errors import QueueExists, TooManyQueues
from jobengine.engine.postgres.batch.session import Session
from tests.contract.asking import KEY

pytestmark = pytest.mark.slow


def _make(session: Session, name: str, most: int | None = None) -> None:
    (outcome,) = session.carry_out([c.CreateQueue(queue=name, access_key=KEY, max_queues=most)]).outcomes
    outcome.get()


def test_creating_a_queue_is_refused_if_its_name_is_taken_or_the_limit_is_reached(session: Session) -> None:
    for number in range(3):
        _make(session, f"queue {number}", 3)
    with pytest.raises(QueueExists):
        _make(session, "queue 1", 3)
    with pytest.raises(TooManyQueues):
        _make(session, "another", 3)
    # Now the highest queue number exceeds the number of queues.
    session.carry_out([c.DeleteQueue(queue="queue 1", access_key=KEY)])
    _make(session, "another", 3)
    with pytest.raises(TooManyQueues):
        _make(session, "queue 1", 3)
    _make(session, "queue 1")
