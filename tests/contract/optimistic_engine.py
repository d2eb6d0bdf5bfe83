"""The engine on PostgreSQL without locked rows, held to the whole contract: a minute's work, for `make torture`."""

from tests.contract.suite import EngineContract
from tests.contract.test_postgres_optimistic import world

__all__ = ["TestOptimisticEngine", "world"]


class TestOptimisticEngine(EngineContract):
    """See test_postgres.py."""
