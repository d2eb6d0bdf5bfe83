"""The text that Prometheus reads, version 0.0.4 of its format; see https://prometheus.io/docs/instrumenting/exposition_formats."""

from collections.abc import Mapping

__all__ = ["CONTENT_TYPE", "Family", "labels_of"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})


def labels_of(labels: Mapping[str, str]) -> str:
    """Labels as they stand behind a name, with escapes; an empty text for none."""
    if not labels:
        return ""
    return "{" + ",".join([f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items()]) + "}"


class Family:
    """The samples of one name, which must stand together."""

    def __init__(self, name: str, kind: str, sentence: str) -> None:
        """`kind` is counter, gauge, summary or histogram; `sentence` says what it is, in one line."""
        self.name = name
        self._lines = [f"# HELP {name} {sentence}", f"# TYPE {name} {kind}"]
        self._packed: list[bytes] = []

    def add(self, value: float, labels: str = "", suffix: str = "") -> None:
        """Add a sample; `labels` is what `labels_of` gives, `suffix` goes behind the name."""
        self._lines.append(f"{self.name}{suffix}{labels} {value}")

    def pack(self) -> None:
        """Make bytes of what was added: of very many samples this takes its time, and better a little at a time."""
        lines, self._lines = self._lines, []
        self._packed.append(("\n".join([*lines, ""])).encode())

    def text(self) -> bytes:
        """All of it."""
        self.pack()
        return b"".join(self._packed)
