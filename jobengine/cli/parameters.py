"""Arguments and options that several commands share."""

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from math import ceil, isinf
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import click

from jobengine.client.encoding import encode_text

from .suggestions import complete_batches, complete_groups, complete_queues, complete_schedules

F = TypeVar("F", bound=Callable[..., Any])

#: The first integer that does not fit into 64 bits.
_BEYOND: Final = 1 << 63
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_UNIT_NAMES: Final = {"s": "seconds", "m": "minutes"}
_ESCAPE: Final = "\\u"
#: The word that removes a setting.
_NONE: Final = "none"
_RATE: Final = re.compile(r"([1-9]\d*)/(?:(?=.)(\d*)([smhd]?))")
_UID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")


def _not_empty(context: click.Context, param: click.Parameter, value: str) -> str:
    """The argument; raises UsageError if it is empty, as an unset shell variable is."""
    if not value:
        raise click.UsageError(f"{param.human_readable_name} must not be empty.", context)
    return value


QUEUE: Final = click.argument("queue_name", metavar="QUEUE", shell_complete=complete_queues, callback=_not_empty)
UID: Final = click.argument("uid", callback=_not_empty)
GROUP: Final = click.argument("group_name", metavar="GROUP", shell_complete=complete_groups)
BATCH: Final = click.argument("name", metavar="BATCH", shell_complete=complete_batches)
SCHEDULE: Final = click.argument("name", shell_complete=complete_schedules)


class Seconds(click.ParamType[float]):
    """A time span: 90, 90s, 5m, 2h, 1d."""

    #: The placeholder in the help.
    name = "time"

    def __init__(self, unit: str = "") -> None:
        """With `unit`, "s" or "m", a span must be a whole number of seconds or minutes, as the server keeps it."""
        self._unit = unit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        found = _SPAN.fullmatch(value)
        if found is None:
            self.fail(f"{value!r} is not a time span; write 90, 90s, 5m, 2h or 1d.", param, ctx)
        seconds = Fraction(found[1]) * _UNITS[found[2]]
        if self._unit and seconds % _UNITS[self._unit]:
            units, least = _UNIT_NAMES[self._unit], ceil(seconds / _UNITS[self._unit])
            self.fail(f"{value!r} is not a whole number of {units}; write {least}{self._unit}.", param, ctx)
        return float(seconds)


class _Rate(click.ParamType[tuple[int, float]]):
    """A number of claims in a span of time: 10/60, 100/s, 10/1m."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, float]:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]  # converted already
        found = _RATE.fullmatch(value)
        if found is None:
            self.fail(f"{value!r} is not a rate; write 10/60, 100/s or 10/1m: claims in a span of time.", param, ctx)
        return int(found[1]), int(found[2] or 1) * _UNITS[found[3]]


class OrNone(click.ParamType[Any]):
    """A value of another type, or the word `none`, which `or_none` turns into None."""

    def __init__(self, inner: click.ParamType[Any]) -> None:
        self.name = inner.name
        self._inner = inner

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == _NONE else self._inner.convert(value, param, ctx)


def or_none(value: Any) -> Any:
    """The value of an option of type OrNone."""
    return None if value == _NONE else value


class WholeFrom(click.IntRange):
    """An integer in a range."""

    #: With the name of click's own type, an error would say that "x" is not a valid integer range.
    name = "integer"


#: A limit of jobs in progress, or `none`.
LIMIT: Final = OrNone(WholeFrom(1))
#: A rate, or `none`.
RATE: Final = OrNone(_Rate())


def given_limits(options: Mapping[str, Any]) -> dict[str, Any]:
    """The given options among --limit and --rate, by the client's names; None removes a setting."""
    named = {"in_progress": options["limit"], "rate": options["rate"]}
    return {name: or_none(value) for name, value in named.items() if value is not None}


