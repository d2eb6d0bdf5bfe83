"""The applications on the page about web frameworks, started as a reader would start them."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from jobengine.client import Queue

from .daemons import DEADLINE, Daemon, free_port, until
from .documents import blocks

PAGE = "docs/web-frameworks.md"
KEY = "correct horse"
ADDRESS = "ada@example.org"
#: The settings of a new Django project that the page needs.
SETTINGS = """
SECRET_KEY = "for tests"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.db", "OPTIONS": {"timeout": 20}}}
"""
#: A project made by django-admin has the same, with its own name.
MANAGE = "from django.core.management import execute_from_command_line as run; import sys; run(sys.argv)"


def _environment(daemon: Daemon) -> dict[str, str]:
    place = {"JOBENGINE_URL": f"http://127.0.0.1:{daemon.port}", "JOBENGINE_ACCESS_KEY": KEY}
    return {**os.environ, **place, "DJANGO_SETTINGS_MODULE": "settings", "PYTHONDONTWRITEBYTECODE": "1"}


@contextmanager
def _started(daemon: Daemon, home: Path, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Runs a program of the page's directory, which is killed at the end."""
    with open(home / "log", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=home, env=_environment(daemon), stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


class Site:
    """A running application at a port."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"

    def __call__(self, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """Make a request; returns the status of the answer, and its JSON if it has any."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, None

    def answers(self) -> bool:
        with suppress(OSError):
            return self("/jobs/0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11")[0] == 404
        return False


def _django(home: Path) -> None:
    settings, jobs, views, urls, worker = blocks(PAGE, "python", "## Django")
    files = {"settings": SETTINGS + settings, "urls": urls, "manage": MANAGE}
    for name, text in {**files, "jobs": jobs, "views": views, "worker": worker}.items():
        (home / f"{name}.py").write_text(text)


def _arguments(framework: str, daemon: Daemon, home: Path, port: int) -> tuple[str, ...]:
    """Write the files of an application; returns the arguments of Python that start it."""
    if framework == "Django":
        _django(home)
        made = subprocess.run(
            [sys.executable, "manage.py", "migrate"],
            cwd=home,
            env=_environment(daemon),
            capture_output=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        return "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"
    (code,) = blocks(PAGE, "python", f"## {framework}")
    (home / "app.py").write_text(code)
    if framework == "Flask":
        return "-m", "flask", "run", "--port", str(port)
    return "-m", "uvicorn", "app:app", "--port", str(port)


@contextmanager
def _site(framework: str, daemon: Daemon, home: Path) -> Iterator[Site]:
    port = free_port()
    with _started(daemon, home, *_arguments(framework, daemon, home, port)):
        site = Site(port)
        until("it answers", site.answers)
        yield site


@pytest.mark.parametrize("framework", ["FastAPI", "Flask", "Django"])
def test_a_job_added_by_a_web_request_is_shown_by_a_later_web_request(
    framework: str, daemon: Daemon, mail: Queue, tmp_path: Path
) -> None:
    with _site(framework, daemon, tmp_path) as site:
        assert site("/sign-up", {"address": ADDRESS})[0] == 202
        (job,) = mail.jobs()
        assert (job.content, job.unique_key) == ({"to": ADDRESS}, ADDRESS)
        assert site(f"/jobs/{job.uid}") == (200, {"state": "queued", "result": None})
        if framework != "Django":  # here the second user of the same name is refused
            assert site("/sign-up", {"address": ADDRESS}) == (202, {"uid": job.uid})


@pytest.mark.parametrize(("framework", "status"), [("FastAPI", 422), ("Flask", 400), ("Django", 400)])
def test_a_web_request_without_an_address_is_refused(
    framework: str, status: int, daemon: Daemon, mail: Queue, tmp_path: Path
) -> None:
    with _site(framework, daemon, tmp_path) as site:
        for body in ({}, {"address": 5}, {"address": "a" * 255}):
            assert site("/sign-up", body) == (status, None)
    assert list(mail.jobs()) == []


@pytest.mark.parametrize("framework", ["FastAPI", "Flask"])
def test_a_web_request_is_answered_soon_although_the_job_server_is_unreachable(
    framework: str, daemon: Daemon, mail: Queue, tmp_path: Path
) -> None:
    with _site(framework, daemon, tmp_path) as site:
        daemon.kill()
        assert site("/sign-up", {"address": ADDRESS}) == (503, None)
        assert site(f"/jobs/{uuid.uuid4()}") == (503, None)


def test_django_stores_a_user_although_the_job_server_is_unreachable(
    daemon: Daemon, mail: Queue, tmp_path: Path
) -> None:
    with _site("Django", daemon, tmp_path) as site:
        daemon.kill()
        assert site("/sign-up", {"address": ADDRESS})[0] == 202
        assert site(f"/jobs/{uuid.uuid4()}") == (503, None)
    assert f"no letter is sent to {ADDRESS}" in (tmp_path / "log").read_text()


def test_django_adds_no_job_if_its_transaction_is_rolled_back(daemon: Daemon, mail: Queue, tmp_path: Path) -> None:
    with _site("Django", daemon, tmp_path) as site:
        assert site("/sign-up", {"address": ADDRESS})[0] == 202
        assert site("/sign-up", {"address": ADDRESS})[0] == 500
    assert [job.content for job in mail.jobs()] == [{"to": ADDRESS}]


def test_a_worker_uses_the_models_of_django(daemon: Daemon, mail: Queue, tmp_path: Path) -> None:
    with _site("Django", daemon, tmp_path) as site:
        site("/sign-up", {"address": ADDRESS})
    (job,) = mail.jobs()
    with _started(daemon, tmp_path, "worker.py") as worker:
        assert mail.wait(job.uid, timeout=DEADLINE).result == {"sent_to": ADDRESS}
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(DEADLINE) == 0
