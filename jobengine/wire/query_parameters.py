"""The query parameters of calls: checks their names, and replaces aliases."""

from collections.abc import Mapping, MutableMapping
from typing import Final

from attrs import field, frozen

from .did_you_mean import did_you_mean, quoted
from .request_head import BadInput


def _names(text: str) -> frozenset[bytes]:
    return frozenset(name.encode() for name in text.split())


@frozen
class Call:
    """The query parameters of one call."""

    #: The names of the parameters, as bytes; pass them as one text, separated by spaces.
    parameters: frozenset[bytes] = field(converter=_names)
    #: Whether the API's first version had this call; then older clients may send unknown parameters.
    v1: bool = False
    #: The main name of a parameter, by alias.
    aliases: Mapping[bytes, bytes] = field(init=False)

    @aliases.default
    def _aliases(self) -> Mapping[bytes, bytes]:
        others = {name.encode(): others.split() for name, others in ALIASES.items() if name.encode() in self.parameters}
        found = {other.encode(): name for name, names in others.items() for other in names}
        return {other: name for other, name in found.items() if other not in self.parameters}


#: The aliases of each query parameter, separated by spaces: the names of the same field in bodies.
ALIASES: Final[Mapping[str, str]] = {
    "name": "queue_name queueName",
    "queueName": "queue_name name",
    "jobUID": "uid",
    "keyID": "key_id",
    "markQueued": "mark_queued",
    "withResults": "with_results",
}

#: Parameters with which other APIs page: a client that sends one of them gets `_PAGES` as advice.
_OF_PAGES: Final = frozenset({"offset", "page", "page_size", "per_page", "pagesize", "size", "skip", "start"})
_PAGES: Final = "To read the next page, send the next_cursor of an answer as cursor; limit is the size of a page."


def check_query(
    call: Call, text: bytes, query: MutableMapping[bytes, list[bytes]], *, pass_unknown: bool = False
) -> None:
    """
    Raise BadInput unless each parameter belongs to the call, occurs once and has a value. `text` is the query as sent,
    and `query` the parsed parameters, in which aliases are replaced by main names. With `pass_unknown`, calls of the
    first version ignore unknown parameters.
    """
    passed = pass_unknown and call.v1
    for name, values in query.items():
        if name not in call.parameters:
            if name in call.aliases and not (passed and call.aliases[name] in query):
                use_main_names(call, query)
                check_query(call, text, query, pass_unknown=pass_unknown)
                return
            if not passed:
                raise _unknown(call, name)
        elif len(values) > 1:
            raise BadInput(f"The query parameter {name.decode()} occurs more than once.")
        elif not values[0]:
            raise BadInput(f"The query parameter {name.decode()} is empty: give it a value, or leave it out.")
    if text.count(b"&") + text.count(b";") >= len(query):
        # There are more parts than parameters, so some parts have no "=": find the error.
        _check_parts(call, text, passed=passed)


def use_main_names(call: Call, query: MutableMapping[bytes, list[bytes]]) -> None:
    """Replace aliases of parameters by their main names; raises BadInput if both were sent."""
    for other in [name for name in query if name in call.aliases]:
        name = call.aliases[other]
        if name in query:
            names = " and ".join(sorted([name.decode(), other.decode()]))
            raise BadInput(f"The query parameters {names} mean the same; send one of them.")
        query[name] = query.pop(other)


def _check_parts(call: Call, text: bytes, *, passed: bool) -> None:
    for part in text.replace(b";", b"&").split(b"&"):
        known = part in call.parameters or part in call.aliases
        if part and b"=" not in part and (known or not passed):
            raise _without_value(part) if known else _unknown(call, part)


def _unknown(call: Call, name: bytes) -> BadInput:
    text = name.decode("utf-8", "replace")
    advice = _PAGES if text.lower() in _OF_PAGES and b"cursor" in call.parameters else did_you_mean(text, _known(call))
    return BadInput(f"This call has no query parameter {quoted(text)}. {advice}")


def _without_value(name: bytes) -> BadInput:
    return BadInput(f"The query parameter {name.decode()} has no value: send {name.decode()}=….")


def _known(call: Call) -> list[str]:
    return [name.decode() for name in call.parameters]
