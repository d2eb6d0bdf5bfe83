"""The claims that wait on a queue, and where its workers run."""

from collections.abc import Mapping, Sequence

from .values import Value


class Origin(Value, frozen=True, kw_only=True):
    """Where a claim comes from, as reported by its client; None where nothing was reported."""

    #: The name of the machine.
    host: str | None = None
    #: The process id there, as text.
    pid: str | None = None
    #: The name and version of the client.
    client: str | None = None


class WaitingClaim(Value, frozen=True, kw_only=True):
    """A claim that waits for jobs."""

    #: The worker's name; None if the claim gave none.
    worker: str | None
    #: Since when the worker waits: consecutive claims without a job count as one wait.
    since: int
    #: When the request came.
    last_claim: int
    #: The queues to claim from.
    queues: tuple[str, ...]
    #: Only jobs with all of these tags are claimed.
    tags: tuple[str, ...] = ()
    #: Where the claim comes from, if reported.
    origin: Origin | None = None


class Claimers(Value, frozen=True, kw_only=True):
    """The claims that wait on a queue, and where its workers claim from."""

    #: The waiting claims, some thousands at most; the one that has waited longest comes first.
    waiting: Sequence[WaitingClaim] = ()
    #: Where the last claim of each recent worker came from, by worker name; only of workers that reported it.
    origins: Mapping[str, Origin] = {}
