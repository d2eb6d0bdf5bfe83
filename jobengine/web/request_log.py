"""Adds a request's queue, its jobs and its key's role to the access log."""

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, TypeVar

from attrs import define, field
from msgspec import Struct
from twisted.internet.defer import Deferred

from ..core import commands as c
from ..core.errors import AccessDenied
from ..core.model import Job
from ..engine.door import Door
from ..http.request import JobRequest

C = TypeVar("C", bound=c.Command[Any] | c.MoveMatching)

#: The most cached keys, and the seconds for which each is cached: without the cache a request takes 15 % longer.
_MOST: Final = 1_000
_SECONDS: Final = 10.0
#: A uid. Any other text in its place may be a secret.
_UID: Final = re.compile("[0-9A-Fa-f-]{36}")


class _LogFields(Struct, frozen=True):
    """The properties of a type of commands that decide what is logged about them."""

    #: Whether the command has a uid.
    uid: bool
    #: The command's field with many jobs, if it has one.
    many: str
    #: Whether the command can be a dry run.
    dry_run: bool
    #: Whether the command may wait.
    wait: bool
    #: Whether the command always waits.
    endless: bool


@cache
def _log_fields(kind: type[Struct]) -> _LogFields:
    fields = kind.__struct_fields__
    many = next((name for name in ("jobs", "updates") if name in fields), "")
    return _LogFields("uid" in fields, many, "dry_run" in fields, "wait" in fields, kind is c.Subscribe)


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
    trace = job.spec.rare.context.traceparent
    if trace is not None:
        request.notes["traceparent"] = trace


@define
class RequestLog:
    """Adds details to the log lines of requests, and caches the roles and ids of their keys."""

    _engine: Door
    #: The monotonic clock, in seconds.
    _now: Callable[[], float]
    #: When each entry expires, and what to log, by queue and hash of the key. The keys themselves are not kept.
    _known: "OrderedDict[tuple[str, int], tuple[float, dict[str, str | int]]]" = field(factory=OrderedDict)

    def logged(self, request: JobRequest, command: C) -> C:
        """Return the command, after adding its queue, its jobs and its caller to the log."""
        any_command: Any = command
        fields = _log_fields(any_command.__class__)
        request.notes = notes = self._caller(command)
        if fields.uid and _UID.fullmatch(any_command.uid):
            notes["uid"] = any_command.uid
        many = getattr(any_command, fields.many) if fields.many else ()
        if many:
            notes["jobs"] = len(many)
        if fields.dry_run and any_command.dry_run:
            notes["dry_run"] = "true"
        # A claim with updates never waits.
        if (fields.wait and any_command.wait and not many) or fields.endless:
            request.waits = True
        return command

    def _caller(self, command: Any) -> dict[str, str | int]:
        """A command's first queue, and its key's role and id; if these are not cached, a look-up adds them later."""
        queue = command.queues[0] if isinstance(command, c.Claims) else command.queue
        if command.admin:
            return {"queue": queue, "role": "admin"}
        if isinstance(command, c.CreateQueue):
            # The key of a new queue opens nothing yet.
            return {"queue": queue}
        place = queue, hash(command.access_key)
        found = self._known.get(place)
        if found is not None and found[0] >= self._now():
            return found[1].copy()
        notes: dict[str, str | int] = {}
        # The request does not wait for the look-up, which the engine answers before it carries out the command. If the
        # look-up fails, so does the command.
        Deferred.fromCoroutine(self._identify(place, command.access_key, notes)).addErrback(lambda _: None)
        return notes

    async def _identify(self, place: tuple[str, int], access_key: bytes, notes: dict[str, str | int]) -> None:
        """
        Look up role and id in the engine, and add them and the queue to the log.

        Until it is known that the queue exists, its name may be anything, such as a key in the wrong place.
        """
        try:
            grant = await self._engine.ask(c.CheckKey(queue=place[0], access_key=access_key))
        except AccessDenied:
            notes["queue"] = place[0]
            raise
        identity: dict[str, str | int] = {"queue": place[0], "role": grant.role.value}
        if grant.key_id is not None:
            identity["key"] = grant.key_id
        notes.update(identity)
        self._known[place] = (self._now() + _SECONDS, identity)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
