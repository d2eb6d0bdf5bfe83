"""`jobengine db repair`."""

from typing import Any

import click

from jobengine.tools.database_secret import find_secret
from jobengine.tools.repairing import Repaired
from jobengine.tools.repairing import repair as rescue

from .db_common import FILE, bar, file_command
from .session import current


@file_command("repair", "jobengine db repair damaged.jedb rescued.jedb")
@FILE
@click.argument("target", metavar="NEW")
def repair(path: str, target: str) -> None:
    """
    Rescue the readable part of a damaged database into a new file.

    That is every commit before the damage. The damaged file is not changed; the report says what is missing.
    """
    with bar("reading") as progress:
        repaired = rescue(path, target, find_secret(path), progress)
    session = current()
    session.output.record(_shown(target, repaired))
    for note in _notes(path, repaired):
        session.output.note(note)


def _shown(target: str, repaired: Repaired) -> dict[str, Any]:
    return {
        "file": target,
        "bytes": repaired.size,
        "queues": len(repaired.queues),
        "jobs": sum(sum(queue.jobs.values()) for queue in repaired.queues),
        "bytes_taken": repaired.taken,
        "bytes_left": repaired.left,
        "good_frames_left": repaired.frames_left,
        "good_frame_bytes_left": repaired.frame_bytes_left,
        "damage_in_snapshot": repaired.in_snapshot,
    }


def _notes(path: str, repaired: Repaired) -> list[str]:
    if repaired.damage is None:
        return [f"{path} is not damaged: the new file has everything."]
    notes = [f"{repaired.damage}. The {repaired.left:,} bytes after that are not in the new file."]
    if repaired.frames_left:
        notes.append(
            f"They include {repaired.frames_left:,} good frames, {repaired.frame_bytes_left:,} bytes: later "
            "changes that were acknowledged, and are lost."
        )
    if repaired.in_snapshot:
        notes.append(
            "The damage is in the snapshot, so jobs that were added long ago may be missing too. Look for a backup."
        )
    return notes
