from hypothesis import given
from hypothesis import strategies as st
from twisted.web.http import parse_qs

from jobengine.http.request import JobRequest


@given(st.lists(st.sampled_from(["a", "b", "=", "&", ";", "%41", "%3d", "%26", "+", "%", "é"])).map("".join))
def test_a_query_string_is_parsed_like_in_twisted(text: str) -> None:
    query = text.encode()
    request = JobRequest.__new__(JobRequest)
    request.foresee(b"/path?" + query, {})
    assert request.args == parse_qs(query, True)
