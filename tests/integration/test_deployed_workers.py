"""docs/deploy-workers.md, and the files in deploy/ that it names."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from attrs import define
from cloudcoil.models.keda.v1alpha1 import ScaledObject, TriggerAuthentication

from jobengine.client import JobEngine, Queue

from .daemons import DEADLINE, ROOT, Daemon, until
from .documents import at_port, blocks, services_of_compose, shell
from .shells import BIN

PAGE = "docs/deploy-workers.md"
UNIT = ROOT / "deploy" / "mailer@.service"
KEY = "correct horse"
#: A double of systemd for the page: each instance is a process with its pid in a file.
SYSTEMCTL = """\
#!/bin/bash
stop() {
    kill "$(cat "$HOST/$1.pid")"
    while [ -e "/proc/$(cat "$HOST/$1.pid")/cwd" ]; do sleep 0.05; done
}
start() {
    command=$(sed -n 's/^ExecStart=//p' "$HOST/etc/systemd/system/mailer@.service")
    exec < /dev/null >> "$HOST/log" 2>&1
    env -i PYTHONPATH="$PYTHONPATH" $(cat "$HOST/etc/mailer/environment") setsid $command &
    echo $! > "$HOST/$1.pid"
}
case $1 in
    enable) for name in "${@:3}"; do start "$name"; done ;;
    restart) stop "$2"; start "$2" ;;
esac
"""
#: A double of kubectl, which keeps the files of a Secret.
KUBECTL = """\
#!/bin/bash
[ "$1" = apply ] || for option in "${@:5}"; do cp "${option#--from-file=}" "$HOST/secret/"; done
"""


def _program() -> str:
    (code,) = blocks(PAGE, "python")
    return code


@contextmanager
def _workers(daemon: Daemon, home: Path) -> Iterator[list["subprocess.Popen[str]"]]:
    """Two workers of the page, which are killed at the end."""
    place = {"JOBENGINE_URL": f"http://127.0.0.1:{daemon.port}", "JOBENGINE_ACCESS_KEY": KEY}
    (home / "mailer.py").write_text(_program())
    workers = [_start(home, place) for _ in range(2)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def _start(home: Path, place: Mapping[str, str]) -> "subprocess.Popen[str]":
    with open(home / "log", "a") as log:
        return subprocess.Popen(
            [sys.executable, home / "mailer.py"], env={**os.environ, **place}, stderr=log, text=True
        )


def test_replacing_workers_one_by_one_costs_no_job_an_attempt(daemon: Daemon, mail: Queue, tmp_path: Path) -> None:
    mail.add_many([{"to": "ada@example.org", "seconds": 0.05} for _ in range(600)])
    with _workers(daemon, tmp_path) as workers:
        for index in range(2):
            until("it works", lambda: mail.stats().counts.complete > 100 * (index + 1))  # noqa: B023  # called at once
            old = workers[index]
            old.send_signal(signal.SIGTERM)
            assert old.wait(DEADLINE) == 0
            place = {"JOBENGINE_URL": f"http://127.0.0.1:{daemon.port}", "JOBENGINE_ACCESS_KEY": KEY}
            workers[index] = _start(tmp_path, place)
            assert mail.stats().counts.queued > 0
        until("all are complete", lambda: mail.stats().counts.complete == 600)
    jobs = list(mail.all_jobs())
    assert {job.attempts for job in jobs} == {1}
    assert {attempt.outcome for job in jobs for attempt in job.history} <= {"complete", "released"}


def test_the_job_of_a_killed_worker_stays_in_progress_until_its_timeout(
    daemon: Daemon, mail: Queue, tmp_path: Path
) -> None:
    job = mail.add({"to": "ada@example.org", "seconds": 60}, timeout_seconds=600)
    with _workers(daemon, tmp_path):
        until("it works", lambda: mail.get(job.uid).state == "inprogress")
    assert mail.get(job.uid).state == "inprogress"


@define
class Host:
    """A directory that serves as a host's root, with doubles of the programs that would change the host."""

    root: Path
    daemon: Daemon

    def run(self, code: str) -> str:
        done = shell(self.here(at_port(code, self.daemon.port)), self.root / "checkout", self._environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def here(self, text: str) -> str:
        return re.sub(r"(?<![\w.])/(opt|etc)/", rf"{self.root}/\1/", text)

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.root}/stubs:{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOST": str(self.root),
            "LANG": "C.UTF-8",
            "JOBENGINE_URL": f"http://127.0.0.1:{self.daemon.port}",
            "JOBENGINE_ACCESS_KEY": KEY,
        }


