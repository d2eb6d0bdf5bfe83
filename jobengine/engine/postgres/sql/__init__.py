r"""
The SQL of this engine: named statements in the files of this folder.

Each statement begins with a line `-- name: …` and a comment on its purpose. `:name` is a parameter, as in psql: after
`\set queue_id 7` a statement can be pasted there. `:clock` is not a parameter but stands for the SQL expression that
reads the time, in psql `\set clock '(extract(epoch FROM clock_timestamp()) * 1000)::bigint'`. Statements that only
begin, end or configure a transaction, and those that make the tables, stand where they are used.

    _LOCK_JOBS: Final = named("lock_jobs")
    together(connection, _LOCK_JOBS(queue_ids=bigints([7]), uids=texts([uid])))
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final, LiteralString

from attrs import evolve, frozen
from psycopg import Connection, Cursor

from ..database.pipeline import Parameter, Row, Statement

#: The database's clock, in milliseconds since the Unix epoch.
DATABASE_CLOCK: Final[LiteralString] = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_COMMENT: Final = re.compile(r"^\s*--.*$", re.MULTILINE)
_PARAMETER: Final = re.compile(r"(?<![:\w]):([a-z]\w*)")
_CLOCK: Final = "%(clock)s"


@frozen(eq=False)
class NamedStatement:
    """A statement in a file of this folder."""

    name: str
    #: The SQL, with parameters in the driver's form.
    text: LiteralString
    #: The names of the parameters in the order of their first use.
    parameters: Sequence[str]

    def __call__(self, **values: Parameter) -> Statement:
        """The statement with these values, for a round trip."""
        return Statement(self.text, [values[name] for name in self.parameters])

    def execute(self, connection: "Connection[Row]", **values: Any) -> "Cursor[Row]":
        """Execute the statement in a separate round trip; values may be lists, which the driver converts."""
        return connection.execute(self.text, values, binary=True)

    def at(self, clock: LiteralString) -> "NamedStatement":
        """The statement with `:clock` replaced by this SQL expression."""
        return _with_clock(self, clock)


@cache
def _with_clock(statement: NamedStatement, clock: LiteralString) -> NamedStatement:
    parameters = [name for name in statement.parameters if name != "clock"]
    return evolve(statement, text=statement.text.replace(_CLOCK, clock), parameters=parameters)


def _read() -> Mapping[str, NamedStatement]:
    """The statements of all files by name."""
    found: dict[str, NamedStatement] = {}
    for file in files(__name__).iterdir():
        if file.name.endswith(".sql"):
            _, *parts = _NAME.split(file.read_text(encoding="utf-8"))
            for name, text in zip(parts[::2], parts[1::2], strict=True):
                assert name not in found, name
                found[name] = _parsed(name, text)
    return found


def _parsed(name: str, text: str) -> NamedStatement:
    bare = " ".join(_COMMENT.sub("", text).split()).removesuffix(";")
    parameters = list(dict.fromkeys(_PARAMETER.findall(bare)))
    return NamedStatement(name, _PARAMETER.sub(r"%(\1)s", bare.replace("%", "%%")), parameters)


STATEMENTS: Final = _read()


def named(name: str) -> NamedStatement:
    """The statement with this name."""
    return STATEMENTS[name]
