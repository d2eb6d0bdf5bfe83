"""Jobs that wait for others, added through a server's engine."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from twisted.internet.defer import ensureDeferred

from jobengine.core import commands as c
from jobengine.core.dependencies import Awaited, batch_key
from jobengine.core.model import Defaults
from tests.doubles import MemoryServer


def uid(number: int) -> str:
    """A uid that is easy to recognise."""
    return str(UUID(int=number, version=4))


def job(number: int, *depends_on: int | str | Awaited, queue: str = "q", **more: Any) -> c.NewJob:
    """A new job; it depends on jobs by number, on batches by name, or on jobs of other queues."""
    awaited = tuple(_awaited(queue, one) for one in depends_on)
    return c.NewJob(content=b"{}", uid=uid(number), depends_on=awaited, **more)


def add_jobs(server: MemoryServer, *jobs: c.NewJob, queue: str = "q", key: str = "key") -> Any:
    return run(server, c.AddJobs(queue=queue, access_key=key.encode(), jobs=jobs, defaults=Defaults(), many=True))


def set_batch(server: MemoryServer, name: str, then: c.NewJob | None = None) -> Any:
    return run(server, c.SetBatch(queue="q", access_key=b"key", name=name, then=then, defaults=Defaults()))


def close_batch(server: MemoryServer) -> Any:
    return run(server, c.CloseBatch(queue="q", access_key=b"key", name="b"))


def run(server: MemoryServer, command: c.Command[Any]) -> Any:
    """Give a server's engine a command; returns the answer."""
    answers: list[Any] = []
    ensureDeferred(server.engine.ask(command)).addBoth(answers.append)
    server.pump()
    (answer,) = answers
    assert not hasattr(answer, "raiseException"), answer
    return answer


def uids(numbers: Sequence[int]) -> list[str]:
    return [uid(number) for number in numbers]


def _awaited(queue: str, one: int | str | Awaited) -> Awaited:
    if isinstance(one, int):
        return queue, uid(one)
    return (queue, batch_key(one)) if isinstance(one, str) else one
