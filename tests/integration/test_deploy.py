"""docker-compose.yml, and the files in deploy/ for logrotate, Kubernetes and a proxy."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from jobengine import __version__
from jobengine.daemon.settings import SETTINGS, read_settings
from tests.postgres import Database, running

from .conftest import MakeDaemon
from .daemons import ROOT, SECRET, Client, Daemon, Forked, Reply, free_port, until
from .documents import services_of_compose
from .nginx import nginx

DEPLOY = ROOT / "deploy"
#: Variables of containers that hold no secret, or no secret by default.
OPEN = ("ADMIN_KEY", "ALLOWED_HOSTS", "DB_PATH")
#: The settings that are files.
FILES = ("SECRET_FILE", "ADMIN_KEY_FILE", "DATABASE_URL_FILE")


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


def _resources(name: str = "kubernetes.yaml") -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all((DEPLOY / name).read_text())}


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("kubernetes.yaml", ["Service", "NetworkPolicy", "StatefulSet"]),
        ("kubernetes-cluster.yaml", ["Service", "PodDisruptionBudget", "NetworkPolicy", "Deployment"]),
    ],
)
def test_every_field_of_the_kubernetes_files_is_valid(name: str, kinds: list[str]) -> None:
    found = _resources(name)
    assert list(found) == kinds
    for resource in found.values():
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize(
    ("name", "kind"), [("kubernetes.yaml", "StatefulSet"), ("kubernetes-cluster.yaml", "Deployment")]
)
def test_the_kubernetes_files_run_this_version_and_allow_access_only_from_their_namespace(name: str, kind: str) -> None:
    found = _resources(name)
    pod = found[kind]["spec"]["template"]
    containers = pod["spec"]["containers"] + pod["spec"].get("initContainers", [])
    assert {container["image"] for container in containers} == {f"jobengine:{__version__}"}
    policy = found["NetworkPolicy"]["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (ingress,) = policy["ingress"]
    assert ingress == {"from": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": "http"}]}
    reached = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    assert reached == (set() if kind == "StatefulSet" else {53, 5432})


def test_the_kubernetes_files_probe_readiness_at_the_port_of_the_server() -> None:
    pod = _resources()["StatefulSet"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["ports"] == [{"name": "http", "containerPort": 6006}]
    assert _resources()["Service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()


def test_the_kubernetes_file_uses_known_settings_and_mounts_a_volume_for_the_files() -> None:
    (container,) = _resources()["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert set(environment) <= {setting.variable for setting in SETTINGS}
    places = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert all(any(value.startswith(place + "/") for place in places) for value in environment.values())
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def _key_files(home: Path) -> dict[str, str]:
    """A file for each setting that names one."""
    file = home / "key"
    file.write_text("a key\n")
    return dict.fromkeys(FILES, str(file))


def test_the_kubernetes_cluster_file_starts_two_servers_after_the_migration(tmp_path: Path) -> None:
    resources = _resources("kubernetes-cluster.yaml")
    pod = resources["Deployment"]["spec"]["template"]
    (migrate,), (server,) = pod["spec"]["initContainers"], pod["spec"]["containers"]
    assert resources["Deployment"]["spec"]["replicas"] == 2
    assert migrate["command"][1:] == ["db", "migrate"]
    assert migrate["env"] == server["env"]
    environment = {one["name"]: one["value"] for one in server["env"]}
    read = read_settings({}, {**environment, **_key_files(tmp_path)})
    assert (read.database_url is not None, read.secret is not None) == (True, True)
    (secret,) = (volume["secret"] for volume in pod["spec"]["volumes"] if "secret" in volume)
    assert secret["secretName"] == "jobengine"
    assert server["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    for name in ("Service", "PodDisruptionBudget", "Deployment"):
        selector = resources[name]["spec"]["selector"]
        assert selector.get("matchLabels", selector).items() <= pod["metadata"]["labels"].items()


def _services() -> dict[str, Any]:
    return services_of_compose("--profile", "cluster")


def test_the_compose_cluster_file_starts_two_servers_with_few_rights_after_the_migration(tmp_path: Path) -> None:
    services = _services()
    one = services["one"]
    assert services["two"] == one
    assert (one["read_only"], one["cap_drop"], one["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert one["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert services["migrate"]["entrypoint"][1:] == ["db", "migrate"]
    assert services["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert {name for name, its in services.items() if its.get("profiles") != ["cluster"]} == {"jobengine"}
    read = read_settings({}, {**one["environment"], **_key_files(tmp_path)})
    assert (read.database_url is not None, read.secret is not None) == (True, True)


def test_in_the_compose_cluster_the_image_user_owns_the_servers_start_directory() -> None:
    (user,) = re.findall("^USER (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    (home,) = re.findall("^WORKDIR (/jobengine)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    uid, gid = user.split(":")
    for name in ("one", "two", "migrate"):
        assert f"{home}:uid={uid},gid={gid},mode=0700" in _services()[name]["tmpfs"]


def test_no_secret_of_the_cluster_is_in_the_environment_of_a_container() -> None:
    for name, service in _services().items():
        given = {one["source"] for one in service.get("secrets", ())}
        for variable, value in service.get("environment", {}).items():
            if variable.endswith("_FILE"):
                assert value.removeprefix("/run/secrets/") in given, (name, variable)
            assert name == "jobengine" or variable in OPEN or "/" in value or value == "jobengine"


def _servers(make_daemon: MakeDaemon, database: Database, *names: str) -> list[Daemon]:
    """Started servers on an empty database: `one` and `two`, or those of other names."""
    database.clear(secret=SECRET.encode())
    settings = {"DATABASE_URL": database.url}
    return [make_daemon(name, settings=settings).start() for name in names or ("one", "two")]


class _Proxied(Client):
    """A client of nginx, which has an answer of its own: 502 if a server is gone, and then closes the connection."""

    def _check(self, method: str, path: str, reply: Reply) -> None:
        if reply.status == 502:
            self.close()
        else:
            super()._check(method, path, reply)


@contextmanager
def _proxied(home: Path, *servers: Daemon) -> Iterator[Client]:
    """A client of the real nginx with deploy/nginx-cluster.conf, in front of two servers."""
    port = free_port()
    config = (DEPLOY / "nginx-cluster.conf").read_text().replace("listen 6006", "listen 127.0.0.1:443")
    for name, daemon in zip(("one", "two"), servers, strict=True):
        config = config.replace(f"{name}:6006", f"127.0.0.1:{daemon.port}")
    with nginx(home, config, port, servers[0].port), _Proxied(port) as client:
        yield client


def test_nginx_uses_both_servers_and_after_a_failure_only_the_remaining_server(
    make_daemon: MakeDaemon, database: Database, tmp_path: Path
) -> None:
    one, two = _servers(make_daemon, database)
    with _proxied(tmp_path / "nginx", one, two) as client:
        client.make_queue()
        added = {client.add().json["uid"] for _ in range(4)}
        assert {client.claim().json["uid"] for _ in added} == added
        assert all("/api/v1/job" in daemon.log for daemon in (one, two))
        assert two.stop() == 0
        assert {client.ready().status for _ in range(4)} == {200}
        assert sorted({client.add().status for _ in range(4)}) in ([201], [201, 502])
        assert {client.add().status for _ in range(4)} == {201}


def test_nginx_passes_on_the_servers_own_503_while_postgresql_is_down_despite_readyz_probes(
    make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    with running() as cluster:
        one, two = _servers(make_daemon, Database.make(cluster, "jobs"))
        with _proxied(tmp_path / "nginx", one, two) as client:
            client.make_queue()
            cluster.stop()
            until("no server is ready", lambda: {client.ready().status for _ in range(4)} == {503})
            for _ in range(4):
                probed, refused = client.ready(), client.add()
                assert (probed.status, refused.status) == (503, 503)
                assert "database" in refused.json["detail"]
                assert int(refused.headers["Retry-After"]) > 0
            cluster.start()
            until("one is ready", lambda: client.ready().status == 200)
            until("both work", lambda: [client.add().status for _ in range(4)] == [201] * 4)


def test_readyz_through_nginx_is_answered_by_the_ready_server_of_two(
    make_daemon: MakeDaemon, database: Database, tmp_path: Path
) -> None:
    with running() as cluster:
        (ready,) = _servers(make_daemon, database, "ready")
        (other,) = _servers(make_daemon, Database.make(cluster, "jobs"), "other")
        cluster.stop()
        with other.client() as client:
            until("the other is not ready", lambda: client.ready().status == 503)
        with _proxied(tmp_path / "nginx", ready, other) as client:
            assert {client.ready().status for _ in range(6)} == {200}
