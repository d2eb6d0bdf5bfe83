"""What each room may import."""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib.metadata import version
from pathlib import Path

import pytest

import jobengine

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "jobengine"
MODULES = sorted(PACKAGE.rglob("*.py"))

#: What both engines share of this room.
SHARED = {
    f"engine.{module}"
    for module in (
        "claimers",
        "door",
        "event_feed",
        "ids",
        "line_mover",
        "links",
        "repeated_reports",
        "sweeps",
        "threads",
        "waiting_line",
        "waits",
    )
}
#: For each room, or a module in it with other rules, the modules of ours that it may import; a name stands for the
#: module and all below it. A room may import itself.
ALLOWED = {
    "core": {"core"},
    "core.commands": {"core"},
    "storage": {"storage"},
    "http": {"http"},
    "timetable": {"core.errors", "core.schedules"},
    "wire": {"wire", "core", "timetable"},
    "cluster": {"cluster", "engine.door", "core", "storage", "http", "timetable"},
    "engine.door": {"core"},
    "engine.threads": {"storage.committer"},
    "engine": {"engine", *SHARED, "core", "storage", "timetable"},
    "engine.postgres": {"engine.postgres", *SHARED, "core", "storage.errors", "storage.frames", "timetable"},
    "web": {
        "web",
        "http",
        "wire",
        "engine.door",
        "engine.links",
        "engine.repeated_reports",
        "core.model",
        "core.commands",
        "core.durations",
        "core.errors",
        "core.links",
        "core.stats",
    },
    "daemon": {"daemon", "engine.door", "storage.errors", "storage.files", "http", "core.model"},
    "daemon.settings": {"daemon.secret_file", "daemon.mistyped", "core.model", "http.limits"},
    "daemon.secret_file": {"storage.errors"},
    "client": {"client"},
    "worker": {"worker", "client"},
    "testing": {"client"},
    "cli": {"cli", "client", "worker", "tools"},
    "cli.prompts": {"cli", "client", "daemon.secret_file"},
    "cli.command_runner": {"client.encoding", "wire.strict_json", "worker"},
    "tools": {"tools", "storage", "core", "engine.tables", "daemon.secret_file", "daemon.hardening"},
    "tools.postgres": {
        "tools",
        "daemon.secret_file",
        "storage.errors",
        "storage.frames",
        *(
            f"engine.postgres.{module}"
            for module in ("recount", "database.connection", "database.pipeline", "database.rows", "database.schema")
        ),
    },
    "tools.postgres_transfer": {
        "tools",
        "storage",
        "core",
        *(f"engine.postgres.{module}" for module in ("transfer", "database.rows", "database.schema")),
    },
}
#: Modules that the pure room may import, besides our own.
PURE = sys.stdlib_module_names | {"attrs", "msgspec"}
#: Modules of the standard library that would bring a clock, randomness, files or sockets into the pure room.
IMPURE = {"time", "datetime", "random", "secrets", "uuid", "os", "io", "pathlib", "socket", "threading", "asyncio"}
#: The pure names in such modules: a UUID is a value, only making a new one is not pure.
PURE_NAMES = {"uuid.UUID"}


