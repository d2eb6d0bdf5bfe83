"""
Measures everything in docs/performance.md. Run from the root: `python -m benchmarks.all`, or `make bench`.

A part that can't be measured is left out, with the reason. The table is printed; the table and the charts in docs are
rewritten.
"""

import sys
from pathlib import Path

from . import (
    bulk,
    capacity,
    client,
    contenders,
    dashboard,
    dependencies,
    groups,
    idle_polls,
    latency,
    million,
    postgres,
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
    "memory and disk of a job": capacity.measure,
    "database files": tools.measure,
    "how long one request holds up others": stalls.measure,
    "idle long polls": idle_polls.measure,
    "dashboard": dashboard.measure,
}
#: The share of the machine that other processes may use.
_QUIET = 0.05
_DOCS = Path(__file__).parents[1] / "docs"
#: This module rewrites the page between these lines.
_BEGIN, _END = "<!-- figures: written by make bench -->\n", "<!-- end of figures -->\n"


def main() -> int:
    """Run all parts; returns 1 if a part could not be measured, otherwise 0."""
    be_a_client()
    if (share := others_share()) > _QUIET:
        say(f"{share:.0%} of the machine is used by other processes: the figures will be unreliable")
    results, failed = Results(), 0
    for name, part in _PARTS.items():
        say(name)
        try:
            part(results)
        except Exception as error:  # after an error of any kind, the other parts are still measured
            failed += 1
            results.failed(name, error)
    text = f"{results.table()}\nMeasured on: {description()}; {', '.join(results.versions)}.\n"
    sys.stdout.write(text)
    write(text, _DOCS / "performance.md")
    draw(results, _DOCS)
    return min(failed, 1)


def write(text: str, page: Path) -> None:
    """Write the figures into docs/performance.md, between its markers."""
    before, _, rest = page.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    page.write_text(f"{before}{_BEGIN}\n{text}\n{_END}{after}")


if __name__ == "__main__":
    raise SystemExit(main())
