"""The filter `q` searches decoded text, however the content was escaped; other filters select by batch and state."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from jobengine.core.commands import Filter
from jobengine.core.filter import matches
from jobengine.core.model import Job, Rare, Standing, State
from tests.core.worlds import spec_of


def holds(content: bytes, text: str) -> bool:
    """Whether the filter finds this text in a job with this content."""
    spec = spec_of(content=content)
    return matches(Job(spec, Standing(state=State.QUEUED, updated=0)), Filter(text=text.casefold()), 0)


@given(ascii_only=st.booleans(), text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_search_finds_any_text_however_the_content_was_escaped(ascii_only: bool, text: str) -> None:
    assert holds(json.dumps({"a": text}, ensure_ascii=ascii_only).encode(), f'"{text}"')


@pytest.mark.parametrize(
    ("content", "text", "found"),
    [
        ({"to": "Ada@Example.org"}, "ada@example", True),
        ({"to": "ada"}, "ADA", True),
        ({"to": "ada"}, "bob", False),
        ({"to": {"deep": ["x", "needle"]}}, "needle", True),
        ({"key name": 1}, "key name", True),
        ({"n": 4711}, "4711", True),
        ({"a": "Stra\u00dfe"}, "STRASSE", True),
        ({"a": "STRASSE"}, "stra\u00dfe", True),
        ({"a": "\u00dcber"}, "\u00fcber", True),
        ({"a": 'say "hi"'}, 'say "hi"', True),
        ({"a": 'say "hi"'}, '\\"hi\\"', False),
        ({"a": "C:\\new\\table"}, "c:\\new\\table", True),
        ({"a": "C:\\new"}, "\\\\new", False),
        ({"a": "one\ntwo"}, "one\ntwo", True),
        ({"a": "one\ntwo"}, "one\\ntwo", False),
        ({"a": "one\\ntwo"}, "one\\ntwo", True),
        ({"a": "one\\ntwo"}, "one\ntwo", False),
        ({"a": "\t\r\b\f/"}, "\t\r\b\f/", True),
        ({"a": "\\u0041"}, "\\u0041", True),
        ({"key": "\\u0041"}, '"a"', False),
        ({"a": "\\\\"}, "\\\\", True),
        ({"a": "\u0001\u20ac \U00010000"}, "\u0001\u20ac \U00010000", True),
        ({"a": "x", "b": "\\"}, '"a": "x", "b"', True),
        ({"a": "x", "b": "/"}, '"a": "x", "b"', True),
        ({"a": "\U0001f600"}, "\U0001f600", True),
    ],
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_search_in_the_content_ignores_case(content: Any, text: str, found: bool, ascii_only: bool) -> None:
    assert holds(json.dumps(content, ensure_ascii=ascii_only).encode(), text) is found


def test_a_search_finds_decoded_characters_and_not_their_escapes() -> None:
    content = b'{"a":"\\u00fcber\\/all \\u0041"}'
    assert holds(content, "\u00fcber/all a")
    assert not holds(content, "u00fc")


@pytest.mark.parametrize("content", [b'{"a":1,"b":"x"}', b'{"a":1,"b":"\\n"}'])
def test_a_search_matches_white_space_in_the_content_exactly_as_sent(content: bytes) -> None:
    assert holds(content, '"a":1,"b"')
    assert not holds(content, '"a": 1')


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("batch", [None, "import", "other"])
def test_the_unfinished_jobs_of_a_batch_are_selected(state: State, batch: str | None) -> None:
    job = Job(replace(spec_of(), rare=Rare(batch=batch)), Standing(state=state, updated=0))
    is_selected = batch == "import" and state in (State.QUEUED, State.INPROGRESS)
    assert matches(job, Filter(batch="import", unfinished=True), 0) is is_selected
    assert matches(job, Filter(batch="import"), 0) is (batch == "import")
