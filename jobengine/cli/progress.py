"""A progress bar, at a terminal."""

import sys
from types import TracebackType
from typing import Any, Self

__all__ = ["Progress"]


class Progress:
    """How many of all are done, on standard error; nothing is shown if that is no terminal."""

    def __init__(self, total: int, *, shown: bool) -> None:
        self._bar: Any = None
        if shown and sys.stderr.isatty():
            self._bar, self._task = _bar(total)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def at(self, done: int) -> None:
        """So many are done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done)

    def stop(self) -> None:
        """Leave the bar as it is; messages come below it."""
        if self._bar is not None:
            self._bar.stop()


def _bar(total: int) -> tuple[Any, Any]:
    from rich import progress  # for a terminal only
    from rich.console import Console

    bar = progress.Progress(
        progress.TextColumn("adding"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    return bar, bar.add_task("adding", total=total)
