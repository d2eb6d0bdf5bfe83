"""Reads single keys from a terminal, without waiting for the end of a line."""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def keyboard() -> Iterator[Callable[[float], str]]:
    """
    Yield a function that waits up to the given number of seconds for a key, and returns it, or an empty text. Ctrl-C
    still interrupts. If standard input is not a terminal, the function only waits.
    """
    if not sys.stdin.isatty():
        yield _no_key
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield lambda seconds: _key(descriptor, seconds)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _no_key(seconds: float) -> str:
    time.sleep(seconds)
    return ""


def _key(descriptor: int, seconds: float) -> str:
    """Read a key; a key that sends several bytes, such as an arrow, counts as one unknown key."""
    if not select.select([descriptor], [], [], seconds)[0]:
        return ""
    pressed = os.read(descriptor, 32).decode(errors="replace")
    if not pressed:  # the terminal is gone
        return "q"
    return pressed if len(pressed) == 1 else " "
