"""`jobengine history`: a queue's counts and times in each minute of the last hour, and each hour of the last week."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import click

from .command import command
from .parameters import QUEUE
from .session import current
from .terminal_text import duration, moment

Numbers = Sequence[float | None]

#: The names of counts, in display order.
_COUNTS: Final = ("added", "claimed", "complete", "failed", "attempts_failed", "cancelled")
#: The names of times in seconds, in display order.
_SPANS: Final = ("wait_p50", "wait_p99", "run_p50", "run_p99")
_BARS: Final = "▁▂▃▄▅▆▇█"
#: The widest chart, in characters.
_WIDTH: Final = 60


class _Unit(NamedTuple):
    """A part of a history: the minutes or the hours."""

    #: The name in the answer.
    name: str
    #: The heading at a terminal.
    heading: str
    #: The length of a step in seconds.
    seconds: int


_UNITS: Final = (_Unit("minutes", "last hour", 60), _Unit("hours", "last week", 3600))


@command("history", "jobengine history mail\njobengine history mail --hours\njobengine history mail --json")
@QUEUE
@click.option("--minutes", "only", flag_value="minutes", help="Only the minutes of the last hour.")
@click.option("--hours", "only", flag_value="hours", help="Only the hours of the last week.")
def history(queue_name: str, only: str | None) -> None:
    """
    Show what has happened in a queue: in each minute of the last hour, and in each hour of the last week.

    At a terminal it prints a line of bars for each figure, oldest first, with the sum of counts or the longest time.
    Elsewhere it prints a line for each minute and hour since the queue was created: unit, start, and the figures in the
    order added, claimed, complete, failed, attempts_failed, cancelled, and wait_p50, wait_p99, run_p50, run_p99 in
    seconds.
    """
    session = current()
    queue = session.queue(queue_name)
    raw: Mapping[str, Any] = queue.history().raw
    shown = [unit for unit in _UNITS if only in (None, unit.name)]
    if session.json:
        session.output.json({unit.name: raw[unit.name] for unit in shown})
    elif session.output.at_terminal:
        for unit in shown:
            session.output.rows([(unit.heading, ""), *_charts(raw[unit.name])])
    else:
        created = queue.stats().raw.get("created", 0)
        for unit in shown:
            for line in _lines(unit, raw[unit.name], time.time(), created):
                click.echo("\t".join(line))


def _charts(figures: Mapping[str, Numbers]) -> list[tuple[str, str]]:
    """A line of bars for each figure, leaving out figures that are always 0 or unknown."""
    rows = []
    for name in (*_COUNTS, *_SPANS):
        numbers = figures.get(name, ())
        known = [number for number in numbers if number]
        if known:
            is_count = name in _COUNTS
            total = f"{sum(known):,.0f}" if is_count else f"up to {duration(timedelta(seconds=max(known)))}"
            rows.append((f"  {name.replace('_', ' ')}", f"{bars(numbers, add=is_count)} {total}"))
    return rows or [("  nothing", "")]


def bars(numbers: Numbers, *, add: bool) -> str:
    """
    A bar of one character for each number. If there are too many numbers, a bar stands for a group of them: for their
    sum with `add`, otherwise for the largest. A space stands for 0 or an unknown number.
    """
    size = -(-len(numbers) // _WIDTH)
    groups = [numbers[start : start + size] for start in range(0, len(numbers), size)]
    together = [(sum if add else max)([number or 0 for number in group]) for group in groups]
    most = max(together)
    return "".join(_BARS[int((len(_BARS) - 1) * one / most)] if one else " " for one in together)


def _lines(unit: _Unit, figures: Mapping[str, Numbers], now: float, created: float) -> list[list[str]]:
    """A list of fields for each step since the queue was `created`, and always for the last step."""
    count = len(figures["added"])
    last = now // unit.seconds * unit.seconds
    steps = max(1, int(last // unit.seconds - created // unit.seconds) + 1)
    lines = []
    for step in range(max(0, count - steps), count):
        start = datetime.fromtimestamp(last - (count - 1 - step) * unit.seconds, UTC)
        values = [figures[name][step] if name in figures else None for name in (*_COUNTS, *_SPANS)]
        lines.append([unit.name.removesuffix("s"), moment(start), *map(_number, values)])
    return lines


def _number(value: float | None) -> str:
    """A count, or seconds to the millisecond; empty if unknown."""
    return "" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")
