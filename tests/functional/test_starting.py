"""Command lines: variables, what can be printed, and a service with a main of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from mpchat.testsuite.clients import ServiceClient
from mpchat.testsuite.service import Service
from tests.kit.config_server import config_server
from tests.kit.verbs import Mpchat

FIXTURES = Path(__file__).parent.parent / "fixtures"
PRODUCTION = FIXTURES / "userver_production_service"

MAIN = """
from mpchat import WebsocketHandlerBase, daemon_main, minimal_server_component_list


class Chat(WebsocketHandlerBase):
    name = "websocket-handler"

    async def handle(self, chat, context):
        async for message in chat:
            await chat.send(message)


if __name__ == "__main__":
    daemon_main(minimal_server_component_list().append(Chat))
"""


def run(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


async def test_production_sample_checks_and_serves(mpchat: Mpchat, tmp_path: Path) -> None:
    config, variables = PRODUCTION / "static_config.yaml", PRODUCTION / "config_vars.yaml"
    checked = mpchat("check", "-c", str(config), "--config_vars", str(variables), cwd=tmp_path)
    assert checked.returncode == 0
    assert checked.stderr.count("without effect: ") == 1
    override = tmp_path / "override.yaml"
    command = [sys.executable, "-m", "mpchat", "serve", "-c", str(config)]
    command += ["--config_vars", str(variables), "--config_vars_override", str(override)]
    with config_server() as server:
        override.write_text(
            f"server-port: 0\ndefault-log-path: {tmp_path}/server.log\n"
            f"access-log-path: {tmp_path}/access.log\naccess-tskv-log-path: {tmp_path}/tskv.log\n"
            f"main_worker_threads: 2\nmonitor-server-port: 0\n"
            f"config-server-url: {server.url}\nconfig-cache: {tmp_path}/cache.json\n"
        )
        service = Service(command, tmp_path)
        try:
            service.wait_ready()
            assert service.ready_line.endswith("/ping, 2 workers")
            assert (await ServiceClient(service.port).get("/ping")).status == 200
            assert "ready: ws://localhost" in (tmp_path / "server.log").read_text()
        finally:
            service.close()
    assert service.process.returncode == 0


def test_root_is_told_that_it_is(supervisor: Service) -> None:
    assert ("the service runs as root" in supervisor.stderr()) == (os.geteuid() == 0)


def test_schema_accepts_what_serves_and_names_what_does_not(mpchat: Mpchat) -> None:
    printed = mpchat("serve", "--print-config-schema")
    assert printed.returncode == 0
    schema = json.loads(printed.stdout)
    validator = jsonschema.Draft202012Validator
    validator.check_schema(schema)
    for folder in ("userver_websocket_service", "userver_production_service"):
        config = yaml.safe_load((FIXTURES / folder / "static_config.yaml").read_text())
        assert [error.message for error in validator(schema).iter_errors(config)] == []
    config = yaml.safe_load((FIXTURES / "userver_websocket_service/static_config.yaml").read_text())
    components = config["components_manager"]["components"]
    components["websocket-handler"]["fragment-sise"] = 1
    components["server"]["listener"]["port"] = "many"
    components["no-such-component"] = {}
    components["dynamic-config-client-updater"] = {"update-interval": 5}
    assert len(list(validator(schema).iter_errors(config))) == 4


@pytest.mark.parametrize("start", [["main.py"], ["-m", "main"]])
async def test_a_main_of_its_own(start: list[str], tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MAIN)
    sample = FIXTURES / "userver_websocket_service"
    for source in sample.iterdir():
        target = "config_dev.yaml" if source.name == "static_config.yaml" else source.name
        (tmp_path / target).write_text(source.read_text().replace("port: 8080", "port: 0"))
    service = Service([sys.executable, *start], tmp_path)
    try:
        service.wait_ready()
        assert service.ready_line.endswith("/chat, 4 workers")
    finally:
        service.close()
    assert service.process.returncode == 0
    printed = run(*start, "--print-dynamic-config-defaults", cwd=tmp_path)
    assert json.loads(printed.stdout)["USERVER_LOG_REQUEST"] is True
    wrong = run(*start, "--nonsense", cwd=tmp_path)
    assert (wrong.returncode, "usage:" in wrong.stderr) == (64, True)


def test_the_schema_knows_the_options_of_authors() -> None:
    printed = run(str(FIXTURES / "typing" / "author.py"), "--print-config-schema")
    sections = json.loads(printed.stdout)["properties"]["components_manager"]["properties"][
        "components"
    ]["properties"]
    assert "forget-after" in sections["second-store"]["properties"]
    assert {"greeting", "quota", "path"} <= set(sections["websocket-handler"]["properties"])


@pytest.mark.parametrize(
    "command", [("-m", "mpchat", "check"), (str(FIXTURES / "typing" / "author.py"),)]
)
def test_a_reader_that_has_seen_enough_is_no_failure(command: tuple[str, ...]) -> None:
    with subprocess.Popen(
        [sys.executable, *command, "--print-config-schema"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        # Less than all of it fits into a pipe.
        assert len(process.stdout.read(1)) == 1
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
