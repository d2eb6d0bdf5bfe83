"""
How many jobs a second do many daemons on one PostgreSQL process? Run from the root: `python -m benchmarks.scaling`.

Prints the tables of benchmarks/scaling.md, which separates measurements from assumptions. Each figure is the median of
three simulations.
"""

import sys
from collections.abc import Iterable, Sequence
from itertools import product

from attrs import evolve

from .parameters import BIG, COSTS
from .simulation import Answer, Costs, Load, simulate

#: Jobs in a request, and clients of each daemon: one job at a time over many connections, and in bulk over a few.
_SINGLE, _BULK = (1, 32), (100, 4)
_DAEMONS = (1, 8, 64)
_QUEUES, _SERVERS = 64, 4
_HEAD = (
    "daemons",
    "jobs a request",
    "one queue",
    f"{_QUEUES} queues",
    f"{_SERVERS} servers",
    "WAL, MB/s",
    "PostgreSQL, cores",
)
_FEW = 8
_ON_ONE_QUEUE = ("jobs a request", f"{_FEW} daemons on one queue", "with `max_jobs`", "watched")
_BEYOND = (f"daemons, {_BULK[0]} jobs a request, a standby that is never busy", "one queue", f"{_QUEUES} queues")


def _simulated(load: Load, costs: Costs = COSTS) -> Answer:
    return sorted((simulate(load, BIG, costs, seed=seed) for seed in range(3)), key=lambda one: one.jobs)[1]


def _row(daemons: int, size: int, clients: int) -> list[str]:
    load = Load(daemons=daemons, clients=clients, size=size)
    one, many = _simulated(load), _simulated(evolve(load, queues=_QUEUES))
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
        share = _simulated(evolve(load, daemons=daemons // _SERVERS, queues=_QUEUES // _SERVERS))
        cells[4] = evolve(share, jobs=share.jobs * _SERVERS).text
    return cells


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    for cells in (head, ["---"] * len(head), *rows):
        sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.write("\n")


def _on_one_queue(size: int, clients: int) -> list[str]:
    load = Load(daemons=_FEW, clients=clients, size=size)
    loads = (load, evolve(load, limited=True), evolve(load, watched=True))
    return [f"{size}", *(_simulated(one).text for one in loads)]


def _beyond_the_standby(daemons: int) -> list[str]:
    size, clients = _BULK
    load, costs = Load(daemons=daemons, clients=clients, size=size), evolve(COSTS, replay=0)
    return [f"{daemons}", *(_simulated(evolve(load, queues=queues), costs).text for queues in (1, _QUEUES))]


def main() -> int:
    """Print the tables of benchmarks/scaling.md."""
    _table(_HEAD, (_row(daemons, size, clients) for (size, clients), daemons in product((_SINGLE, _BULK), _DAEMONS)))
    _table(_ON_ONE_QUEUE, (_on_one_queue(size, clients) for size, clients in (_SINGLE, _BULK)))
    _table(_BEYOND, map(_beyond_the_standby, (_DAEMONS[-1], 4 * _DAEMONS[-1])))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
