"""The JSON that the API accepts, and that content comes back as it was sent."""

import gc
import json
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobengine.http.limits import Limits
from jobengine.wire.request_head import BadInput
from jobengine.wire.requests import Wire
from jobengine.wire.strict_json import NotStrict, check, check_steps, count_values
from tests.doubles import MemoryServer
from tests.http.connection import Connection, request
from tests.wire.reference_json import reference

#: JSON values of every kind, with integers within 64 bits.
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=5)


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b' \t\r\n{ "a" : [ 1 , 2.50 ] }\n',
        b'{"a":-9223372036854775808,"b":9223372036854775807}',
        b'{"a":1.7976931348623157e308,"b":-1E+2,"c":5e-324,"d":1e-999,"e":-0,"f":-0.0}',
        b'{"a":0.' + b"1" * 5000 + b"}",
        b'{"a":"\\ud83d\\ude00","b":"\xf0\x9f\x98\x80","\\u0000":"\\/\\b\\f\\n\\r\\t\\"\\\\"}',
        b'{"a":{"a":{"a":1}},"A":2}',
        b'{"":0," ":1,"a\\u0062":2}',
        b'{"a":"' + b"[{" * 1000 + b'"}',
        b'{"a":"\\"' + b"[{" * 1000 + b'\\\\"}',
        b'{"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[":"{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{"}',
        b"[" * 32 + b"]" * 32,
        b"[" + b"[]," * 5000 + b"{}]",
    ],
)
def test_valid_json_is_accepted(text: bytes) -> None:
    assert check(text, 32) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        *[b"", b" ", b"{", b"{}{}", b"{} x", b"{}\x00", b"{'a':1}", b"{a:1}", b'{"a":1,}', b"[1,]", b"[01]", b"[+1]"],
        *[b"[1.]", b"[.5]", b"[0x1]", b"[NaN]", b"[Infinity]", b"[-Infinity]", b"[nan]", b"[1e309]", b"[-1e309]"],
        *[b"[1" + b"0" * 400 + b".5]", b"[9223372036854775808]", b"[-9223372036854775809]"],
        *[b"[1" + b"0" * 100_000 + b"]", b'{"a":1,"a":1}', b'{"a":1,"\\u0061":1}'],
        *[b'[{"x":[{"y":{"a":1,"b":2,"a":3}}]}]', b'["\\ud800"]', b'["\\udc00"]', b'["\\udc00\\ud800"]'],
        *[b'["\\ud83d \\ude00"]', b'["\\ud83d\\ud83d\\ude00"]', b'{"\\ud800":1}', b'["\xff"]', b'["\xc3"]'],
        *[b'["\xed\xa0\x80"]', b'["\xc0\xaf"]', "[1]".encode("utf-16"), b"\xef\xbb\xbf[1]", b'["\n"]', b'["\x00"]'],
        *[b'["\\x"]', b'["\\u12"]', b'["', b"\x0c[]", b"\xc2\xa0[]", b"/* */[]", b"[" * 33 + b"]" * 33],
        *[b'{"a":' * 33 + b"1" + b"}" * 33, b'[{"a":' * 17 + b"1" + b"}]" * 17, b"[" * 100_000],
        b'["\\\\",' + b"[" * 32 + b"]" * 33,
    ],
)
def test_malformed_json_is_refused(text: bytes) -> None:
    with pytest.raises(NotStrict):
        check(text, 32)


def test_depth_counts_only_brackets_that_are_still_open() -> None:
    check(b"[" + b",".join([b"[" * 30 + b"]" * 30] * 10) + b"]", 32)
    with pytest.raises(NotStrict, match="deeper than 32"):
        check(b"[" + b",".join([b"[" * 30 + b"]" * 30] * 10 + [b"[" * 32 + b"]" * 32]) + b"]", 32)


