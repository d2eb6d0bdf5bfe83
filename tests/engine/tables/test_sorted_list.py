"""A sorted list in blocks, compared with a list that is sorted after each change."""

from bisect import bisect_left
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobengine.engine.tables import sorted_list as ordered
from jobengine.engine.tables.sorted_list import SortedList

#: Blocks so short that they are split and merged all the time.
SHORT = {"_BLOCK": 4, "_LONGEST": 8, "_SHORTEST": 2}

RUNS = st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 60), max_size=30)), max_size=20)


@pytest.fixture
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, length in SHORT.items():
        monkeypatch.setattr(ordered, name, length)


def ordered_of(values: list[int]) -> SortedList[int]:
    made: SortedList[int] = SortedList()
    made.add_all(list(values))
    return made


def check(one: SortedList[int], model: list[int]) -> None:
    """Check all results of the list, and that its blocks are valid."""
    assert list(one) == model
    assert len(one) == len(model)
    assert one.first() == (model[0] if model else None)
    assert list(one.behind(None)) == model
    assert list(one.back_from(None)) == model[::-1]
    for value in {-1, 30, 61, *model[:: max(1, len(model) // 7)]}:
        assert list(one.behind(value)) == [other for other in model if other > value]
        assert list(one.back_from(value)) == [other for other in reversed(model) if other < value]
        assert one.before(value) == bisect_left(model, value)
        assert (value in one) == (value in model)
    edges = [-1, 3, 10, 11, 11, 30, 31, 61]
    assert one.counts(edges) == [sum(start <= value < end for value in model) for start, end in pairwise(edges)]
    assert all(one._blocks)
    assert [block[-1] for block in one._blocks] == one._lasts
    assert all(len(block) <= ordered._LONGEST for block in one._blocks)


@pytest.mark.slow
@pytest.mark.usefixtures("short_blocks")
@given(RUNS)
@settings(deadline=None, max_examples=300)
def test_inserting_and_removing_random_runs_of_values_has_the_same_result_as_in_a_plain_list(
    runs: list[tuple[bool, list[int]]],
) -> None:
    one: SortedList[int] = SortedList()
    model: list[int] = []
    frozen = []
    for number, (entering, values) in enumerate(runs):
        if number % 3 == 0:
            frozen.append((one.freeze(), model.copy()))
        if entering:
            one.add_all(list(values))
            model = sorted(model + values)
        else:
            there = [value for value in dict.fromkeys(values) if value in model]
            for value in there:
                model.remove(value)
            one.remove_all(there)
        check(one, model)
        assert all([value for block in blocks for value in block] == then for blocks, then in frozen)
        if number % 7 == 6:
            one.thaw()
            frozen.pop(0)


def test_random_changes_of_a_long_sorted_list_have_the_same_result_as_in_a_plain_list() -> None:
    random = Random(4)
    one: SortedList[int] = SortedList()
    model: list[int] = []
    for number in range(60):
        start = random.randrange(0, 50_000)
        entering = list(range(start, start + random.choice([1, 7, 1_000, 5_000]), random.choice([1, 1, 3])))
        one.add_all(list(entering))
        model = sorted(model + entering)
        begin = random.randrange(len(model))
        leaving = model[begin : begin + random.choice([1, 7, 1_000, 5_000]) : random.choice([1, 1, 3])]
        one.remove_all(leaving[::-1])
        model = sorted(model[:begin] + list(_without(model[begin:], leaving)))
        if number % 10 == 9:
            check(one, model)
    one.remove_all(list(model))
    check(one, [])


def _without(values: list[int], leaving: list[int]) -> list[int]:
    left = list(values)
    for value in leaving:
        left.remove(value)
    return left


@pytest.mark.parametrize("missing", [0, 5, 11])
def test_removing_a_missing_value_is_an_error(missing: int) -> None:
    one = ordered_of([1, 3, 7, 10])
    with pytest.raises(LookupError):
        one.remove_all([missing])


def test_removing_most_values_merges_short_blocks() -> None:
    one = ordered_of(list(range(100_000)))
    one.remove_all([value for value in range(100_000) if value % 100])
    assert len(one._blocks) <= 3


class Compared(int):
    """A number that counts the comparisons."""

    times = 0

    def __lt__(self, other: int) -> bool:
        Compared.times += 1
        return int.__lt__(self, other)

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return int.__eq__(self, other)

    __hash__ = int.__hash__


def test_adjacent_values_are_inserted_and_removed_with_few_comparisons() -> None:
    """One or two comparisons for each value: to sort the run, and to check that it fits one gap."""
    one = SortedList[Compared]()
    Compared.times = 0
    for start in (*range(0, 100_000, 2_000), *range(1_000, 100_000, 2_000)):
        one.add_all([Compared(value) for value in range(start, start + 1_000)])
    assert Compared.times < 100_000 * 1.2
    Compared.times = 0
    for start in range(0, 100_000, 1_000):
        one.remove_all([Compared(value) for value in range(start, start + 1_000)])
    assert Compared.times < 100_000 * 2.5
