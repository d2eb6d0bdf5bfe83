"""Groups: recounted, imported, and in a database of a version without groups."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from psycopg import Connection

from jobengine.core import commands as c
from jobengine.core.facts import ItemSet, JobAdded, QueueCreated
from jobengine.core.flow import GATE, Limits, Rate
from jobengine.core.model import State
from jobengine.engine.postgres.database.connection import connected
from jobengine.engine.postgres.database.pipeline import Row
from jobengine.engine.postgres.database.rows import Rows
from jobengine.engine.postgres.database.schema import opened
from jobengine.engine.postgres.recount import Recount, recount
from jobengine.engine.postgres.transfer import contents, filling
from tests.contract.asking import Asker
from tests.contract.group_reports import add_all, bulk, letters
from tests.doubles import SECRET
from tests.engine.postgres.world import PostgresWorld
from tests.postgres import Database

pytestmark = pytest.mark.slow
_COUNTS: Final = "SELECT key, ready, delayed, running, failed, most, weight FROM grp ORDER BY key"
WRONG: dict[str, str] = {
    "ready": "UPDATE grp SET ready = ready + 7",
    "running": "UPDATE grp SET running = running + 7",
    "place": "UPDATE grp SET inv_prio = NULL",
    "rows": "DELETE FROM grp",
    "start": "UPDATE grp SET start_prio = 5 WHERE key = ''",
    "settings": "UPDATE grp SET most = 1, weight = 9 WHERE key <> ''",
    "emptied": "UPDATE grp SET most = NULL, weight = 1",
}


def count_again(connection: "Connection[Row]", rows: Rows) -> Recount:
    return recount(connection, rows, lambda _at, _of: None)


def on_connection(url: str, act: Callable[..., Any]) -> Any:
    with connected(url) as connection:
        return act(connection, Rows(opened(connection, SECRET)))


@pytest.mark.parametrize("what", WRONG)
def test_a_recount_corrects_the_stored_counts_and_turns_of_groups(world: PostgresWorld, what: str) -> None:
    ask = Asker(world)
    ask.create()
    ask.reconfigure(limits=Limits(in_progress=50), group_limits=Limits(in_progress=2))
    ask.ask(c.ChangeGroup, group="c", in_progress=4)
    add_all(ask, "cccccaaab..")
    bulk(ask, 3)
    held = bulk(ask, 2)[1]
    counts = world.control.execute(_COUNTS).fetchall()
    world.control.execute(WRONG[what])
    on_connection(world.url, count_again)
    assert world.control.execute(_COUNTS).fetchall() == counts
    assert letters(bulk(ask)) == "ab.."
    ask.update(held, State.COMPLETE)
    assert letters(bulk(ask)) == "a"
    assert on_connection(world.url, count_again).groups == 0


def test_a_recount_reports_the_number_of_wrong_groups_and_removes_groups_without_jobs(world: PostgresWorld) -> None:
    ask = Asker(world)
    ask.create()
    ask.ask(c.ChangeGroup, group="c", group_weight=2)
    add_all(ask, "ab")
    for statement in (
        "UPDATE grp SET running = 1 WHERE key = (SELECT grp FROM job ORDER BY arrival LIMIT 1)",
        "UPDATE grp SET weight = 7 WHERE weight = 2",
        "INSERT INTO grp (queue_id, key, gate, sealed) SELECT queue_id, 'lost', '', '' FROM grp LIMIT 1",
    ):
        world.control.execute(statement)
    assert on_connection(world.url, count_again).groups == 2
    assert len(world.control.execute(_COUNTS).fetchall()) == 4
    assert on_connection(world.url, count_again).groups == 0


def test_groups_are_exported_and_imported(database: Database, world: PostgresWorld) -> None:
    ask = Asker(world)
    ask.create()
    ask.reconfigure(limits=Limits(in_progress=50), group_limits=Limits(in_progress=2, rate=Rate(3, 60)))
    ask.ask(c.ChangeGroup, group="b", in_progress=1)
    add_all(ask, "aaaabb.")
    ask.hold()

    def read(connection: Any, rows: Rows) -> list[Any]:
        with contents(connection, rows) as found:
            return [*map(QueueCreated, found.queues), *found.items(), *found.jobs()]

    facts = on_connection(world.url, read)
    assert {type(fact) for fact in facts} == {QueueCreated, ItemSet, JobAdded}
    assert any(isinstance(fact, ItemSet) and fact.kind == GATE for fact in facts)
    database.clear()

    def fill(connection: Any, rows: Rows) -> None:
        with filling(connection, rows) as made:
            made.add(facts)

    on_connection(world.url, fill)
    world.reopen()
    assert letters(bulk(ask)) == "ab."
    ask.update(ask.jobs(state=State.INPROGRESS)[0], State.COMPLETE)
    assert letters(bulk(ask)) == "a"
    ask.update(ask.jobs(state=State.INPROGRESS)[0], State.COMPLETE)
    assert bulk(ask) == []
