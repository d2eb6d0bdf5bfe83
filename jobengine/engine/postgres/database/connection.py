"""Connections to PostgreSQL, and statements that are sent together."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

from psycopg import Connection, Cursor, InterfaceError, Notify, OperationalError, ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import DiskFull, InsufficientPrivilege, ReadOnlySqlTransaction
from psycopg.pq.abc import PGconn

from ....storage.errors import BadUrl, StorageError
from ..sql import NamedStatement, named
from .pipeline import Row, Statement, Trips, nothing

#: Required settings: the schema, and plans that always use indexes. A plan made for an empty table would otherwise scan
#: the whole table even after the table has grown.
_SETTINGS: Final = {
    "search_path": "jobengine",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
#: Optional settings; a connection without them is used too. With them, the database ends a connection, and frees its
#: locks, when this server was silent for half a minute, or a transaction idle for a minute.
_WISHES: Final = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25s",
    "idle_in_transaction_session_timeout": "60s",
}
#: Time-outs, unless DATABASE_URL sets them: this server gives up a connection that is silent for half a minute, and
#: tries the next host after 10 seconds without a connection. The system's defaults are hours.
_PATIENCE: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
#: A mark that is set together with the settings: if a connection lacks the mark, a pooler did not pass the settings on.
_MARK: Final = "jobengine.direct"
_TOO_MANY: Final = re.compile("too many (clients|connections)|connection slots|more connections allowed")
_NO_LOGIN: Final = re.compile(
    r"authentication failed|no password supplied|pg_hba\.conf|permitted to log in|role .* does not exist|no such user"
)
#: The kinds of error texts of PostgreSQL and pgbouncer. Other texts, such as those in other languages, have no kind of
#: their own.
_KINDS: Final = (
    (_TOO_MANY, "the database has too many connections"),
    (_NO_LOGIN, "the database refuses the login"),
)
_NO_HOST: Final = re.compile("failed to resolve host|could not translate host name")
_ENCODE: Final = ", where / and @ of a password are written %2F and %40"
#: libpq says this too if its user may not look into the directory of sslrootcert.
_NO_ROOT: Final = re.compile("root certificate file .* does not exist")
_READABLE: Final = ", whose sslrootcert must exist and be readable for this user"
_READ_SETTINGS: Final = named("read_settings")


class NotConnected(StorageError):
    """No connection could be made. `kind` is for everybody; `why`, the driver's text in one line, only for the log."""

    def __init__(self, why: str) -> None:
        self.kind = next((kind for words, kind in _KINDS if words.search(why)), "the database can't be reached")
        self.why = why
        hint = _ENCODE if _NO_HOST.search(why) else _READABLE if _NO_ROOT.search(why) else ""
        super().__init__(f"{self.kind}; check DATABASE_URL{hint}: {why}")


class _Counted(Connection[Row]):
    """A connection that calls `on_round_trip` for each round trip."""

    on_round_trip: Callable[[], None]
    trips: Trips
    #: See `begun`.
    begins: bool

    def __init__(self, pgconn: PGconn, *how: Any) -> None:
        super().__init__(pgconn, *how)
        self.trips, self.begins = Trips(self), True
        self.on_round_trip = nothing

    def execute(self, query: Any, params: Any = None, **how: Any) -> "Cursor[Row]":
        self.trips.settle()
        self.on_round_trip()
        return super().execute(query, params, **how)

    def together(self, statements: Iterable[Statement], sent: Callable[[], None]) -> list[list[Row]]:
        self.on_round_trip()
        return self.trips.make(statements, sent)


def connected(url: str, *, interval: bool | None = None, round_trip: Callable[[], None] = nothing) -> "Connection[Row]":
    """
    A new connection; `round_trip` is called for each later round trip.

    With `interval` True, commits do not wait for the disk. With False, commits wait, and a database that ignores this
    is refused. With None, the database's setting decides. Raises BadUrl, NotConnected, and StorageError if it lacks
    the settings. The error's text has host and port, but never the password.
    """
    settings = {**_SETTINGS, **({"synchronous_commit": "off"} if interval else {})}
    options = " ".join(f"-c {name}={value}" for name, value in {**settings, **_WISHES, _MARK: "on"}.items())
    try:
        made = _connected(_patient(url), options)
        if made.info.parameter_status("crdb_version") or "-YB-" in (made.info.parameter_status("server_version") or ""):
            made.close()
            raise StorageError("JobEngine does not work with CockroachDB and YugabyteDB; use a PostgreSQL server")
        _check(made, settings, waits=interval is False)
    except ProgrammingError:
        # Raised without the driver's error, which quotes the string with its password.
        raise BadUrl(
            "DATABASE_URL must be like postgresql://jobengine@db.example.org/jobengine, with known parameters, "
            "and %20 for a space in a password"
        ) from None
    except (OperationalError, InterfaceError) as error:
        raise NotConnected(_in_one_line(error)) from None
    made.on_round_trip = round_trip
    # Behind a pooler, the connection may receive notifications meant for another one. Without a handler, the driver
    # would keep all of them.
    made.add_notify_handler(_pass_over)
    return made


def _in_one_line(error: Exception) -> str:
    """The driver's text as one line. Its hints, which begin a new line with a tab, become sentences."""
    return " ".join(re.sub(r"\n\t(?=[A-Z])", ". ", str(error)).split())


