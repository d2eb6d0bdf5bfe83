"""Safeties of limits, rates, the order of groups and priority ageing."""

from typing import Final

from .mutant import Mutant

_TURNS: Final = "jobengine/engine/tables/turns.py"
_FAIRNESS: Final = "tests/core/test_fairness.py::"

OF_GROUPS: Final = (
    Mutant(
        "group-limit",
        "that no group has more jobs in progress than its limit",
        "jobengine/engine/tables/group.py",
        "(self.running >= cap and",
        "(self.running > cap and",
        (
            "tests/engine/tables/test_one_of_each.py::test_claims_with_and_without_the_shortcut_for_one_job_of_each_group_get_the_same_jobs",
        ),
    ),
    Mutant(
        "rate-marks",
        "that a claim counts until its whole mark has left the window",
        "jobengine/core/flow.py",
        "for _, last, n in self.marks:\n            if last > since",
        "for last, _, n in self.marks:\n            if last > since",
        ("tests/torture/test_rates.py::test_despite_kills_no_rate_window_has_too_many_claims_and_no_claim_is_late",),
    ),
    Mutant(
        "limit-beside-claims",
        "that a new limit waits for claims that may not know of it",
        "jobengine/engine/postgres/batch/flow_changes.py",
        "is_new = limits != table.queue.flow.limits and",
        "is_new = False and",
        (
            "tests/engine/postgres/batch/test_group_races.py::"
            "test_the_first_limit_of_a_queue_counts_claims_that_were_under_way_at_the_change",
        ),
    ),
    Mutant(
        "line-beside-adds",
        "that a job which is added beside a change of the order gets its place",
        "jobengine/engine/line_mover.py",
        "            if self._ready is not None:\n",
        "            if False:\n",
        (
            "tests/engine/postgres/test_line_mover.py::test_a_job_added_during_a_change_of_the_order_also_gets_its_new_place_in_line",
        ),
    ),
    Mutant(
        "fair-turns",
        "that a group waits its turn after it was served",
        _TURNS,
        "group.served = self.turn",
        "pass",
        (f"{_FAIRNESS}test_the_first_job_of_an_idle_group_waits_for_at_most_one_claim_per_group_and_one_more",),
    ),
    Mutant(
        "clock-set-back",
        "that a clock which is set back during a stop holds no rate for longer",
        "jobengine/engine/tables/state.py",
        "gate.marks[-1][1] for gate in gates if gate.marks",
        "0 for gate in gates if gate.marks",
        ("tests/engine/test_clock_steps.py::test_setting_the_clock_back_while_no_server_runs_extends_no_rate_window",),
    ),
)
