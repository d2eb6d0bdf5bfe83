"""`make image` builds on a fixed digest of the base image, and prints the digest."""

import os
import subprocess
from pathlib import Path

import pytest

from .daemons import ROOT

BASES = sorted({line.split()[1] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("FROM ")})
#: Stands in for Docker, which would need a registry: gives the real answers, and records its arguments.
DOCKER = """#!/bin/sh
case "$1 $2" in
"image inspect") printf 'sha256:def\\n' ;;
"buildx imagetools") [ -z "$NO_REGISTRY" ] && printf 'Name: %s\\nDigest:    sha256:abc\\n' "$4" ;;
"buildx build") printf '%s\\n' "$@" > built ;;
esac
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("Makefile", "Dockerfile"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    return tmp_path


def make_image(home: Path, **environment: str) -> int:
    path = f"{home}:{os.environ['PATH']}"
    return subprocess.run(
        ["make", "image"], cwd=home, env={**os.environ, "PATH": path, **environment}, capture_output=True, check=False
    ).returncode


def test_the_image_is_built_on_base_image_digests_and_has_them_as_labels(home: Path) -> None:
    assert make_image(home) == 0
    given = (home / "built").read_text().splitlines()
    for base in BASES:
        assert f"--build-context={base}=docker-image://docker.io/library/{base.split(':')[0]}@sha256:abc" in given
    assert "org.opencontainers.image.base.digest=sha256:abc" in given


def test_no_image_is_built_if_a_base_image_has_no_digest(home: Path) -> None:
    assert make_image(home, NO_REGISTRY="1") != 0
    assert not (home / "built").exists()


def test_without_a_registry_the_image_is_built_on_the_base_image_that_docker_has(home: Path) -> None:
    assert make_image(home, NO_REGISTRY="1", LOCAL_BASE="1", DOCKER_OPTIONS="--network host") == 0
    given = (home / "built").read_text().splitlines()
    assert [one for one in given if one.startswith("--build-context")] == []
    assert "org.opencontainers.image.base.digest=sha256:def" in given
    assert given[-3:] == ["--network", "host", "."]


def test_the_image_has_its_version_as_a_tag_and_a_label(home: Path) -> None:
    (home / "jobengine").mkdir()
    (home / "jobengine" / "__init__.py").write_text('"""A queue."""\n\n__version__ = "1.2.3"\n')
    assert make_image(home) == 0
    given = (home / "built").read_text().splitlines()
    assert [given[at + 1] for at, one in enumerate(given) if one == "--tag"] == ["jobengine", "jobengine:1.2.3"]
    assert {"org.opencontainers.image.version=1.2.3", "org.opencontainers.image.licenses=MIT"} <= {*given}
