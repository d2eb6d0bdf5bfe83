"""
How many jobs a second do many daemons on one PostgreSQL do? Run from the root: `python -m benchmarks.scaling`.

Prints the table of docs/scaling.md, which says what was measured and what is assumed.
"""

import sys
from itertools import product

from attrs import evolve

from .parameters import BIG, COSTS
from .simulation import Load, simulate

#: Jobs in a request, and clients of each daemon: one by one over many connections, and in bulk over a few.
_SINGLE, _BULK = (1, 32), (100, 4)
_DAEMONS = (1, 8, 64)
_QUEUES, _SERVERS = 64, 4


def _row(daemons: int, size: int, clients: int) -> str:
    load = Load(daemons=daemons, clients=clients, size=size)
    one, many = simulate(load, BIG, COSTS), simulate(evolve(load, queues=_QUEUES), BIG, COSTS)
    cells = [
        f"{daemons}",
        f"{size}",
        one.text,
        many.text,
        "",
        f"{many.written / 1e6:,.0f}",
        f"{many.busy['PostgreSQL'] * BIG.cores:.1f}",
    ]
    if daemons >= _SERVERS:
        share = simulate(evolve(load, daemons=daemons // _SERVERS, queues=_QUEUES // _SERVERS), BIG, COSTS)
        cells[4] = evolve(share, jobs=share.jobs * _SERVERS).text
    return f"| {' | '.join(cells)} |\n"


def main() -> int:
    """Print the table of docs/scaling.md."""
    head = (
        "daemons",
        "jobs a request",
        "one queue",
        f"{_QUEUES} queues",
        f"{_SERVERS} servers",
        "WAL, MB/s",
        "PostgreSQL, cores",
    )
    sys.stdout.write(f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n")
    for (size, clients), daemons in product((_SINGLE, _BULK), _DAEMONS):
        sys.stdout.write(_row(daemons, size, clients))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
