"""
The four figures at the top of the README, taken from the table of all figures; nothing is measured here. Run from the
root after the measurements: `python -m benchmarks.best_figures`, which `make bench` does.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

_ROOT: Final = Path(__file__).parents[1]
#: The page with all figures.
FIGURES: Final = _ROOT / "docs" / "performance.md"
README: Final = _ROOT / "README.md"
#: This module rewrites the README between these lines.
_BEGIN, _END = "<!-- best figures: written by make bench -->\n", "<!-- end of best figures -->\n"
#: What each row is called in the README, and in the table of all figures.
_CHOSEN: Final = {
    "Python programs add and work off, at full speed": "one process adds, one works off: many in a call or 32 threads",
    "the same with one job in a call, 8 threads": "one process adds, one works off: 8 threads each, one job in a call",
    "adding over HTTP, 1,000 jobs in a request": "bulk of 1,000, adding alone",
    "claims from a queue of 1,000,000 jobs": "1,000,000 queued jobs, claim",
}


@frozen
class Figure:
    """A row of the table of all figures."""

    what: str
    ours: str
    #: Name and figure of the contender, or "".
    contender: str


def figures(page: str) -> Iterator[Figure]:
    """The rows of all tables on a page whose columns begin with what was measured, ours, and a contender."""
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) > 3:
            yield Figure(*cells[:3])


def table(page: str) -> str:
    """The README's table, from the page with all figures; raises KeyError for a row that was not measured."""
    found: dict[str, list[Figure]] = {}
    for figure in figures(page):
        found.setdefault(figure.what, []).append(figure)
    rows = [f"| {name} | **{found[what][0].ours}** | {_others(found[what])} |" for name, what in _CHOSEN.items()]
    return "\n".join(["| | JobEngine | beside it |", "|---|---|---|", *rows, ""])


def write(page: str, readme: Path) -> None:
    """Put the table between its markers in the README."""
    before, _, rest = readme.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    readme.write_text(f"{before}{_BEGIN}\n{table(page)}\n{_END}{after}")


def _others(rows: list[Figure]) -> str:
    """The contenders of one figure, the fastest first."""
    measured = [re.sub(r" \(client.*?\)", "", row.contender) for row in rows if re.search(r": [\d,]+ ", row.contender)]
    return " · ".join(sorted(measured, key=_rate, reverse=True))


def _rate(contender: str) -> int:
    return int(contender.rpartition(": ")[2].split(" ")[0].replace(",", ""))


if __name__ == "__main__":
    write(FIGURES.read_text(), README)
