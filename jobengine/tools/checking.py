"""Reads a database from end to end, and says what is in it and whether it is whole."""

from collections.abc import Sequence

from attrs import frozen

from ..core.model import State
from ..storage.errors import Damaged, Unclear
from ..storage.files import Files
from ..storage.frames import Kind
from .census import Census, QueueCount, add_to
from .source import Progress, no_progress, open_source

__all__ = ["Report", "check"]


@frozen(kw_only=True)
class Report:
    """What a database was found to be."""

    #: The version of its format, such as "1.0".
    version: str
    #: Its bytes, and how many of them are whole frames from its beginning on.
    size: int
    good: int
    #: How many commits were made since it was written anew.
    commits: int
    #: Its queues and their jobs, as of the last good frame.
    queues: Sequence[QueueCount]
    #: About how many of its bytes are not needed any more; a server writes it anew when they are many.
    garbage: int
    #: Whether it was closed in good order by a server that has not been started again.
    closed: bool
    #: What is wrong with it, if something is: it begins at byte `good`.
    damage: Damaged | Unclear | None

    @property
    def states(self) -> dict[str, int]:
        """How many jobs there are in each state, in all queues."""
        return {state.value: sum(queue.jobs[state] for queue in self.queues) for state in State}

    @property
    def unfinished(self) -> int:
        """
        The bytes of a last frame that is not whole, which is no damage.

        It is being written by a server, or was when that was killed. The next start cuts it off; nothing that was
        acknowledged is in it.
        """
        return 0 if self.damage else self.size - self.good


def check(path: str, secret: bytes, progress: Progress = no_progress, *, files: Files | None = None) -> Report:
    """
    Read every frame and record of a database; a server may run on it.

    Damage behind the header is reported. Raises StorageError if it can't be opened, or a newer version has written it,
    and OSError.
    """
    census, commits = Census(), 0
    damage: Damaged | Unclear | None = None
    with open_source(path, secret, files) as source:
        try:
            for frame in source.frames(progress):
                commits += frame.kind is Kind.COMMIT
                add_to(census, path, frame.records)
        except (Damaged, Unclear) as error:
            damage = error
        walk = source.walk
        return Report(
            version=source.version,
            size=max(walk.size, walk.end),
            good=walk.end,
            commits=commits,
            queues=list(census.queues()),
            garbage=max(0, walk.end - census.live_bytes),
            closed=walk.closed and damage is None,
            damage=damage,
        )
