"""The files of the dashboard, as browsers and other programs get them."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

import jobengine.web
from jobengine.web.dashboard_files import _TYPES, DashboardFiles, read_dashboard
from tests.doubles import MemoryServer
from tests.http.connection import Connection, RawAnswer, head_of, request

CONTENTS: Final = {
    "index.html": b'<link href="dashboard/a.css"><script src="dashboard/a.js"></script>' + b" " * 500,
    "a.js": b"export const a = 1;" * 100,
    "a.css": b"body { color: red }" * 100,
    "a.svg": b"<svg/>" * 100,
}
HTML: Final = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"
FOLDER: Final = Path(jobengine.web.__file__).parent / "dashboard"


@pytest.fixture
def browsed(start: Callable[..., MemoryServer]) -> MemoryServer:
    return start(others=DashboardFiles(CONTENTS).answers)


def _get(server: MemoryServer, path: str, *headers: str, method: str = "GET") -> RawAnswer:
    connection = Connection(server).send(request(method, path, *headers))
    if method == "HEAD":
        return head_of(connection.sent)
    (answer,) = connection.answers
    return answer


def _place(server: MemoryServer) -> str:
    """The path of the dashboard's files, as the page has it."""
    (place,) = set(re.findall(r'"(dashboard/[0-9a-f]{16}/)a', _get(server, "/", HTML).body.decode()))
    return f"/{place}"


def test_the_dashboard_page_refers_to_its_other_files_by_their_digest(browsed: MemoryServer) -> None:
    answer = _get(browsed, "/", HTML)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.body.count(_place(browsed)[1:].encode()) == 2
    for name, kind in (("a.js", "text/javascript; charset=utf-8"), ("a.css", "text/css; charset=utf-8")):
        file = _get(browsed, _place(browsed) + name)
        assert (file.status, file.headers["content-type"], file.body) == (200, kind, CONTENTS[name])


def test_a_client_that_accepts_no_html_gets_404_at_the_path_of_the_dashboard(
    start: Callable[..., MemoryServer],
) -> None:
    browsed, plain = start(others=DashboardFiles(CONTENTS).answers), start()
    for accept in ("Accept: */*", "Accept: application/json", "X-Without: any"):
        for method in ("GET", "POST"):
            told = _get(browsed, "/", accept, method=method)
            assert (told.status, told.headers["content-type"]) == (404, "application/problem+json")
    before, after = _get(plain, "/"), _get(browsed, "/")
    assert (before.status, before.body, before.headers.keys()) == (after.status, after.body, after.headers.keys())


@pytest.mark.parametrize(
    "path",
    [
        *["/dashboard", "/dashboard/", "/dashboard/a.js", "/dashboard/0123456789abcdef/a.js", "PLACE"],
        *["PLACEindex.html", "PLACEb.js", "PLACE../a.js", "PLACE../../../../setup.py", "PLACE..%2f..%2fapi.py"],
        *["PLACEa.js/", "PLACE/a.js", "PLACEa.js%00", "/index.html"],
    ],
)
def test_unknown_paths_of_the_dashboard_get_404(browsed: MemoryServer, path: str) -> None:
    answer = _get(browsed, path.replace("PLACE", _place(browsed)), HTML)
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")


def test_the_dashboard_files_are_cached_permanently_and_its_page_is_revalidated(browsed: MemoryServer) -> None:
    assert _get(browsed, _place(browsed) + "a.js").headers["cache-control"] == "public, max-age=31536000, immutable"
    page = _get(browsed, "/", HTML)
    assert page.headers["cache-control"] == "no-cache"
    for known in (page.headers["etag"], f'"x", {page.headers["etag"]}'):
        again = _get(browsed, "/", HTML, f"If-None-Match: {known}")
        assert (again.status, again.body) == (304, b"")
        assert "content-length" not in again.headers
        assert (again.headers["etag"], again.headers["cache-control"]) == (page.headers["etag"], "no-cache")
    assert _get(browsed, "/", HTML, 'If-None-Match: W/"other"').status == 200