def name_of(path: Path) -> str:
    """The module's name below jobengine, such as core.model."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def room_of(module: str) -> str:
    return module.partition(".")[0]


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> Iterator[str]:
    """Every module name that the file imports, at any place; our own begin with `jobengine`."""
    package = ["jobengine", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (_imported(module, alias.name) for alias in node.names)


def _imported(module: str, name: str) -> str:
    """What `from module import name` imports: the module, its submodule of this name, or a pure name."""
    below = f"{module}.{name}"
    file = ROOT / below.replace(".", "/")
    is_module = file.with_suffix(".py").exists() or (file / "__init__.py").exists()
    return below if is_module or below in PURE_NAMES else module


def ours(path: Path) -> Iterator[str]:
    for name in imports(path):
        if name == "jobengine" or name.startswith("jobengine."):
            yield name.removeprefix("jobengine").removeprefix(".")


def allows(allowed: set[str], name: str) -> bool:
    # The package itself holds the version, which every module may read.
    return not name or any(name == door or name.startswith(door + ".") for door in allowed)


def imported_modules(path: Path) -> set[str]:
    """Our own modules that the file imports, also for type checking only, or inside a function."""
    names = {name_of(module) for module in MODULES}
    found = {next(name for name in _and_above(full) if name in names) for full in ours(path)}
    return found - {name_of(path)}


def _and_above(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition(".")[0]
    yield ""


def test_the_architecture_check_finds_the_imports_of_a_module() -> None:
    assert {"core.model", "core.tables"} <= set(ours(PACKAGE / "core" / "expiring.py"))
    assert {"engine.door", "core.commands"} <= set(ours(PACKAGE / "web" / "api.py"))
    assert "klein" in {room_of(name) for name in imports(PACKAGE / "web" / "api.py")}


def test_a_room_imports_only_what_the_table_of_rooms_allows() -> None:
    for path in MODULES:
        module = name_of(path)
        if module not in ("", "tap"):
            allowed = next(ALLOWED[name] for name in _and_above(module) if name in ALLOWED)
            wrong = [name for name in ours(path) if not allows(allowed, name)]
            assert not wrong, f"{path}: {wrong}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter({name_of(path): imported_modules(path) for path in MODULES}).prepare()


def _importers(folder: Path, forbidden: set[str]) -> list[str]:
    """The modules in a folder that import what is forbidden there."""
    paths = sorted(folder.rglob("*.py"))
    return [name_of(path) for path in paths if any(name and allows(forbidden, name) for name in ours(path))]


def test_no_module_imports_the_module_tap() -> None:
    assert _importers(PACKAGE, {"tap"}) == []


def test_core_imports_only_pure_modules() -> None:
    for path in sorted((PACKAGE / "core").rglob("*.py")):
        others = {room_of(name) for name in imports(path) if name not in PURE_NAMES} - {"jobengine"}
        assert (path, others - PURE, others & IMPURE) == (path, set(), set())


def test_web_imports_nothing_of_storage() -> None:
    assert (
        _importers(PACKAGE / "web", {"storage", "engine.engine", "engine.executor", "engine.tables", "engine.postgres"})
        == []
    )


def test_the_package_module_holds_only_its_version() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    assert [type(node) for node in tree.body] == [ast.Expr, ast.Assign]
    assert jobengine.__version__ == version("jobengine")


def test_the_twistd_plugin_defines_only_a_service_maker() -> None:
    folder = ROOT / "twisted" / "plugins"
    assert not (folder / "__init__.py").exists()
    assert not (ROOT / "twisted" / "__init__.py").exists()
    (plugin,) = folder.glob("*.py")
    assert len(plugin.read_text().splitlines()) < 10


def test_each_file_has_less_than_500_lines() -> None:
    files = [*MODULES, *(ROOT / "tests").rglob("*.py")]
    long = {str(path): lines for path in files if (lines := len(path.read_text().splitlines())) >= 500}
    assert not long


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in MODULES:
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path}:{node.lineno} {node.name}", node


def test_each_function_has_at_most_31_lines() -> None:
    lengths = {name: (node.end_lineno or 0) - node.lineno + 1 for name, node in functions()}
    assert {name: lines for name, lines in lengths.items() if lines > 31} == {}


def test_every_public_function_of_a_module_has_a_docstring() -> None:
    """A method needs no docstring if its class or protocol says what it is for."""
    top = [(path, node) for path in MODULES for node in _tree(path).body]
    functions = [(path, node) for path, node in top if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [
        f"{path} {node.name}" for path, node in functions if node.name[0] != "_" and not ast.get_docstring(node)
    ] == []


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_file_that_the_pages_for_developers_name_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    named = set(re.findall(r"[`(]((?:[\w.-]+/)*[\w-]+\.(?:py|md|yml))[`)]", text))
    named |= set(re.findall(r"`((?:tests|docs|jobengine|newsfragments)/[\w/]*)`", text))
    places = (ROOT, PACKAGE, (ROOT / page).parent)
    assert len(named) > 3
    assert [name for name in named if not any((place / name).exists() for place in places)] == []
