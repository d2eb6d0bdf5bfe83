"""What all commands have in common."""

from typing import Generic, TypeVar

from ..values import Value

__all__ = ["AllQueues", "Command", "QueueCommand"]

A_co = TypeVar("A_co", covariant=True)


class Command(Value, Generic[A_co], frozen=True, kw_only=True):
    """A question or an order to an engine; A_co is the type of its answer."""

    @property
    def queue_names(self) -> tuple[str, ...]:
        """The queues that it names."""
        return ()


class QueueCommand(Command[A_co], frozen=True, kw_only=True):
    """A command about one queue, with the caller's key."""

    #: The queue's name.
    queue: str
    #: The access key as bytes; ignored if `admin`.
    access_key: bytes = b""
    #: The caller has shown the server's admin key, which opens every queue.
    admin: bool = False

    @property
    def queue_names(self) -> tuple[str, ...]:
        """See Command."""
        return (self.queue,)


class AllQueues(Command[A_co], frozen=True, kw_only=True):
    """A page of all queues, by name, empty after the last; the caller must have been authenticated."""

    #: Start after this name; None starts at the first.
    after: str | None = None
    #: At most this many; a page of 100 takes a few milliseconds.
    limit: int = 100
