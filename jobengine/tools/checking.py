"""Reads a whole database, and reports its contents and any damage."""

from collections.abc import Sequence

from attrs import frozen

from ..core.model import State
from ..storage.errors import Damaged, Unclear
from ..storage.files import Files
from ..storage.frames import Kind
from .job_counts import JobCounts, QueueCount, counts_in, live_bytes
from .live_records import LiveRecords
from .source import Progress, no_progress, open_source


@frozen(kw_only=True)
class Report:
    """The result of a check."""

    #: The version of the file's format, such as "1.0".
    version: str
    #: The file's length in bytes; `good` is the length of the whole frames at its beginning.
    size: int
    good: int
    #: The number of commits since the last compaction.
    commits: int
    #: The queues and their jobs, up to the last good frame.
    queues: Sequence[QueueCount]
    #: The estimated number of obsolete bytes; a server rewrites the file when there are many.
    garbage: int
    #: Whether the file ends with a closing frame: it is a whole backup, or was closed and not written since.
    closed: bool
    #: The damage, which begins at byte `good`; None if there is none.
    damage: Damaged | Unclear | None

    @property
    def states(self) -> dict[str, int]:
        """The number of jobs in each state, in all queues."""
        return {state.value: sum(queue.jobs[state] for queue in self.queues) for state in State}

    @property
    def unfinished(self) -> int:
        """
        The length in bytes of an incomplete last frame, which is not damage.

        A server is writing this frame, or was killed while writing it. The next start cuts the frame off; no change in
        it was acknowledged.
        """
        return 0 if self.damage else self.size - self.good


def check(path: str, secret: bytes, progress: Progress = no_progress, *, files: Files | None = None) -> Report:
    """
    Read every frame and record of a database; a server may use it meanwhile.

    Damage after the header is reported. Raises StorageError if the file can't be opened or is of a newer version, and
    OSError.
    """
    live, commits = LiveRecords(path, JobCounts), 0
    damage: Damaged | Unclear | None = None
    with open_source(path, secret, files) as source:
        try:
            for frame in source.frames(progress):
                commits += frame.kind is Kind.COMMIT
                live.add(frame.records)
        except (Damaged, Unclear) as error:
            damage = error
        walk = source.walk
        return Report(
            version=source.version,
            size=max(walk.size, walk.end),
            good=walk.end,
            commits=commits,
            queues=counts_in(live),
            garbage=max(0, walk.end - live_bytes(live)),
            closed=walk.closed and damage is None,
            damage=damage,
        )
