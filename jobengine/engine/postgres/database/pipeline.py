"""
Round trips: statements that are sent to PostgreSQL together.

A fast path that uses the same libpq functions as psycopg's pipeline, but without a cursor per statement, without
looking up the types of values, and without polling the socket before each statement.
"""

import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, count
from typing import Any, Final, LiteralString

from attrs import define, field
from psycopg import Connection, OperationalError, abc
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Wait

from ....core.values import Value
from .arrays import Array, Bigints, Byteas, Texts

#: A row of a result.
Row = tuple[Any, ...]


def nothing() -> None:
    """Do nothing."""


def _as_it_is(packed: Array) -> bytes:
    return packed


#: The type in pg_type of each Python type of a parameter, and the function that packs its value.
_KINDS: Final[dict[type, tuple[int, Callable[[Any], bytes]]]] = {
    int: (20, struct.Struct(">q").pack),
    str: (25, str.encode),
    bytes: (17, bytes),
    Bigints: (1016, _as_it_is),
    Byteas: (1001, _as_it_is),
    Texts: (1009, _as_it_is),
}


#: A parameter of a statement. Lists are only for psycopg's own cursors.
Parameter = int | str | bytes | list[int]


class Statement(Value, frozen=True):
    """
    A statement and its parameters: numbers, texts, bytes and packed arrays.

    Write array parameters as `(SELECT %s)`. PostgreSQL uses a generic plan unless a plan for the actual array lengths
    seems cheaper, and in this form it does not see the length. Otherwise, reading a queue at the beginning of a batch
    takes PostgreSQL 128 microseconds instead of 31.
    """

    #: The SQL, with parameters in the driver's form, `%s` or `%(name)s`; values are in the order of their first use.
    text: LiteralString
    values: Sequence[Parameter] = ()


#: A statement with more than this many bytes of values is sent immediately; libpq sends smaller ones together.
_LARGE: Final = 16_384
#: A parameter, with its name if it has one.
_PARAMETER: Final = re.compile(r"%(?:s|\((\w+)\)s)")
#: The most converted texts to cache: more than there are statements.
_TEXTS: Final = 1_000
#: The key of a prepared statement: its text, and the types of its parameters.
_Form = tuple[str, tuple[int, ...]]


