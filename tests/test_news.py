"""The fragments of newsfragments, and NEWS.md, which `make news` makes of them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FRAGMENTS = sorted(path for path in (ROOT / "newsfragments").iterdir() if path.name != ".gitkeep")
#: The most words of a fragment: users read the news to learn what changes for them.
LONGEST = 130


def wrong(name: str, text: str) -> list[str]:
    """What is wrong with a fragment's file name or text."""
    return [
        *([] if re.fullmatch(r"\+[a-z0-9-]+\.(feature|bugfix)\.md", name) else ["the name"]),
        *([] if text.strip() and text == text.strip() + "\n" else ["empty, or with blank lines around it"]),
        *(["more than one paragraph"] if "\n\n" in text.strip() else []),
        *(["a heading or a list"] if re.search(r"^\s*(#|[-*] )", text, re.MULTILINE) else []),
        *([] if text.strip().endswith((".", "`")) or not text.strip() else ["the end of the sentence"]),
        *(["too long"] if len(text.split()) > LONGEST else []),
    ]


def test_every_fragment_is_a_short_paragraph_for_users() -> None:
    assert [(one.name, found) for one in FRAGMENTS if (found := wrong(one.name, one.read_text()))] == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("news.md", "A good sentence.\n"),
        ("+news.change.md", "A good sentence.\n"),
        ("+news.feature.md", ""),
        ("+news.feature.md", "A good sentence.\n\nAnother paragraph.\n"),
        ("+news.feature.md", "# A heading.\n"),
        ("+news.feature.md", "- An item of a list.\n"),
        ("+news.feature.md", "No full stop\n"),
        ("+news.bugfix.md", "word " * LONGEST + "too many.\n"),
    ],
)
def test_a_malformed_fragment_is_found(name: str, text: str) -> None:
    assert wrong("+news.feature.md", "A good sentence.\n") == []
    assert wrong(name, text)


def test_news_puts_the_fragments_under_the_version_and_keeps_existing_text(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    fragments = tmp_path / "newsfragments"
    fragments.mkdir()
    (fragments / "+bulk.feature.md").write_text("Bulk calls.\n")
    (fragments / "+leak.bugfix.md").write_text("No leak.\n")
    before = (ROOT / "NEWS.md").read_text()
    (tmp_path / "NEWS.md").write_text(before)
    _news(tmp_path, "9.0.0")
    (fragments / "+later.feature.md").write_text("Later calls.\n")
    _news(tmp_path, "9.1.0")
    text = (tmp_path / "NEWS.md").read_text()
    order = ("# News", "## 9.1.0", "### New", "Later calls.", "## 9.0.0", "Bulk calls.", "### Mended", "No leak.")
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)
    head, marker, rest = before.partition("<!-- the newest version -->\n")
    assert text.startswith(head + marker)
    assert text.endswith(rest.strip() + "\n" if rest.strip() else "No leak.\n")
    assert list(fragments.glob("*.md")) == []


def _news(folder: Path, version: str) -> None:
    command = [str(Path(sys.executable).with_name("towncrier")), "build", "--yes", "--version", version]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
