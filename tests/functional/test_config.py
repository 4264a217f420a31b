"""Mistakes in config files, as the command tells them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpchat.testsuite.service import Service
from tests.kit.verbs import Mpchat

SAMPLE = Path(__file__).parent.parent / "fixtures" / "userver_websocket_service"

BROKEN = """\
components_manager:
    task_processors:
        main-task-processor:
            worker_threads: many
        fs-task-processor:
            worker_threads: 0
            worker_treads: 1
    default_task_processor: nowhere
    components:
        server:
            listener:
                port: 80800
                prot: 1
        logging:
            loggers:
                default:
                    file_path: '@stderr'
                    level: loud
        websocket-handler:
            path: chat
            max-remote-payload: '100'
            max-remote-payloads: 100
            task_processor: fs-task-processor
        no-such-component:
            path: /x
        websoket-handler:
            path: /y
"""

EXPECTED = """\
broken.yaml:4:29: task_processors.main-task-processor.worker_threads: expected an integer, got 'many'
broken.yaml:6:29: task_processors.fs-task-processor.worker_threads: expected at least 1, got 0
broken.yaml:7:28: task_processors.fs-task-processor.worker_treads: unknown option; did you mean 'worker_threads'?
broken.yaml:8:29: default_task_processor: expected one of fs-task-processor, main-task-processor, got 'nowhere'
broken.yaml:12:23: components.server.listener.port: expected at most 65535, got 80800
broken.yaml:13:23: components.server.listener.prot: unknown option; did you mean 'port'?
broken.yaml:18:28: components.logging.loggers.default.level: expected 'trace', 'debug', 'info', 'warning', 'error', 'critical' or 'none', got 'loud'
broken.yaml:20:19: components.websocket-handler.path: expected a path that begins with /, got 'chat'
broken.yaml:21:33: components.websocket-handler.max-remote-payload: expected an integer, got '100'
broken.yaml:22:34: components.websocket-handler.max-remote-payloads: unknown option; did you mean 'max-remote-payload'?
broken.yaml:25:13: components.no-such-component: unknown component; the component list has tests-control, rooms, websocket-handler, handler-ping, room-handler, handler-rooms
broken.yaml:27:13: components.websoket-handler: unknown component; did you mean 'websocket-handler'?
"""  # noqa: E501


@pytest.mark.covers("ManagerOptions.components")
@pytest.mark.parametrize("verb", ["serve", "check"])
def test_every_mistake_in_one_run(mpchat: Mpchat, tmp_path: Path, verb: str) -> None:
    (tmp_path / "broken.yaml").write_text(BROKEN)
    result = mpchat(verb, "-c", "broken.yaml", cwd=tmp_path)
    assert result.stderr.splitlines() == EXPECTED.splitlines()
    assert result.returncode == 78


SEVERAL = """
components_manager:
    task_processors:
        main-task-processor:
            worker_threads: !!int many
    default_task_processor: main-task-processor
    components:
        server:
            listener:
                port: $port
        websocket-handler:
            path: /chat
            path: /talk
            [a]: 1
            fragment-size: -1
"""
ALL_OF_THEM = """\
several.yaml:5:29: task_processors.main-task-processor.worker_threads: expected a value of type int, got 'many'
several.yaml:10:17: components.server.listener: expected either port or unix-socket, got {} (listener.port: $port is not defined)
several.yaml:13:13: components.websocket-handler.path: given twice, first in line 12
several.yaml:14:13: components.websocket-handler: expected a name as key
several.yaml:15:28: components.websocket-handler.fragment-size: expected at least 0, got -1
"""  # noqa: E501


def test_mistakes_of_all_stages_come_together(mpchat: Mpchat, tmp_path: Path) -> None:
    (tmp_path / "several.yaml").write_text(SEVERAL)
    result = mpchat("check", "-c", "several.yaml", cwd=tmp_path)
    assert result.stderr.splitlines() == ALL_OF_THEM.splitlines()
    assert result.returncode == 78


def test_a_folder_is_no_config(mpchat: Mpchat, tmp_path: Path) -> None:
    result = mpchat("check", "-c", str(tmp_path))
    assert (result.stderr, result.returncode) == (f"{tmp_path}: expected a regular file\n", 78)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [", "broken.yaml:1:5: not valid YAML: "),
        ("a: 1\na: 2\n", "broken.yaml:1:1: components_manager is required, but missing\n"),
        ("", "broken.yaml:1:1: expected a mapping with components_manager"),
        ("\tx: 1", "broken.yaml:1:1: not valid YAML: "),
    ],
)
def test_not_even_yaml(mpchat: Mpchat, tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "broken.yaml").write_text(text)
    result = mpchat("check", "-c", "broken.yaml", cwd=tmp_path)
    assert result.stderr.startswith(expected)
    assert result.returncode == 78


def test_missing_file_and_bad_command_line(mpchat: Mpchat, tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        result = mpchat("serve", *arguments, cwd=tmp_path)
        return result.returncode, result.stderr

    assert run("-c", "none.yaml") == (78, "none.yaml: cannot be read: No such file or directory\n")
    assert run("--nonsense")[0] == 64
    assert run()[0] == 64
    (tmp_path / "c.yaml").write_text("")
    assert run("-c", "c.yaml", "--app", "nothing")[0] == 64


def test_userver_sample_serves_verbatim(service_command: list[str], tmp_path: Path) -> None:
    for source in SAMPLE.iterdir():
        text = source.read_text()
        # The port is the one thing a test cannot take as it is: something may listen there.
        (tmp_path / source.name).write_text(text.replace("port: 8080", "port: 0"))
    service = Service([*service_command, "-c", "static_config.yaml"], tmp_path)
    try:
        service.wait_ready()
        assert service.ready_line.endswith("/chat, 4 workers")
    finally:
        service.close()
    assert service.process.returncode == 0


def test_own_config_is_clean(service_command: list[str], pytestconfig: pytest.Config) -> None:
    result = subprocess.run(
        [*service_command[:-1], "check", "-c", "static_config.yaml"],
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0
    assert result.stdout == "static_config.yaml: ok\n"


@pytest.mark.covers("LoggingOptions.fs-task-processor")
def test_names_of_task_processors_are_checked(
    mpchat: Mpchat, service_config: Any, tmp_path: Path
) -> None:
    components = service_config["components_manager"]["components"]
    components["logging"]["fs-task-processor"] = "slow"
    components["server"]["listener"]["task_processor"] = "fast"
    (tmp_path / "names.yaml").write_text(yaml.safe_dump(service_config))
    result = mpchat("check", "-c", "names.yaml", cwd=tmp_path)
    assert result.returncode == 78
    for option, name in (
        ("server.listener.task_processor", "fast"),
        ("logging.fs-task-processor", "slow"),
    ):
        expected = f"{option}: expected one of fs-task-processor, main-task-processor, got {name}"
        assert expected in result.stderr
