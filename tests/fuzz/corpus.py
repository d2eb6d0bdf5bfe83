"""Inputs that are kept: one file for each target, with an input in base64 on each line."""

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent / "corpus"


def kept(target: str) -> list[bytes]:
    """The inputs that are kept for a target."""
    path = _FOLDER / f"{target}.txt"
    return [base64.b64decode(line) for line in path.read_text(encoding="ascii").splitlines()] if path.exists() else []


def write(target: str, inputs: Iterable[bytes]) -> None:
    """Keep these inputs and no others, the shortest first."""
    lines = [base64.b64encode(data).decode("ascii") for data in sorted(inputs, key=lambda data: (len(data), data))]
    (_FOLDER / f"{target}.txt").write_text("\n".join([*lines, ""]), encoding="ascii")