#: Texts of a mebibyte, each slow for a naive reader.
_WORST = [
    b'"' + b'\\"' * 500_000 + b"[" * 40,
    b"[" * 40 + b'"' + b"\\" * 1_000_001,
    b"[" * 40 + b'"a\\"' * 250_000,
    b'{"a":' + b"9" * 1_000_000 + b"}",
    b'{"a":' + b"9" * 1_000_000 + b".5}",
    b'{"a":0.' + b"9" * 1_000_000 + b"}",
    b"[" + b"[]," * 300_000 + b"0]",
    b"[" + b"[]," * 49_000 + b"0]",
    b'{"a":[' + b"{}," * 49_000 + b'{}],"b":"\\n"}',
    b"[" + b"1.7976931348623157e308," * 19_000 + b"0]",
    b"[" + b"1.7976931348623157e308," * 45_000 + b"0]",
    b"[" + b"-1234567890123456789.5," * 45_000 + b"0]",
    b"[" + (b"0." + b"0" * 320 + b"1,") * 3_000 + b"0]",
    b"{" + b",".join(b'"\\u0061%x":0' % number for number in range(60_000)) + b"}",
    b"{" + b'"a":0,' * 90_000 + b'"a":0}',
]


@pytest.mark.parametrize("text", _WORST, ids=range(len(_WORST)))
def test_any_text_is_checked_in_a_fixed_number_of_steps(text: bytes) -> None:
    steps: list[str] = []
    # Without the garbage collector, whose callbacks would be counted too.
    gc.disable()
    sys.setprofile(lambda _frame, event, _what: steps.append(event))
    try:
        with suppress(NotStrict):
            check(text, 32)
    finally:
        sys.setprofile(None)
        gc.enable()
    # Each call is one pass over the text at C speed; more calls would mean Python steps for parts of the text.
    assert len(steps) < 400


@pytest.mark.parametrize("number", [b"1234567890123456789", b"-9223372036854775808", b"9223372036854775807"])
def test_many_long_integers_are_accepted_up_to_64_bits(number: bytes) -> None:
    text = b"[" + (number + b",") * 10_000 + b"%b]"
    assert check(text % b"0", 32)[-2] == int(number)
    for beyond in (b"9223372036854775808", b"-9223372036854775809", b"10000000000000000000", b"-18446744073709551616"):
        with pytest.raises(NotStrict, match="64 bits"):
            check(text % beyond, 32)


