"""
The order of turns: the jobs of a queue with flow as claims get them.

Groups are loaded in the order of the database, as far as a claim needs them. A group of which the batch has changed
jobs is somewhere else by now, so it is taken from what is loaded.
"""

from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

from attrs import define, field

from ....core.flow import GATE, GROUP, OF_QUEUE, UNLIMITED, GroupOrder, gate_of
from ....core.model import Job, Rank
from ....core.turn_order import InTurn, Key
from ....storage.errors import Damaged
from ..database.arrays import byteas, texts
from ..database.group_rows import group_of
from ..database.pipeline import Row
from ..sql import named
from .groups import LEAST, READY, LoadedGroup, LoadedGroups, at_least, rank_in, unlocked

Tags = tuple[str, ...]
#: Before all groups.
_FRONT: Final = (-(1 << 63), "-Infinity", -1, -1)

_NEXT_TURN: Final = named("next_turn")
_GROUPS_IN_TURN: Final = named("groups_in_turn")
_TAGGED_JOBS_OF_GROUPS: Final = named("tagged_jobs_of_groups")
_LOCK_READY_JOBS: Final = named("lock_ready_jobs")


@define(eq=False)
class Turns:
    """Gives claims the jobs of a queue with flow."""

    groups: LoadedGroups
    #: When more can be claimed, because a gate changes.
    opens: int | None = field(default=None, init=False)
    #: The place of the last loaded group, as the database and as keys have it; and whether all are loaded.
    _last: tuple[int, str, int, int] = field(default=_FRONT, init=False)
    _frontier: Key | None = field(default=None, init=False)
    _is_whole: bool = field(default=False, init=False)

    def order(self, tags: Tags, now: int, count: int) -> Iterator[Job]:
        """The first jobs in the order in which a claim gets them."""
        room = min(count, self.groups.queue_room())
        if room <= 0:
            self._note_gate(gate_of(self.groups.item(GATE, OF_QUEUE)).next_change(self.groups.flow.limits.rate, now))
            return
        given = 0
        for job in self.in_turn(tags, count):
            yield job
            given += 1
            if given == room:
                break
        if given < count:
            self._note_gates(now)

    def in_turn(self, tags: Tags, count: int) -> Iterable[Job]:
        """The jobs in that order, unless the queue's own limits prevent that; loaded for a claim of `count`."""
        if not self.groups.turn:
            self.groups.turn = self.groups.send(_NEXT_TURN())[0][0][0] if self.groups.locked else UNLIMITED
        self.groups.load_named([name for name in self.groups.changed if name is not None])
        by_uid: dict[str, LoadedGroup] = {}
        positions: Iterable[Key] = ()
        tagged: dict[LoadedGroup, list[Rank]] = {}
        if tags:
            tagged = self._tagged(tags, count)
            positions = sorted(self._position(group, ranks[0], by_uid) for group, ranks in tagged.items())
        else:
            positions = self._positions(by_uid, at_least(count))

        def opened(key: Key, _index: int) -> tuple[LoadedGroup, int, Iterable[Rank]]:
            group = by_uid[key[-1]]
            return group, self.groups.room(group), tagged[group] if tags else group.ready

        return InTurn(lists=[positions], opened=opened, job_of=self.groups.claimable, turn=self.groups.turn)

    @staticmethod
    def _position(group: LoadedGroup, rank: Rank, by_uid: dict[str, LoadedGroup]) -> Key:
        by_uid[rank[2]] = group
        return group.key(rank, 0, 0)

    def _positions(self, by_uid: dict[str, LoadedGroup], most: int) -> Iterator[Key]:
        """The positions of all open groups in order; those that are not loaded are loaded as they are needed."""
        self.groups.ungrouped()
        pending: list[Key] = []
        for group in list(self.groups.loaded.values()):
            self._add_position(group, pending, by_uid)
        at = 0
        while True:
            if at < len(pending) and (self._is_whole or (self._frontier is not None and pending[at] <= self._frontier)):
                yield pending[at]
                at += 1
            elif self._is_whole:
                return
            else:
                for group in self._load_page(most):
                    self._add_position(group, pending, by_uid)

    def _add_position(self, group: LoadedGroup, pending: list[Key], by_uid: dict[str, LoadedGroup]) -> None:
        if group.number(READY) <= 0 or self.groups.room(group) <= 0:
            return
        first = next((rank for rank in group.ready if self.groups.claimable(rank) is not None), None)
        if first is not None:
            insort(pending, self._position(group, first, by_uid))

    def _load_page(self, most: int) -> list[LoadedGroup]:
        """Load the next groups in turn; returns those that were not loaded before."""
        limit = self.groups.flow.group_limits.in_progress
        inv_prio, load, turn, arrival = self._last
        each = LEAST
        statement = _GROUPS_IN_TURN(
            queue_id=self.groups.queue_id,
            inv_prio=inv_prio,
            load=load,
            turn=turn,
            arrival=arrival,
            most=UNLIMITED if limit is None else limit,
            groups=most,
            wall=self.groups.wall,
            each=each,
        )
        (answer,) = self.groups.send(statement if self.groups.locked else unlocked(statement))
        new: list[LoadedGroup] = []
        number = 0
        for _, its_rows in groupby(answer, itemgetter(0)):
            number += 1
            group = self._take_placed(list(its_rows), each)
            new += [] if group is None else [group]
        self._is_whole = number < most
        if answer:
            inv_prio, load, turn, arrival = answer[-1][8:12]
            self._last = (inv_prio, repr(load), turn, arrival)
            is_fair = self.groups.flow.group_order is GroupOrder.FAIR
            self._frontier = (inv_prio + 1, load, turn, arrival, "~") if is_fair else (inv_prio + 1, arrival, "~")
        return new

    def _take_placed(self, answer: Sequence[Row], most: int) -> LoadedGroup | None:
        """Keep a group with its first jobs; None if it was loaded before, or its name can't be read."""
        jobs = [(rank_in(row[14:]), self.groups.job(row[14:])) for row in answer if row[14] is not None]
        try:
            row = group_of(self.groups.rows, self.groups.queue(), answer[0])
        except Damaged:
            return None
        if row.name in self.groups.loaded:
            return None
        group = self.groups.take(row)
        group.ready.take(*self.groups.rank_list(jobs, most))
        return group

    def _tagged(self, tags: Tags, count: int) -> dict[LoadedGroup, list[Rank]]:
        """The first ready jobs with these tags of each group with room."""
        limit, digests = self.groups.flow.group_limits.in_progress, self.groups.rows.tags(tags)
        changed = [self.groups.rows.item(GROUP, name) for name in self.groups.changed if name is not None]
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
        sound = self._still_ready([row[1] for row in answer if row[1] not in self.groups.jobs])
        for row in answer:
            if row[1] not in self.groups.jobs and (not self.groups.locked or row[1] in sound):
                self.groups.job(row[1:])
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
        """Whether a claim with tags may take jobs of a group: in strict order only the first unfinished one."""
        if self.groups.room(group) <= 0:
            return False
        return group.order is not GroupOrder.STRICT or group.name is None or next(iter(group.ready), None) == first

    def _still_ready(self, uids: Sequence[str]) -> frozenset[str]:
        """Lock jobs; returns those that are still ready."""
        if not uids or not self.groups.locked:
            return frozenset()
        (answer,) = self.groups.send(_LOCK_READY_JOBS(queue_id=self.groups.queue_id, uids=texts(sorted(uids))))
        return frozenset(uid for (uid,) in answer)

    # When more can be claimed

    def _note_gates(self, now: int) -> None:
        for group in self.groups.loaded.values():
            if group.name is not None and group.number(READY) > 0:
                self._note_gate(group.gate.next_change(group.settings.limits(self.groups.flow).rate, now))
        self._note_gate(gate_of(self.groups.item(GATE, OF_QUEUE)).next_change(self.groups.flow.limits.rate, now))

    def _note_gate(self, opens: int | None) -> None:
        if opens is not None:
            self.opens = opens if self.opens is None else min(self.opens, opens)
