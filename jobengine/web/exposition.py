"""The text format of Prometheus, version 0.0.4; see https://prometheus.io/docs/instrumenting/exposition_formats."""

from collections.abc import Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})


def labels_of(labels: Mapping[str, str]) -> str:
    """Labels as they follow a name, with escapes; an empty text without labels."""
    if not labels:
        return ""
    return "{" + ",".join([f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items()]) + "}"


class Family:
    """The samples of one metric, which must be together."""

    def __init__(self, name: str, kind: str, sentence: str) -> None:
        """`kind` is counter, gauge, summary or histogram; `sentence` is its description, in one line."""
        self.name = name
        self._lines = [f"# HELP {name} {sentence}", f"# TYPE {name} {kind}"]
        self._packed: list[bytes] = []

    def add(self, value: float, labels: str = "", suffix: str = "") -> None:
        """Add a sample; `labels` comes from `labels_of`, and `suffix` follows the name."""
        self._lines.append(f"{self.name}{suffix}{labels} {value}")

    def pack(self) -> None:
        """Encode the samples added since the last call: a million at once would take long."""
        lines, self._lines = self._lines, []
        self._packed.append(("\n".join([*lines, ""])).encode())

    def text(self) -> bytes:
        """All of it."""
        self.pack()
        return b"".join(self._packed)
