"""Fingerprints: what of an error they ignore, what they tell apart, and which line names the error."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobengine.core.fingerprints import FINGERPRINT, LINE_LENGTH, error_line, fingerprint

_PYTHON_START = "Traceback (most recent call last):"
_PYTHON = """Traceback (most recent call last):
  File "{folder}/app/mail.py", line {line}, in send
    connection.deliver(message)
  File "/usr/lib/python3.11/smtplib.py", line 901, in deliver
    raise SMTPServerDisconnected
smtplib.SMTPServerDisconnected: Connection unexpectedly closed"""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no room for 17 jobs", "no room for 2048 jobs"),
        ("user 'ada' is unknown", "user 'grace hopper' is unknown"),
        ('no column "a b"', 'no column "c"'),
        ("no route to 10.0.0.7:25", "no route to 192.168.1.12:2525"),
        ("no answer from mail.example.com:25", "no answer from mx-2.example.org:587"),
        ("bounced: ada@example.com", "bounced: grace@example.org"),
        ("GET https://a.example/x?y=1 failed", "GET http://b.example:8080/ failed"),
        ("open /var/lib/a/1.csv: no such file", "open /tmp/b.csv: no such file"),
        (r"open C:\in\a.csv: no such file", r"open D:\b.csv: no such file"),
        ("order 5d1c1b0e-0000-4000-8000-000000000001 is gone", "order ffffffff-1111-4222-8333-444455556666 is gone"),
        ("object at 0x7f3a21bc4d90 is closed", "object at 0x55d1 is closed"),
        ("commit 9f3c61d20b7e is unknown", "commit 00aa11bb22cc is unknown"),
        ("took 3.5s", "took 12ms"),
        ("No such file", "no such file"),
        (_PYTHON.format(folder="/srv/a", line=12), _PYTHON.format(folder="/home/ada", line=99)),
    ],
)
def test_errors_that_differ_only_in_variable_parts_have_the_same_fingerprint(one: str, other: str) -> None:
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no room", "no route"),
        ("[Errno 111] Connection refused", "[Errno 113] Connection refused"),
        ("the server answered with status 404", "the server answered with status 503"),
        ("it doesn't work and can't", "it doesn't run and can't"),
        (_PYTHON.format(folder="", line=1), _PYTHON.format(folder="", line=1).replace("in send", "in receive")),
        (_PYTHON.format(folder="", line=1), _PYTHON.format(folder="", line=1).replace("smtplib.SMTPServer", "Reply")),
    ],
)
def test_errors_of_different_kinds_have_different_fingerprints(one: str, other: str) -> None:
    assert fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("", ""),
        ("no room", "no room"),
        (_PYTHON.format(folder="", line=1), "smtplib.SMTPServerDisconnected: Connection unexpectedly closed"),
        ("TypeError: x is not a function\n    at send (/app/mail.js:3:7)", "TypeError: x is not a function"),
        (
            "/app/mail.js:3\n  throw new Error('no room')\n  ^\n\nError: no room\n    at send (/app/mail.js:3:9)",
            "Error: no room",
        ),
        (
            "java.lang.RuntimeException: job\n\tat a.B.c(B.java:1)\nCaused by: java.io.IOException: no room\n"
            "\tat a.D.e(D.java:2)",
            "java.io.IOException: no room",
        ),
        ("panic: no room\n\ngoroutine 1 [running]:\nmain.send(...)\n\t/app/mail.go:7 +0x1d", "panic: no room"),
        ("reading a.csv\nwriting b.csv\ncp: cannot create regular file\nbye", "cp: cannot create regular file"),
        ("début\nIt FAILED\nbye", "It FAILED"),
        (f'{_PYTHON_START}\n  File "mail.py", line 3(7)\nNoRoom: 7', "NoRoom: 7"),
        (f'{_PYTHON_START}\n  File "mail.py", line 3, in send\n    deliver()', "deliver()"),
        ("x" * 2_000, "x" * LINE_LENGTH),
    ],
)
def test_the_line_that_names_an_error_is_found(error: str, line: str) -> None:
    assert error_line(error) == line


_LINES = [
    *['  File "/srv/app/mail.py", line 3, in send', '  File "/usr/lib/python3.11/smtplib.py", line 9, in deliver'],
    *['  File "/srv/app/mail.py", line 3', '  File "/srv/app/mail.py"', "    deliver(message)", "", "\r"],
    *["During handling of the above exception", "Traceback (most recent call last):", 'bad File "a.py", line 1, in b'],
]


@given(st.lists(st.sampled_from(_LINES), max_size=8))
def test_cached_frames_and_parsed_frames_give_the_same_fingerprint(lines: list[str]) -> None:
    text = "\n".join(["Traceback (most recent call last):", *lines, "ValueError: no room"])
    # With this line, which is no part of the error, the frames are parsed again.
    assert fingerprint(text) == fingerprint(text + "\n  sub-exception")


def test_long_and_short_tracebacks_of_one_function_have_one_fingerprint() -> None:
    short = _PYTHON.format(folder="/srv", line=1)
    long = short.replace(f"{_PYTHON_START}\n", f'{_PYTHON_START}\n  File "/srv/app/run.py", line 1, in run\n' * 20)
    assert fingerprint(long.replace("closed", "closed 7")) == fingerprint(long.replace("closed", "closed 8"))
    assert fingerprint(long) == fingerprint(short)


def test_a_fingerprint_has_the_innermost_function_of_the_users_own_code() -> None:
    in_library = _PYTHON.replace("in deliver", "in send_all").format(folder="", line=1)
    assert fingerprint(in_library) == fingerprint(_PYTHON.format(folder="", line=1))


@given(st.text())
def test_every_text_has_a_fingerprint(text: str) -> None:
    assert re.search(FINGERPRINT, fingerprint(text))
    assert fingerprint(text) == fingerprint(text)
