"""
`make audit`: looks for known vulnerabilities in the packages that the files *.lock pin.

Fails if there is one. If the service can't be reached it says so and passes: CI may have no network.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCKS = sorted(Path(__file__).parents[1].glob("requirements*.lock"))
#: Seconds for one answer of the service, and for the whole audit.
ANSWER, ALL = 5, 60
#: What pip-audit writes to stderr if it gets no answer.
NO_ANSWER = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "Could not connect", "ServiceError")


def audit() -> tuple[str, int]:
    """Run pip-audit; returns what to print, and the exit code."""
    locks = [f"--requirement={lock}" for lock in LOCKS]
    options = ["--disable-pip", "--require-hashes", f"--timeout={ANSWER}", "--format=json", "--progress-spinner=off"]
    command = [sys.executable, "-m", "pip_audit", *locks, *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ALL, check=False)
    except subprocess.TimeoutExpired:
        return "not audited: the service does not answer in time", 0
    return verdict(done.stdout, done.stderr)


def verdict(report: str, errors: str) -> tuple[str, int]:
    """Judge pip-audit's report (JSON) and its stderr; returns what to print, and the exit code."""
    if not report:
        if any(sign in errors for sign in NO_ANSWER):
            return "not audited: the service can't be reached", 0
        return f"pip-audit failed:\n{errors}", 1
    packages: list[dict[str, Any]] = json.loads(report)["dependencies"]
    found = [f"{one['name']} {one['version']}: {bug['id']}" for one in packages for bug in one.get("vulns", ())]
    if found:
        return "\n".join(["known vulnerabilities in what is locked:", *found]), 1
    # If a mirror of the index has no answers for pip-audit, every package looks unknown.
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    if skipped:
        return (
            f"not audited: the service can't be reached, or does not know {len(skipped)} of {len(packages)} packages",
            0,
        )
    return f"no known vulnerabilities in the {len(packages)} packages that are locked", 0


if __name__ == "__main__":
    message, code = audit()
    print(f"Audit: {message}")  # noqa: T201  # the output of `make audit`
    raise SystemExit(code)
