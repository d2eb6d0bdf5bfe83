"""HTTP: a connection has the same outcome however its bytes are cut; it answers or refuses, and never fails."""

from itertools import pairwise
from typing import Final

from tests.http.outcomes import outcome

from .pieces import Pieces

_LONGEST: Final = 2000
_ANSWERS: Final = frozenset({100, 200, 400, 405, 413, 431})


def http_bytes(data: bytes) -> None:
    """The first byte says in how many places to cut, and the next ones where."""
    pieces = Pieces(data)
    places = [pieces.number(2) for _ in range(pieces.number() % 9)]
    sent = pieces.rest()[:_LONGEST]
    if not sent:
        return
    cuts = sorted({0, *(place % len(sent) for place in places), len(sent)})
    whole, cut = outcome(sent), outcome(*(sent[begin:end] for begin, end in pairwise(cuts)))
    assert whole == cut, (sent, cuts)
    requests, statuses, *_ = whole
    assert _ANSWERS.issuperset(statuses), (statuses, sent)
    # Twisted itself answers requests for *: OPTIONS with 200, others with 405.
    assert len(requests) <= statuses.count(200), (statuses, sent)
