"""
Measures everything in benchmarks/figures.md. Run from the root: `python -m benchmarks.all`, or `make bench`.

Each part replaces its rows in that page, and its charts in docs/, as soon as it has been measured, so a stopped run
keeps the parts before. At the end the figures in docs/performance.md, docs/sizing.md and the README are renewed. If a
part can't be measured, the page has the reason in place of its rows.
"""

import re
import sys
from pathlib import Path

from jobengine import __version__

from . import (
    best_figures,
    bulk,
    capacity,
    client,
    contenders,
    dashboard,
    dependencies,
    failures,
    groups,
    idle_polls,
    latency,
    million,
    postgres,
    redrive,
    schedules,
    singles,
    stalls,
    tools,
    worker,
)
from .charts import draw
from .machine import be_a_client, description, others_share
from .results import Part, Results, say

_PARTS: dict[str, Part] = {
    "Python libraries, one process adds and one works off": contenders.measure,
    "Python client": client.measure,
    "Python worker": worker.measure,
    "one by one": singles.measure,
    "many at a time": bulk.measure,
    "on PostgreSQL": postgres.measure,
    "latency": latency.measure,
    "1,000,000 queued jobs": million.measure,
    "groups": groups.measure,
    "schedules": schedules.measure,
    "dependencies": dependencies.measure,
    "failures": failures.measure,
    "moves of failed jobs": redrive.measure,
    "memory and disk of a job": capacity.measure,
    "database files": tools.measure,
    "how long one request holds up others": stalls.measure,
    "idle long polls": idle_polls.measure,
    "dashboard": dashboard.measure,
}
#: The share of the machine that other processes may use.
_QUIET = 0.05
_DOCS = Path(__file__).parents[1] / "docs"


def main() -> int:
    """Run all parts; returns 1 if a part could not be measured, otherwise 0."""
    be_a_client()
    if (share := others_share()) > _QUIET:
        say(f"{share:.0%} of the machine is used by other processes: the figures will be unreliable")
    try:
        measured = [_measure(name, part) for name, part in _PARTS.items()]
        return int(not all(measured))
    finally:
        best_figures.renew()


def _measure(name: str, part: Part) -> bool:
    """Measure one part, print its rows and write them into the page; returns whether it could be measured."""
    say(name)
    results, good = Results(), True
    try:
        part(results)
    except Exception as error:  # after an error of any kind, the other parts are still measured
        results.failed(name, error)
        good = False
    text = f"{results.table()}\n{_place(results)}\n"
    sys.stdout.write(text)
    write(name, text, best_figures.FIGURES)
    draw(results, _DOCS)
    return good


def _place(results: Results) -> str:
    """The versions of all that was measured, and the machine."""
    return f"Measured on: {description()}; {', '.join([f'JobEngine {__version__}', *results.versions])}."


def write(name: str, text: str, page: Path) -> None:
    """Put the figures of a part under its heading, in the order of the parts."""
    head, *sections = re.split(r"^(?=## )", page.read_text(), flags=re.MULTILINE)
    by_heading = {section.partition("\n")[0]: section for section in sections}
    by_heading[_heading(name)] = f"{_heading(name)}\n\n{text}\n"
    order = [_heading(part) for part in _PARTS]
    kept = sorted(by_heading, key=lambda heading: order.index(heading) if heading in order else len(order))
    page.write_text("".join([head, *(f"{by_heading[heading].rstrip()}\n\n" for heading in kept)]).rstrip() + "\n")


def _heading(name: str) -> str:
    return f"## {name[0].upper()}{name[1:]}"


if __name__ == "__main__":
    raise SystemExit(main())
