"""Fingerprints on 200 errors of programs in Python, Node, Java, Go and shells, which people grouped by their cause."""

from collections.abc import Sequence
from itertools import chain, combinations
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobengine.core.fingerprints import _OF_SHAPES, fingerprint

_CORPUS: Final = Path(__file__).parent / "failures"
#: One group out of this many was held out: nobody read it while the rules were written.
_HELD_OUT: Final = 4
#: The least share of pairs on which the fingerprints agree with the groups.
_LEAST: Final = 0.95
#: Errors with digits inside words.
_WITH_DIGITS: Final = (
    "object at 0x7f3a",
    "clip.mp4:12 is cut",
    "Traceback (most recent call last):\n"
    '  File "/srv/run.py", line 1, in run\n  File "/lib64/python3/smtplib.py", line 1, in deliver\nOSError: no route',
)
#: A group: its name, and its errors.
_Group = tuple[str, Sequence[str]]


def _groups() -> list[_Group]:
    return list(chain.from_iterable(map(_groups_of, sorted(_CORPUS.glob("*.txt")))))


def _groups_of(path: Path) -> list[_Group]:
    _, *parts = f"\n{path.read_text()}".split("\n### ")
    named = (part.split("\n", 1) for part in parts)
    return [
        (f"{path.stem}: {name}", [error.strip("\n") for error in errors.split("\n---\n")]) for name, errors in named
    ]


def _parts() -> list[list[_Group]]:
    """The groups that the rules were written with, and the held-out groups."""
    groups = _groups()
    held_out = groups[_HELD_OUT - 1 :: _HELD_OUT]
    return [[one for one in groups if one not in held_out], held_out]


def test_the_corpus_has_fifty_groups_of_four_errors() -> None:
    groups = _groups()
    assert len({name for name, _ in groups}) == len(groups) == 50
    assert {len(errors) for _, errors in groups} == {4}


@pytest.mark.parametrize(
    ("groups", "least"), [*zip(_parts(), (0.94, 0.86), strict=True)], ids=["looked at", "held out"]
)
def test_errors_of_the_same_cause_have_the_same_fingerprint(groups: list[_Group], least: float) -> None:
    """Held-out errors of one cause may have several fingerprints a little more often."""
    pairs = [(name, one, other) for name, errors in groups for one, other in combinations(errors, 2)]
    apart = [name for name, one, other in pairs if fingerprint(one) != fingerprint(other)]
    assert len(apart) <= (1 - least) * len(pairs), apart


@pytest.mark.parametrize("groups", _parts(), ids=["looked at", "held out"])
def test_errors_of_different_causes_have_different_fingerprints(groups: list[_Group]) -> None:
    pairs = list(combinations(groups, 2))
    merged = [
        (name, other)
        for (name, errors), (other, others) in pairs
        if {*map(fingerprint, errors)} & {*map(fingerprint, others)}
    ]
    assert len(merged) <= (1 - _LEAST) * len(pairs), merged


@pytest.mark.parametrize("groups", _parts(), ids=["looked at", "held out"])
def test_nearly_all_pairs_of_errors_are_grouped_by_fingerprint_as_in_the_corpus(groups: list[_Group]) -> None:
    errors = [(name, error) for name, errors in groups for error in errors]
    pairs = list(combinations(errors, 2))
    right = sum((one[0] == other[0]) is (fingerprint(one[1]) == fingerprint(other[1])) for one, other in pairs)
    assert right >= _LEAST * len(pairs)


@given(st.data())
def test_a_fingerprint_does_not_depend_on_errors_parsed_before(data: st.DataObject) -> None:
    """Errors that differ only in digits share one cached parse; the fingerprints must not show it."""
    error = data.draw(st.sampled_from([*_WITH_DIGITS, *(error for _, errors in _groups() for error in errors)]))
    digits = iter(data.draw(st.text("0123456789", min_size=100, max_size=100)))
    other = "".join(next(digits, "0") if one.isdecimal() else one for one in error)
    assert [fingerprint(error), fingerprint(other)] == [_uncached(error), _uncached(other)]


def _uncached(error: str) -> str:
    _OF_SHAPES.clear()
    return fingerprint.__wrapped__(error)