@pytest.fixture
def host(daemon: Daemon, mail: Queue, tmp_path: Path) -> Host:
    host = Host(tmp_path / "host", daemon)
    for name in ("opt/mailer/bin", "etc/systemd/system", "stubs", "secret", "checkout/deploy"):
        (host.root / name).mkdir(parents=True)
    # Python finds its packages by the path that it is started with, so a link to it would not do.
    programs = {f"opt/mailer/bin/{name}": f'#!/bin/sh\nexec {BIN}/{name} "$@"\n' for name in ("jobengine", "python")}
    doubles = {"stubs/systemctl": SYSTEMCTL, "stubs/kubectl": KUBECTL}
    nothing = dict.fromkeys(("stubs/python3", "opt/mailer/bin/pip"), "#!/bin/sh\n")
    for name, text in {**programs, **doubles, **nothing}.items():
        (host.root / name).write_text(text)
        (host.root / name).chmod(0o755)
    (host.root / "checkout/deploy" / UNIT.name).write_text(host.here(UNIT.read_text()))
    (host.root / "checkout/mailer.py").write_text(_program())
    return host


def test_workers_are_installed_and_restarted_as_the_deployment_page_says(host: Host, mail: Queue) -> None:
    install, start, restart = blocks(PAGE, "sh", "## systemd")
    try:
        host.run(install)
        assert (host.root / "etc/mailer").stat().st_mode & 0o777 == 0o700
        host.run(start.replace("/opt/mailer/bin/jobengine", ": jobengine"))
        before = until("both wait for jobs", lambda: [one.pid for one in mail.workers() if one.waiting][1:])
        assert len(host.run(start.strip().splitlines()[-1]).splitlines()) == 2
        host.run(restart)
        job = mail.add({"to": "ada@example.org"})
        assert mail.wait(job.uid, timeout=DEADLINE).state == "complete"
        assert before[0] not in [one.pid for one in mail.workers()]
    finally:
        for pid in host.root.glob("*.pid"):
            os.kill(int(pid.read_text()), signal.SIGKILL)
    assert [key.role for key in mail.keys.list()] == ["worker"]


def test_systemd_finds_no_mistake_in_the_unit_of_the_workers(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/mailer/bin/python", sys.executable))
    for arguments in (("verify", copy), ("security", "--offline=true", "--threshold=30", UNIT)):
        done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        (UNIT.read_text(), r"^TimeoutStopSec=(\d+)$"),
        ((ROOT / "deploy/kubernetes-worker.yaml").read_text(), r"terminationGracePeriodSeconds: (\d+)$"),
        ((ROOT / PAGE).read_text(), r"stop_grace_period: (\d+)s$"),
    ],
    ids=["systemd", "kubernetes", "docker"],
)
def test_each_deployment_file_lets_a_stopping_worker_run_longer_than_its_grace_period(text: str, pattern: str) -> None:
    (grace,) = re.findall(r"grace=(\d+)\)", _program())
    (stop,) = re.findall(pattern, text, re.MULTILINE)
    assert int(stop) > int(grace)


def test_docker_compose_starts_the_workers_beside_the_server(tmp_path: Path) -> None:
    (added,) = blocks(PAGE, "yaml", "## Docker")
    (tmp_path / "docker-compose.override.yml").write_text(added)
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    (tmp_path / "mailer").mkdir()
    services = services_of_compose(folder=tmp_path, JOBENGINE_ACCESS_KEY=KEY)
    assert services["mailer"]["environment"]["JOBENGINE_URL"] == "http://jobengine:6006"
    assert (services["mailer"]["deploy"]["replicas"], services["mailer"]["read_only"]) == (2, True)
    assert "jobengine" in services


