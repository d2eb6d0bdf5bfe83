"""What can be asked of an engine: one frozen value a verb."""

from attrs import field, frozen

from .model import Job, Rank, State

__all__ = [
    "AddJob",
    "Claim",
    "Command",
    "CreateQueue",
    "DeleteJob",
    "DeleteQueue",
    "ListJobs",
    "Page",
    "Peek",
    "ReadJob",
    "UpdateJob",
]


@frozen(kw_only=True)
class Command:
    """What every command names: a queue, and the key that should open it."""

    #: The queue's name.
    queue: str
    #: The access key as bytes.
    access_key: bytes = field(repr=False)


@frozen(kw_only=True)
class CreateQueue(Command):
    """Make an empty queue that `access_key` opens. Answer: None."""


@frozen(kw_only=True)
class DeleteQueue(Command):
    """Remove the queue and every job in it. Answer: None."""


@frozen(kw_only=True)
class ListJobs(Command):
    """Read jobs of every state in execution order. Answer: Page."""

    #: Start behind this place; None starts at the front.
    after: Rank | None = None
    #: At most so many jobs.
    limit: int


@frozen(kw_only=True)
class AddJob(Command):
    """Add a job to the queue. Answer: the Job."""

    #: Higher goes first.
    priority: int
    #: See Spec.keep_minutes.
    keep_minutes: int
    #: See Spec.timeout_minutes.
    timeout_minutes: int
    #: See Spec.timeout_time.
    timeout_time: int
    #: A JSON object as text in UTF-8.
    content: bytes = field(repr=False)


@frozen(kw_only=True)
class ReadJob(Command):
    """Look at one job. Answer: the Job."""

    #: Which one.
    uid: str


@frozen(kw_only=True)
class Peek(Command):
    """Look at the first queued job and change nothing. Answer: the Job, or None."""


@frozen(kw_only=True)
class Claim(Command):
    """Take the first queued job: it is in progress now. Answer: the Job, or None."""


@frozen(kw_only=True)
class UpdateJob(Command):
    """Put a job in a state; any may follow any. Answer: the Job."""

    #: Which one.
    uid: str
    #: The state it shall have.
    state: State


@frozen(kw_only=True)
class DeleteJob(Command):
    """Remove a job. Answer: None."""

    #: Which one.
    uid: str


@frozen(kw_only=True)
class Page:
    """Some jobs of a queue in execution order."""

    #: At most as many as were asked for.
    jobs: list[Job]
    #: What to give as `after` for those that follow; None when these are the last.
    following: Rank | None
