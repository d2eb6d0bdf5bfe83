"""Rescues the readable part of a damaged database into a new file."""

from collections.abc import Sequence

from attrs import frozen

from ..storage.errors import Damaged, Unclear
from ..storage.files import Files
from ..storage.frames import FRAME_HEAD, Kind, frames_of
from .job_counts import JobCounts, QueueCount, counts_in
from .live_records import LiveRecords
from .source import Progress, Source, no_progress, open_source
from .target import NewFile, check_free, new_target


@frozen(kw_only=True)
class Repaired:
    """The result of a repair."""

    #: The length of the new file.
    size: int
    #: The queues and jobs in the new file.
    queues: Sequence[QueueCount]
    #: How many bytes at the beginning of the old file were rescued.
    taken: int
    #: How many bytes of the old file were not rescued.
    left: int
    #: The number of good frames after the damage. They can't be used: the changes before them are missing.
    frames_left: int
    #: The length in bytes of the good frames after the damage.
    frame_bytes_left: int
    #: Whether the damage is in the snapshot; then even jobs that were added long ago may be missing.
    in_snapshot: bool
    #: Whether the old file ends with a closing frame, as every backup does.
    closed: bool
    #: What is wrong with the old file, or None.
    damage: Damaged | Unclear | None


def repair(
    path: str, target: str, secret: bytes, progress: Progress = no_progress, *, files: Files | None = None
) -> Repaired:
    """
    Write all whole frames before the first damage to a new file, with the same key; `path` is not changed.

    Raises StorageError if the file can't be opened or is of a newer version, TargetExists and OSError; then there is no
    `target`.
    """
    files, live = files or Files(), LiveRecords(path, JobCounts)
    check_free(target, files)
    with open_source(path, secret, files) as source, new_target(target, files) as file:
        file.write(source.header)
        damage = _rescue(source, file, live, progress)
        in_snapshot = not source.walk.whole_snapshot
        if in_snapshot:
            # The damage is in the snapshot: write its end, because recovery refuses a snapshot without one.
            file.write(*frames_of(source.walk.chain, Kind.SNAPSHOT_END, (), file.size)[0])
        boxes = list(source.walk.good_boxes())
        return Repaired(
            size=file.size,
            queues=counts_in(live),
            taken=source.walk.end,
            left=source.unfinished,
            frames_left=len(boxes),
            frame_bytes_left=sum(boxes) + len(boxes) * FRAME_HEAD,
            in_snapshot=in_snapshot,
            closed=source.walk.closed,
            damage=damage,
        )


def _rescue(
    source: Source, file: NewFile, live: LiveRecords[JobCounts], progress: Progress
) -> Damaged | Unclear | None:
    """Copy the good frames; return the damage after them, if any."""
    try:
        for frame in source.frames(progress):
            live.add(frame.records)
            file.write(*source.walk.last)
    except (Damaged, Unclear) as error:
        return error
    return None
