"""
Makes the client for threads from the one for asyncio: run `python -m tests.client.twin` after a change of the latter.

Only words are removed or replaced: `await`, `async`, and names that differ between the two clients. Modules that differ
in more than words are written by hand, with the same names in both packages.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

CLIENT = Path(__file__).parents[2] / "jobengine" / "client"
#: The generated modules; all others of the package are written by hand.
MODULES = (
    "backup",
    "batches",
    "caller",
    "claimed",
    "engine",
    "events",
    "keys",
    "moves",
    "pipelined_add",
    "queue",
    "queue_calls",
    "schedules",
)

_RENAMED = {
    "aclosing": "closing",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
}


def made(source: str, name: str) -> str:
    """The source of the module for threads, not formatted yet."""
    tokens = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and token.string in ("async", "await"):
            continue
        tokens.append((token.type, _renamed(token.type, token.string)))
    text = tokenize.untokenize(tokens)
    return f"# Made from _async/{name}.py by tests/client/twin.py: edit that one and run it again.\n{text}"


def _renamed(kind: int, word: str) -> str:
    if kind in (tokenize.NAME, tokenize.STRING, tokenize.COMMENT):
        return re.sub(r"\bAsync(?=[A-Z])", "", _RENAMED.get(word, word))
    return word


def meaning(source: str) -> str:
    """The meaning of a module, without its layout and the order of its imports."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            node.names.sort(key=lambda alias: alias.name)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List):
            node.value.elts.sort(key=ast.dump)
    return ast.dump(tree)


def main() -> None:
    """Write the generated modules, formatted by ruff."""
    paths = []
    for name in MODULES:
        paths.append(CLIENT / "_sync" / f"{name}.py")
        paths[-1].write_text(made((CLIENT / "_async" / f"{name}.py").read_text(), name))
    ruff = [sys.executable, "-m", "ruff"]
    for step in (["format"], ["check", "--fix"], ["format"]):
        subprocess.run([*ruff, *step, "--quiet", *paths], check=True)


if __name__ == "__main__":
    main()
