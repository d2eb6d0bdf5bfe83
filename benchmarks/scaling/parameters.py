"""The parameters of the simulation, and a formula for its simplest case."""

from typing import Final

from .simulation import LIFE, TRIPS, Costs, Load, Place

#: Measured; see benchmarks/scaling.md.
COSTS: Final = Costs(
    request=112,
    request_job=7.4,
    client=22,
    client_job=0.6,
    batch=340,
    task=8.5,
    job=10.5,
    pg_batch=337,
    pg_job=10.7,
    pg_walk=0.71,
    wal_batch=328,
    wal_job=974,
    removal=19,
    pg_removal=8.6,
    wal_removal=544,
    replay=3.8,
)
#: Assumed; see benchmarks/scaling.md.
BIG: Final = Place(cores=32, trip=200, sync=100, standby=1_000)


def formula(load: Load, place: Place, costs: Costs = COSTS) -> float:
    """Jobs a second of one daemon with one client, if jobs are kept: then no request waits for another."""
    written = costs.wal_batch + costs.wal_job * load.size
    daemon = costs.request + costs.batch + costs.task + (costs.request_job + costs.job) * load.size
    commit = place.sync
    if place.standby is not None:
        commit += costs.replay * written / 1_000 + place.sync + place.standby
    each = daemon + costs.pg_batch + costs.pg_job * load.size + commit + TRIPS * place.trip
    return load.size * 1e6 / (len(LIFE) * each)
