"""A progress bar, at a terminal."""

import sys
from types import TracebackType
from typing import Any, Self


class ProgressBar:
    """The progress of a long command, on standard error; shown only at a terminal."""

    def __init__(self, total: int, *, shown: bool, what: str = "adding", in_bytes: bool = False) -> None:
        self._bar: Any = None
        if shown and sys.stderr.isatty():
            self._bar, self._task = _bar(total, what, in_bytes=in_bytes)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def at(self, done: int, total: int | None = None) -> None:
        """Set the number done, and the total."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)

    def stop(self) -> None:
        """Stop drawing the bar; later messages appear below it."""
        if self._bar is not None:
            self._bar.stop()


def _bar(total: int, what: str, *, in_bytes: bool) -> tuple[Any, Any]:
    from rich import progress  # only for a terminal
    from rich.console import Console

    count = progress.DownloadColumn() if in_bytes else progress.MofNCompleteColumn()
    bar = progress.Progress(
        progress.TextColumn(what),
        progress.BarColumn(),
        count,
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    return bar, bar.add_task(what, total=total)
