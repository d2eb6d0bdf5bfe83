"""The files in deploy/ for logrotate and Kubernetes."""

import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from jobengine.daemon.settings import SETTINGS

from .daemons import ROOT, Forked, until

DEPLOY = ROOT / "deploy"


def _logrotate(config: Path, *options: str) -> str:
    """Run logrotate, with its state beside its configuration; returns its output."""
    command = ["logrotate", *options, "--state", str(config.with_name("state")), str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "error:" not in done.stderr
    return done.stderr


def test_logrotate_rotates_the_log_of_a_server_and_no_line_is_lost(tmp_path: Path) -> None:
    forked = Forked(tmp_path / "home").start()
    config = tmp_path / "jobengine"
    text = (DEPLOY / "logrotate").read_text().replace("su jobengine jobengine", "su root root")
    config.write_text(re.sub("/(var/log|run)/jobengine", str(forked.home), text))
    config.chmod(0o644)
    assert "considering log" in _logrotate(config, "--debug")
    with forked.client() as client:
        first = client.call("GET", "/test").headers["X-Request-Id"]
        until("the line is written", lambda: first in forked.log)
        _logrotate(config, "--force")
        until("a new log is begun", forked.log_path.exists)
        second = client.call("GET", "/test").headers["X-Request-Id"]
        until("the line is written", lambda: second in forked.log)
    assert first in (forked.home / "twistd.log.1").read_text()
    assert second not in (forked.home / "twistd.log.1").read_text()
    assert sorted(path.name for path in forked.home.glob("twistd.log*")) == ["twistd.log", "twistd.log.1"]
    assert forked.stop() == 0


def _resources() -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}


@pytest.mark.parametrize("kind", ["Service", "StatefulSet"])
def test_kubernetes_knows_every_field_of_it(kind: str) -> None:
    kubernetes_validate.validate(_resources()[kind], kubernetes_validate.latest_version(), strict=True)


def test_kubernetes_finds_the_server_where_it_listens_and_asks_it_whether_it_is_ready() -> None:
    pod = _resources()["StatefulSet"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["ports"] == [{"name": "http", "containerPort": 6006}]
    assert _resources()["Service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()


def test_kubernetes_gives_the_server_settings_that_there_are_and_a_place_for_its_files() -> None:
    (container,) = _resources()["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert set(environment) <= {setting.variable for setting in SETTINGS}
    places = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert all(any(value.startswith(place + "/") for place in places) for value in environment.values())
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
