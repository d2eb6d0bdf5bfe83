"""The tables in docs/sizing.md: measured rates, rounded down, and what queued and complete jobs take."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

#: The ways to add and do jobs, and what each is called in the table of all figures.
RATES: Final[Mapping[str, str]] = {
    "one program, one thread, one `add` at a time": "Python client, one thread, one add at a time",
    "eight threads that `add` one job at a time, and a worker with eight threads": (
        "one process adds, one works off: 8 threads each, one job in a call"
    ),
    "`add_many`, and a worker with 32 threads": "one process adds, one works off: many in a call or 32 threads",
    "a worker with 32 threads alone, jobs that do nothing": "Python worker, 32 threads, jobs that do nothing",
    "over HTTP, one request each to add, claim and complete, 32 connections": "single calls, add → claim → complete",
    "over HTTP, 100 jobs in a request": "bulk of 100, add → claim → complete",
    "over HTTP, 1,000 jobs in a request": "bulk of 1,000, add → claim → complete",
    "over HTTP, only adding, 1,000 jobs in a request": "bulk of 1,000, adding alone",
}
#: How many complete jobs are kept, if 100 are done each second and kept for an hour.
KEPT: Final = 360_000
#: Bytes that a server takes without jobs.
_BARE: Final = 60e6


def tables(measured: Mapping[str, str]) -> dict[str, str]:
    """The tables by the name in their markers, from JobEngine's figures; rows without a figure are left out."""
    rates = [(name, rounded_down(measured[what])) for name, what in RATES.items() if what in measured]
    columns = "content", "memory", "memory after a restart", "on disk", "a start reads a million in"
    kept = f"memory of {KEPT:,}, with the server"
    return {
        "rates": _table([("how jobs are added and done", "measured"), *rates]),
        "sizes": _table([("", *columns, kept), *_sizes(measured)]),
    }


def rounded_down(rate: str) -> str:
    """A figure such as "1,286 jobs/s" with two significant digits, rounded down."""
    number, unit = rate.split(" ", 1)
    digits = number.replace(",", "")
    step = 10 ** max(len(digits) - 2, 0)
    return f"{int(digits) // step * step:,} {unit}"


def _sizes(measured: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    for what, figure in measured.items():
        found = re.fullmatch(r"a (complete )?job of (\d+) bytes", what)
        if found:
            memory, again, disk, start = map(int, re.findall(r"\d+", figure))
            kept = round((KEPT * max(memory, again) + _BARE) / 1e7) * 10
            sizes = [f"{number:,} bytes" for number in (int(found[2]), memory, again, disk)]
            yield (found[1] or "queued").strip(), *sizes, f"{start} s", f"{kept:,} MB"


def _table(rows: list[tuple[str, ...]]) -> str:
    head, *others = rows
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, ("---",) * len(head), *others))
