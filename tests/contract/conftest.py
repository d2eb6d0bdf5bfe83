from tests.engine.postgres.world import world  # noqa: F401  # pytest finds it by name, for test_postgres.py
