"""The calls of the API and the query parameters of each, in one table; a test compares it with api_schema.yml."""

from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from .nearest import meant, shown
from .parameters import BadInput, Query

__all__ = ["CALLS", "Call", "check_query"]


def _names(text: str) -> frozenset[bytes]:
    return frozenset(name.encode() for name in text.split())


@frozen
class Call:
    """One call of the API."""

    #: The names of its query parameters, as bytes; passed in as text, separated by spaces.
    parameters: frozenset[bytes] = field(converter=_names)
    #: Whether the first version of the API had it. Older clients may send such a call unknown parameters.
    v1: bool = False


_FILTER: Final = "state tag q worker error older_than updated_before"

#: By method and path. HEAD takes the parameters of GET.
CALLS: Final[Mapping[tuple[str, str], Call]] = {
    ("GET", "/test"): Call("", v1=True),
    ("PUT", "/api/v1/queue"): Call("", v1=True),
    ("GET", "/api/v1/queue"): Call("name", v1=True),
    ("POST", "/api/v1/queue"): Call(""),
    ("DELETE", "/api/v1/queue"): Call("name", v1=True),
    ("GET", "/api/v1/queue/stats"): Call("name"),
    ("GET", "/api/v1/queues"): Call(""),
    ("GET", "/api/v1/access"): Call("queueName"),
    ("PUT", "/api/v1/queue/key"): Call(""),
    ("GET", "/api/v1/queue/key"): Call("name"),
    ("DELETE", "/api/v1/queue/key"): Call("name keyID"),
    ("PUT", "/api/v1/job"): Call("", v1=True),
    ("GET", "/api/v1/job"): Call("queueName jobUID wait", v1=True),
    ("POST", "/api/v1/job"): Call("", v1=True),
    ("DELETE", "/api/v1/job"): Call("queueName jobUID", v1=True),
    ("GET", "/api/v1/job/next"): Call("queueName markQueued wait", v1=True),
    ("POST", "/api/v1/job/next"): Call(""),
    ("GET", "/api/v1/job/explain"): Call("queueName jobUID"),
    ("PUT", "/api/v1/jobs"): Call("queueName"),
    ("GET", "/api/v1/jobs"): Call(f"queueName {_FILTER} sort limit cursor"),
    ("POST", "/api/v1/jobs"): Call("queueName"),
    ("DELETE", "/api/v1/jobs"): Call(f"queueName {_FILTER} all dry_run"),
    ("GET", "/api/v1/events"): Call("queueName"),
    ("GET", "/api/v1/workers"): Call("queueName"),
    ("GET", "/api/v1/backup"): Call(""),
    ("GET", "/openapi.json"): Call(""),
    ("GET", "/healthz"): Call(""),
    ("GET", "/readyz"): Call(""),
    ("GET", "/metrics"): Call(""),
}


def check_query(call: Call, text: bytes, query: Query, *, pass_unknown: bool = False) -> None:
    """
    Raise BadInput unless each parameter belongs to the call, occurs once and has a value.

    `text` is the query as it was sent, and `query` its parsed parameters. With `pass_unknown`, calls of the first
    version ignore unknown parameters.
    """
    passed = pass_unknown and call.v1
    for name, values in query.items():
        if name not in call.parameters:
            if not passed:
                raise _unknown(call, name)
        elif len(values) > 1:
            raise BadInput(f"The query parameter {name.decode()} occurs more than once.")
        elif not values[0]:
            raise BadInput(f"The query parameter {name.decode()} is empty: give it a value, or leave it out.")
    if text.count(b"&") + text.count(b";") >= len(query):
        # There are more parts than parameters: `query` has none without "=".
        _check_parts(call, text, passed=passed)


def _check_parts(call: Call, text: bytes, *, passed: bool) -> None:
    for part in text.replace(b";", b"&").split(b"&"):
        if part and b"=" not in part and (part in call.parameters or not passed):
            raise _without_value(call, part)


def _unknown(call: Call, name: bytes) -> BadInput:
    text = name.decode("utf-8", "replace")
    return BadInput(f"This call has no query parameter {shown(text)}. {meant(text, _known(call))}")


def _without_value(call: Call, name: bytes) -> BadInput:
    if name not in call.parameters:
        return _unknown(call, name)
    return BadInput(f"The query parameter {name.decode()} has no value: send {name.decode()}=….")


def _known(call: Call) -> list[str]:
    return [name.decode() for name in call.parameters]
