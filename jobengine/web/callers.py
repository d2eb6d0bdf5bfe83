"""What the log says of a request: the queue and the jobs it is about, and whose key it has shown."""

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

#: Keys that are remembered, and for how many seconds: to ask the engine each time would take as long as a request.
_MOST: Final = 1_000
_SECONDS: Final = 10.0
#: A uid; whatever else a client sends in its place may be a secret.
_UID: Final = re.compile("[0-9A-Fa-f-]{36}")
_ADMIN: Final[dict[str, str]] = {"role": "admin"}


def note_claimed(request: JobRequest, claimed: Sequence[c.Claimed]) -> None:
    """Have the log say which job was claimed, or how many."""
    if len(claimed) == 1:
        request.notes["queue"] = claimed[0].queue
        note_job(request, claimed[0].job)
    else:
        request.notes["jobs"] = len(claimed)


def note_job(request: JobRequest, job: Job) -> None:
    """Have the log say which job was added or claimed, and the trace that it belongs to if it has one."""
    request.notes["uid"] = job.spec.uid
    trace = job.spec.context.traceparent
    if trace is not None:
        request.notes["traceparent"] = trace


def _notes_of(command: c.Command[object]) -> dict[str, str | int]:
    """The queue that a command names first, and the uid of its job or the number of its jobs."""
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
    """Tells the roles and the ids of keys that requests have shown."""

    _engine: Engine
    #: The time in seconds, steadily going on.
    _now: Callable[[], float]
    #: By queue and hash of the key: until when, and what is known. The keys themselves are not kept.
    _known: "OrderedDict[tuple[str, int], tuple[float, dict[str, str]]]" = field(factory=OrderedDict)

    def noted(self, request: JobRequest, command: C) -> C:
        """The command, after noting for the log what it is about and who gives it."""
        request.notes = notes = _notes_of(command)
        # A claim that updates as well is answered at once.
        wait = 0 if getattr(command, "updates", ()) else getattr(command, "wait", 0)
        request.waits = wait > 0 or isinstance(command, c.Subscribe)
        # The key of a new queue opens nothing yet.
        if not isinstance(command, c.CreateQueue):
            known = self._known_caller(command)
            if known is not None:
                notes.update(known)
            else:
                # The request does not wait for it. It is there when the command is carried out, and if it fails, so
                # does the command.
                Deferred.fromCoroutine(self._identify(command, notes)).addErrback(lambda _: None)
        return command

    def _known_caller(self, command: c.QueueCommand[object] | c.Claims) -> dict[str, str] | None:
        """The role, and for a key with a role its id, as they were found lately; None if they must be asked for."""
        if command.admin:
            return _ADMIN
        found = self._known.get(_place(command))
        return None if found is None or found[0] < self._now() else found[1]

    async def _identify(self, command: c.QueueCommand[object] | c.Claims, notes: dict[str, str | int]) -> None:
        """Ask the engine for them, and note them."""
        try:
            grant = await self._engine.ask(c.CheckKey(queue=command.queue_names[0], access_key=command.access_key))
        except QueueNotFound:
            # What there is no queue of could be anything, such as a key in the wrong place.
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
