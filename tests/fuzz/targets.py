"""The targets: each takes any bytes, and raises AssertionError if the result differs from that of a plain reader."""

from collections.abc import Callable, Mapping
from typing import Final

from .export_lines import export_lines
from .frames import frames
from .header import header
from .http_bytes import http_bytes
from .json_text import json_text

TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    "frames": frames,
    "header": header,
    "json": json_text,
    "http": http_bytes,
    "import": export_lines,
}
