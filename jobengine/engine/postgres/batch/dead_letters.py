"""
Moves failed jobs into dead-letter queues, on PostgreSQL.

Such a job is due at once, see Job.deadline: so a transaction that expires due jobs moves it, under the locks of both
queues. The server whose batch has let the job fail moves it before it answers; the sweepers move what is left.
"""

from collections.abc import Mapping, Sequence
from typing import LiteralString

from attrs import evolve
from psycopg import Connection

from ....core.dead_letters import DUE
from ....core.effects import Effect, JobEffect
from ....core.model import Job, State
from ....core.required_rows import Needs
from ..database.connection import together
from ..database.group_rows import FlowLock
from ..database.pipeline import Row
from ..database.rows import Known, Rows
from .begin import Now, now_of, queues_read, with_flows_locked
from .tables import LoadedTable


def is_to_move(job: Job | None) -> bool:
    """Whether a job is about to be moved into a dead-letter queue."""
    return job is not None and job.standing.notes.dead_letter == DUE and job.standing.state is State.FAILED


def queues_to_move_from(known: Mapping[str, Known], effects: Sequence[Effect]) -> list[str]:
    """The queues with jobs that failed in this batch and have to move into a dead-letter queue."""
    if all(one.queue.dead_letter is None for one in known.values()):
        return []
    return sorted({one.queue for one in effects if isinstance(one, JobEffect) and is_to_move(one.new)})


def locked_to_move(
    connection: "Connection[Row]",
    rows: Rows,
    clock: LiteralString,
    now: Now,
    names: Sequence[str] | None,
    lock: FlowLock,
) -> Now:
    """Lock queues as with_flows_locked does, and also the dead-letter queues of queues with due jobs."""
    others = _dead_letters_of(now)
    if not others:
        return with_flows_locked(connection, rows, clock, now, names, lock)
    read = now_of(rows, together(connection, queues_read(rows, clock, sorted(others)))[0])
    now = evolve(now, known={**now.known, **read.known})
    now = with_flows_locked(connection, rows, clock, now, names and [*names, *others], lock)
    # Due jobs of the added queues are left to other transactions.
    return evolve(now, known={name: evolve(one, due=one.due and name not in others) for name, one in now.known.items()})


def _dead_letters_of(now: Now) -> set[str]:
    due = [one.queue.dead_letter for one in now.known.values() if one.due]
    return {setting.queue for setting in due if setting is not None} - now.known.keys()


def targets_of(known: Mapping[str, Known], tables: Mapping[str, LoadedTable]) -> dict[str, LoadedTable]:
    """The tables of the dead-letter queues into which due jobs may move, by name."""
    settings = [one.queue.dead_letter for one in known.values() if one.due]
    names = {setting.queue for setting in settings if setting is not None}
    return {name: tables[name] for name in sorted(names & tables.keys())}


def wanted_there(
    now: Now, tables: Mapping[str, LoadedTable], targets: Mapping[str, LoadedTable]
) -> list[tuple[int, str]]:
    """
    The jobs to load before loaded jobs can move: those in the dead-letter queues that have the same uids, if any.

    Each is given by queue number and uid.
    """
    for name, one in now.known.items():
        if one.due and one.queue.dead_letter is not None:
            tables[name].moves = frozenset(uid for uid, job in tables[name].jobs.items() if is_to_move(job))
    for target in targets.values():
        target.needs = _needs_of(tables, target)
    return sorted((now.known[name].id, uid) for name, target in targets.items() for uid in target.needs.uids)


def _needs_of(tables: Mapping[str, LoadedTable], target: LoadedTable) -> Needs:
    """The parts of a queue's table that are needed to move jobs into this queue."""
    uids = {uid for table in tables.values() if _leads_to(table, target) for uid in table.moves}
    return Needs(uids=frozenset(uids), size=target.queue.max_jobs > 0, adds=bool(uids))


def _leads_to(table: LoadedTable, target: LoadedTable) -> bool:
    setting = table.queue.dead_letter
    return setting is not None and setting.queue == target.queue.name
