"""A list of many groups is found in slices, between which other requests are answered."""

from collections.abc import Coroutine
from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.errors import AccessDenied
from jobengine.core.model import Defaults
from jobengine.core.sorting import GroupSort
from jobengine.engine.tables.group import Group
from jobengine.engine.tables.turns import FOUND_AT_ONCE, Turns
from tests.engine.engines import KEY, Desk

GROUPS = 3 * FOUND_AT_ONCE + 5


def add(desk: Desk, *groups: str) -> None:
    jobs = tuple(c.NewJob(content=b"{}", group=group) for group in groups)
    desk.told(desk.engine.ask(c.AddJobs(queue="q", access_key=KEY, jobs=jobs, defaults=Defaults())))


def listing(desk: Desk, key: bytes = KEY, **more: Any) -> Coroutine[Any, Any, c.GroupPage]:
    return desk.engine.ask(c.ListGroups(queue="q", access_key=key, limit=2, **more))


@pytest.fixture
def desk(desk: Desk) -> Desk:
    add(desk, *(f"g{number:05}" for number in range(GROUPS)), "g00003", "g06001", "g06001")
    return desk


def test_other_requests_are_answered_while_many_groups_are_listed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0
    number = Turns._number

    def counted(self: Turns, group: Group, sort: GroupSort) -> int:
        nonlocal looked
        looked += 1
        return number(self, group, sort)

    monkeypatch.setattr(Turns, "_number", counted)
    asked, turns = desk.ask(listing(desk)), [looked]
    while not asked.answered:
        before = looked
        desk.one_turn()
        turns.append(looked - before)
        peeked = desk.ask(desk.peeking())
        assert peeked.answered
    assert max(turns) <= FOUND_AT_ONCE
    assert sum(turns) == GROUPS
    assert [(one.name, one.state.queued) for one in asked.answer.groups] == [("g06001", 3), ("g00003", 2)]
    assert asked.answer.following == (2, "g00003")


@pytest.mark.parametrize("sort", GroupSort)
def test_pages_of_many_groups_have_each_group_once(desk: Desk, sort: GroupSort) -> None:
    names: list[str] = []
    after = None
    while True:
        command = c.ListGroups(queue="q", access_key=KEY, limit=1_000, sort=sort, after=after)
        page = desk.told(desk.engine.ask(command))
        names += [one.name for one in page.groups]
        after = page.following
        if after is None:
            break
    assert sorted(names) == [f"g{number:05}" for number in range(GROUPS)]


def test_a_group_removed_while_groups_are_listed_is_left_out(desk: Desk) -> None:
    asked = desk.ask(listing(desk))
    assert not asked.answered
    desk.told(desk.engine.ask(c.DeleteMatching(queue="q", access_key=KEY, filter=c.Filter(group="g00003"))))
    assert [one.name for one in asked.answer.groups] == ["g06001"]
    assert asked.answer.following == (2, "g00003")


def test_no_group_is_read_for_a_key_that_may_not_list_groups(desk: Desk) -> None:
    with pytest.raises(AccessDenied):
        desk.told(listing(desk, key=b"wrong"))
