"""
`make lint`: checks the subjects of this branch's commits, and that no identifier has a word without meaning.

A subject is `area: imperative`. Without git, or in a shallow clone, no commit is checked.
"""

import re
import subprocess
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = (
    "core",
    "engine",
    "cluster",
    "postgres",
    "storage",
    "wire",
    "http",
    "web",
    "dashboard",
    "daemon",
    "tools",
    "client",
)
AREAS = (*ROOMS, "worker", "cli", "docs", "tests", "benchmarks", "build")
LONGEST = 72
_AREA = f"(?:{'|'.join(AREAS)})"
_SUBJECT = re.compile(rf"{_AREA}(?:, {_AREA})*: (\S+).*[^.]")
#: Imperatives that look like a past tense or a third person.
_IMPERATIVES = {
    "address",
    "bring",
    "compress",
    "embed",
    "exceed",
    "feed",
    "need",
    "pass",
    "process",
    "proceed",
    "speed",
}
#: Homely verbs: they do not say whether something is requested, sent, recorded or polled.
GONE = frozenset({"asked", "told", "said", "heard", "noted", "stirred", "looked"})
#: Identifiers that may have a homely verb, and why.
ALLOWED: Mapping[str, str] = {}
#: Where identifiers are checked.
FOLDERS = ("jobengine", "benchmarks")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def subject_problem(subject: str) -> str | None:
    """What is wrong with the subject of a commit, or None."""
    if len(subject) > LONGEST:
        return f"it has {len(subject)} characters, more than {LONGEST}"
    found = _SUBJECT.fullmatch(subject)
    if found is None:
        return f"it is not `area: imperative subject`, without a full stop; areas are {', '.join(AREAS)}"
    verb = found[1]
    if not verb[0].islower() or (re.search("(ed|ing|[^s]s)$", verb) and verb not in _IMPERATIVES):
        return f"{verb!r} is not an imperative"
    return None


def branch_subjects(folder: Path = ROOT) -> list[str]:
    """The subjects of the commits that are not on the main branch; none if that is unknown."""
    if _git(folder, "rev-parse", "--is-shallow-repository").strip() != "false":
        return []
    base = _git(folder, "merge-base", "HEAD", "origin/main") or _git(folder, "merge-base", "HEAD", "main")
    return _git(folder, "log", "--no-merges", "--format=%s", f"{base.strip()}..HEAD").splitlines() if base else []


def _git(folder: Path, *arguments: str) -> str:
    """The output of git, empty if it fails or is missing."""
    try:
        done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return "" if done.returncode else done.stdout


def gone_words(paths: Iterable[Path]) -> Iterator[str]:
    """Each identifier with a homely verb, once for each file, as `path:line: name`."""
    for path in paths:
        seen: set[str] = set()
        with path.open("rb") as source:
            for token in tokenize.tokenize(source.readline):
                name = token.string
                if token.type != tokenize.NAME or name in ALLOWED or name in seen:
                    continue
                if GONE.intersection(word.lower() for word in _WORD.findall(name)):
                    seen.add(name)
                    yield f"{path}:{token.start[0]}: {name}"


def problems() -> list[str]:
    """All that is wrong, a line for each."""
    subjects = [(subject, subject_problem(subject)) for subject in branch_subjects()]
    sources = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return [
        *(f"commit {subject!r}: {problem}" for subject, problem in subjects if problem),
        *(f"{found} has one of the words {', '.join(sorted(GONE))}" for found in gone_words(sources)),
    ]


if __name__ == "__main__":
    found = problems()
    print("\n".join(found) or "Wording: commits and identifiers are fine")  # noqa: T201  # the output of `make lint`
    raise SystemExit(bool(found))
