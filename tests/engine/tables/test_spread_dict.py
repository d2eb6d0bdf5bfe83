"""A dictionary for many entries, compared with a plain one."""

from collections.abc import MutableMapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobengine.core import commands as c
from jobengine.core.model import Defaults
from jobengine.engine.tables import queue_table, spread_dict
from jobengine.engine.tables.spread_dict import Entries, SpreadDict, fitting, part_of
from tests.core.worlds import KEY, World

#: Changes: keys to set, or to delete.
CHANGES = st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 200), max_size=20)), max_size=20)


@pytest.fixture
def few_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (spread_dict, queue_table):
        monkeypatch.setattr(module, "MOST_IN_ONE", 10)


def sizes(entries: MutableMapping[Any, Any]) -> list[int]:
    """The number of entries in each dict."""
    return [len(entries._first), *map(len, entries._parts)] if isinstance(entries, SpreadDict) else [len(entries)]


@pytest.mark.usefixtures("few_in_one")
@given(CHANGES)
@settings(deadline=None, max_examples=200)
def test_a_spread_dict_has_the_entries_of_a_plain_dict(changes: list[tuple[bool, list[int]]]) -> None:
    entries: Entries[int, tuple[int, int]] = {}
    plain: dict[int, tuple[int, int]] = {}
    for number, (sets, keys) in enumerate(changes):
        for key in keys:
            if sets:
                entries[key] = plain[key] = (number, key)
            elif key in plain:
                assert part_of(entries, key).pop(key) == plain.pop(key)
        entries = fitting(entries)
        assert entries == plain
        assert (len(entries), bool(entries), sorted(entries)) == (len(plain), bool(plain), sorted(plain))
        assert all(entries.get(key, "none") == plain.get(key, "none") for key in range(201))
    while plain:
        key, value = entries.popitem()
        assert plain.pop(key) == value
    with pytest.raises(KeyError):
        del entries[0]
    assert fitting(entries) == {}


@pytest.mark.usefixtures("few_in_one")
def test_changed_entries_are_in_small_dicts_and_the_emptied_first_dict_is_replaced() -> None:
    first = dict.fromkeys(range(100), "")
    entries = fitting(first)
    assert sizes(entries) == [100, *[0] * 64]
    for number in range(100):
        if number % 2:
            part_of(entries, number)[number] = "changed"
        else:
            del entries[number]
        assert sizes(entries)[0] == 99 - number
    assert entries == dict.fromkeys(range(1, 100, 2), "changed")
    assert isinstance(entries, SpreadDict)
    assert entries._first is not first, "an emptied dict keeps its memory"


@pytest.mark.usefixtures("few_in_one")
def test_many_jobs_are_spread_over_inner_dicts_of_less_than_100_entries() -> None:
    world = World()
    world.create()
    add(world, range(10))
    table = world.tables.queues["q"]
    assert type(table.jobs) is dict, "few jobs stay in one dict"
    for start in range(10, 2_000, 10):
        add(world, range(start, start + 10))
    for entries in (table.jobs, table.names.unique):
        assert len(entries) == 2_000
        assert max(sizes(entries)) < 100
    assert table.failing.jobs is table.jobs


@pytest.mark.usefixtures("few_in_one")
def test_a_dict_of_jobs_is_spread_only_after_the_file_was_read() -> None:
    world = World()
    world.create()
    table = world.tables.queues["q"]
    table.flow.is_later = True
    add(world, range(30))
    assert type(table.jobs) is dict
    assert [*world.tables.index_groups(100)] == []
    add(world, range(30, 31))
    add(world, range(31, 32))
    assert sorted(sizes(table.jobs))[-2:] == [1, 31]


def add(world: World, keys: range) -> None:
    jobs = tuple(c.NewJob(content=b"{}", unique_key=str(key)) for key in keys)
    world.ask(c.AddJobs(queue="q", access_key=KEY, jobs=jobs, defaults=Defaults()))
