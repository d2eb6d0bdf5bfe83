# Made from _async/batches.py by tests/client/twin.py: edit that one and run it again.
"""A batch of jobs."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, Self, TypeVar, Unpack

from .. import calls
from ..batches import BatchProgress, ThenOn, then_value
from ..jobs import JobOptions, NewJob
from ..values import Job

T = TypeVar("T")


class BatchQueue(Protocol):
    """The part of a queue that its batches use."""

    name: str

    def _ask(self, call: calls.Call[T], **more: Any) -> T: ...

    def add(self, content: Mapping[str, Any], **options: Unpack[JobOptions]) -> Job:
        """Add a job."""
        ...

    def add_many(
        self,
        contents: Iterable[Mapping[str, Any] | NewJob],
        *,
        progress: Callable[[int], object] | None = None,
        **options: Unpack[JobOptions],
    ) -> list[Job]:
        """Add jobs."""
        ...


class Batch:
    """
    Jobs of a queue that are awaited together; `Queue.batch` makes this object, without a request.

    A batch ends when it is closed and all its jobs are finished. As a context manager the batch is created at the
    beginning of the block, and closed at its end. If the block raises, the batch stays open with the jobs that were
    added, and does not end: add the rest and close it, or cancel it.
    """

    def __init__(
        self, queue: BatchQueue, name: str, then: Mapping[str, Any] | NewJob | None, then_on: ThenOn | None
    ) -> None:
        self.queue = queue
        #: The batch's name, unique in its queue.
        self.name = name
        if then is None and then_on is not None:
            raise TypeError("then_on requires 'then', the job that runs at the end of the batch")
        self._then = {} if then is None else then_value(then, then_on)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, queue={self.queue.name!r})"

    def create(self) -> BatchProgress:
        """Create the batch, and add the job that waits for its end; an existing batch is not changed."""
        return self.queue._ask(calls.SET_BATCH, body={**self._named(), **self._then})

    def add(self, content: Mapping[str, Any], **options: Unpack[JobOptions]) -> Job:
        """Like `Queue.add`, with a job of this batch; raises BatchNotFound, or Conflict once the batch has ended."""
        options["batch"] = self.name
        return self.queue.add(content, **options)

    def add_many(
        self,
        contents: Iterable[Mapping[str, Any] | NewJob],
        *,
        progress: Callable[[int], object] | None = None,
        **options: Unpack[JobOptions],
    ) -> list[Job]:
        """Like `Queue.add_many`, with jobs of this batch, unless a NewJob names another one."""
        options["batch"] = self.name
        return self.queue.add_many(contents, progress=progress, **options)

    def progress(self) -> BatchProgress:
        """The batch as it is now: its job counts, and in `done` the finished share of its jobs."""
        query = {"queueName": self.queue.name, "name": self.name}
        return self.queue._ask(calls.READ_BATCH, query=query)

    def close(self) -> BatchProgress:
        """Close the batch: it ends once its jobs are finished; until then, these jobs may still add jobs to it."""
        return self._change(open=False)

    def cancel(self) -> BatchProgress:
        """Close the batch, and cancel its jobs that are not finished."""
        return self._change(cancel=True)

    def retry(self) -> BatchProgress:
        """Queue the batch's failed jobs again. If the batch has ended, it ends a second time once they are finished."""
        return self._change(retry=True)

    def _change(self, **change: bool) -> BatchProgress:
        call = calls.CHANGE_BATCH
        # A job that fails between two sends would get a second retry.
        safe = "retry" not in change
        return self.queue._ask(call, body={**self._named(), **change}, safe=safe)

    def _named(self) -> dict[str, str]:
        return {"queue_name": self.queue.name, "name": self.name}

    def __enter__(self) -> Self:
        self.create()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            self.close()
