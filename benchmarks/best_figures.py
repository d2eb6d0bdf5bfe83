"""
The figures in the README, in docs/performance.md and in docs/sizing.md, taken from benchmarks/figures.md; nothing is
measured here.
`make bench` renews them at its end. Run by hand from the root: `python -m benchmarks.best_figures`.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from . import sizes

_ROOT: Final = Path(__file__).parents[1]
#: The page with all figures.
FIGURES: Final = _ROOT / "benchmarks" / "figures.md"
README: Final = _ROOT / "README.md"
PERFORMANCE: Final = _ROOT / "docs" / "performance.md"
SIZING: Final = _ROOT / "docs" / "sizing.md"
#: The lines before and after a table, with the table's name in place of {}.
_BEGIN, _END = "<!-- {}: written by make bench -->\n", "<!-- end of {} -->\n"
#: The names of rows, each with the row's name in the table of all figures.
Rows = Mapping[str, str]
#: The rows of the README's table.
CHOSEN: Final[Rows] = {
    "A Python process adds jobs, another does them": "one process adds, one works off: many in a call or 32 threads",
    "The same, 8 threads, one job in a call": "one process adds, one works off: 8 threads each, one job in a call",
    "Adding over HTTP, 1,000 jobs in a request": "bulk of 1,000, adding alone",
    "Claiming one by one from 1,000,000 queued jobs": "1,000,000 queued jobs, claim",
}
#: Names for contenders whose own names are clear only beside the page that explains them.
_NAMES: Final = {"pika on a quorum queue": "RabbitMQ through pika"}
#: How many contenders a table shows, if it shows only the fastest.
_MOST: Final = {"bulk": 2}
#: The rows of each table in docs/performance.md. A row that was not measured is left out.
TABLES: Final[Mapping[str, Rows]] = {
    "libraries": {
        "at full speed": "one process adds, one works off: many in a call or 32 threads",
        "one job in a call, 8 threads": "one process adds, one works off: 8 threads each, one job in a call",
    },
    "clients": {
        "asyncio, 1,000 coroutines, each adds one job at a time": "Python client, asyncio, 1,000 concurrent adds",
        "one thread adds one job at a time": "Python client, one thread, one add at a time",
        "`jobengine add --many` with 100,000 lines": "jobengine add --many, 100,000 lines",
        "a worker with 32 threads": "Python worker, 32 threads, jobs that do nothing",
    },
    "bulk": {
        "add, claim and complete, 100 jobs in a request": "bulk of 100, add → claim → complete",
        "add, claim and complete, 1,000 jobs in a request": "bulk of 1,000, add → claim → complete",
        "only add, 1,000 jobs in a request": "bulk of 1,000, adding alone",
    },
    "singles": {
        "requests": "single calls, requests",
        "jobs, three requests each": "single calls, add → claim → complete",
    },
    "latency": {
        "median": "1,000 requests/s, p50",
        "99 of 100 requests": "1,000 requests/s, p99",
        "99 of 100, while the file is compacted": "1,000 requests/s through a compaction, p99",
        "99 of 100, while it is compacted, with 1,000,000 jobs": (
            "1,000,000 queued jobs, p99 at 1,000 requests/s through a compaction"
        ),
        "99 of 100, with 20 dashboards open": "other requests with 20 dashboards open, p99",
    },
    "stalls": {
        "adding 10,000 jobs": "longest stall, adding 10,000",
        "completing 10,000 jobs": "longest stall, updating 10,000",
        "searching through 100 MB": "longest stall, a search through 100 MB",
        "deleting a queue of 1,000,000 jobs": "longest stall, deleting a queue of 1,000,000",
        "100,000 jobs are released by the one they wait for": (
            "100,000 jobs that wait for one, longest stall of others when it completes"
        ),
        "1,000 schedules are due at once": "1,000 of 10,000 schedules due at once, longest stall of others",
    },
    "large queues": {
        "adding, one by one": "1,000,000 queued jobs, add",
        "claiming, one by one": "1,000,000 queued jobs, claim",
        "claiming from 100,000 groups of 10 jobs, one by one": "100,000 groups of 10, fair, one by one",
        "memory a job": "1,000,000 queued jobs, memory a job",
        "from a start to the first answer": "1,000,000 queued jobs, ready again once stopped",
        "from a start after `kill -9`": "1,000,000 queued jobs, ready again once killed",
        "file, beside twice the live data and 64 MiB": "1,000,000 queued jobs, file beside the most that it may be",
        "`db import`": "1,000,000 jobs, import",
        "`db export`": "1,000,000 jobs, export",
        "`db check`": "1,000,000 jobs, check",
    },
}


@frozen
class Figure:
    """A row of the table of all figures."""

    what: str
    ours: str
    #: Name and figure of the contender, or "".
    contender: str


def figures(page: str) -> Iterator[Figure]:
    """The first cells of each row of the tables on a page: the measurement, our figure and a contender's."""
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) > 3:
            yield Figure(*cells[:3])


def table(page: str, rows: Rows = CHOSEN, most: int | None = None) -> str:
    """
    A table of chosen rows from the page with all figures, with at most `most` contenders in each row; raises KeyError
    for a row that was not measured.
    """
    found = _by_name(page)
    cells = [(name, f"**{found[what][0].ours}**", _others(found[what], most)) for name, what in rows.items()]
    columns = 3 if any(others for _, _, others in cells) else 2
    lines = [("", "JobEngine", "beside it"), ("---",) * 3, *cells]
    return "".join(f"| {' | '.join(line[:columns])} |\n" for line in lines)


def write(page: str, readme: Path) -> None:
    """Put the table between its markers in the README."""
    _put(table(page), readme, "best figures", "best figures")


def write_tables(page: str, place: Path) -> None:
    """Put each table between its markers in docs/performance.md."""
    found = _by_name(page)
    for name, rows in TABLES.items():
        measured = {shown: what for shown, what in rows.items() if what in found}
        _put(table(page, measured, _MOST.get(name)), place, f"figures of {name}", "figures")


def write_sizes(page: str, place: Path) -> None:
    """Put the tables between their markers in docs/sizing.md."""
    for name, text in sizes.tables({figure.what: figure.ours for figure in figures(page)}).items():
        _put(text, place, name, name)


def _by_name(page: str) -> dict[str, list[Figure]]:
    found: dict[str, list[Figure]] = {}
    for figure in figures(page):
        found.setdefault(figure.what, []).append(figure)
    return found


def _put(text: str, place: Path, name: str, end: str) -> None:
    before, begin, rest = place.read_text().partition(_BEGIN.format(name))
    _, mark, after = rest.partition(_END.format(end))
    place.write_text(f"{before}{begin}\n{text}\n{mark}{after}")


def _others(rows: list[Figure], most: int | None) -> str:
    """The contenders of one figure, the fastest first."""
    measured = [re.sub(r" \(client.*?\)", "", row.contender) for row in rows if re.search(r": [\d,]+ ", row.contender)]
    named = (row.rpartition(": ") for row in sorted(measured, key=_rate, reverse=True)[:most])
    return " · ".join(f"{_NAMES.get(name, name)}: {figure}" for name, _, figure in named)


def _rate(contender: str) -> int:
    return int(contender.rpartition(": ")[2].split(" ")[0].replace(",", ""))


def renew() -> None:
    """Renew all tables."""
    page = FIGURES.read_text()
    write(page, README)
    write_tables(page, PERFORMANCE)
    write_sizes(page, SIZING)


if __name__ == "__main__":
    renew()
