"""Values as JSON, and new uids."""

import json
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobengine.client import encoding
from jobengine.client.encoding import encode_text, new_uid

#: The encoder that most users would write.
_USUAL = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_KEYS = st.one_of(st.text(), st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False, allow_infinity=False))
_VALUES = st.recursive(
    st.one_of(_KEYS, st.integers(min_value=10**30)),
    lambda inner: st.one_of(st.lists(inner), st.tuples(inner), st.dictionaries(_KEYS, inner)),
)


@given(_VALUES)
def test_the_fast_encoder_writes_the_same_text_as_json_dumps(value: Any) -> None:
    assert encode_text(value) == _USUAL(value)


def _circle() -> Any:
    circle: list[Any] = []
    circle.append({"again": circle})
    return circle


@pytest.mark.parametrize(
    "value", [float("nan"), [float("-inf")], b"", {1, 2}, {"a": object()}, {(): 1}, _circle(), OrderedDict(a=iter(()))]
)
def test_the_fast_encoder_refuses_values_outside_json_with_the_error_of_json_dumps(value: Any) -> None:
    def said(encode: Callable[[Any], str]) -> str:
        with pytest.raises((TypeError, ValueError)) as refused:
            encode(value)
        return repr(refused.value)

    assert said(encode_text) == said(_USUAL)


def test_values_are_encoded_in_the_same_way_without_the_c_encoder_of_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json.encoder, "c_make_encoder", None)
    assert encoding._kept()({"a": [1.5, None, "ä"]}) == '{"a":[1.5,null,"ä"]}'


def test_the_c_encoder_of_json_is_present_in_the_tested_python() -> None:
    """The encoder is undocumented. If this test fails, the client is slower, and its fast path can be removed."""
    assert encoding.encode_text.__name__ == "encode_text"


def test_a_new_uid_is_a_random_uuid() -> None:
    uids = {UUID(uid) for uid in (new_uid() for _ in range(1000))}
    assert len(uids) == 1000
    assert {(uid.version, uid.variant) for uid in uids} == {(4, RFC_4122)}
    # Each of the other bits is set in some uids and not in others.
    in_all, in_any = (1 << 128) - 1, 0
    for uid in uids:
        in_all, in_any = in_all & uid.int, in_any | uid.int
    assert in_any.bit_count() - in_all.bit_count() == 122
