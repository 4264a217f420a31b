"""deploy/'s alerts and dashboard, and docs/monitoring.md with a real Prometheus: `make prometheus`.

Not named as tests are, so that `make test` leaves it out: it needs Debian's prometheus.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpchat.ipc.control import ask
from mpchat.testsuite.service import Service, wait_until
from tests.docs.pages import ROOT, blocks
from tests.kit.ports import free_port

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
PAGE = (ROOT / "docs" / "monitoring.md").read_text()
OPTIONS, SCRAPE = (yaml.safe_load(block.text) for block in blocks(PAGE) if block.language == "yaml")
TOKEN = "correct horse battery staple"
APP = """
from orders import Orders
from mpchat import daemon_main, default_component_list

if __name__ == "__main__":
    daemon_main(default_component_list().append(Orders))
"""


def program(name: str) -> str:
    path = shutil.which(name)
    assert path is not None, f"not installed: {name} (Debian's prometheus, which .ci/run installs)"
    return path


def promtool(*arguments: str | Path, cwd: Path = ROOT) -> str:
    command = [program("promtool"), *map(str, arguments)]
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_rules_are_valid() -> None:
    assert "SUCCESS: 18 rules found" in promtool("check", "rules", ALERTS)


def test_the_page_has_all_of_them() -> None:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    for rule in group["rules"]:
        (row,) = [line for line in PAGE.splitlines() if f"`{rule['alert']}`" in line]
        assert ("| critical |" in row) == (rule["labels"]["severity"] == "critical")


def test_alerts_fire_when_something_is_wrong_and_not_before() -> None:
    promtool("test", "rules", ROOT / "tests" / "prometheus" / "alerts_test.yaml")


def test_the_dashboards_expressions_are_valid(tmp_path: Path) -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, expression in enumerate(found)
    ]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"SUCCESS: {len(rules)} rules found" in promtool("check", "rules", path)


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Service, int]]:
    """Serve orders and an echo with the page's options; yield the service and the console's port."""
    config = yaml.safe_load((ROOT / "docs" / "examples" / "orders.yaml").read_text())
    components = config["components_manager"]["components"]
    control = folder / "control.sock"
    components["server"]["control-socket"] = str(control)
    components["server"]["listener"]["port"] = 0
    listener = OPTIONS["server"]["listener-monitor"]
    components["server"]["listener-monitor"] = {**listener, "address": "127.0.0.1", "port": 0}
    components["handler-metrics"] = OPTIONS["handler-metrics"]
    components["websocket-handler"] = {"path": "/chat"}
    path = folder / "static_config.yaml"
    path.write_text(yaml.safe_dump(config))
    shutil.copy(ROOT / "docs" / "examples" / "orders.py", folder)
    (folder / "app.py").write_text(APP)
    command = [sys.executable, "app.py", "-c", str(path)]
    service = Service(command, folder, {"CONSOLE_TOKEN": TOKEN})
    try:
        service.wait_ready()

        def place() -> str:
            console = ask(str(control), {"verb": "status"})["console"]
            return str(console["address"]) if console["state"] == "ready" else ""

        address = wait_until(place, "a console")
        yield service, urllib.parse.urlsplit(address).port or 0
    finally:
        service.close()


class Prometheus:
    """A real one, with the page's configuration, for a console on this port."""

    def __init__(self, folder: Path, console: int) -> None:
        config = {**SCRAPE, "global": {"evaluation_interval": "250ms"}}
        (scrape,) = config["scrape_configs"]
        scrape |= {"scrape_interval": "250ms", "scrape_timeout": "250ms"}
        scrape["static_configs"] = [{"targets": [f"127.0.0.1:{console}"]}]
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        (folder / scrape["authorization"]["credentials_file"]).write_text(TOKEN)
        (rules,) = config["rule_files"]
        shutil.copy(ALERTS, folder / rules)
        promtool("check", "config", "prometheus.yaml", cwd=folder)
        self._port = free_port()
        command = [
            program("prometheus"),
            "--config.file=prometheus.yaml",
            "--storage.tsdb.path=data",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]
        with (folder / "prometheus.log").open("w") as log:
            self._process = subprocess.Popen(command, cwd=folder, stderr=log)

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and values, nothing as long as it does not answer."""
        url = f"http://127.0.0.1:{self._port}/api/v1/query?"
        try:
            with urllib.request.urlopen(url + urllib.parse.urlencode({"query": query})) as answer:
                found: dict[str, Any] = json.load(answer)
        except OSError:
            return []
        return [(one["metric"], float(one["value"][1])) for one in found["data"]["result"]]

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(30) == 0


@pytest.fixture
def prometheus_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "prometheus"
    folder.mkdir()
    return folder


def test_a_real_one_scrapes_a_service(tmp_path: Path, prometheus_folder: Path) -> None:
    with serving(tmp_path) as (service, port):
        prometheus = Prometheus(prometheus_folder, port)
        try:
            for kind in ("buy", "buy", "sell"):
                request = urllib.request.Request(
                    f"http://127.0.0.1:{service.port}/orders",
                    json.dumps({"kind": kind}).encode(),
                    {"Content-Type": "application/json"},
                )
                urllib.request.urlopen(request).close()

            def orders() -> bool:
                found = {labels["kind"]: count for labels, count in prometheus.ask("orders_total")}
                return found == {"buy": 2, "sell": 1}

            wait_until(orders, "orders as they were given")
            assert prometheus.ask('up{job="mpchat"}')[0][1] == 1
            (_labels, median), *_ = prometheus.ask(
                "histogram_quantile(0.5, sum by (le) (orders_duration_seconds_bucket))"
            )
            assert 0 < median <= 0.1
            quiet = 'mpchat_workers{state="ready"} == 2'
            wait_until(lambda: prometheus.ask(quiet), "both workers")
            panels = json.loads(DASHBOARD.read_text())["panels"]
            for panel in panels:
                if panel["type"] == "stat":
                    what = f"something in the panel {panel['title']}"
                    wait_until(partial(shown, prometheus, panel), what)
            service.stop(signal.SIGTERM)
            wait_until(lambda: prometheus.ask('ALERTS{alertname="MpchatUnreachable"}'), "an alert")
        finally:
            prometheus.close()


def shown(prometheus: Prometheus, panel: dict[str, Any]) -> list[tuple[dict[str, str], float]]:
    """Return what a panel of one expression shows."""
    (target,) = panel["targets"]
    expression = target["expr"].replace("$__rate_interval", "1m").replace("$job", "mpchat")
    return prometheus.ask(expression.replace("$instance", ".*"))