def _pass_over(_: Notify) -> None:
    """Drop a notification: only the Listener's connection needs them, and it reads them directly."""


def _patient(url: str) -> str:
    """DATABASE_URL, completed by the settings of _PATIENCE; raises ProgrammingError."""
    given = conninfo_to_dict(url)
    return make_conninfo(url, **{name: value for name, value in _PATIENCE.items() if name not in given})


def described(url: str) -> str:
    """The database and the hosts of a DATABASE_URL, as far as it names them; never its user or password."""
    with suppress(ProgrammingError):
        parts = conninfo_to_dict(url)
        name, host = parts.get("dbname"), parts.get("host") or parts.get("hostaddr")
        return f"the PostgreSQL database{f' {name}' if name else ''}{f' at {host}' if host else ''}"
    return "a PostgreSQL database"


def _connected(url: str, options: str) -> _Counted:
    # The URL may have options too; Neon needs them.
    its = conninfo_to_dict(url).get("options") or ""
    try:
        return _Counted.connect(url, autocommit=True, options=f"{its} {options}".lstrip())
    except OperationalError as error:
        # pgbouncer's error text for options that it does not know.
        if "startup parameter" not in str(error):
            raise
        return _Counted.connect(url, autocommit=True)


def _check(made: _Counted, settings: Mapping[str, str], *, waits: bool) -> None:
    """
    Close the connection and raise StorageError if its settings are wrong, or if `waits` and its commits don't wait for
    the disk.
    """
    ((role, durability, mark, found),) = _READ_SETTINGS.execute(made, mark=_MARK, names=[*settings]).fetchall()
    if not mark:
        # Behind a pooler, the next transaction may use another database connection, without the prepared statements.
        made.prepare_threshold = None
        made.trips.prepares = False
    wrong = [f"{name} = {value}" for (name, value), has in zip(settings.items(), found, strict=True) if has != value]
    if waits and durability == "off":
        wrong.append("synchronous_commit = on")
    if wrong:
        made.close()
        raise StorageError(
            "the database lacks settings that JobEngine needs; set them for the role, and have any pooler "
            "reconnect: " + "; ".join(role + one for one in wrong)
        )


@contextmanager
def rights_failures() -> Iterator[None]:
    """Around a block: raises StorageError if the database's user lacks a permission."""
    try:
        yield
    except InsufficientPrivilege as error:
        raise StorageError(
            f"the user of DATABASE_URL lacks a right; grant it, and try again: {error.diag.message_primary}"
        ) from None


@contextmanager
def start_failures() -> Iterator[None]:
    """Around a block that only reads, during a server's start: raises StorageError if the connection is lost."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise StorageError(
            f"the connection to the database was lost during the start ({_in_one_line(error)}); nothing was changed. "
            "Check that the database runs and can be reached, and start again"
        ) from None


@contextmanager
def storage_failures() -> Iterator[None]:
    """Around a block that is one transaction: raises StorageError if the database fails."""
    try:
        with rights_failures():
            yield
    except ReadOnlySqlTransaction:
        raise StorageError(
            "the database is read-only; nothing was changed. Use the primary: target_session_attrs=read-write in "
            "DATABASE_URL finds it among several hosts"
        ) from None
    except DiskFull:
        raise StorageError("the database has no room left; nothing was changed. Free some, and try again") from None
    except (OperationalError, InterfaceError) as error:
        raise StorageError(
            f"the connection to the database was lost ({_in_one_line(error)}). The command was carried out completely "
            "or not at all: run it again. If an import was complete, it now reports that the database has queues"
        ) from None


def together(connection: "Connection[Row]", *statements: Statement) -> list[list[Row]]:
    """Send statements together, in one round trip; returns the rows of each."""
    return sent_as_made(connection, statements)


def sent_as_made(
    connection: "Connection[Row]", statements: Iterable[Statement], sent: Callable[[], None] = nothing
) -> list[list[Row]]:
    """
    Like `together`, but each statement is sent as soon as it is built, so that the database executes it meanwhile. See
    Trips.make.
    """
    assert isinstance(connection, _Counted)
    return connection.together(statements, sent)


def begun(connection: "Connection[Row]", statement: Statement) -> bool:
    """
    Send a statement before the next round trip, so that the database executes it meanwhile; see Trips.begin. Returns
    False if it was not sent: the first time after `begin_not_next`.
    """
    assert isinstance(connection, _Counted)
    begins, connection.begins = connection.begins, True
    if begins:
        connection.trips.begin(statement)
    return begins


def begin_not_next(connection: "Connection[Row]") -> None:
    """Let the next call of `begun` send nothing: the last statement that it sent was not wanted."""
    assert isinstance(connection, _Counted)
    connection.begins = False


def copied_jobs(connection: "Connection[Row]", jobs: NamedStatement, **values: int) -> Iterator[Row]:
    """Yield the jobs that a statement finds, as they arrive: queue_id, uid, sealed, said, place."""
    with connection.cursor().copy(f"COPY ({jobs.text}) TO STDOUT (FORMAT BINARY)", values) as found:
        found.set_types(["int8", "text", "bytea", "bytea", "int2"])
        yield from found.rows()
