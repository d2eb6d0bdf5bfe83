"""Text is found as it reads, however it was escaped."""

import json

from hypothesis import given
from hypothesis import strategies as st

from jobengine.core.commands import Filter
from jobengine.core.filter import matches
from jobengine.core.model import Job, Spec, Standing, State
from jobengine.core.retention import retention


@given(ascii_only=st.booleans(), text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_text_is_found_however_it_was_escaped(ascii_only: bool, text: str) -> None:
    content = json.dumps({"a": text}, ensure_ascii=ascii_only).encode()
    spec = Spec(
        uid="u",
        priority=0,
        arrival=0,
        keep=retention(0, 0),
        timeout_seconds=0,
        timeout_time=0,
        content=content,
        created=0,
    )
    job = Job(spec, Standing(state=State.QUEUED, updated=0))
    assert matches(job, Filter(text=f'"{text}"'.casefold()), 0)
