import pytest

# So that failed assertions in them show their values.
pytest.register_assert_rewrite(
    *(f"tests.contract.{name}" for name in ("access", "asking", "events", "many", "sorted_lists", "suite", "waiting"))
)