def test_the_image_of_the_workers_starts_their_program_without_a_health_check() -> None:
    (text,) = blocks(PAGE, "dockerfile", "## Docker")
    lines = dict(re.findall(r"^([A-Z]+) (.*)$", text, re.MULTILINE))
    server = dict(re.findall(r"^([A-Z]+) (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    python, program = json.loads(lines["ENTRYPOINT"])
    assert Path(python).parent == Path(json.loads(server["ENTRYPOINT"])[0]).parent
    assert lines["COPY"].split() == [Path(program).name, f"{Path(program).parent}/"]
    assert lines["HEALTHCHECK"] == "NONE"


def _manifests() -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all((ROOT / "deploy/kubernetes-worker.yaml").read_text())}


def test_every_field_of_the_worker_manifests_is_valid() -> None:
    found = _manifests()
    assert list(found) == ["Deployment", "NetworkPolicy", "TriggerAuthentication", "ScaledObject"]
    for kind in ("Deployment", "NetworkPolicy"):
        kubernetes_validate.validate(found[kind], kubernetes_validate.latest_version(), strict=True)
    # Made from KEDA's own definitions; an unknown field would be missing in what they write.
    for kind, model in (("TriggerAuthentication", TriggerAuthentication), ("ScaledObject", ScaledObject)):
        read = model.model_validate(found[kind])
        assert read.model_dump(mode="json", by_alias=True, exclude_unset=True) == found[kind]


def test_the_manifests_scale_the_workers_by_the_capacity_of_a_pod() -> None:
    found = _manifests()
    (concurrency,) = re.findall(r"concurrency=(\d+)", _program())
    (trigger,) = found["ScaledObject"]["spec"]["triggers"]
    assert found["ScaledObject"]["spec"]["scaleTargetRef"]["name"] == found["Deployment"]["metadata"]["name"]
    assert trigger["metadata"]["targetValue"] == concurrency
    assert trigger["authenticationRef"]["name"] == found["TriggerAuthentication"]["metadata"]["name"]
    assert "replicas" not in found["Deployment"]["spec"]
    servers = list(yaml.safe_load_all((ROOT / "deploy/kubernetes.yaml").read_text()))
    (pod,) = (one["spec"]["template"] for one in servers if one["kind"] == "StatefulSet")
    selector = found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]
    assert selector.items() <= pod["metadata"]["labels"].items()


def test_keda_reads_the_wanted_number_of_workers_with_the_documented_secret(host: Host, mail: Queue) -> None:
    (code,) = blocks(PAGE, "sh", "## Kubernetes")
    host.run(code)
    secret = {path.name: path.read_text() for path in (host.root / "secret").iterdir()}
    manifests = _manifests()
    authentication = {
        one["parameter"]: secret[one["key"]] for one in manifests["TriggerAuthentication"]["spec"]["secretTargetRef"]
    }
    assert authentication["method"] == "header"
    (trigger,) = manifests["ScaledObject"]["spec"]["triggers"]
    where = trigger["metadata"]
    url = where["url"].replace("jobengine.default.svc:6006", f"127.0.0.1:{host.daemon.port}")

    def wanted() -> object:
        request = urllib.request.Request(url, headers={authentication["keyParamName"]: authentication["apiKey"]})
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return json.load(answer)[where["valueLocation"]]

    assert wanted() == 0
    mail.add({"to": "ada@example.org"})
    assert wanted() == 1
    env = manifests["Deployment"]["spec"]["template"]["spec"]["containers"][0]["env"]
    (key,) = (one["valueFrom"]["secretKeyRef"]["key"] for one in env if "valueFrom" in one)
    with JobEngine(f"http://127.0.0.1:{host.daemon.port}", access_key=secret[key]) as engine:
        assert engine.queue("mail").access().role == "worker"
