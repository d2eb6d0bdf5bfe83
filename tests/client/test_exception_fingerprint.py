"""The fingerprint of an exception: its type and the innermost function of the program's own code."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from jobengine.client.failures import exception_fingerprint
from jobengine.core.fingerprints import FINGERPRINT


def _raised(function: Callable[[], Any]) -> str:
    try:
        function()
    except Exception as error:
        return exception_fingerprint(error)
    raise AssertionError("nothing was raised")


def send() -> None:
    raise ConnectionError("no route to 10.0.0.7")


def parse() -> None:
    json.loads("{")


def grüße() -> None:
    raise LookupError


def test_a_fingerprint_consists_of_the_exception_type_and_the_raising_function() -> None:
    assert _raised(send) == "ConnectionError:tests.client.test_exception_fingerprint.send"


def test_a_fingerprint_skips_functions_of_the_standard_library() -> None:
    assert _raised(parse) == "JSONDecodeError:tests.client.test_exception_fingerprint.parse"


@pytest.mark.parametrize("function", [grüße, lambda: int("a" * 100), lambda: send()])
def test_the_server_accepts_fingerprints_of_functions_with_unusual_names(function: Callable[[], object]) -> None:
    assert re.search(FINGERPRINT, _raised(function))


def test_a_long_name_is_replaced_by_16_hexadecimal_digits() -> None:
    kind = type("E" * 65, (Exception,), {})
    assert re.fullmatch("[0-9a-f]{16}", exception_fingerprint(kind()))


def test_an_exception_that_was_never_raised_has_its_type_as_fingerprint() -> None:
    assert exception_fingerprint(KeyError("a")) == "KeyError"
