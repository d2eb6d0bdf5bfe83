"""
JSON on the wire, both ways: what clients send becomes commands, what the engine answers becomes JSON.

All validation of what a client can send is here. The shapes are those of api_schema.yml.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, TypeVar

import msgspec
from attrs import field, frozen
from msgspec import Meta, Raw

from .core.commands import AddJob, CreateQueue, UpdateJob
from .core.model import Job, State
from .strict_json import NotStrict, check

__all__ = [
    "BadInput",
    "Defaults",
    "Wire",
    "access_key",
    "flag",
    "job_json",
    "one",
    "problem_json",
    "queue_head",
    "queue_tail",
    "to_json",
]

_NAME_LENGTH: Final = 256
_KEY_LENGTH: Final = 1024
#: What a header can carry without loss: no control characters, no space at either end (RFC 9110, 5.5).
_HEADER_SAFE: Final = re.compile(r"[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?")

_Text = Annotated[str, Meta(min_length=1)]
_Name = Annotated[str, Meta(min_length=1, max_length=_NAME_LENGTH)]
_Count = Annotated[int, Meta(ge=0)]

T = TypeVar("T")


class BadInput(ValueError):
    """What the client sent can't be used; str() is written for it."""


@frozen(kw_only=True)
class Defaults:
    """What holds for a job whose client does not say."""

    #: Minutes a finished job is kept.
    keep_minutes: int = 60
    #: Minutes without an update until a job in progress counts as failed.
    timeout_minutes: int = 10


@frozen(kw_only=True)
class _NewQueue:
    name: _Name
    access_key: Annotated[str, Meta(min_length=1, max_length=_KEY_LENGTH)] = field(repr=False)


@frozen(kw_only=True)
class _NewJob:
    content: Raw
    priority: int | None = None
    keep_minutes: _Count | None = None
    timeout_minutes: _Count | None = None
    timeout_time: _Count | None = None


@frozen(kw_only=True)
class _AddJob:
    queue_name: _Text
    job: _NewJob


@frozen(kw_only=True)
class _UpdateJob:
    queue_name: _Text
    uid: _Text
    new_status: _Text


_new_queue: Final = msgspec.json.Decoder(_NewQueue)
_add_job: Final = msgspec.json.Decoder(_AddJob)
_update_job: Final = msgspec.json.Decoder(_UpdateJob)
_encode: Final = msgspec.json.Encoder().encode


@frozen(kw_only=True)
class Wire:
    """Turns bodies into commands, with this server's defaults and limits."""

    #: For what a client leaves out.
    defaults: Defaults = Defaults()
    #: How deep JSON may be nested.
    max_depth: int = 32

    def create_queue(self, body: bytes) -> CreateQueue:
        """The command in the body of PUT /api/v1/queue; raises BadInput."""
        asked = self._decode(body, _new_queue)
        if not _HEADER_SAFE.fullmatch(asked.access_key):
            raise BadInput(
                "access_key could not be sent back in a header: it must have no control characters, and no space at "
                "its beginning or end."
            )
        return CreateQueue(queue=asked.name, access_key=asked.access_key.encode())

    def add_job(self, body: bytes, key: bytes) -> AddJob:
        """The command in the body of PUT /api/v1/job; raises BadInput."""
        asked = self._decode(body, _add_job)
        job = asked.job
        content = bytes(job.content)
        if not content.startswith(b"{"):
            raise BadInput("job.content must be a JSON object.")
        return AddJob(
            queue=asked.queue_name,
            access_key=key,
            priority=job.priority or 0,
            keep_minutes=_default(job.keep_minutes, self.defaults.keep_minutes),
            timeout_minutes=_default(job.timeout_minutes, self.defaults.timeout_minutes),
            timeout_time=job.timeout_time or 0,
            content=content,
        )

    def update_job(self, body: bytes, key: bytes) -> UpdateJob:
        """The command in the body of POST /api/v1/job; raises BadInput."""
        asked = self._decode(body, _update_job)
        try:
            state = State(asked.new_status.lower())
        except ValueError:
            raise BadInput(f"new_status must be one of {', '.join(State)}.") from None
        return UpdateJob(queue=asked.queue_name, access_key=key, uid=asked.uid, state=state)

    def _decode(self, body: bytes, decoder: "msgspec.json.Decoder[T]") -> T:
        try:
            check(body, self.max_depth)
            return decoder.decode(body)
        except NotStrict as error:
            raise BadInput(f"The body is not JSON that JobEngine takes: {error}.") from None
        except msgspec.ValidationError as error:
            raise BadInput(f"The body is not as it should be: {error}.") from None


def access_key(values: Sequence[bytes] | None) -> bytes:
    """The access key in the X-Access-Key headers of a request; raises BadInput if there is not just one."""
    if not values or not values[0]:
        raise BadInput("The header X-Access-Key is missing; send the access key of the queue in it.")
    if len(values) > 1:
        raise BadInput("The header X-Access-Key comes more than once.")
    return values[0]


def one(query: Mapping[bytes, Sequence[bytes]], name: str) -> str:
    """The value of a query parameter that must be there once; raises BadInput."""
    values = query.get(name.encode(), ())
    if not values or not values[0]:
        raise BadInput(f"The query parameter {name} is missing.")
    return _text(values, name)


def flag(query: Mapping[bytes, Sequence[bytes]], name: str) -> bool:
    """The value of a query parameter that is true or false, in any case; false if it is not there. Raises BadInput."""
    values = query.get(name.encode(), ())
    value = _text(values, name).lower() if values else "false"
    if value not in ("true", "false"):
        raise BadInput(f"The query parameter {name} must be true or false.")
    return value == "true"


def job_json(job: Job) -> bytes:
    """A job as the API shows it, with its content byte for byte as it came."""
    spec = job.spec
    return _encode(
        {
            "uid": spec.uid,
            "priority": spec.priority,
            "keep_minutes": spec.keep_minutes,
            "timeout_minutes": spec.timeout_minutes,
            "created": spec.created // 1000,
            "last_updated": job.updated // 1000,
            "timeout_time": spec.timeout_time,
            "content": Raw(spec.content),
            "state": job.state,
        }
    )


def queue_head(name: str) -> bytes:
    """The JSON of a queue up to its first job; the jobs follow, with commas between them, and then queue_tail."""
    return b'{"name":' + _encode(name) + b',"jobs":['


def queue_tail(size: int) -> bytes:
    """The JSON of a queue from behind its last job on; `size` is how many jobs there were."""
    return b'],"size":%d}' % size


def problem_json(status: int, title: str, detail: str, **more: Any) -> bytes:
    """An error as RFC 9457 has it, with `error` for clients of the first version."""
    return _encode({"type": "about:blank", "title": title, "status": status, "detail": detail, "error": detail, **more})


def to_json(value: Any) -> bytes:
    """JSON of plain values."""
    return _encode(value)


def _default(value: int | None, default: int) -> int:
    return default if value is None else value


def _text(values: Sequence[bytes], name: str) -> str:
    if len(values) > 1:
        raise BadInput(f"The query parameter {name} comes more than once.")
    try:
        return values[0].decode("utf-8")
    except UnicodeDecodeError:
        raise BadInput(f"The query parameter {name} is not UTF-8.") from None
