from tests.engine.postgres.world import world  # noqa: F401  # for test_postgres.py
