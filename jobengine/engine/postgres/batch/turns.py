"""
The order of turns: the jobs of a queue with flow in the order in which claims get them.

Groups are loaded in the order of the database, as far as a claim needs them. A group whose jobs the batch has changed
may have another place by now, so all such groups are loaded first.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from attrs import define, field

from ....core.flow import GATE, OF_QUEUE, UNLIMITED, GroupOrder, gate_of
from ....core.model import Job, Rank
from ....core.turn_order import InTurn, Key
from ....storage.errors import Damaged
from ..database.arrays import byteas
from ..database.group_rows import READY, group_of, ungrouped_locked
from ..database.pipeline import Row, Statement
from ..sql import named
from .groups import LoadedGroups
from .loaded_group import LoadedGroup, second_of
from .one_of_each import one_of_each

Tags = tuple[str, ...]
#: A place before all groups.
_FRONT: Final = (-(1 << 63), "-Infinity", -1, -1)

_NEXT_TURN: Final = named("next_turn")
_GROUPS_IN_TURN: Final = named("groups_in_turn")
_TAGGED_JOBS_OF_GROUPS: Final = named("tagged_jobs_of_groups")
#: The most groups that are loaded at a time, not counting the one for comparison; see _at_most.
_MOST: Final = 1_000


@define(eq=False)
class Turns:
    """Gives claims the jobs of a queue with flow."""

    groups: LoadedGroups
    #: Whether the batch consists of just one claim, in one queue.
    is_lone: bool = False
    #: When more can be claimed, because a gate changes.
    opens: int | None = field(default=None, init=False)
    #: The place of the last loaded group, as columns of the table `grp`.
    _last: tuple[int, str, int, int] = field(default=_FRONT, init=False)
    #: The same place as a sort key; None before a group is loaded.
    _frontier: Key | None = field(default=None, init=False)
    #: Whether all groups are loaded.
    _is_whole: bool = field(default=False, init=False)
    #: Whether nothing was loaded for a claim yet.
    begins: bool = field(default=True, init=False)
    #: The first groups, if they are loaded with the batch.
    _page: "_Page | None" = field(default=None, init=False)
    #: Whether other transactions have locked ready jobs of a group.
    passed_over: bool = field(default=False, init=False)

    def queries(self, tags: Tags, count: int) -> "list[tuple[Statement, Callable[[list[Row]], None]]]":
        """The statements that load the rows for a claim, each with the function that takes its answer."""
        groups, self.begins = self.groups, False

        def take(answer: list[Row]) -> None:
            self._page = _Page(most, answer)

        def take_turn(answer: list[Row]) -> None:
            groups.turn = answer[0][0]

        found: list[tuple[Statement, Callable[[list[Row]], None]]] = []
        if groups.locked:
            found += [(ungrouped_locked(groups.queue_id), _ignore), (_NEXT_TURN(), take_turn)]
        found.append((groups.totals_read(), groups.take_totals))
        if not tags:
            most = _at_most(count)
            found.append((self._page_read(most, count), take))
        return found

    def order(self, tags: Tags, now: int, count: int) -> Iterator[Job]:
        """The first jobs in the order in which a claim gets them."""
        room = min(count, self.groups.queue_room())
        if room <= 0:
            self._note_gate(gate_of(self.groups.item(GATE, OF_QUEUE)).next_change(self.groups.flow.limits.rate, now))
            return
        if room == count and not tags and (jobs := self._one_of_each(count)) is not None:
            yield from jobs
            return
        given = 0
        for job in self.in_turn(tags, count):
            yield job
            given += 1
            if given == room:
                break
        if given < count:
            self._note_gates(now)

    def _one_of_each(self, count: int) -> Sequence[Job] | None:
        loaded = self._page if self.groups.locked else None
        return None if loaded is None else one_of_each(self.groups, loaded.rows, count, begins=self.is_lone)

    def in_turn(self, tags: Tags, count: int) -> Iterable[Job]:
        """The jobs as in `order`, but without regard to the queue's own limits; loaded for a claim of `count`."""
        if not self.groups.turn:
            self.groups.turn = self.groups.send(_NEXT_TURN())[0][0][0] if self.groups.locked else UNLIMITED
        self.groups.load_changed()
        by_uid: dict[str, LoadedGroup] = {}
        positions: Iterable[Key] = ()
        tagged: dict[LoadedGroup, list[Rank]] = {}
        if tags:
            tagged = self._tagged(tags, count)
            positions = sorted(self._position(group, ranks[0], by_uid) for group, ranks in tagged.items())
        else:
            positions = self._positions(by_uid, count)

        def opened(key: Key, _index: int) -> tuple[LoadedGroup, int, Iterable[Rank]]:
            group = by_uid[key[-1]]
            return group, self.groups.room(group), tagged[group] if tags else group.ready

        return InTurn(lists=[positions], opened=opened, job_of=self.groups.claimable, turn=self.groups.turn)

    @staticmethod
    def _position(group: LoadedGroup, rank: Rank, by_uid: dict[str, LoadedGroup]) -> Key:
        by_uid[rank[2]] = group
        return group.key(rank, 0, 0)

    def _positions(self, by_uid: dict[str, LoadedGroup], count: int) -> Iterator[Key]:
        """The positions of all open groups in order; those that are not loaded are loaded as they are needed."""
        self.groups.ungrouped()
        pending = sorted(self._open(list(self.groups.loaded.values()), by_uid))
        at = 0
        while True:
            if at < len(pending) and (self._is_whole or (self._frontier is not None and pending[at] <= self._frontier)):
                yield pending[at]
                at += 1
            elif self._is_whole:
                return
            else:
                pending = sorted([*pending[at:], *self._open(self._load_page(count), by_uid)])
                at = 0

    def _open(self, groups: Iterable[LoadedGroup], by_uid: dict[str, LoadedGroup]) -> Iterator[Key]:
        """The positions of the open groups among these."""
        for group in groups:
            if group.number(READY) > 0 and self.groups.room(group) > 0:
                first = next((rank for rank in group.ready if self.groups.claimable(rank) is not None), None)
                if first is not None:
                    yield self._position(group, first, by_uid)

    def _page_read(self, most: int, count: int) -> Statement:
        limit = self.groups.flow.group_limits.in_progress
        inv_prio, load, turn, arrival = self._last
        statement = _GROUPS_IN_TURN(
            queue_id=self.groups.queue_id,
            inv_prio=inv_prio,
            load=load,
            turn=turn,
            arrival=arrival,
            most=UNLIMITED if limit is None else limit,
            groups=most,
            jobs=count,
            fair=int(self.groups.flow.group_order is GroupOrder.FAIR),
        )
        return self.groups.locking(statement)

    def _load_page(self, count: int) -> list[LoadedGroup]:
        """Load the next groups in turn; returns those that were not loaded before."""
        page, self._page = self._page, None
        if page is None:
            most = _at_most(count)
            page = _Page(most, self.groups.send(self._page_read(most, count))[0])
        found: dict[bytes, tuple[Row, list[Rank]]] = {}
        for row in page.rows:
            its = found.get(row[0])
            if its is None:
                its = found[row[0]] = (row, [])
            if row[18] is not None:
                its[1].append(self.groups.keep(row))
        new = [(group, row, ranks) for row, ranks in found.values() if (group := self._placed(row, ranks)) is not None]
        self.groups.lock_strict([(group, ranks) for group, _, ranks in new])
        for group, row, ranks in new:
            if len(ranks) == 1 and row[17] is not None:
                ranks += self._second(group, row, ranks[0])
            is_whole = not ranks or len(ranks) >= group.base[READY]
            group.ready.take(*self.groups.rank_list(ranks, len(ranks) + is_whole))
        self._is_whole = len(found) < page.most
        if page.rows:
            inv_prio, load, turn, arrival = page.rows[-1][8:12]
            self._last = (inv_prio, repr(load), turn, arrival)
            is_fair = self.groups.flow.group_order is GroupOrder.FAIR
            self._frontier = (inv_prio + 1, load, turn, arrival, "~") if is_fair else (inv_prio + 1, arrival, "~")
        return [group for group, _, _ in new]

    def _second(self, group: LoadedGroup, row: Row, first: Rank) -> list[Rank]:
        """
        A list with the rank of a group's second ready job, which is not locked. Empty in strict order, and if that job
        does not come after `first`.
        """
        rank = (row[14] + 1, row[15], row[17])
        if rank <= first or group.order is GroupOrder.STRICT:
            return []
        self.groups.unlocked[row[17]] = row[0]
        return [rank]

    def _placed(self, row: Row, ranks: Sequence[Rank]) -> LoadedGroup | None:
        """The group of a row; None if the group was loaded before, or its name can't be read."""
        group, place = self._kept(row, self._name_in(row, ranks)), (row[8], row[11])
        if group is not None and (not ranks or ranks[0][1] != place[1] or ranks[0][0] - 1 != place[0]):
            # Other transactions have locked the group's first job, or have left the group a place that is too early.
            self.passed_over = True
            group.delta.is_touched = group.delta.lost = self.groups.locked
        elif group is not None:
            group.delta.second = second_of(row)
        return group

    def _kept(self, row: Row, name: str | None) -> LoadedGroup | None:
        groups = self.groups
        if name is not None and row[12] is None and row[13] is None and not groups.named:
            return None if name in groups.loaded else groups.make(name, row[2:6], row[6], row[7], (row[8], row[11]))
        try:
            its = group_of(groups.rows, groups.queue(), row, name)
        except Damaged:
            return None
        return None if its.name in groups.loaded else groups.take(its)

    def _name_in(self, row: Row, ranks: Sequence[Rank]) -> str | None:
        """The name of a group, from its first job, which is read anyway; None if only the group's row has the name."""
        job = self.groups.claimable(ranks[0]) if ranks else None
        name = None if job is None else job.spec.rare.group
        return name if name is not None and self.groups.rows.group(name) == row[0] else None

    def _tagged(self, tags: Tags, count: int) -> dict[LoadedGroup, list[Rank]]:
        """Of each group with room, the first ready jobs with these tags."""
        limit, digests = self.groups.flow.group_limits.in_progress, self.groups.rows.tags(tags)
        changed = [self.groups.rows.group(name) for name in self.groups.changed_names()]
        statement = _TAGGED_JOBS_OF_GROUPS(
            queue_id=self.groups.queue_id,
            tag=digests[0],
            tags=byteas(digests),
            tag_count=len(digests),
            wall=self.groups.wall,
            changed=byteas(changed),
            most=UNLIMITED if limit is None else limit,
            each=count + len(self.groups.jobs),
        )
        (answer,) = self.groups.send(statement)
        sound = self.groups.lock_ready([row[1] for row in answer if row[1] not in self.groups.jobs])
        for row in answer:
            if row[1] not in self.groups.jobs and (not self.groups.locked or row[1] in sound):
                self.groups.job(row)
        wanted = frozenset(tags)
        ranks: dict[str | None, list[Rank]] = {}
        for job in self.groups.jobs.values():
            if wanted.issubset(job.spec.tags) and self.groups.claimable(job.spec.rank) is not None:
                ranks.setdefault(job.spec.rare.group, []).append(job.spec.rank)
        self.groups.load_named([name for name in ranks if name is not None])
        found = {
            self.groups.ungrouped() if name is None else self.groups.loaded[name]: sorted(its)
            for name, its in ranks.items()
        }
        return {group: its for group, its in found.items() if self._may_take(group, its[0])}

    def _may_take(self, group: LoadedGroup, first: Rank) -> bool:
        """Whether a claim may take this job of a group first; in strict order only the first ready job may be taken."""
        if self.groups.room(group) <= 0:
            return False
        return group.order is not GroupOrder.STRICT or group.name is None or next(iter(group.ready), None) == first

    # When more can be claimed

    def _note_gates(self, now: int) -> None:
        for group in self.groups.loaded.values():
            if group.name is not None and group.number(READY) > 0:
                self._note_gate(group.gate.next_change(group.settings.limits(self.groups.flow).rate, now))
        self._note_gate(gate_of(self.groups.item(GATE, OF_QUEUE)).next_change(self.groups.flow.limits.rate, now))

    def _note_gate(self, opens: int | None) -> None:
        if opens is not None:
            self.opens = opens if self.opens is None else min(self.opens, opens)


@define
class _Page:
    """The rows of the next groups in turn: of `most` groups, or of all that are left if these are fewer."""

    most: int
    rows: Sequence[Row]


def _at_most(count: int) -> int:
    """
    How many groups are loaded for a claim of this many jobs: one more than the claim needs, for comparison with the
    second jobs of the others.
    """
    return min(count, _MOST) + 1


def _ignore(_answer: list[Row]) -> None:
    pass
