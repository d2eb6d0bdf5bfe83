"""The connection to PostgreSQL breaks before, in or after a commit: a change is made once, or reported as unknown."""

import time
from collections.abc import Iterator
from itertools import count
from threading import Thread

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from twisted.internet.task import Clock

from jobengine.engine.door import OutcomeUnknown, Unavailable
from jobengine.engine.postgres.engine import PostgresEngine
from jobengine.storage.errors import StorageError
from tests.contract.asking import Asker
from tests.doubles import SECRET, AtOnce
from tests.engine.postgres.world import PostgresWorld
from tests.integration.cutting import UnixProxy
from tests.postgres import Cluster, Database, until_waiting

pytestmark = pytest.mark.slow

#: Bytes from one cut to the next; the answer to a COMMIT is short.
STEP = {"request": 197, "answer": 23}
#: Bytes from one cut to the next during the start: less than the length of a message.
START_STEP = 13


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[UnixProxy]:
    with UnixProxy(cluster.socket) as proxy:
        yield proxy


@pytest.fixture
def world(database: Database, proxy: UnixProxy, monkeypatch: pytest.MonkeyPatch) -> PostgresWorld:
    """An engine that reaches its database through the proxy; it retries without pauses."""
    database.clear()
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    through = make_conninfo(database.url, host="127.0.0.1", port=proxy.port, sslmode="disable")
    return PostgresWorld(database.url, through=through)


@pytest.fixture
def ask(world: PostgresWorld) -> Iterator[Asker]:
    asker = Asker(world)
    asker.create()
    yield asker
    world.close()


def _redone(world: PostgresWorld) -> float:
    """Batches that were carried out again."""
    (figures,) = world.all_of(world.engine.figures())
    (found,) = [one.value for one in figures if one.name == "batches_redone"]
    return float(found)


def _is_ready(world: PostgresWorld) -> bool:
    (readiness,) = world.all_of(world.engine.readiness())
    return bool(readiness.ready)


@pytest.mark.parametrize(("direction", "is_redone"), [("request", True), ("answer", False)])
def test_an_add_whose_database_connection_is_cut_at_any_byte_adds_one_job(
    world: PostgresWorld, ask: Asker, proxy: UnixProxy, direction: str, is_redone: bool
) -> None:
    ask.add()
    before, cuts = _redone(world), 0
    while True:
        proxy.cut(direction, cuts * STEP[direction])
        ask.add()
        if not proxy.has_cut():
            break
        cuts += 1
    assert len(ask.jobs()) == cuts + 2
    assert cuts > 3
    # If its answer is lost, the commit was made; if its request was cut, it was not, and the batch is redone.
    assert (_redone(world) > before) == is_redone


@pytest.mark.parametrize("direction", ["request", "answer"])
def test_a_claim_cut_at_any_point_claims_one_job(ask: Asker, proxy: UnixProxy, direction: str) -> None:
    uids = [ask.add().spec.uid for _ in range(80)]
    claimed: list[str] = []
    while len(claimed) < len(uids):
        proxy.cut(direction, len(claimed) * STEP[direction])
        claimed.append(ask.hold().spec.uid)
        if not proxy.has_cut():
            break
    assert claimed == uids[: len(claimed)]
    assert len(claimed) > 3


def test_creating_a_queue_succeeds_if_the_database_answer_is_cut_at_any_byte(ask: Asker, proxy: UnixProxy) -> None:
    for number in range(1, 40):
        proxy.cut("answer", number * 49)
        ask.create(f"queue {number}")
        if not proxy.has_cut():
            break
    assert number > 3


def test_a_batch_is_not_repeated_while_the_database_may_still_commit_the_first_attempt(
    world: PostgresWorld, ask: Asker, proxy: UnixProxy
) -> None:
    ask.add()
    world.control.execute("BEGIN")
    world.control.execute("LOCK TABLE tally IN EXCLUSIVE MODE")
    breaker = Thread(target=_break_while_it_waits, args=(world.control, proxy))
    breaker.start()
    ask.add()
    breaker.join()
    assert len(ask.jobs()) == 2


def _break_while_it_waits(control: "psycopg.Connection[object]", proxy: UnixProxy) -> None:
    """Break the connection of the server process that waits for the lock; release the lock when the next one waits."""
    until_waiting(control, 1)
    proxy.break_all()
    until_waiting(control, 2)
    control.execute("ROLLBACK")


@pytest.mark.parametrize("direction", ["request", "answer"])
def test_a_start_whose_connection_is_cut_at_any_byte_fails_with_a_message(
    database: Database, proxy: UnixProxy, direction: str
) -> None:
    through = make_conninfo(database.url, host="127.0.0.1", port=proxy.port, sslmode="disable")
    told = set[str]()
    for cuts in count():
        engine = PostgresEngine(
            url=through, secret=lambda: SECRET, thread=lambda _: AtOnce(), clock=Clock(), new_id=str
        )
        proxy.cut(direction, cuts * START_STEP)
        try:
            engine.open()
        except StorageError as error:
            told.add(str(error).partition(";")[0].partition(",")[0].partition(" (")[0])
            assert proxy.has_cut()
        else:
            # The last message only ends the connection: the start succeeds without it.
            if not proxy.has_cut():
                break
    assert cuts > 20
    assert told == {"the database can't be reached", "the connection to the database was lost during the start"}


@pytest.mark.parametrize(("direction", "is_made"), [("request", False), ("answer", True)])
def test_an_add_cut_by_a_database_outage_has_an_unknown_outcome_and_the_next_sweep_reconnects(
    world: PostgresWorld, ask: Asker, proxy: UnixProxy, direction: str, is_made: bool
) -> None:
    length, jobs = _length(ask, proxy, direction), len(ask.jobs())
    # Cut within the COMMIT, which ends a request, or anywhere in its answer except the last byte.
    proxy.cut(direction, length - 1 if is_made else length - 100)
    proxy.refuses = True
    with pytest.raises(OutcomeUnknown):
        ask.add()
    assert proxy.has_cut()
    with pytest.raises(Unavailable):
        ask.add()
    proxy.break_all()
    world.advance(1)
    assert not _is_ready(world)
    proxy.refuses = False
    world.advance(1)
    assert _is_ready(world)
    assert len(ask.jobs()) == jobs + is_made


def _length(ask: Asker, proxy: UnixProxy, direction: str) -> int:
    """Bytes that an add sends in this direction, once its statements are prepared."""
    for _ in range(6):
        ask.add()
    proxy.cut(direction, 1 << 30)
    ask.add()
    return proxy.passed(direction, 1 << 30)


def test_an_add_cut_off_from_a_database_turned_read_only_has_an_unknown_outcome_and_is_not_repeated(
    world: PostgresWorld, ask: Asker, proxy: UnixProxy
) -> None:
    length, jobs = _length(ask, proxy, "answer"), len(ask.jobs())
    change = "ALTER DATABASE {} {} default_transaction_read_only"
    name = sql.Identifier(world.control.info.dbname)
    world.control.execute(sql.SQL(change + " = on").format(name, sql.SQL("SET")))
    proxy.cut("answer", length - 1)
    with pytest.raises(OutcomeUnknown):
        ask.add()
    assert proxy.has_cut()
    world.control.execute(sql.SQL(change).format(name, sql.SQL("RESET")))
    assert len(ask.jobs()) == jobs + 1
