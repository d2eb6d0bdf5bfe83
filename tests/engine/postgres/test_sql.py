"""The named statements: each is prepared by PostgreSQL, described, and used."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from jobengine.engine import postgres
from jobengine.engine.postgres.database.connection import connected
from jobengine.engine.postgres.sql import DATABASE_CLOCK, STATEMENTS, named
from tests.postgres import Database

FOLDER = Path(postgres.__file__).parent
FILES = sorted((FOLDER / "sql").glob("*.sql"))
CODE = "".join(path.read_text(encoding="utf-8") for path in sorted(FOLDER.rglob("*.py")))


@pytest.mark.slow
def test_each_statement_can_be_prepared_on_the_schema(database: Database) -> None:
    with connected(database.url) as connection:
        for statement in STATEMENTS.values():
            timed = statement.at(DATABASE_CLOCK)
            text = timed.text
            for number, name in enumerate(timed.parameters, 1):
                text = text.replace(f"%({name})s", f"${number}")
            connection.execute(f"PREPARE {statement.name} AS {text.replace('%%', '%')}")
            prepared = "SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = %s"
            ((found,),) = connection.execute(prepared, [statement.name]).fetchall()
            assert (statement.name, len(found)) == (statement.name, len(timed.parameters))


def test_each_statement_is_used_in_the_code() -> None:
    used = set(re.findall(r'named\("(\w+)"\)', CODE)) | {name for name in STATEMENTS if name.startswith("delete_gone_")}
    assert used == set(STATEMENTS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_statement_has_a_comment_that_says_what_it_is_for(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    bare = [line for line, following in pairwise(lines) if line.startswith("-- name:") and following[:3] != "-- "]
    assert bare == []
    assert max(map(len, lines)) <= 120


def test_a_parameter_used_several_times_in_a_statement_is_sent_once() -> None:
    claim = named("claim")(queue_id=7, wall=1, most=2, bytes=3)
    assert claim.values == [7, 1, 2, 3]
    assert claim.text.count("%(queue_id)s") > 1


def test_an_unknown_statement_or_parameter_name_is_an_error() -> None:
    with pytest.raises(KeyError, match="no_such_statement"):
        named("no_such_statement")
    with pytest.raises(KeyError, match="uids"):
        named("lock_jobs")(queue_ids=[1])


def test_the_sql_of_the_clock_is_inserted_into_statements_that_need_the_time() -> None:
    timed = named("record_batch").at("now()")
    assert timed.parameters == ["lane", "batch"]
    assert "now()" in timed.text
