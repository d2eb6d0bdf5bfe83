"""Adds to the log the queue and jobs of a request, and the role of its key."""

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred

from ..core import commands as c
from ..core.errors import QueueNotFound
from ..core.model import Job
from ..engine.door import Engine
from ..http.request import JobRequest

__all__ = ["Callers", "note_claimed", "note_job"]

C = TypeVar("C", bound=c.QueueCommand[Any] | c.Claims)

#: How many keys to remember, and for how many seconds: asking the engine each time takes 15 % longer.
_MOST: Final = 1_000
_SECONDS: Final = 10.0
#: A uid. Anything else that a client sends in its place may be a secret.
_UID: Final = re.compile("[0-9A-Fa-f-]{36}")
_ADMIN: Final[dict[str, str]] = {"role": "admin"}


def note_claimed(request: JobRequest, claimed: Sequence[c.Claimed]) -> None:
    """Log which job was claimed, or how many."""
    if len(claimed) == 1:
        request.notes["queue"] = claimed[0].queue
        note_job(request, claimed[0].job)
    else:
        request.notes["jobs"] = len(claimed)


def note_job(request: JobRequest, job: Job) -> None:
    """Log which job was added or claimed, and its trace if it has one."""
    request.notes["uid"] = job.spec.uid
    trace = job.spec.context.traceparent
    if trace is not None:
        request.notes["traceparent"] = trace


def _notes_of(command: c.Command[object]) -> dict[str, str | int]:
    """The first queue that a command names, and the uid of its job or the number of its jobs."""
    notes: dict[str, str | int] = {"queue": command.queue_names[0]}
    uid = getattr(command, "uid", None)
    if uid is not None and _UID.fullmatch(uid):
        notes["uid"] = uid
    many = getattr(command, "jobs", None) or getattr(command, "updates", None)
    if many:
        notes["jobs"] = len(many)
    return notes


@define
class Callers:
    """The roles and ids of the keys in requests."""

    _engine: Engine
    #: The monotonic clock, in seconds.
    _now: Callable[[], float]
    #: By queue and hash of the key: when it expires, and role and id. The keys themselves are not kept.
    _known: "OrderedDict[tuple[str, int], tuple[float, dict[str, str]]]" = field(factory=OrderedDict)

    def noted(self, request: JobRequest, command: C) -> C:
        """Return the command, after adding to the log what it is about and who calls."""
        request.notes = notes = _notes_of(command)
        # A claim with updates never waits.
        wait = 0 if getattr(command, "updates", ()) else getattr(command, "wait", 0)
        request.waits = wait > 0 or isinstance(command, c.Subscribe)
        # The key of a queue that is being made opens nothing yet.
        if not isinstance(command, c.CreateQueue):
            known = self._known_caller(command)
            if known is not None:
                notes.update(known)
            else:
                # The request does not wait for this. The engine answers it by the time it carries out the command; if
                # it fails, so does the command.
                Deferred.fromCoroutine(self._identify(command, notes)).addErrback(lambda _: None)
        return command

    def _known_caller(self, command: c.QueueCommand[object] | c.Claims) -> dict[str, str] | None:
        """The role, and the id of a key with a role, if they are remembered; otherwise None."""
        if command.admin:
            return _ADMIN
        found = self._known.get(_place(command))
        return None if found is None or found[0] < self._now() else found[1]

    async def _identify(self, command: c.QueueCommand[object] | c.Claims, notes: dict[str, str | int]) -> None:
        """Ask the engine for role and id, and add them to the log."""
        try:
            grant = await self._engine.ask(c.CheckKey(queue=command.queue_names[0], access_key=command.access_key))
        except QueueNotFound:
            # If there is no such queue, its name may be anything, such as a key in the wrong place.
            del notes["queue"]
            raise
        said = {"role": grant.role.value}
        if grant.key_id is not None:
            said["key"] = grant.key_id
        notes.update(said)
        self._known[_place(command)] = (self._now() + _SECONDS, said)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)


def _place(command: c.QueueCommand[object] | c.Claims) -> tuple[str, int]:
    return command.queue_names[0], hash(command.access_key)