def test_a_change_of_any_dashboard_file_changes_its_path_and_etag(start: Callable[..., MemoryServer]) -> None:
    seen = set()
    changes: list[dict[str, bytes]] = [{}, {"a.js": b"2"}, {"b.js": b"2"}, {"a.css": CONTENTS["a.css"] + b" "}]
    for change in changes:
        server = start(others=DashboardFiles({**CONTENTS, **change}).answers)
        seen.add((_place(server), _get(server, "/", HTML).headers["etag"]))
    assert len({place for place, _ in seen}) == len({tag for _, tag in seen}) == len(changes)


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        *[("gzip", True), ("gzip, deflate, br, zstd", True), ("br;q=1.0, gzip;q=0.8, *;q=0.1", True)],
        *[("deflate,GZIP", True), ("gzip;q=0", False), ("gzip; q=0.0, deflate", False), ("identity", False)],
        *[("notgzip", False), ("gzipped", False), ("", False)],
    ],
)
def test_a_client_that_accepts_gzip_gets_gzip(browsed: MemoryServer, accepted: str, packed: bool) -> None:
    for path, name in (("/", ""), (_place(browsed) + "a.js", "a.js")):
        plain = _get(browsed, path, HTML)
        answer = _get(browsed, path, HTML, *([f"Accept-Encoding: {accepted}"] if accepted else []))
        assert answer.headers.get("content-encoding") == ("gzip" if packed else None)
        assert (gzip.decompress(answer.body) if packed else answer.body) == plain.body
        assert (len(answer.body) < len(plain.body)) == packed
        assert answer.headers["vary"] == ("Accept-Encoding" if name else "Accept, Accept-Encoding")


def test_head_has_the_headers_of_get_and_other_methods_are_refused(browsed: MemoryServer) -> None:
    for path in ("/", _place(browsed) + "a.js"):
        got, head = (_get(browsed, path, HTML, method=method) for method in ("GET", "HEAD"))
        changing = {"x-request-id", "date"}
        assert head.status == got.status == 200
        for name in got.headers.keys() - changing:
            assert head.headers[name] == got.headers[name]
        for method in ("PUT", "POST", "DELETE", "OPTIONS", "get"):
            refused = _get(browsed, path, HTML, method=method)
            assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")


def test_the_headers_of_each_file_forbid_unneeded_browser_features(browsed: MemoryServer) -> None:
    place = _place(browsed)
    for path in ("/", *(place + name for name in CONTENTS if name != "index.html")):
        headers = _get(browsed, path, HTML).headers
        policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        needed = dict.fromkeys(("script-src", "style-src", "img-src", "connect-src"), "'self'")
        forbidden = dict.fromkeys(("default-src", "base-uri", "form-action", "frame-ancestors"), "'none'")
        assert policy == {**needed, **forbidden, "require-trusted-types-for": "'script'"}
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"


def test_the_dashboard_page_has_vary_origin_if_cors_origins_are_configured(
    start: Callable[..., MemoryServer],
) -> None:
    parts: dict[str, Any] = {"cors_origins": frozenset([b"https://example.org"])}
    server = start(others=DashboardFiles(CONTENTS).answers, **parts)
    sent = Connection(server).send(request("GET", "/", HTML)).sent
    assert re.findall(rb"\r\nVary: ([^\r]*)", sent) == [b"Origin", b"Accept, Accept-Encoding"]


def test_the_installed_dashboard_is_complete_and_names_no_missing_file() -> None:
    names = {file.name for file in FOLDER.iterdir()}
    assert {Path(name).suffix for name in names} <= set(_TYPES)
    files = read_dashboard()
    assert {path.rpartition(b"/")[2].decode() for path in files._files} == names - {"index.html"}
    named = set()
    for name in names:
        text = (FOLDER / name).read_text()
        named |= set(re.findall(r'"dashboard/([^"]+)"', text)) if name == "index.html" else set()
        named |= set(re.findall(r'(?:from|import)\s*\(?"\./([^"]+)"', text))
    assert named <= names
