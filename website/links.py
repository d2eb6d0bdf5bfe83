"""
Links of the pages: in the repository they are paths, which readers of the sources can follow too. On the site, some of
the files that they lead to are pages, and all others are copied beside the pages.
"""

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = "docs"
#: Pages of the site that are elsewhere than in docs/, by their names on the site. Absent ones are left out.
PAGES: Final[Mapping[str, str]] = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "news.md": "NEWS.md",
    "lab-book.md": "benchmarks/lab-book.md",
    "figures.md": "benchmarks/figures.md",
    "scaling.md": "benchmarks/scaling.md",
}
#: Where the other files are on the site.
FILES: Final = "files"
_LINK: Final = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")


def source_of(page: str) -> str:
    """The path of a page's source in the repository; `page` is its name on the site."""
    return PAGES.get(page) or f"{DOCS}/{page}"


def rewritten(markdown: str, page: str) -> str:
    """The text of a page with its links rewritten for the site; unknown links are kept, and mkdocs reports them."""
    return _LINK.sub(lambda found: f"{found[1]}{_on_site(found[2], page)}{found[3] or ''}{found[4]}", markdown)


def files(markdown: str, page: str) -> Iterator[str]:
    """The files, except pages, of the repository that this page links to, as paths from the root."""
    for found in _LINK.finditer(markdown):
        target = _in_repository(found[2], page)
        if target is not None and _place(target).startswith(f"{FILES}/"):
            yield target


def _on_site(link: str, page: str) -> str:
    target = _in_repository(link, page)
    return link if target is None else posixpath.relpath(_place(target), posixpath.dirname(page) or ".")


def _in_repository(link: str, page: str) -> str | None:
    """The path from the root to the file that a link names; None if it names none."""
    if ":" in link:
        return None
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source_of(page)), link))
    return target if (ROOT / target).is_file() else None


def _place(target: str) -> str:
    """Where a file of the repository is on the site."""
    for page, source in PAGES.items():
        if source == target:
            return page
    return target.removeprefix(f"{DOCS}/") if target.startswith(f"{DOCS}/") else f"{FILES}/{target}"


#: Writes the part of a page that is generated.
Generator = Callable[[str], str]
