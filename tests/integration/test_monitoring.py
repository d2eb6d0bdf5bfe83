"""The dashboard and the alerts in deploy/, with a Prometheus that scrapes the server."""

import json
import re
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from .conftest import MakeDaemon
from .daemons import ROOT, Client, free_port, until
from .documents import blocks

ALERTS = ROOT / "deploy" / "alerts.yml"
ADMIN_KEY = "the admin's"
BOARD = json.loads((ROOT / "deploy" / "grafana.json").read_text())
#: Metrics of servers on PostgreSQL alone; tests/contract/test_postgres.py looks for them.
ON_POSTGRES = {"jobengine_oldest_snapshot_seconds", "jobengine_damaged_rows"}
#: The values that Grafana substitutes for its variables.
FILLED = {"$__rate_interval": "10s", "$instance": ".+", "$queue": ".+"}


class Prometheus:
    """A Prometheus that scrapes a daemon four times a second, with deploy/prometheus.yml."""

    def __init__(self, home: Path, target: int) -> None:
        self.port = free_port()
        self._home = home
        (scrape,) = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())["scrape_configs"]
        scrape["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
        scrape["authorization"]["credentials_file"] = str(home / "admin-key")
        config = {"global": {"scrape_interval": "250ms", "scrape_timeout": "250ms"}, "scrape_configs": [scrape]}
        (home / "prometheus.yml").write_text(yaml.safe_dump(config))
        (home / "admin-key").write_text(ADMIN_KEY)

    def start(self) -> "subprocess.Popen[bytes]":
        with open(self._home / "prometheus.log", "wb") as log:
            return subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={self._home}/prometheus.yml",
                    f"--storage.tsdb.path={self._home}/data",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdout=log,
                stderr=log,
            )

    def result(self, expression: str) -> list[Any]:
        """The present result of the expression; empty while Prometheus does not answer yet."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/api/v1/query?" + urlencode({"query": expression}))
            response = connection.getresponse()
            if response.status == 503:
                return []
            answer = json.loads(response.read())
        except ConnectionError:
            return []
        finally:
            connection.close()
        assert answer["status"] == "success", (expression, answer)
        found: list[Any] = answer["data"]["result"]
        return found


@pytest.fixture
def prometheus(make_daemon: MakeDaemon, tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes a daemon with an admin key, on which each kind of event has happened."""
    daemon = make_daemon("watched", settings={"ADMIN_KEY": ADMIN_KEY}).start()
    with daemon.client(admin_key=ADMIN_KEY) as client:
        client.make_queue()
        client.call("POST", "/api/v1/queue", body={"name": "q", "target_wait_seconds": 60, "max_jobs": 100})
        for state in ("complete", "failed"):
            client.add()
            client.update(client.claim().json["uid"], state)
        client.add(group="customer-7")
        _fail_into_a_dead_letter_queue(client)
        schedule = {"queue_name": "q", "name": "yearly", "cron": "@yearly", "job": {"content": {}}}
        assert client.call("PUT", "/api/v1/schedule", body=schedule).status == 201
        client.take(wait=1)
        prometheus = Prometheus(tmp_path, daemon.port)
        process = prometheus.start()
        until("it scrapes", lambda: prometheus.result("jobengine_waiting_request_seconds_count"))
        # Only counters that grow between two scrapes have a rate.
        client.add()
        client.take(wait=1)
        _fail(client, "letters")
    yield prometheus
    process.kill()
    process.wait()


def _fail_into_a_dead_letter_queue(client: Client) -> None:
    for name in ("letters", "dead"):
        client.make_queue(name)
    body = {"name": "letters", "dead_letter": {"queue_name": "dead"}}
    assert client.call("POST", "/api/v1/queue", body=body).status == 200
    _fail(client, "letters")


def _fail(client: Client, queue: str) -> None:
    uid = client.add(queue=queue).json["uid"]
    failure = {"queue_name": queue, "uid": uid, "new_status": "failed", "error": "no route"}
    assert client.call("POST", "/api/v1/job", body=failure).status == 200


def _of_the_board() -> list[str]:
    return [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]


def _of_its_variables() -> list[str]:
    """A query for each variable of the board, which has data if the variable has values."""
    asked = " ".join(one["query"] for one in BOARD["templating"]["list"])
    return [f'{metric}{{{label}!=""}}' for metric, label in re.findall(r"label_values\((\w+)[^,]*, (\w+)\)", asked)]


def _of_the_alerts() -> list[str]:
    return [rule["expr"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def _metrics_in(expressions: list[str]) -> set[str]:
    return set(re.findall(r"\b(?:jobengine|process)_\w+\b|\bup\b", " ".join(expressions)))


def test_every_query_of_the_grafana_dashboard_and_every_metric_of_the_alerts_has_data(
    prometheus: Prometheus,
) -> None:
    queries = [*_of_the_board(), *_of_its_variables()]
    for name, value in FILLED.items():
        queries = [query.replace(name, value) for query in queries]
    metrics = _metrics_in(_of_the_alerts()) - ON_POSTGRES
    assert (len(queries) > 30, len(metrics) > 10, len(_of_its_variables())) == (True, True, 2)
    for query in [*queries, *metrics]:
        until(f"{query} gives something", lambda query=query: prometheus.result(query))  # type: ignore[misc]


def test_each_alert_fires_when_it_should_and_not_before() -> None:
    done = subprocess.run(
        ["promtool", "test", "rules", ROOT / "tests" / "integration" / "alerts_test.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for check in (f"rules --lint-fatal {ALERTS}", f"config --syntax-only {ALERTS.with_name('prometheus.yml')}"):
        assert subprocess.run(["promtool", "check", *check.split()], capture_output=True).returncode == 0, check


def test_every_alert_is_tested() -> None:
    rules = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
    tested = (ROOT / "tests" / "integration" / "alerts_test.yml").read_text()
    assert [rule["alert"] for rule in rules if f'"{rule["alert"]}"' not in tested] == []


def test_prometheus_accepts_the_memory_alert_of_the_metrics_page(tmp_path: Path) -> None:
    (rules,) = blocks("docs/metrics.md", "yaml", "## Watch the memory")
    (tmp_path / "memory.yml").write_text(rules)
    done = subprocess.run(["promtool", "check", "rules", "--lint-fatal", tmp_path / "memory.yml"], capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
