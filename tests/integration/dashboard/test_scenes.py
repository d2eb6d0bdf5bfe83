"""Each page in each state, light and dark, on a phone and a wide screen: axe finds nothing, and nothing sticks out."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import pytest

from tests.integration.daemons import ROOT

from .conftest import Arrive
from .person import Person
from .scenes import SCENES
from .shop import Shop, open_shop

#: In CSS pixels.
WIDE: Final = (1280, 900)
PHONE: Final = (360, 1200)
#: The variants that are always checked; --pictures takes the other two as well.
LOOKS: Final[tuple[tuple[tuple[int, int], Literal["light", "dark"]], ...]] = ((WIDE, "light"), (PHONE, "dark"))
OTHERS: Final[tuple[tuple[tuple[int, int], Literal["light", "dark"]], ...]] = ((WIDE, "dark"), (PHONE, "light"))


#: The scenes that every run checks; --pictures takes all, which takes minutes.
MAIN: Final = ("queues", "queue", "groups", "schedules", "schedule", "job-failed", "job-linked", "batches", "server")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise the test that takes a scene."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", SCENES if metafunc.config.getoption("--pictures") else MAIN)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with open_shop(tmp_path_factory.mktemp("shop") / "home") as shop:
        yield shop


@pytest.fixture(scope="module")
def axe(node_modules: Path) -> str:
    return (node_modules / "axe-core" / "axe.min.js").read_text()


def test_axe_finds_no_fault_in_any_dashboard_scene_and_nothing_overflows(
    name: str, arrive: Arrive, shop: Shop, axe: str, pytestconfig: pytest.Config
) -> None:
    pictures = pytestconfig.getoption("--pictures")
    person = arrive(shop.url, viewport={"width": WIDE[0], "height": WIDE[1]}, reduced_motion="reduce")
    SCENES[name](person, shop)
    for size, scheme in (*LOOKS, *(OTHERS if pictures else ())):
        person.page.set_viewport_size({"width": size[0], "height": size[1]})
        person.page.emulate_media(color_scheme=scheme)
        if pictures:
            person.page.screenshot(path=Path(pictures) / f"{name}-{size[0]}-{scheme}.png", animations="disabled")
        assert _found(person, axe) == [], f"{size[0]} {scheme}"
        assert _too_wide(person) == 0, f"{size[0]} {scheme}"


def test_each_picture_in_the_docs_shows_a_tested_dashboard_scene_and_is_used() -> None:
    looks = {f"{name}-{size[0]}-{scheme}.png" for name in SCENES for size, scheme in (*LOOKS, *OTHERS)}
    kept = {picture.name for picture in (ROOT / "docs" / "images").iterdir()}
    text = "".join((ROOT / page).read_text() for page in ("README.md", "docs/dashboard.md"))
    assert kept <= looks
    assert set(re.findall(r"images/([\w-]+\.png)", text)) == kept


def _found(person: Person, axe: str) -> list[Any]:
    """The violations that axe finds, each with its elements."""
    person.page.evaluate(f"window.axe ?? (() => {{ {axe} }})()")
    results = person.page.evaluate("axe.run({ resultTypes: ['violations'] })")
    return [
        (one["id"], one["help"], [(node["html"], node["failureSummary"]) for node in one["nodes"]])
        for one in results["violations"]
    ]


def _too_wide(person: Person) -> int:
    """The number of pixels by which the page is wider than the window."""
    width: int = person.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return max(0, width)