def test_a_long_text_of_integers_is_checked_in_slices_of_a_quarter_of_a_mebibyte() -> None:
    long, short = (b"[" + number * ((1 << 20) // len(number)) + b"0]" for number in (b"-1234567890123456789,", b"  0,"))
    steps = [sum(1 for _ in check_steps(text, 32, 1 << 20)) for text in (long, short)]
    assert steps[0] - steps[1] == 4


@pytest.mark.parametrize("before", range(21))
def test_an_integer_beyond_64_bits_is_found_even_if_a_slice_ends_within_the_integer(before: int) -> None:
    at = (1 << 18) - before
    start = (b"[" + b"1234567890123456789," * 10).ljust(at)
    with pytest.raises(NotStrict, match="64 bits"):
        list(check_steps(start + b"9223372036854775808" + b",1" * 100 + b"]", 32))


def test_values_are_counted_before_they_are_decoded() -> None:
    check(b"[" + b"0," * 99_000 + b"0]", 32)
    for many in (b"0", b"{}", b'""', b'{"a":[]}', b'"\\"{,"'):
        with pytest.raises(NotStrict, match="more than 100000 values"):
            check(b"[" + (many + b",") * 100_000 + b"0]", 32)
    # Text that only looks like values does not count.
    check(b'{"a":"' + b"[{,}]," * 100_000 + b'\\",,,"}', 32)


@pytest.mark.parametrize("pad", range(4))
@pytest.mark.parametrize("unit", [b'"\\\\",', b'"\\",,,\\"",', b'{"a":[]},', b'"[,[,",', b'"' + b"x" * 300_000 + b'",'])
def test_counting_in_slices_gives_the_same_result_for_any_slice_length(unit: bytes, pad: int) -> None:
    units = 700_000 // len(unit)
    text = b"[" + b" " * pad + unit * units + b"0]"
    values = units * (3 if b"{" in unit else 1) + 2
    slices = list(count_values(text, values))
    assert len(slices) in (3, 4)
    with pytest.raises(NotStrict, match=f"more than {values - 1} values"):
        list(count_values(text, values - 1))


def test_the_error_for_a_repeated_key_names_the_key() -> None:
    with pytest.raises(NotStrict, match="the key 'b' occurs twice"):
        check(b'{"a":[{"b":1,"c":{"b":2},"\\u0062":3}]}', 32)


@pytest.mark.parametrize(
    "half", [r"\ud800", r"x\uDBFFy", r"\udc00", r"\ud800\ud800", r"\udc00\ud800", r"\ud83d\ude00\ud83d"]
)
def test_the_error_for_half_of_a_surrogate_pair_names_the_cause(half: str) -> None:
    with pytest.raises(NotStrict, match="half of a surrogate pair"):
        check(b'{"a":"%b"}' % half.encode(), 32)


@pytest.mark.parametrize("text", [b'{"a":"\\\\ud800"', b'{"a":"\\ud83d\\ude00', b'["ud800"'])
def test_a_truncated_text_is_not_reported_as_half_of_a_surrogate_pair(text: bytes) -> None:
    with pytest.raises(NotStrict, match="ends too early"):
        check(text, 32)


@pytest.mark.parametrize(
    "text",
    [
        b'["' + b'\\"' * 500_000 + b'"]',
        b"[" * 40 + b'"' + b'\\"' * 500_000,
        b'"' * 1_000_000,
        b'["a"' + b',"a"' * 240_000 + b"]",
        b"[" * 1_000_000,
    ],
)
def test_the_memory_for_a_check_is_in_proportion_to_the_text(text: bytes) -> None:
    tracemalloc.start()
    try:
        with suppress(NotStrict):
            check(text, 32)
        assert tracemalloc.get_traced_memory()[1] < 45 * len(text)
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=300)
def test_any_bytes_are_refused_or_read_as_pythons_json_reads_them(data: bytes) -> None:
    _taken_or_refused(data)


_BRACKETS = ["{", "}", "[", "]", '"', ":", ","]
_NUMBERS = ["1", "0", "-", ".", "e", "E", "+", "1.5", "NaN"]
_OTHERS = ["\\", "\\u", "d800", "dc00", "a", "\u00e9", "true", "null", '"a"', '"a":1', "\\n", '\\"', " ", "\n", "\x00"]


@given(st.lists(st.sampled_from(_BRACKETS + _NUMBERS + _OTHERS), max_size=12).map("".join))
@settings(deadline=None, max_examples=500)
def test_nearly_valid_json_is_refused_or_read_as_pythons_json_reads_it(text: str) -> None:
    _taken_or_refused(text.encode())


_SPACE = st.sampled_from(["", "", " ", "\n\t"])
_SCALARS = st.sampled_from(["1", "-0", "1.5e3", "1e999", "9" * 18, "9" * 19, "0." + "1" * 30, "true", "null", "NaN"])
#: Texts of strings that look like structure, and of one key written in two ways.
_STRINGS = st.sampled_from(
    ['"a"', '"\\u0061"', '":"', '"\\":"', '"\\\\"', '"[{"', '"\u00e9"', '"\\ud83d\\ude00"', '"\\ud83d"']
)


def _containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.tuples(_STRINGS, _SPACE, inner).map(lambda member: f"{member[0]}{member[1]}:{member[2]}")
    return st.one_of(
        st.tuples(_SPACE, st.lists(inner, max_size=3)).map(lambda some: f"[{some[0]}{','.join(some[1])}]"),
        st.tuples(_SPACE, st.lists(members, max_size=4)).map(lambda some: f"{{{','.join(some[1])}{some[0]}}}"),
    )


def _outcome(read: Callable[[bytes, int], Any], text: bytes, max_depth: int) -> Any:
    """The result of a reader: a value, in which floats differ from integers, or that the text is refused."""
    try:
        return repr(read(text, max_depth))
    except NotStrict:
        return NotStrict


@pytest.mark.slow
@given(st.recursive(_SCALARS | _STRINGS, _containers, max_leaves=20), st.integers(1, 5))
@settings(deadline=None, max_examples=1000)
def test_texts_are_accepted_or_refused_as_by_a_simple_reference_reader(text: str, max_depth: int) -> None:
    assert _outcome(check, text.encode(), max_depth) == _outcome(reference, text.encode(), max_depth)


def _taken_or_refused(data: bytes) -> None:
    """Check that a plain reader accepts the same texts, and that the decoder then raises nothing unexpected."""
    assert _outcome(check, data, 32) == _outcome(reference, data, 32)
    wire = Wire()
    with suppress(BadInput):
        wire.create_queue(data, False)
    with suppress(BadInput):
        wire.add_job(data, {"access_key": b"key"})
    with suppress(BadInput):
        wire.update_job(data, {"access_key": b"key"})


def _exchange(server: MemoryServer, content: bytes) -> tuple[int, bytes, bytes]:
    """Status and body of adding a job with this content, and of reading it after a restart."""
    put = request(
        "PUT",
        "/api/v1/job",
        "Content-Type: application/json",
        "X-Access-Key: key",
        body=b'{"queue_name":"q","job":{"priority":1,"content": %s }}' % content,
    )
    (added,) = Connection(server).send(put).answers
    if added.status != 201:
        return added.status, added.body, b""
    uid = json.loads(added.body)["uid"]
    server.restart()
    get = request("GET", f"/api/v1/job?queueName=q&jobUID={uid}", "X-Access-Key: key")
    (shown,) = Connection(server).send(get).answers
    return added.status, added.body, shown.body


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b"{ }",
        b'{\n\t"b" : 1 ,\r\n  "a":[ ]}',
        b'{"a":"\\u00e9\xc3\xa9\\/\\u0022\\ud83d\\ude00\xf0\x9f\x98\x80\\u0000"}',
        b'{"a":1.0,"b":1.10,"c":1e5,"d":1E+05,"e":-0,"f":-0.0,"g":1e-999}',
        b'{"a":0.1234567890123456789012345678901234567890}',
        b'{"a":123456789012345678901234567890.5}',
        b'{"a":-9223372036854775808,"b":9223372036854775807}',
        b'{"z":1,"a":2,"\\u0061b":3}',
        b'{"a":"' + b"x" * 200_000 + b'"}',
    ],
)
def test_content_comes_back_byte_for_byte(server: MemoryServer, content: bytes) -> None:
    status, added, shown = _exchange(server, content)
    assert status == 201
    assert b'"content":%s,"state"' % content in added
    assert b'"content":%s,"state"' % content in shown


@pytest.mark.slow
@given(OBJECTS, st.booleans(), st.sampled_from([None, 0, 2]))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_object_comes_back_byte_for_byte(
    server: MemoryServer, value: Any, ensure_ascii: bool, indent: int | None
) -> None:
    content = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent).encode()
    status, added, shown = _exchange(server, content)
    assert status == 201
    assert b'"content":%s,"state"' % content in added
    assert b'"content":%s,"state"' % content in shown


@given(st.binary(max_size=300), st.sampled_from([("PUT", "queue"), ("PUT", "job"), ("POST", "job")]))
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_as_a_body_get_400_and_cause_no_internal_error(
    server: MemoryServer, body: bytes, call: tuple[str, str]
) -> None:
    method, name = call
    answer = server.call(method, f"/api/v1/{name}", raw=body, headers={"Content-Type": "application/json"})
    assert answer.status == 400


def test_the_configured_depth_limit_applies_to_the_whole_body(start: Callable[..., MemoryServer]) -> None:
    for limit in (8, 32):
        server = start(limits=Limits(json_depth=limit))
        # The body and the job are two levels of their own.
        for depth, status in ((limit - 2, 201), (limit - 1, 400)):
            content = b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)
            assert _exchange(server, content)[0] == status
