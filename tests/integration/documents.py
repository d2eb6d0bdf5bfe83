"""The commands in the pages of the documentation, run as a reader would run them."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .daemons import ROOT

#: The address of the server in the pages.
_PLACE = re.compile(r"(localhost|127\.0\.0\.1):6006")


def blocks(page: str, language: str = "sh", heading: str = "") -> list[str]:
    """The code of one language in a page, in order; of the section under `heading` only, if it is given."""
    text = (ROOT / page).read_text()
    if heading:
        level = heading.split(" ")[0]
        text = text.split(f"\n{heading}\n", 1)[1]
        text = re.split(rf"^#{{1,{len(level)}}} ", text, maxsplit=1, flags=re.MULTILINE)[0]
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no {language} under {heading!r}"
    return [re.sub(f"^{indent}", "", code, flags=re.MULTILINE) for indent, code in found]


def services_of_compose(*options: str, folder: Path = ROOT, **environment: str) -> dict[str, Any]:
    """The services in the compose files of a directory, as docker-compose 1 or 2 reads them."""
    done = subprocess.run(
        ["docker-compose", *options, "config"],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    services: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return services


def at_port(code: str, port: int) -> str:
    """The code, changed for a server that listens at this port."""
    return _PLACE.sub(rf"\1:{port}", code)


def shell(
    code: str, home: Path, environment: Mapping[str, str], seconds: float = 60
) -> "subprocess.CompletedProcess[str]":
    """Run code in bash, which stops at the first command that fails."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=home,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def python(code: str, port: int, seconds: float = 60, *, ends_with: int = 0) -> "subprocess.CompletedProcess[str]":
    """Run code in Python, for a server at this port; it must exit with `ends_with`."""
    command, environment = [sys.executable, "-c", code], {**os.environ, "JOBENGINE_URL": f"http://localhost:{port}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == ends_with, done.stderr
    return done
