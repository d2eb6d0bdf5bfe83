import pytest

# So that a promise that is broken is shown with the values that broke it.
pytest.register_assert_rewrite(
    *(f"tests.contract.{name}" for name in ("access", "asking", "events", "many", "sorted_lists", "suite", "waiting"))
)