class Moment(click.ParamType[datetime | float]):
    """A time: as in ISO 8601, or Unix seconds. Without a zone it is local time."""

    #: The placeholder in the help.
    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime | float:
        """The time; without a zone it is local time."""
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]  # converted already
        try:
            return float(value) if value.isdecimal() else datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"{value!r} is not a time; write 2027-01-15T08:00, 2027-01-15T08:00Z or Unix seconds.", param, ctx
            )


class Awaited(click.ParamType[str | tuple[str, str]]):
    """A job to wait for: its uid, or its queue and uid as QUEUE:UID."""

    #: The placeholder in the help.
    name = "uid"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | tuple[str, str]:
        """The uid, or the queue and the uid."""
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]  # converted already
        queue, _, uid = value.rpartition(":")
        if not _UID.fullmatch(uid):
            self.fail(f"{value!r} is neither a job's uid, a UUID in lower case, nor QUEUE:UID.", param, ctx)
        return (queue, uid) if queue else uid


class WholeNumber(click.types.IntParamType):
    """An integer that the server accepts."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number: int = super().convert(value, param, ctx)
        if not -_BEYOND <= number < _BEYOND:
            self.fail(f"{value} is beyond 64 bits.", param, ctx)
        return number


class State(click.Choice[str]):
    """A state of jobs."""

    def __init__(self) -> None:
        super().__init__(["queued", "inprogress", "complete", "failed"], case_sensitive=False)


#: A shell removes the quotes of JSON that is not in single quotes.
_IN_QUOTES: Final = 'Write a JSON object in single quotes, such as \'{"to": "ada@example.org"}\'.'


class Content(click.ParamType[Any]):
    """A JSON object: itself, `-` for standard input, or `@FILE`."""

    name = "content"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return parse_content(read_text(value))
        except ValueError as error:
            self.fail(f"{error}{_advice(value, error, ctx)}", param, ctx)


def _advice(value: str, error: ValueError, ctx: click.Context | None) -> str:
    """The end of the error for an invalid content: how to write it, or how to add the lines of a file; may be empty."""
    if value == "-" or isinstance(error, _Repeated):
        return ""
    if not value.startswith("@"):
        return f" {_IN_QUOTES}"
    takes_lines = ctx is not None and any(one.name == "many" for one in ctx.command.params)
    if not takes_lines or not os.path.isfile(value[1:]):
        return ""
    return f" If each of its lines is a JSON object, add a job for each: --many {shlex.quote(value[1:])}"


def read_text(value: str) -> str:
    """The text of an argument: itself, or the contents of standard input or a file. Raises ValueError."""
    if value == "-":
        return _decoded(sys.stdin.buffer.read(), "standard input")
    if not value.startswith("@"):
        return value
    try:
        return _decoded(Path(value[1:]).read_bytes(), value[1:])
    except OSError as error:
        raise ValueError(f"{value[1:]} can't be read: {error.strerror}.") from None


def _decoded(data: bytes, whence: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError(f"The text from {whence} is not UTF-8.") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    if isinf(number := float(text)):
        raise ValueError(f"{text} is too large a number")
    return number


class _Repeated(ValueError):
    """A key occurs twice in an object, so one of its values would be lost."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in made if names.count(name) > 1)
        raise _Repeated(f"The key {repeated!r} occurs twice in an object.")
    return made


_parse: Final = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_object).decode


def parse_json(text: str) -> Any:
    """Parse JSON, and check that a server would accept it; raises ValueError with the reason."""
    try:
        value = _parse(text)
        if _ESCAPE in text:  # an escape may be a lone surrogate, which UTF-8 can't encode
            encode_text(value).encode()
        return value
    except RecursionError:
        raise ValueError("It is nested too deeply.") from None
    except UnicodeEncodeError:
        raise ValueError("It has half of a surrogate pair, which is not a character.") from None
    except _Repeated:
        raise
    except ValueError as error:
        raise ValueError(f"It is not JSON: {_where(error, text)}.") from None


def _where(error: ValueError, text: str) -> str:
    """The error and its place: the column, and the line number if the text has several lines."""
    if isinstance(error, json.JSONDecodeError) and "\n" not in text:
        return f"{error.msg}, at column {error.colno}"
    return str(error)


