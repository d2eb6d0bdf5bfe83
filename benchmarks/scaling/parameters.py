"""The parameters of the simulation, and a formula for its simplest case."""

from typing import Final

from .simulation import LIFE, TRIPS, Costs, Load, Place

__all__ = ["BIG", "COSTS", "formula"]

#: Measured; see docs/scaling.md.
COSTS: Final = Costs(
    request=125,
    request_job=8,
    batch=750,
    task=20,
    job=26,
    pg_batch=535,
    pg_job=15.5,
    pg_walk=0.78,
    wal_batch=310,
    wal_job=980,
    removal=29,
    pg_removal=12.7,
    wal_removal=530,
    replay=3.5,
)
#: Assumed; see docs/scaling.md.
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
