"""Tests the named things of queues with two commands of this module."""

from jobengine.core import commands as c
from jobengine.core.access import OWNERS, READERS
from jobengine.core.facts import ItemSet
from jobengine.core.model import Grant, Queue
from jobengine.core.required_rows import Needs
from jobengine.core.tables import NOTHING, Decision, NewId, RecentActivity, Table
from tests.contract.asking import Asker, Contract
from tests.contract.world import World

KIND = "group"


class SetItem(c.QueueCommand[str | None], frozen=True, kw_only=True):
    """Set a named thing, and return its old value; with `once` only if it does not exist."""

    roles = OWNERS
    reads = False

    name: str
    value: str | None
    once: bool = False

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(items=frozenset([(KIND, self.name)]))

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[str | None]:
        old = table.item(KIND, self.name)
        if self.once and old is not None:
            return NOTHING, old
        return [ItemSet(self.queue, KIND, self.name, self.value)], old


class ListItems(c.QueueCommand[list[tuple[str, str]]], frozen=True, kw_only=True):
    """List the named things of a kind."""

    roles = READERS
    reads = True

    of: str = KIND

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(kinds=frozenset([self.of]))

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[list[tuple[str, str]]]:
        return NOTHING, list(table.items(self.of))


class NamedItemsContract(Contract):
    """A queue keeps its named things."""

    def test_a_named_thing_can_be_set_replaced_and_removed(self, world: World, ask: Asker) -> None:
        assert ask.ask(SetItem, name="b", value="1") is None
        assert ask.ask(SetItem, name="b", value="2") == "1"
        assert ask.ask(SetItem, name="b", value=None) == "2"
        assert ask.ask(SetItem, name="b", value=None) is None

    def test_named_things_of_a_kind_are_listed_by_name(self, world: World, ask: Asker) -> None:
        ask.create("other")
        ask.ask(SetItem, "other", name="c", value="0")
        for name in "ba":
            ask.ask(SetItem, name=name, value=f'"{name}"')
        assert ask.ask(ListItems) == [("a", '"a"'), ("b", '"b"')]
        assert ask.ask(ListItems, of="another") == []

    def test_named_things_survive_a_restart(self, world: World, ask: Asker) -> None:
        ask.ask(SetItem, name="a", value="1")
        ask.ask(SetItem, name="b", value="1")
        ask.ask(SetItem, name="b", value=None)
        world.reopen()
        assert ask.ask(ListItems) == [("a", "1")]

    def test_a_recreated_queue_has_no_named_things_of_the_deleted_one(self, world: World, ask: Asker) -> None:
        ask.ask(SetItem, name="a", value="1")
        ask.ask(c.DeleteQueue)
        ask.create()
        assert ask.ask(ListItems) == []
