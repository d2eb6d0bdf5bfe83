"""Who claims from a queue: the claims that wait, and where workers run."""

from collections.abc import Mapping, Sequence

from .values import Value


class Origin(Value, frozen=True, kw_only=True):
    """Where a claim comes from, as its client says; what is None was not said."""

    #: The name of the machine.
    host: str | None = None
    #: The number of the process there, as text.
    pid: str | None = None
    #: The name and version of the client.
    client: str | None = None


class WaitingClaim(Value, frozen=True, kw_only=True):
    """A claim that waits for jobs."""

    #: The name of its worker, if it gave one.
    worker: str | None
    #: Since when the worker waits: claims in a row that got nothing count as one wait.
    since: int
    #: When the request came.
    last_claim: int
    #: The queues from which it claims.
    queues: tuple[str, ...]
    #: Where it comes from, if it said so.
    origin: Origin | None = None


class Claimers(Value, frozen=True, kw_only=True):
    """Who claims from a queue."""

    #: The claims that wait, those that have waited longest first; at most some thousands.
    waiting: Sequence[WaitingClaim] = ()
    #: Where the last claim of a worker came from, by the worker's name: of those that said so, as far as it is kept.
    origins: Mapping[str, Origin] = {}