@define(eq=False)
class Trips:
    """Makes the round trips of a connection; each statement is prepared when it is first sent."""

    _connection: "Connection[Any]"
    #: Whether all round trips go to the same backend; otherwise statements are not prepared.
    prepares: bool = field(default=True, init=False)
    #: The names of the prepared statements.
    _names: dict[_Form, bytes] = field(factory=dict, init=False)
    #: The number of results of a statement that was sent before its round trip, see `begin`; empty if there is none.
    _begun: list[int] = field(factory=list, init=False)
    #: The statements that were sent to be prepared, and whose results are not read yet.
    _new: dict[_Form, bytes] = field(factory=dict, init=False)
    _numbers: Iterator[int] = field(factory=count, init=False)
    _transformer: abc.Transformer = field(init=False)

    @_transformer.default
    def _make_transformer(self) -> abc.Transformer:
        return Transformer(self._connection)

    def make(self, statements: Iterable[Statement], sent: Callable[[], None] = nothing) -> list[list[Row]]:
        """
        Send statements, each as soon as it is built, and return the rows of each. Raises the error of the first
        statement that fails. `sent` is called after the last is sent. If a statement can't be built, the connection is
        closed.
        """
        pgconn = self._connection.pgconn
        pgconn.enter_pipeline_mode()
        (begun, self._begun), (new, self._new) = (self._begun, []), (self._new, {})
        try:
            counts = begun + self._send_all(statements, new)
            pgconn.pipeline_sync()
            sent()
            results = self._connection.wait(_results(pgconn))
        finally:
            if pgconn.status != ConnStatus.BAD:
                pgconn.exit_pipeline_mode()
        ends = list(accumulate(counts))
        # Statements stay prepared even after their transaction is rolled back.
        prepared = [results[end - 2] for count, end in zip(counts, ends, strict=True) if count > 1]
        self._names |= {
            form: name
            for (form, name), result in zip(new.items(), prepared, strict=True)
            if result.status == ExecStatus.COMMAND_OK
        }
        _check(results)
        return [self._rows(results[end - 1]) for end in ends[len(begun) :]]

    def begin(self, statement: Statement) -> None:
        """
        Send a statement without rows, which the database executes while the caller works. The next round trip waits for
        it, and raises its error.
        """
        self._connection.pgconn.enter_pipeline_mode()
        self._begun += self._send_all([statement], self._new)
        self._connection.pgconn.flush()

    def settle(self) -> None:
        """Wait for a statement that was sent by `begin`, if any; raises its error."""
        if self._begun:
            self.make(())

    def _send_all(self, statements: Iterable[Statement], new: dict[_Form, bytes]) -> list[int]:
        """Send statements; returns the number of results of each. If sending fails, the connection is closed."""
        counts = []
        try:
            for one in statements:
                types, values = _packed(one.values)
                counts.append(self._send(one.text, types, values, new))
                if sum(map(len, values)) > _LARGE:
                    # Send as many bytes as possible without waiting, so that the database begins to work.
                    self._connection.pgconn.flush()
        except BaseException:
            # Only a part of the batch was sent.
            self._connection.close()
            raise
        return counts

    def _send(self, text: str, types: tuple[int, ...], values: list[bytes], new: dict[_Form, bytes]) -> int:
        """
        Send a statement; if it is not prepared yet, prepare it, and record its name in `new`. Returns the number of its
        results.
        """
        pgconn, formats = self._connection.pgconn, [Format.BINARY] * len(values)
        if not self.prepares:
            pgconn.send_query_params(_sql(text), values, types, formats, Format.BINARY)
            return 1
        form = (text, types)
        name = self._names.get(form) or new.get(form)
        is_new = name is None
        if name is None:
            name = new[form] = b"jobengine%d" % next(self._numbers)
            pgconn.send_prepare(name, _sql(text), types)
        pgconn.send_query_prepared(name, values, formats, Format.BINARY)
        return 2 if is_new else 1

    def _rows(self, result: PGresult) -> list[Row]:
        if not result.nfields:
            return []
        self._transformer.set_pgresult(result, format=Format.BINARY)
        return self._transformer.load_rows(0, result.ntuples, tuple)


def _packed(values: Sequence[object]) -> tuple[tuple[int, ...], list[bytes]]:
    """The types and the bytes of parameters."""
    kinds = [_KINDS[type(value)] for value in values]
    return tuple([oid for oid, _ in kinds]), [pack(value) for (_, pack), value in zip(kinds, values, strict=True)]


@lru_cache(_TEXTS)
def _sql(text: str) -> bytes:
    """A statement with its parameters in PostgreSQL's form: $1, $2. Parameters with the same name share a number."""
    numbers: dict[object, int] = {}
    numbered = _PARAMETER.sub(lambda its: f"${numbers.setdefault(its[1] or its.start(), len(numbers) + 1)}", text)
    return numbered.replace("%%", "%").encode()


def _results(pgconn: PGconn) -> abc.PQGen[list[PGresult]]:
    """Wait for the results of all sent statements, and return them."""
    while pgconn.flush():
        yield Wait.RW
        # Read results while sending: otherwise the database would stop reading.
        pgconn.consume_input()
    results: list[PGresult] = []
    while True:
        while pgconn.is_busy():
            yield Wait.R
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            # None ends a statement's results, unless the connection was lost.
            if pgconn.status == ConnStatus.BAD:
                raise OperationalError(pgconn.get_error_message())
        elif result.status == ExecStatus.PIPELINE_SYNC:
            break
        else:
            results.append(result)
    while pgconn.notifies():
        # Drop notifications: behind a pooler there may be some for another connection, and libpq would keep all.
        pass
    return results


def _check(results: Sequence[PGresult]) -> None:
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result)
