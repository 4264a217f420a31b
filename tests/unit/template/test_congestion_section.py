"""The section of congestion control: what workers get of it, and where it is in fake-mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mpchat.config.files import ConfigFiles
from mpchat.errors import ConfigError
from mpchat.handlers.lists import default_component_list
from mpchat.server.overload import CongestionPlan
from mpchat.template.dynamic import load_dynamic
from mpchat.template.loading import Sources, load_service
from mpchat.worker.service import Service

REAL = {"only_rtc": False, "min_cpu": 0}


def load(folder: Path, section: Any, dynamic: Any = None) -> Service:
    config = {
        "components_manager": {
            "task_processors": {"main": {"worker_threads": 1}},
            "default_task_processor": "main",
            "components": {
                "server": {"listener": {"port": 1}},
                "logging": {"loggers": {"default": {"file_path": "@stderr"}}},
                "websocket-handler": {"path": "/chat"},
                "congestion-control": section,
                "dynamic-config": {"defaults": dynamic},
            },
        }
    }
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump(config))
    return load_service(ConfigFiles(str(path)), default_component_list(), Sources())


def plan(folder: Path, **options: Any) -> CongestionPlan | None:
    return load(folder, {name.replace("_", "-"): v for name, v in options.items()}).congestion


@pytest.mark.covers("CongestionControlOptions.only-rtc")
def test_userver_limits_only_where_its_cpus_are_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CPU_LIMIT", "4c")
    assert plan(tmp_path) == CongestionPlan("main", 429, False)
    monkeypatch.setattr("mpchat.template.loading.cpu_limit", lambda _environ: None)
    service = load(tmp_path, None)
    assert service.congestion == CongestionPlan("main", 429, True)
    (warning,) = service.warnings
    assert warning.endswith(
        "c.yaml: congestion-control is in fake-mode, it refuses nobody: nothing limits the CPUs here, "
        "and only-rtc is true"
    )
    assert plan(tmp_path, only_rtc=False) == CongestionPlan("main", 429, False)


@pytest.mark.covers("CongestionControlOptions.min-cpu")
def test_with_fewer_cpus_it_is_in_fake_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CPU_LIMIT", "1.5c")
    assert plan(tmp_path, min_cpu=1) == CongestionPlan("main", 429, False)
    service = load(tmp_path, {"min-cpu": 2})
    assert service.congestion == CongestionPlan("main", 429, True)
    assert service.warnings[0].endswith("there are fewer CPUs than min-cpu: 1.5")


@pytest.mark.covers("CongestionControlOptions.fake-mode")
def test_fake_mode_is_its_owners_choice_and_no_warning(tmp_path: Path) -> None:
    assert plan(tmp_path, fake_mode=True, **REAL) == CongestionPlan("main", 429, True)
    assert load(tmp_path, {"fake-mode": True}).warnings == ()


@pytest.mark.covers("CongestionControlOptions.load-enabled")
def test_it_may_be_switched_off(tmp_path: Path) -> None:
    assert plan(tmp_path, load_enabled=False) is None


@pytest.mark.covers("CongestionControlOptions.status-code")
def test_a_status_is_a_registered_one(tmp_path: Path) -> None:
    assert plan(tmp_path, status_code=503, **REAL) == CongestionPlan("main", 503, False)
    for code in (200, 299, 499, 600):
        with pytest.raises(ConfigError, match="status-code"):
            plan(tmp_path, status_code=code)


def test_who_would_have_waiting_tasks_cancelled_is_told_that_none_is(tmp_path: Path) -> None:
    def warnings(action: str) -> list[str]:
        limits = {"time_limit_us": 3000, "length_limit": 5000, "action": action}
        pools = {"default-task-processor": {"wait_queue_overload": limits}}
        dynamic = {"USERVER_TASK_PROCESSOR_QOS": {"default-service": pools}}
        return load_dynamic(load(tmp_path, {"load-enabled": False}, dynamic)).warnings

    assert warnings("ignore") == []
    (warning,) = warnings("cancel")
    assert "USERVER_TASK_PROCESSOR_QOS: action 'cancel' of default-task-processor" in warning
