"""
The most frequent claim of many jobs: it takes the first job of each of the next groups.

A fast path: the rows of the groups show whether a claim takes just these jobs. If so, neither LoadedGroups nor the
order of turns are needed, which saves a quarter of the claim's time in Python. Otherwise turns.py decides.
"""

from collections.abc import Sequence
from typing import Final

from ....core.flow import GroupOrder
from ....core.model import SECOND, Job
from ..database.connection import begun
from ..database.group_rows import READY
from ..database.pipeline import Row
from .groups import LoadedGroups
from .loaded_group import second_of

#: A claim's groups are changed before the claim is decided only if it takes at least _LEAST jobs, with at most
#: _MOST_BYTES of records.
_LEAST: Final = 100
_MOST_BYTES: Final = 8 << 20


def one_of_each(groups: LoadedGroups, rows: Sequence[Row], count: int, *, begins: bool) -> list[Job] | None:
    """
    The first job of each group in `rows` except the last group, if a claim of `count` gets exactly these jobs; else
    None. `rows` are those of the statement groups_in_turn, for a batch that has not used any group yet. With `begins`,
    the groups may be changed before the claim is decided, see begin_claim.
    """
    if len(rows) != count + 1 or not _is_first(groups) or not are_alone(groups, rows):
        return None
    if begins:
        begin_claim(groups, rows[:-1])
    jobs, names = list[Job](), list[str]()
    wall, key_of = groups.wall, groups.rows.group
    for row in rows[:-1]:
        job = groups.job(row)
        spec = job.spec
        name = spec.rare.group
        is_over = 0 < spec.timeout_time * SECOND <= wall
        if (
            is_over
            or not job.ready
            or spec.rank[:2] != (row[22] + 1, row[23])
            or name is None
            or key_of(name) != row[0]
        ):
            return None
        jobs.append(job)
        names.append(name)
    for name, row in zip(names, rows[:-1], strict=True):
        groups.changes.of(name).read(row[7], (row[8], row[11]), second_of(row))
    groups.take_without_items(names)
    return jobs


def begin_claim(groups: LoadedGroups, rows: Sequence[Row]) -> None:
    """
    Let the database change the groups of a large claim while their jobs are decrypted and the claim is decided. If the
    decision needs other changes of groups, the batch is carried out again; see flow_changes.py.
    """
    flow = groups.flow
    is_likely = flow.limits.rate is None and flow.group_limits.rate is None
    if is_likely and len(rows) >= _LEAST and sum(len(row[19]) for row in rows) <= _MOST_BYTES:
        claim = groups.changes.first_claimed(rows, groups.turn)
        if begun(groups.connection, claim.statement):
            groups.changes.begun = claim


def _is_first(groups: LoadedGroups) -> bool:
    """Whether the rows of the groups alone decide which jobs are claimed."""
    is_unused = not (groups.loaded or groups.named or groups.changes.deltas)
    return is_unused and groups.flow.group_order is not GroupOrder.STRICT and not groups.totals().ungrouped[READY]


def are_alone(groups: LoadedGroups, rows: Sequence[Row]) -> bool:
    """
    Whether all rows are of different groups without settings and gates, each placed by its present first job.

    A group's second job, if there is one, must come after the last row.
    """
    last, is_fair = rows[-1], groups.flow.group_order is GroupOrder.FAIR
    after = (last[8], last[9] if is_fair else last[11])
    return len({row[0] for row in rows}) == len(rows) and all(
        row[12] is None
        and row[13] is None
        and (row[22], row[23]) == (row[8], row[11])
        and (row[17] is None or (row[14], row[4] + 1 if is_fair else row[15]) >= after)
        for row in rows
    )
