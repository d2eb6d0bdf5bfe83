"""Runs the state machine with random calls, with each driver."""

from collections import Counter
from typing import ClassVar

from hypothesis import Phase, settings
from hypothesis import seed as with_seed
from hypothesis.stateful import run_state_machine_as_test

from tests.machine.http_driver import HttpDriver
from tests.machine.local_driver import LocalDriver
from tests.machine.machine import EngineMachine
from tests.machine.move_rules import MoveMachine


class LocalMachine(MoveMachine):
    driver_kind = LocalDriver
    counted: ClassVar[Counter[str]] = Counter()


class HttpMachine(MoveMachine):
    driver_kind = HttpDriver
    counted: ClassVar[Counter[str]] = Counter()


def live(
    machine: type[EngineMachine], *, lives: int, steps: int, seed: int | None = None, shrink: bool = True
) -> Counter[str]:
    """
    Run the state machine `lives` times; returns the number of events of each kind, in these runs and earlier
    ones. Without a seed all runs are the same each time, so that the counts do not vary. Shrinking a failure takes up
    to five minutes.
    """
    given = settings(
        deadline=None,
        max_examples=lives,
        stateful_step_count=steps,
        report_multiple_bugs=False,
        derandomize=seed is None,
        database=None,
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
    )
    run_state_machine_as_test(machine if seed is None else with_seed(seed)(machine), settings=given)
    return machine.counted
