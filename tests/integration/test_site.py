"""The documentation as a site: it has everything that the pages have, and loads nothing from other sites."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt
from playwright.sync_api import Browser, expect
from playwright.sync_api import TimeoutError as TooLate

from jobengine import client, testing, worker
from jobengine.cli.app import app
from jobengine.cli.command import Group
from website import links

from .daemons import ROOT
from .dashboard.browsers import chromium

#: The sources of all pages, by their names on the site.
PAGES = {page.stem: page for page in sorted((ROOT / "docs").glob("*.md"))} | {
    page.removesuffix(".md"): ROOT / source for page, source in links.PAGES.items()
}
#: Elements of which both renderings of a page must have the same number.
COUNTED = ("h2", "h3", "li", "pre", "table", "tr")
#: Pages that only the site has completely.
GENERATED = "<!-- generated: "


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(place)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


class _Tags(HTMLParser):
    """Counts tags inside the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counter[str]()
        self.inside = False

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self.inside = self.inside or tag == "article"
        if self.inside:
            self.counts[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "article"


def _tags(html: str) -> dict[str, int]:
    tags = _Tags()
    tags.feed(html)
    return {tag: tags.counts[tag] for tag in COUNTED}


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if GENERATED not in page.read_text()])
def test_a_page_has_the_same_lists_tables_and_code_on_the_site_as_in_the_repository(site: Path, name: str) -> None:
    source = MarkdownIt("commonmark").enable("table").render(PAGES[name].read_text())
    assert _tags((site / f"{name}.html").read_text()) == _tags(f"<article>{source}</article>")


def test_no_page_is_wider_than_its_window_or_loads_files_from_another_site(site: Path, browser: Browser) -> None:
    page = browser.new_page()
    elsewhere, wide = list[str](), list[str]()
    page.on("request", lambda request: elsewhere.append(request.url) if request.url[:5] != "file:" else None)
    for found in sorted(site.glob("*.html")):
        page.goto(found.as_uri())
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            try:
                page.wait_for_function("document.documentElement.scrollWidth <= innerWidth", timeout=2_000)
            except TooLate:
                wide.append(f"{found.name} at {width}")
    page.close()
    assert (elsewhere, wide) == ([], [])


def test_search_works_on_pages_that_are_opened_as_files(site: Path, browser: Browser) -> None:
    page = browser.new_page()
    page.goto((site / "index.html").as_uri())
    page.get_by_role("textbox", name="Search").fill("lease expires")
    expect(page.locator(".md-search-result__meta")).to_contain_text("matching documents")
    page.locator(".md-search-result__link").first.click()
    expect(page.locator("article")).to_contain_text("lease")
    page.close()


@pytest.mark.parametrize(
    ("word", "guide"),
    [
        *((word, "add-jobs") for word in ("delay", "retry", "timeout", "priority", "backoff")),
        ("cron", "schedules"),
        ("group", "limits"),
        ("webhook", "run-queues"),
        ("unauthorized", "troubleshooting"),
        ("metrics", "metrics"),
    ],
)
def test_the_guide_for_a_search_word_is_among_the_first_three_results(
    site: Path, browser: Browser, word: str, guide: str
) -> None:
    page = browser.new_page()
    page.goto((site / "index.html").as_uri())
    page.get_by_role("textbox", name="Search").fill(word)
    expect(page.locator(".md-search-result__meta")).to_contain_text("matching document")
    found = page.locator(".md-search-result__item > a").evaluate_all("all => all.map(one => one.pathname)")
    page.close()
    assert guide in list(dict.fromkeys(Path(path).stem for path in found))[:3]


def _ids(site: Path, pattern: str) -> set[str]:
    return {one for page in site.glob(pattern) for one in re.findall(r' id="([^"]+)"', page.read_text())}


def test_the_reference_has_every_call_and_value_of_the_api(site: Path) -> None:
    schema = yaml.safe_load((ROOT / "api_schema.yml").read_text())
    text = "".join(page.read_text() for page in site.glob("http-*.html"))
    for path, methods in schema["paths"].items():
        for method in {"get", "put", "post", "delete"} & {*methods}:
            assert re.search(f">{method.upper()} {path}</code></a>", text), (method, path)
    fields = {name for value in schema["components"]["schemas"].values() for name in value.get("properties", {})}
    assert {name for name in fields if f">{name}</code>" not in text} == set()


def test_the_reference_has_every_command(site: Path) -> None:
    ids = _ids(site, "commands.html")
    missing = {path for path in _commands(app, "") if path.replace(" ", "-") not in ids}
    assert missing == set()


def _commands(group: Group, before: str) -> Iterator[str]:
    for name in group.list_commands(None):  # type: ignore[arg-type]  # it needs no context
        yield f"{before}{name}"
        command = group.get_command(None, name)  # type: ignore[arg-type]
        if isinstance(command, Group):
            yield from _commands(command, f"{before}{name} ")


def test_no_signature_in_the_reference_has_a_private_name(site: Path) -> None:
    assert re.findall(r'class="n">(_[A-Za-z]\w*)<', (site / "python-client.html").read_text()) == []


def test_the_reference_has_every_name_of_the_python_packages(site: Path) -> None:
    ids = _ids(site, "python-client.html")
    public = {f"{module.__name__}.{name}" for module in (client, worker, testing) for name in module.__all__}
    assert {name for name in public if name not in ids and name.replace(".Async", ".") not in ids} == set()
