"""
The hooks of mkdocs. They add pages that are elsewhere in the repository, make links between files work on the site,
give lists the form that mkdocs reads, and replace a line such as `<!-- generated: http-calls jobs -->` with what its
generator writes.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from website import command_reference, http_reference, links, lists, python_reference

_GENERATORS: Final[Mapping[str, links.Generator]] = {
    "http-overview": http_reference.overview,
    "http-calls": http_reference.calls,
    "http-values": http_reference.values,
    "commands": command_reference.commands,
    "python": python_reference.names,
}
#: The script that search needs if pages are opened as files, and the copy of it in the site: the theme would load it
#: from the internet.
_WORKER: Final = ("https://unpkg.com/iframe-worker/shim", "assets/javascripts/iframe-worker.js")
_GENERATED: Final = re.compile(r"^<!-- generated: ([a-z-]+) ?(.*) -->$", re.MULTILINE)
#: The tabs of the menu whose pages come last in the results of search, except for some of them, and the factor of their
#: ranks: a word in a title counts 1,000 times as much as in a text.
_LAST: Final = ("Reference", "How it works")
_NOT_LAST: Final = ("metrics.md", "settings.md")
_LAST_RANK: Final = 0.001


#: Code that is never broken in a table.
_SHORT: Final = re.compile(r"<code>([^<]{1,26})</code>")
#: A part of a page that only readers of the sources need.
_SOURCES_ONLY: Final = re.compile(r"^<!-- not on the site -->\n.*?^<!-- end -->\n", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Leave out the page for unknown addresses: it works only at the root of a web server."""
    config.theme.static_templates.discard("404.html")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/, and the files that any page links to."""
    for page, source in links.PAGES.items():
        if (links.ROOT / source).is_file():
            files.append(File.generated(config, page, abs_src_path=str(links.ROOT / source)))
    linked = {path for page in files.documentation_pages() for path in links.files(page.content_string, page.src_uri)}
    for path in sorted(linked):
        files.append(File.generated(config, f"{links.FILES}/{path}", abs_src_path=str(links.ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Insert the generated parts, rewrite the links for the site, and rank the page for search."""
    kept = _SOURCES_ONLY.sub("", markdown)
    written = _GENERATED.sub(lambda found: _GENERATORS[found[1]](found[2]), kept)
    if any(tab.title in _LAST for tab in page.ancestors) and page.file.src_uri not in _NOT_LAST:
        page.meta["search"] = {"boost": _LAST_RANK}
    return links.rewritten(lists.rewritten(written), page.file.src_uri)


def on_page_content(html: str, **_: Any) -> str:
    """Mark short pieces of code, which stay whole in tables."""
    return _SHORT.sub(r'<code class="short">\1</code>', html)


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Load all scripts from the site itself."""
    remote, local = _WORKER
    return output.replace(remote, f"{'../' * page.url.count('/')}{local}")