def parse_content(text: str) -> dict[str, Any]:
    """Parse the content of a job; raises ValueError with the reason."""
    content = parse_json(text)
    if not isinstance(content, dict):
        raise ValueError("The content of a job must be a JSON object.")
    return content


def list_options(things: str, all_help: str = "") -> Callable[[F], F]:
    """Add --limit and --all to a command that lists things; --all is the parameter `every`."""
    options = (
        click.option("--limit", type=WholeFrom(1), default=50, show_default=True, help=f"The most {things} to list."),
        click.option("--all", "every", is_flag=True, help=all_help or f"List all {things}."),
    )
    return lambda function: with_options(function, options)


#: The pace at which jobs are queued again.
PER_SECOND: Final = click.option(
    "--per-second",
    type=click.FloatRange(0.001, 1_000_000),
    metavar="N",
    help="About this many of the jobs become ready per second; without it, all at once.",
)
_FILTERS: Final = (
    click.option("--state", type=State(), help="Jobs in this state."),
    click.option("--tag", metavar="TAG", help="Jobs with this tag."),
    click.option(
        "--search",
        metavar="TEXT",
        help="Jobs with this text in the JSON of their content; the command line adds JSON without optional spaces.",
    ),
    click.option("--batch", metavar="NAME", shell_complete=complete_batches, help="Jobs of this batch."),
    click.option("--fingerprint", metavar="FINGERPRINT", help="Jobs with this kind of error; see `jobengine errors`."),
    click.option("--retrying", is_flag=True, default=None, help="Queued jobs whose last attempt failed or timed out."),
    click.option(
        "--cancelled/--not-cancelled", default=None, help="Failed jobs that were cancelled, or jobs that were not."
    ),
)
_MORE_FILTERS: Final = (
    click.option("--error", metavar="TEXT", help="Jobs with this text in their last error."),
    click.option("--worker", metavar="NAME", help="Jobs that this worker holds, or held last."),
    click.option("--group", metavar="GROUP", shell_complete=complete_groups, help="Jobs in this group."),
    click.option("--moved-from", metavar="QUEUE", help="Jobs that were moved here from this queue."),
)
#: The names of the client's filter conditions, by option.
CONDITIONS: Final = {
    "state": "state",
    "tag": "tag",
    "search": "q",
    "batch": "batch",
    "fingerprint": "fingerprint",
    "retrying": "retrying",
    "cancelled": "cancelled",
    "error": "error",
    "worker": "worker",
    "group": "group",
    "moved_from": "moved_from",
}


def filters(function: F) -> F:
    """Add the options that select jobs, except options with another meaning in the command `update`."""
    return with_options(function, _FILTERS)


def all_filters(function: F) -> F:
    """Add all options that select jobs."""
    return with_options(function, (*_FILTERS, *_MORE_FILTERS))


def hold_options(function: F) -> F:
    """Add the options for the length of a hold."""
    options = (
        click.option("--for", "span", type=Seconds(), help="How long: 90, 90s, 5m, 2h or 1d."),
        click.option("--until", type=Moment(), help="Until when: 2027-01-15T08:00, in UTC with a Z."),
    )
    return with_options(function, options)


def hold_end(options: Mapping[str, Any], now: float) -> datetime:
    """The end of a hold, from the options of `hold_options`; `now` is in Unix seconds. Raises UsageError."""
    span, until = options["span"], options["until"]
    if (span is None) == (until is None):
        raise click.UsageError("Give the length of the hold with either --for or --until.")
    end = now + span if until is None else until
    try:
        return end if isinstance(end, datetime) else datetime.fromtimestamp(end, UTC)
    except (OverflowError, ValueError, OSError):
        raise click.UsageError("That is after the year 9999.") from None


def with_options(function: F, options: Sequence[Callable[[F], F]]) -> F:
    """Add options to a command; its help has them in this order."""
    for option in reversed(options):
        function = option(function)
    return function
